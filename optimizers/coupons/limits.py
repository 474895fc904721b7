"""What the budgets of a coupon problem can buy at all: the largest number of customers who can be sent a coupon."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError
from engine.proposal import Reason
from optimizers.coupons.problem import CouponProblem, Floats, Ints

OUT_OF_REACH = (
    "min_sent = {floor:,} cannot be reached: these limits allow at most {most:,} coupons ({share:.1f} % of it); raise "
    "the limits or lower min_sent"
)
NOT_REACHED = (
    "min_sent = {floor:,} was not reached: a plan with {found:,} coupons was found, and at most {most:,} are possible; "
    "raise the limits or lower min_sent"
)


def check_reachable(problem: CouponProblem) -> Ints:
    """Refuse a `min_sent` that no plan reaches.

    Returns:
        (N,) a choice that keeps every rule for certain.

    Raises:
        InfeasibleError: with the exact most that the budgets buy.
    """
    if not problem.min_sent:
        return np.zeros(problem.n_customers, dtype=np.int64)
    widest, most = widest_choice(problem)
    if most < problem.min_sent:
        share = 100 * most / problem.min_sent
        raise InfeasibleError(Reason(OUT_OF_REACH, {"floor": problem.min_sent, "most": most, "share": share}))
    if np.count_nonzero(widest) < problem.min_sent:
        values = {"floor": problem.min_sent, "found": int(np.count_nonzero(widest)), "most": most}
        raise InfeasibleError(Reason(NOT_REACHED, values))
    return widest


def widest_choice(problem: CouponProblem) -> tuple[Ints, int]:
    """The choice that reaches most customers: (N,) offers, and the most that any choice reaches.

    Without caps, each customer at his cheapest offer, cheapest customers first, within his segment's budget and then
    the total. That is exact: for laminar budgets (segments within the total) and equal values, an exchange argument
    shows that the cheapest ones that fit are never fewer than any other set that fits. With caps the number sent is
    itself maximised, and the most is what that search certifies.
    """
    if problem.offer_cap is not None and np.isfinite(problem.offer_cap).any():
        return _widest_under_caps(problem)
    choice = _cheapest_first(problem)
    return choice, int(np.count_nonzero(choice))


def _widest_under_caps(problem: CouponProblem) -> tuple[Ints, int]:
    from optimizers.coupons.allocate import EXACT_CUSTOMERS, allocate_coupons

    ones = np.ones(problem.profit.shape, dtype=np.float32)
    ones[:, 0] = 0
    counting = replace(problem, profit=ones, min_sent=None, max_sent=None)
    method = "exact" if problem.n_customers <= EXACT_CUSTOMERS else "dual"
    plan = allocate_coupons(counting, method, gap=1e-9)
    return plan.choice, math.floor(plan.bound * (1 + 1e-9) + 1e-6)


def _cheapest_first(problem: CouponProblem) -> Ints:
    cheapest, price = _cheapest(problem)
    reachable = np.flatnonzero(np.isfinite(price))
    order = reachable[np.argsort(price[reachable], kind="stable")]
    order = _within_segments(problem, order, price)
    if problem.budget is not None:
        order = order[: _affordable(price[order], problem.budget)]
    choice = np.zeros(problem.n_customers, dtype=np.int64)
    choice[order] = cheapest[order]
    return choice


def _cheapest(problem: CouponProblem) -> tuple[Ints, Floats]:
    n = problem.n_customers
    if problem.n_offers == 1:
        return np.zeros(n, dtype=np.int64), np.full(n, np.inf)
    cost = problem.cost[:, 1:].astype(np.float64)
    sendable = problem.sendable()
    if sendable is not None:
        cost[~sendable[:, 1:]] = np.inf
    best = cost.argmin(axis=1)
    return best.astype(np.int64) + 1, cost[np.arange(n), best]


def _within_segments(problem: CouponProblem, order: Ints, price: Floats) -> Ints:
    """Keep of each segment the cheapest that its budget buys; `order` is by price and stays so."""
    if problem.segment_budget is None or problem.segment is None:
        return order
    kept = np.zeros(problem.n_customers, dtype=np.bool_)
    segment = problem.segment[order]
    grouped = order[np.argsort(segment, kind="stable")]
    starts = np.searchsorted(np.sort(segment), np.arange(len(problem.segment_budget) + 1))
    for number, budget in enumerate(problem.segment_budget):
        mine = grouped[starts[number] : starts[number + 1]]
        kept[mine[: _affordable(price[mine], float(budget))]] = True
    return order[kept[order]]


def _affordable(price: Floats, budget: float) -> int:
    """How many of the prices, from the first on, add up to no more than the budget."""
    running: npt.NDArray[np.float64] = np.cumsum(price)
    return int(np.searchsorted(running, budget, side="right"))
