"""Coupons: which offer, if any, each customer is sent, under budgets, so that incremental profit is largest.

A multiple-choice knapsack: one offer per customer, a total budget, budgets by segment, a least number sent. `exact`
declares it in Pyomo and hands it to HiGHS; `dual` prices the coupling rules by Lagrange multipliers, repairs the plan
and certifies how far from the best it can be at most. Both give the same record, and agree within their gaps.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError

Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

EXACT_CUSTOMERS = 2_000
"""Up to this many customers `auto` asks the exact method where the dual's certificate misses the asked-for gap."""


@dataclass(frozen=True)
class CouponProblem:
    """N customers, O offers of which offer 0 is "no coupon" (profit 0, cost 0).

    Raises:
        ProblemError: a shape, an identifier, a NaN, a negative cost: the field, its place and the remedy are named.
    """

    profit: Float32
    """(N, O) expected incremental profit net of the coupon's cost, money. float64 is kept as such."""
    cost: Float32
    """(N, O) expected cost of the coupon, money, never negative."""
    budget: float | None
    """Total cost allowed, money; None: no limit."""
    segment: Ints | None = None
    """(N,) segment 0…S-1 of each customer."""
    segment_budget: Floats | None = None
    """(S,) cost allowed by segment, money; infinite: no limit for that segment."""
    min_sent: int | None = None
    """Smallest number of customers who are sent a coupon."""
    offered: Bools | None = None
    """(N, O) False: this customer cannot be sent this offer; None: everybody can be sent everything."""

    def __post_init__(self) -> None:
        profit, cost = _money_matrix("profit", self.profit), _money_matrix("cost", self.cost)
        if profit.shape != cost.shape:
            raise ProblemError(
                f"profit has shape {profit.shape} and cost {cost.shape}; give both as (customers, offers)"
            )
        _check_values(profit, cost)
        n = len(profit)
        object.__setattr__(self, "profit", profit)
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "budget", _checked_budget(self.budget))
        object.__setattr__(self, "segment", _checked_segment(self.segment, n))
        object.__setattr__(self, "segment_budget", _checked_segment_budget(self.segment_budget, self.segment))
        object.__setattr__(self, "min_sent", _checked_min_sent(self.min_sent))
        object.__setattr__(self, "offered", _checked_offered(self.offered, profit.shape))

    @property
    def n_customers(self) -> int:
        """N."""
        return len(self.profit)

    @property
    def n_offers(self) -> int:
        """O, "no coupon" included."""
        return int(self.profit.shape[1])


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
    """"optimal" (within the gap), "gap_limit" (feasible, certified to the stated gap) or "time_limit"."""
    segment_shadow_price: Floats | None = None
    """(S,) the same for each segment's budget, beside the total's."""
    method: str = ""
    """The method that found it: "exact" or "dual"."""
    seconds: float = 0.0
    floor_shadow_price: float = 0.0
    """Profit given up for one more customer in `min_sent`."""

    @property
    def sent(self) -> int:
        """Number of customers who are sent a coupon."""
        return int(np.count_nonzero(self.choice))


def allocate_coupons(
    problem: CouponProblem, method: str = "auto", gap: float = 1e-4, *, seconds: float = 300.0
) -> CouponPlan:
    """Choose an offer for each customer so that incremental profit is largest within the budgets.

    Args:
        problem: values, costs and limits.
        method: "exact" (Pyomo and HiGHS), "dual" (Lagrangian with a certified bound; any size), or "auto": the dual,
            and the exact method where its certificate misses the gap and the problem is small.
        gap: relative gap at which the search may stop.
        seconds: time limit of the exact method.

    Raises:
        ProblemError: unknown method or gap out of range.
        InfeasibleError: `min_sent` cannot be reached; the message says the most that the budgets buy.
    """
    if method not in {"auto", "exact", "dual"}:
        raise ProblemError(f"method {method!r} is unknown; choose auto, exact or dual")
    if not (isinstance(gap, float | int) and 0 < gap < 1):
        raise ProblemError(f"gap = {gap!r} is refused; give a number above 0 and below 1, such as 1e-4")
    started = time.perf_counter()
    plan = _allocate(problem, method, float(gap), seconds)
    return replace(plan, seconds=time.perf_counter() - started)


def _allocate(problem: CouponProblem, method: str, gap: float, seconds: float) -> CouponPlan:
    from optimizers.coupon_dual import allocate_dual
    from optimizers.coupon_exact import allocate_exact
    from optimizers.coupon_limits import check_reachable

    safe = check_reachable(problem)
    if method == "exact":
        return allocate_exact(problem, gap=gap, seconds=seconds, safe=safe)
    plan = allocate_dual(problem, gap=gap, safe=safe)
    if method == "dual" or plan.gap <= gap or problem.n_customers > EXACT_CUSTOMERS:
        return plan
    exact = allocate_exact(problem, gap=gap, seconds=seconds, safe=safe)
    return exact if exact.objective > plan.objective or exact.gap < plan.gap else plan


