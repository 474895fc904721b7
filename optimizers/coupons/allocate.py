"""Coupons: which offer, if any, each customer is sent, under budgets, so that incremental profit is largest.

A multiple-choice knapsack: one offer per customer, a total budget, budgets by segment, a least number sent. `exact`
declares it in Pyomo and hands it to HiGHS; `dual` prices the coupling rules by Lagrange multipliers, repairs the plan
and certifies how far from the best it can be at most. Both give the same record, and agree within their gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from engine.errors import InfeasibleError, ProblemError, shown
from optimizers.coupons.plan import CouponPlan, finish
from optimizers.coupons.problem import CouponProblem, Ints
from optimizers.coupons.watch import Standing, Watch
from optimizers.gap import gap_below

__all__ = ["CouponPlan", "CouponProblem", "Standing", "allocate_coupons"]

EXACT_CUSTOMERS = 2_000
"""Up to this many customers `auto` asks the exact method where the dual's certificate misses the asked-for gap."""


def allocate_coupons(
    problem: CouponProblem,
    method: str = "auto",
    gap: float = 1e-4,
    *,
    seconds: float = 300.0,
    seed: int = 0,
    progress: Callable[[Standing], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> CouponPlan:
    """Choose an offer for each customer so that incremental profit is largest within the budgets.

    Args:
        problem: values, costs and limits.
        method: "exact" (Pyomo and HiGHS), "dual" (Lagrangian with a certified bound; any size), or "auto": the dual,
            and the exact method where its certificate misses the gap and the problem is small.
        gap: relative gap at which the search may stop.
        seconds: time limit; what is held then is given, with its honest gap. 0: what one pass over the customers gives.
        seed: of the exploration share; nothing else is random.
        progress: is told where the search stands (stage, seconds, objective, bound, gap) after each step.
        cancelled: asked between the steps; once it says True what is held is given, as at the time limit. HiGHS is not
            interrupted: the exact method asks before and after.

    Raises:
        ProblemError: unknown method, or gap or seconds out of range.
        InfeasibleError: `min_sent` cannot be reached; the message says the most that the limits allow.
    """
    if method not in {"auto", "exact", "dual"}:
        raise ProblemError(f"method {method!r} is unknown; choose auto, exact or dual")
    check_stopping(gap, seconds)
    watch = Watch(float(seconds), cancelled, progress)
    if problem.explore > 0:
        plan = _allocate_beside_exploration(problem, method, float(gap), watch, np.random.default_rng(seed))
    else:
        plan = _allocate(problem, method, float(gap), watch)
    return replace(plan, seconds=watch.elapsed)


def check_stopping(gap: float, seconds: float) -> None:
    """Refuse a gap or a time limit that is none.

    Raises:
        ProblemError: with its value and the remedy.
    """
    if not (isinstance(gap, float | int | np.number) and 0 < gap < 1):
        raise ProblemError(f"gap = {shown(gap)} is refused; give a number above 0 and below 1, such as 1e-4")
    if not (isinstance(seconds, float | int | np.number) and seconds >= 0):
        raise ProblemError(f"seconds = {shown(seconds)} is refused; give a time limit of at least 0")


def _allocate_beside_exploration(
    problem: CouponProblem, method: str, gap: float, watch: Watch, rng: np.random.Generator
) -> CouponPlan:
    """Draw the explored slice first; the others are allocated what it leaves."""
    from optimizers.coupons.explore import draw_exploration, explored_profit, infeasible_beside, without_explored

    drawn = draw_exploration(problem, rng)
    try:
        plan = _allocate(without_explored(problem, drawn), method, gap, watch)
    except InfeasibleError as error:
        raise infeasible_beside(problem, error) from error
    choice, fixed = drawn.choice.copy(), explored_profit(problem, drawn)
    choice[~drawn.explored] = plan.choice
    people = np.arange(problem.n_customers)
    objective, bound = plan.objective + fixed, plan.bound + fixed
    reached = gap_below(objective, bound)
    return replace(
        plan,
        choice=choice,
        objective=objective,
        bound=bound,
        gap=reached,
        spend=float(problem.cost[people, choice].sum(dtype=np.float64)),
        status="optimal" if reached <= gap else "gap_limit" if plan.status == "optimal" else plan.status,
        explored=drawn.explored,
        propensity=drawn.propensity,
    )


def _allocate(problem: CouponProblem, method: str, gap: float, watch: Watch) -> CouponPlan:
    from optimizers.coupons.exact import allocate_exact
    from optimizers.coupons.limits import check_reachable

    def safe() -> Ints:
        return check_reachable(problem)

    if method == "exact":
        return allocate_exact(problem, gap=gap, safe=safe(), watch=watch)
    plan = _allocate_by_multipliers(problem, gap=gap, safe=safe, watch=watch)
    small = problem.n_customers <= EXACT_CUSTOMERS
    if method == "dual" or plan.gap <= gap or not small or watch.stop():
        return plan
    exact = allocate_exact(problem, gap=gap, safe=plan.choice, watch=watch)
    if exact.objective <= plan.objective and exact.gap >= plan.gap:
        return plan
    return exact


def _allocate_by_multipliers(
    problem: CouponProblem, *, gap: float, safe: Callable[[], Ints], watch: Watch
) -> CouponPlan:
    """Allocate by multipliers, repair, and certify.

    Args:
        problem: values, costs and limits.
        gap: relative gap at which the search may stop.
        safe: gives a choice (N,) that keeps every rule, or raises; asked only where none is found otherwise.
        watch: time limit, cancelling, listener.

    Returns:
        A plan whose bound and gap hold whatever happened on the way.
    """
    from optimizers.coupons.dual import find_multipliers
    from optimizers.coupons.repair import repair
    from optimizers.coupons.rows import make_rows

    rows = make_rows(problem)
    parted, dual = find_multipliers(rows, watch)
    found = repair(parted, rows, dual, safe, gap, watch)
    return finish(problem, found.choice, found.bound, dual.multipliers, gap, found.stopped, "dual")
