"""Independent re-check of a plan over partitions: its sums and its bound, from the customers themselves.

Shares nothing with the search: its own loop in float64, which takes for each customer what the plan gives him, and the
best that he could bring at the plan's shadow prices (weak duality: Geoffrion 1974). Any non-negative prices give a
valid bound, so the bound needs no trust in how they were found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.compiled import compiled
from optimizers.coupons.check import TOLERANCE, CouponPlanError

Floats = npt.NDArray[np.float64]
Array = Any


@dataclass(frozen=True)
class Tally:
    """What one partition's customers bring, cost and are sent, and the best that they could bring at the prices."""

    customers: int
    profit: float
    cost: Floats
    """(S,) money."""
    sent: Floats
    """(O,)."""
    best: float
    """Σ max(0, profit - price · cost - toll), money."""
    forbidden: int
    """Customers who were given an offer that they cannot be sent."""


@dataclass(frozen=True)
class Limits:
    """The rules as the reader of the plan states them."""

    budget: float
    segment_budget: Floats
    floor: float
    ceiling: float
    cap: Floats


@dataclass(frozen=True)
class Prices:
    """The plan's shadow prices, none negative."""

    total: float
    segment: Floats
    floor: float
    ceiling: float
    offer: Floats
    """(O,); infinite: closed."""


def tally(
    profit: Array, cost: Array, segment: Array, choice: Array, prices: Prices, count: Array | None = None
) -> Tally:
    """Look at one partition's customers.

    Args:
        profit: (T, O) money; -inf: cannot be sent.
        cost: (T, O) money.
        segment: (T,).
        choice: (T,) offers of the plan.
        prices: the shadow prices.
        count: (T,) customers of each row; None: one each.
    """
    spent, sent = np.zeros(len(prices.segment)), np.zeros(profit.shape[1])
    toll = prices.offer + prices.ceiling - prices.floor
    toll[0] = 0.0
    many = np.ones(len(profit), dtype=np.int64) if count is None else count
    brought, best, forbidden = _look(
        profit, cost, segment, choice, many, prices.total + prices.segment, toll, spent, sent
    )
    return Tally(int(many.sum()), brought, spent, sent, best, forbidden)


def check_partitions(
    tallies: Sequence[Tally],
    limits: Limits,
    prices: Prices,
    *,
    objective: float,
    bound: float,
    drawn: Sequence[Tally] = (),
) -> None:
    """Hold the sums of all partitions against the rules and against what the plan says of itself.

    Args:
        tallies: of the customers who were decided on, for each partition.
        limits: the rules.
        prices: the plan's shadow prices.
        objective: what the plan says that it brings, money.
        bound: what it says that no plan brings more than, money.
        drawn: of the customers whose offer was drawn at random. They bring what they bring, and leave the others the
            rest of the limits.

    Raises:
        CouponPlanError: naming every rule that is broken and every figure that does not hold.
    """
    everybody = [*tallies, *drawn]
    profit = math.fsum(t.profit for t in everybody)
    cost, sent = _used(everybody, limits)
    faults = [f"{n:,} customers were given an offer they cannot be sent" for t in everybody if (n := t.forbidden)]
    faults += _broken(limits, cost, sent)
    if not math.isclose(profit, objective, rel_tol=TOLERANCE, abs_tol=1e-6):
        faults.append(f"the plan says it brings {objective:.9g}; its customers bring {profit:.9g}")
    certified = _bound(math.fsum(t.best for t in tallies), _beside(limits, *_used(drawn, limits)), prices)
    certified += math.fsum(t.profit for t in drawn)
    if bound < certified and not math.isclose(bound, certified, rel_tol=TOLERANCE):
        faults.append(f"the plan says that none brings more than {bound:.9g}; its prices certify {certified:.9g} only")
    if faults:
        raise CouponPlanError("the coupon plan failed its re-check: " + "; ".join(faults))


def _used(tallies: Sequence[Tally], limits: Limits) -> tuple[Floats, Floats]:
    """Cost by segment and coupons by offer."""
    cost, sent = np.zeros(len(limits.segment_budget)), np.zeros(len(limits.cap))
    for found in tallies:
        cost, sent = cost + found.cost, sent + found.sent
    return cost, sent


def _beside(limits: Limits, cost: Floats, sent: Floats) -> Limits:
    """What others leave of the limits."""
    total = float(sent.sum())
    return Limits(
        budget=limits.budget - float(cost.sum()),
        segment_budget=limits.segment_budget - cost,
        floor=limits.floor - total,
        ceiling=limits.ceiling - total,
        cap=limits.cap - sent,
    )


def _broken(limits: Limits, cost: Floats, sent: Floats) -> list[str]:
    total = float(sent.sum())
    kept = [
        ("the budget", float(cost.sum()), limits.budget),
        ("the greatest number sent", total, limits.ceiling),
        *(
            (f"the budget of segment {s}", c, b)
            for s, (c, b) in enumerate(zip(cost, limits.segment_budget, strict=True))
        ),
        *((f"the cap of offer {o}", n, c) for o, (n, c) in enumerate(zip(sent, limits.cap, strict=True)) if o),
    ]
    faults = [f"{name} of {limit:.9g} is overstepped: {used:.9g}" for name, used, limit in kept if used > _up(limit)]
    if total < limits.floor:
        faults.append(f"{total:,.0f} coupons are sent, fewer than {limits.floor:,.0f}")
    return faults


def _up(limit: float) -> float:
    return limit + TOLERANCE * abs(limit)


def _bound(best: float, limits: Limits, prices: Prices) -> float:
    parts = [best, -prices.floor * limits.floor]
    priced = [(prices.total, limits.budget), (prices.ceiling, limits.ceiling)]
    priced += list(zip(prices.segment.tolist(), limits.segment_budget.tolist(), strict=True))
    priced += list(zip(prices.offer.tolist(), limits.cap.tolist(), strict=True))
    if any(price < 0 for price, _ in priced) or prices.floor < 0:
        return math.inf  # a negative price certifies nothing
    return math.fsum([*parts, *(price * limit for price, limit in priced if 0 < price < math.inf)])


@compiled()
def _look(
    profit: Array,
    cost: Array,
    segment: Array,
    choice: Array,
    count: Array,
    price: Array,
    toll: Array,
    spent: Array,
    sent: Array,
) -> tuple[float, float, int]:
    brought = 0.0
    best = 0.0
    forbidden = 0
    for i in range(profit.shape[0]):
        weight = float(count[i])
        mine = int(choice[i])
        if mine > 0:
            if not np.isfinite(profit[i, mine]):
                forbidden += 1
            brought += weight * float(profit[i, mine])
            spent[segment[i]] += weight * float(cost[i, mine])
            sent[mine] += weight
        top = 0.0
        for o in range(1, profit.shape[1]):
            top = max(top, float(profit[i, o]) - price[segment[i]] * float(cost[i, o]) - toll[o])
        best += weight * top
    return brought, best, forbidden
