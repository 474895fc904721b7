"""The promotion calendar: which product is promoted in which week, how deep, and in which slot.

The calendar is judged over its whole length: what a promotion sells more in its week, what shoppers who stocked up buy
less in the weeks after it (the post-promotion dip), and what it takes from the other products of its category in the
same week. Sources: Blattberg and Neslin, "Sales Promotion: Concepts, Methods, and Strategies", 1990; Cohen, Leung,
Panchamgam, Perakis and Smith, "The Impact of Linear Optimization on Promotion Planning", Operations Research, 2017.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import Reason
from optimizers.gap import relative_gap
from optimizers.promotions.calendar import PromotionPlan, evaluate_calendar, proven_bound
from optimizers.promotions.problem import PromotionProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BUDGET_WORTH = "one more {amount:,.0f} in the promotion budget would bring {gain:,.0f} at most"


def plan_promotions(
    problem: PromotionProblem, method: str = "auto", *, gap: float = 1e-4, seconds: float = 60.0
) -> PromotionPlan:
    """Choose the calendar that gains most.

    Args:
        problem: products, responses and rules.
        method: "columns" (a product's whole calendar is a column; any size), "exact" (one integer program, declared in
            Pyomo and solved by HiGHS), or "auto": columns, and the exact program where columns leave a gap and it is
            small.
        gap: relative gap at which the search may stop.
        seconds: time limit.

    Returns:
        A calendar that keeps every rule; no promotion at all at the worst.

    Raises:
        ProblemError: the method is unknown.
    """
    from optimizers.promotions.columns import plan_by_columns
    from optimizers.promotions.model import is_small, plan_exactly

    if method not in ("auto", "columns", "exact"):
        raise ProblemError(f"method {method!r} is unknown; choose auto, columns or exact")
    begun = time.perf_counter()
    if method == "exact":
        plan = plan_exactly(problem, gap=gap, seconds=seconds)
    else:
        plan = plan_by_columns(problem, gap=gap, seconds=seconds)
        left = seconds - (time.perf_counter() - begun)
        if method == "auto" and plan.gap > gap and left > 0 and is_small(problem):
            plan = _better(problem, plan, plan_exactly(problem, gap=gap, seconds=left, start=plan.option), gap)
    return replace(plan, seconds=time.perf_counter() - begun)


def _better(problem: PromotionProblem, columns: PromotionPlan, exact: PromotionPlan, gap: float) -> PromotionPlan:
    """The better calendar with the better bound, and the prices that columns found."""
    held = exact if exact.objective > columns.objective else columns
    bound = proven_bound(problem, held.objective, min(columns.bound, exact.bound))
    reached = relative_gap(held.objective, bound)
    return replace(
        held,
        bound=bound,
        gap=reached,
        status="optimal" if reached <= gap else exact.status,
        budget_price=columns.budget_price,
        slot_price=columns.slot_price,
        priced_bound=columns.priced_bound,
    )


def advance_calendar(
    problem: PromotionProblem, plan: PromotionPlan, sold: Floats, *, prior_weeks: float = 4.0
) -> PromotionProblem:
    """State the problem that is left after the first week of a plan was carried out.

    The level of each product's base units is learned from what sold: gamma belief, Poisson sales, the prior worth
    `prior_weeks` weeks of expected sales. What was promoted is remembered for gap and dip; what was spent leaves the
    budget.

    Args:
        problem: what was planned.
        plan: its plan.
        sold: (P,) units sold in the first week.
        prior_weeks: weight of what was expected, in weeks.

    Raises:
        ProblemError: no week is left, or units that are none.
    """
    products = len(problem.product_ids)
    if problem.weeks < 2:
        raise ProblemError("the last week is over: nothing is left to plan")
    if np.shape(sold) != (products,) or not (np.isfinite(sold) & (sold >= 0)).all():
        raise ProblemError(f"sold must be {products} numbers of units, 0 or more; {sold} was given")
    expected = plan.units[:, 0]
    prior = np.maximum(prior_weeks * expected, 1e-9)
    level = (prior + sold) / (prior + expected)
    on = plan.option[:, 0] > 0
    week = problem.last_week if problem.last_week is not None else np.zeros(products, dtype=np.int64)
    kind = problem.last_option if problem.last_option is not None else np.zeros(products, dtype=np.int64)
    promoted = problem.max_promotions
    return replace(
        problem,
        base_units=problem.base_units[1:] * level,
        slots=problem.slots[:, 1:],
        max_promotions=None if promoted is None else np.maximum(promoted - on, 0),
        budget=None if problem.budget is None else max(problem.budget - _first_week_spend(problem, plan), 0.0),
        last_week=np.where(on, -1, np.where(week < 0, week - 1, 0)),
        last_option=np.where(on, plan.option[:, 0], kind),
    )


def _first_week_spend(problem: PromotionProblem, plan: PromotionPlan) -> float:
    first = np.zeros_like(plan.option)
    first[:, 0] = plan.option[:, 0]
    return evaluate_calendar(problem, first).spend


def word_budget_price(plan: PromotionPlan, amount: float) -> Reason:
    """Say what a budget larger by an amount of money would bring, at most."""
    return Reason(BUDGET_WORTH, {"amount": amount, "gain": amount * plan.budget_price})