def relative_gap(objective: float, bound: float) -> float:
    """(bound - objective) / |bound|, never negative; 0 where both agree, infinite where only the bound is 0."""
    if bound <= objective:
        return 0.0
    return (bound - objective) / abs(bound) if bound else math.inf


def _money_matrix(name: str, values: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - whatever the caller handed in
    try:
        array = np.asarray(values)
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"{name} cannot be read as numbers ({error}); give a (customers, offers) array") from error
    if array.ndim != 2 or array.shape[1] < 1:
        raise ProblemError(f"{name} has shape {array.shape}; give (customers, offers), offer 0 being no coupon")
    return np.ascontiguousarray(array)


def _check_values(profit: npt.NDArray[Any], cost: npt.NDArray[Any]) -> None:
    for name, values in (("profit", profit), ("cost", cost)):
        # A sum over everything is finite unless a value is not; the costly look for its place is taken only then.
        if not np.isfinite(values.sum(dtype=np.float64)):
            place = np.argwhere(~np.isfinite(values))
            if len(place):
                _refuse_value(name, values, place[0], "give finite numbers; mark what cannot be sent in `offered`")
        if values[:, 0].any():
            row = int(np.flatnonzero(values[:, 0])[0])
            _refuse_value(name, values, np.array([row, 0]), "offer 0 is no coupon: its profit and cost are 0")
    if cost.size and cost.min() < 0:
        _refuse_value("cost", cost, np.argwhere(cost < 0)[0], "a coupon never costs less than 0")


def _refuse_value(name: str, values: npt.NDArray[Any], place: npt.NDArray[Any], remedy: str) -> None:
    row, column = int(place[0]), int(place[1])
    raise ProblemError(f"{name}[{row}, {column}] = {values[row, column]!r} is refused; {remedy}")


def _checked_budget(budget: float | None) -> float | None:
    if budget is None:
        return None
    if isinstance(budget, bool) or not isinstance(budget, int | float | np.number) or not math.isfinite(budget):
        raise ProblemError(f"budget = {budget!r} is refused; give an amount of money, or None for no limit")
    if budget < 0:
        raise ProblemError(f"budget = {budget!r} is negative; 0 sends nothing, None sets no limit")
    return float(budget)


def _checked_segment(segment: Any, n: int) -> Ints | None:  # noqa: ANN401
    if segment is None:
        return None
    array = np.asarray(segment)
    if array.shape != (n,):
        raise ProblemError(f"segment has shape {array.shape}; give one whole number per customer, ({n},)")
    if not np.issubdtype(array.dtype, np.integer) and n:
        raise ProblemError(f"segment has type {array.dtype}; give whole numbers 0…S-1")
    if n and array.min() < 0:
        raise ProblemError(f"segment[{int(array.argmin())}] = {array.min()} is negative; number segments 0…S-1")
    return array.astype(np.int64)


def _checked_segment_budget(budgets: Any, segment: Ints | None) -> Floats | None:  # noqa: ANN401
    if budgets is None:
        return None
    if segment is None:
        raise ProblemError("segment_budget is given without segment; say to which segment each customer belongs")
    array = np.asarray(budgets, dtype=np.float64)
    if array.ndim != 1:
        raise ProblemError(f"segment_budget has shape {array.shape}; give one amount per segment, (segments,)")
    if np.isnan(array).any() or (array < 0).any():
        place = int(np.flatnonzero(~(array >= 0))[0])
        raise ProblemError(f"segment_budget[{place}] = {array[place]!r} is refused; give amounts of at least 0")
    if len(segment) and segment.max() >= len(array):
        place = int(segment.argmax())
        raise ProblemError(
            f"segment[{place}] = {segment[place]} has no entry in segment_budget, which has {len(array)}"
        )
    return array


def _checked_min_sent(min_sent: Any) -> int | None:  # noqa: ANN401
    if min_sent is None:
        return None
    if isinstance(min_sent, bool) or not isinstance(min_sent, int | np.integer) or min_sent < 0:
        raise ProblemError(f"min_sent = {min_sent!r} is refused; give a whole number of customers, at least 0, or None")
    return int(min_sent)


def _checked_offered(offered: Any, shape: tuple[int, ...]) -> Bools | None:  # noqa: ANN401
    if offered is None:
        return None
    array = np.asarray(offered)
    if array.dtype != np.bool_ or array.shape != shape:
        raise ProblemError(f"offered has type {array.dtype} and shape {array.shape}; give booleans of shape {shape}")
    if not array[:, 0].all():
        raise ProblemError("offered[:, 0] holds False; everybody can be left without a coupon")
    return array
