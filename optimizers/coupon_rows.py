"""The rows of a coupon problem as the dual method works on them: identical customers collapsed to counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.coupons import CouponProblem, Floats, Ints

Matrix = npt.NDArray[Any]

SAMPLE = 20_000
WORTH_COLLAPSING = 0.5
"""Collapse when fewer than this share of a sample of rows is distinct."""


@dataclass(frozen=True)
class Rows:
    """T rows, each standing for `count` identical customers of one segment."""

    profit: Matrix
    """(T, O) float32 or float64; -inf: not offered."""
    cost: Matrix
    """(T, O)."""
    count: Ints
    """(T,)."""
    segment: Ints
    """(T,) 0…S-1; all 0 where the problem has no segment budgets."""
    member: Ints
    """(N,) row of each customer."""
    budget: float
    """Total, money; infinite: no limit."""
    segment_budget: Floats
    """(S,) money; infinite: no limit."""
    floor: float
    """Least number sent."""

    @property
    def n_segments(self) -> int:
        """S, at least 1."""
        return len(self.segment_budget)

    @property
    def collapsed(self) -> bool:
        """Whether any row stands for several customers."""
        return len(self.count) < len(self.member)


def make_rows(problem: CouponProblem) -> Rows:
    """Bring a problem into the form of the kernels."""
    n = problem.n_customers
    limited = problem.segment is not None and problem.segment_budget is not None
    segment = problem.segment if limited else np.zeros(n, dtype=np.int64)
    budgets = problem.segment_budget if limited else np.array([math.inf])
    assert segment is not None and budgets is not None  # noqa: S101 - for the type checker: `limited` says so
    profit, cost = _mask(problem)
    first, member, count = _collapse(profit, cost, segment)
    if first is not None:
        profit, cost, segment = profit[first], cost[first], segment[first]
    return Rows(
        profit,
        cost,
        count,
        np.ascontiguousarray(segment),
        member,
        math.inf if problem.budget is None else problem.budget,
        budgets,
        float(problem.min_sent or 0),
    )


def _mask(problem: CouponProblem) -> tuple[Matrix, Matrix]:
    if problem.offered is None:
        return problem.profit, problem.cost
    profit = np.where(problem.offered, problem.profit, -np.inf).astype(problem.profit.dtype)
    return profit, np.where(problem.offered, problem.cost, 0).astype(problem.cost.dtype)


def _collapse(profit: Matrix, cost: Matrix, segment: Ints) -> tuple[Ints | None, Ints, Ints]:
    """First customer of each distinct row (None: not worth it), row of each customer, customers of each row."""
    n = len(profit)
    alone = None, np.arange(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    step = max(1, n // SAMPLE)
    some = slice(None, None, step)
    if not n or len(np.unique(_hashes(profit[some], cost[some], segment[some]))) > WORTH_COLLAPSING * len(profit[some]):
        return alone
    _, first, member, count = np.unique(
        _hashes(profit, cost, segment), return_index=True, return_inverse=True, return_counts=True
    )
    same = (profit[first][member] == profit).all() and (cost[first][member] == cost).all()
    if not same or (segment[first][member] != segment).any():  # two rows with one hash: rare, and no harm
        return alone
    return first, member.astype(np.int64), count.astype(np.int64)


def _hashes(profit: Matrix, cost: Matrix, segment: Ints) -> npt.NDArray[np.uint64]:
    from optimizers.coupon_kernels import fingerprint_rows

    out = np.empty(len(profit), dtype=np.uint64)
    fingerprint_rows(_bits(profit), _bits(cost), segment, out)
    return out


def _bits(values: Matrix) -> Matrix:
    return np.ascontiguousarray(values).view(np.uint32 if values.dtype == np.float32 else np.uint64)
