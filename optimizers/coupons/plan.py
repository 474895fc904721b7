"""A coupon plan as it is handed over: the choice, what it brings, and how far from the best it can be at most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizers.coupons.problem import Bools, CouponProblem, Floats, Ints
from optimizers.coupons.sums import Multipliers
from optimizers.coupons.watch import StopReason
from optimizers.gap import gap_below


@dataclass(frozen=True)
class CouponPlan:
    """What was chosen and how far from the best it can be at most."""

    choice: Ints
    """(N,) offer of each customer; 0 is no coupon."""
    objective: float
    """Expected incremental profit of the choice, money."""
    bound: float
    """No plan under the same budgets brings more, money."""
    gap: float
    """(bound - objective) / |bound|; 0 where both are 0."""
    spend: float
    """Expected cost of the choice, money."""
    shadow_price: float
    """Profit that one more unit of money in the total budget would bring."""
    status: str
    """"optimal" (within the gap), "gap_limit" (feasible, certified to the stated gap), "time_limit" or "cancelled"."""
    segment_shadow_price: Floats | None = None
    """(S,) the same for each segment's budget, beside the total's."""
    method: str = ""
    """The method that found it: "exact" or "dual"."""
    seconds: float = 0.0
    floor_shadow_price: float = 0.0
    """Profit given up for one more customer in `min_sent`."""
    ceiling_shadow_price: float = 0.0
    """Profit that one more customer in `max_sent` would bring."""
    offer_shadow_price: Floats | None = None
    """(O,) profit that one more coupon in each `offer_cap` would bring; infinite where the cap is 0 and not priced."""

    explored: Bools | None = None
    """(N,) customers whose offer was drawn at random; None without an exploration share."""
    propensity: Floats | None = None
    """(N,) chance with which an explored customer's offer (or none) was drawn; 1 for all others, who were not drawn."""

    @property
    def sent(self) -> int:
        """Number of customers who are sent a coupon."""
        return int(np.count_nonzero(self.choice))


def finish(
    problem: CouponProblem,
    choice: Ints,
    bound: float,
    prices: Multipliers,
    gap: float,
    stopped: StopReason | None,
    method: str,
) -> CouponPlan:
    """Write the plan down, with its sums taken in float64."""
    rows = np.arange(problem.n_customers)
    objective = float(problem.profit[rows, choice].sum(dtype=np.float64))
    spend = float(problem.cost[rows, choice].sum(dtype=np.float64))
    reached = gap_below(objective, bound)
    return CouponPlan(
        choice=choice,
        objective=objective,
        bound=max(bound, objective),
        gap=reached,
        spend=spend,
        shadow_price=prices.total,
        status="optimal" if reached <= gap else stopped or "gap_limit",
        segment_shadow_price=None if problem.segment_budget is None else prices.segment,
        method=method,
        floor_shadow_price=prices.floor,
        ceiling_shadow_price=prices.ceiling,
        offer_shadow_price=None if problem.offer_cap is None else prices.offer,
    )
