"""The independent re-check of a promotion calendar: shares no code with the search, written for plainness."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from engine.errors import PlanError
from optimizers.promotions.calendar import PromotionPlan
from optimizers.promotions.problem import PromotionProblem

MONEY = 1e-6
"""Relative tolerance on sums of money."""


def check_promotion_plan(problem: PromotionProblem, plan: PromotionPlan) -> None:
    """Make sure that a calendar keeps every rule and that its figures are right.

    Raises:
        PlanError: promotions too close or too many, slots, category or budget overdrawn, figures that recomputing does
            not give, a bound below the objective; the message lists all.
    """
    products, weeks = len(problem.product_ids), len(problem.base_units)
    if plan.option.shape != (products, weeks):
        raise PlanError(f"the calendar has shape {plan.option.shape}, expected ({products}, {weeks})")
    calendar = [[int(o) for o in row] for row in plan.option]
    faults = [fault for i in range(products) for fault in _product_faults(problem, calendar[i], i)]
    faults += _week_faults(problem, calendar)
    if not faults:
        faults += _figure_faults(problem, plan, calendar)
    if faults:
        raise PlanError("the calendar failed its re-check and was not used: " + "; ".join(faults[:20]))


def _product_faults(problem: PromotionProblem, row: list[int], i: int) -> Iterator[str]:
    name = problem.product_ids[i]
    when = [w for w, o in enumerate(row) if o]
    if any(o < 0 or o > len(problem.depth) for o in row):
        yield f"product {name}: an option is unknown in {row}"
    if problem.max_promotions is not None and len(when) > problem.max_promotions[i]:
        yield f"product {name}: {len(when)} promotions, {problem.max_promotions[i]} may be"
    if problem.last_week is not None and problem.last_week[i] < 0:
        when = [int(problem.last_week[i]), *when]
    for first, second in itertools.pairwise(when):
        if second - first < problem.min_gap:
            yield f"product {name}: promotions in weeks {first} and {second} are closer than {problem.min_gap}"


def _week_faults(problem: PromotionProblem, calendar: list[list[int]]) -> Iterator[str]:
    for w in range(len(problem.base_units)):
        column = [row[w] for row in calendar]
        for kind in range(len(problem.slots)):
            used = sum(1 for o in column if o and int(problem.slot[o - 1]) == kind)
            if used > problem.slots[kind, w]:
                yield f"week {w}: {used} slots of kind {kind} are used, there are {problem.slots[kind, w]:g}"
        if problem.max_per_category is not None:
            for code in sorted({int(c) for c in problem.category}):
                used = sum(1 for o, c in zip(column, problem.category, strict=True) if o and int(c) == code)
                if used > problem.max_per_category:
                    yield f"week {w}: {used} promotions in category {code}, {problem.max_per_category} may be"


def calendar_money(problem: PromotionProblem, calendar: list[list[int]]) -> tuple[float, float]:
    """Compute profit and spend of a calendar, product by product and week by week."""
    profit = spend = 0.0
    for i, row in enumerate(calendar):
        last, kind = None, 0
        if problem.last_week is not None and problem.last_option is not None and problem.last_week[i] < 0:
            last, kind = int(problem.last_week[i]), int(problem.last_option[i])
        for w, option in enumerate(row):
            base, price = float(problem.base_units[w, i]), float(problem.price[i])
            multiple = float(problem.lift[i, option - 1]) if option else 1.0
            if last is not None and w - last <= problem.dip.shape[1]:
                multiple -= float(problem.dip[i, w - last - 1]) * (float(problem.lift[i, kind - 1]) - 1.0)
            taken = sum(
                float(problem.takes[j, other[w] - 1])
                for j, other in enumerate(calendar)
                if j != i and other[w] and problem.category[j] == problem.category[i]
            )
            depth = float(problem.depth[option - 1]) if option else 0.0
            profit += base * (multiple - taken) * (price * (1 - depth) - float(problem.unit_cost[i]))
            if option:
                fixed = float(problem.fixed_cost[option - 1])
                profit -= fixed
                spend += depth * price * base * multiple + fixed
                last, kind = w, option
    return profit, spend


def _figure_faults(problem: PromotionProblem, plan: PromotionPlan, calendar: list[list[int]]) -> Iterator[str]:
    profit, spend = calendar_money(problem, calendar)
    nothing, _ = calendar_money(problem, [[0] * len(problem.base_units) for _ in calendar])
    scale = abs(profit) + abs(nothing) + 1e-9
    gain = profit - nothing - problem.money_price * spend
    if abs(gain - plan.objective) > MONEY * scale:
        yield f"the objective is given as {plan.objective}, recomputing gives {gain}"
    if abs(float(plan.profit.sum()) - profit) > MONEY * scale:
        yield f"the profit is given as {plan.profit.sum()}, recomputing gives {profit}"
    if abs(spend - plan.spend) > MONEY * max(spend, 1.0):
        yield f"the spend is given as {plan.spend}, recomputing gives {spend}"
    if problem.budget is not None and spend > problem.budget * (1 + 1e-9) + 1e-9:
        yield f"{spend} is spent of a budget of {problem.budget}"
    if gain < -MONEY * scale:
        yield f"the calendar loses {-gain} against no promotion, which was allowed"
    if plan.bound < plan.objective - MONEY * scale:
        yield f"the bound {plan.bound} lies below the objective {plan.objective}"
    if plan.units.size and plan.units.min() < -1e-9:
        yield f"units fall to {plan.units.min()}"
