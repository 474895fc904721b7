"""Coupons: which offer, if any, each customer is sent, under budgets, so that incremental profit is largest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CouponProblem:
    """N customers, O offers of which offer 0 is "no coupon" (profit 0, cost 0)."""

    profit: Float32
    """(N, O) expected incremental profit net of the coupon's cost, money."""
    cost: Float32
    """(N, O) expected cost of the coupon, money, never negative."""
    budget: float | None
    """Total cost allowed, money; None: no limit."""
    segment: Ints | None = None
    """(N,) segment 0…S-1 of each customer."""
    segment_budget: Floats | None = None
    """(S,) cost allowed by segment, money."""
    min_sent: int | None = None
    """Smallest number of customers who are sent a coupon."""


@dataclass(frozen=True)
class CouponPlan:
    """What was chosen and how far from the best it can be at most."""

    choice: Ints
    """(N,) offer of each customer; 0 is no coupon."""
    objective: float
    bound: float
    gap: float
    spend: float
    shadow_price: float
    """Profit that one more unit of money in the total budget would bring."""
    status: str
    """"optimal" (within the gap), "gap_limit" (feasible, certified to the stated gap) or "time_limit"."""
    segment_shadow_price: Floats | None = None
    method: str = ""
    seconds: float = 0.0
