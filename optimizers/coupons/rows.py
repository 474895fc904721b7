"""The rows of a coupon problem as the dual method works on them: identical customers collapsed to counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optimizers.coupons.problem import Bools, CouponProblem, Floats, Ints
from optimizers.coupons.sums import Choice, Matrix, Partition, Rules, Sums, no_sums

Counts = npt.NDArray[np.int32]

SAMPLE = 20_000
WORTH_COLLAPSING = 0.5
"""Collapse when fewer than this share of a sample of rows is distinct."""


@dataclass(frozen=True)
class Rows:
    """N customers in T distinct rows, under rules. `settled` customers, who are not among them, have had their part."""

    partition: Partition
    member: Ints
    """(N,) row of each customer."""
    rules: Rules
    """What these customers may cost and be sent."""
    profit_elsewhere: float = 0.0
    """Money that customers settled elsewhere bring; part of objective and bound."""

    @property
    def profit(self) -> Matrix:
        """(T, O) money."""
        return self.partition.profit

    @property
    def cost(self) -> Matrix:
        """(T, O) money."""
        return self.partition.cost

    @property
    def segment(self) -> Ints:
        """(T,) segment."""
        return self.partition.segment

    @property
    def n_segments(self) -> int:
        """S, at least 1."""
        return len(self.rules.segment_budget)

    @property
    def n_offers(self) -> int:
        """O."""
        return int(self.partition.profit.shape[1])

    @property
    def collapsed(self) -> bool:
        """Whether any row stands for several customers."""
        return len(self.partition.count) < len(self.member)


@dataclass(frozen=True)
class Parted:
    """Rows whose choice is open, and what was settled for the others."""

    rows: Rows
    people: Ints
    """Customers of the open rows, in the order of `rows.member`."""
    choice: Choice
    """(N,) offers of all customers; those of the open rows are to be replaced."""


def make_rows(problem: CouponProblem) -> Rows:
    """Bring a problem into the form of the kernels."""
    whole = make_partition(problem)
    first, member, count = collapse(whole.profit, whole.cost, whole.segment)
    whole = replace(whole if first is None else whole.take(first), count=count)
    return Rows(whole, member, make_rules(problem))


def make_partition(problem: CouponProblem) -> Partition:
    """The customers, one a row; what cannot be sent has a profit of -inf."""
    n = problem.n_customers
    limited = problem.segment is not None and problem.segment_budget is not None
    segment = problem.segment if limited else np.zeros(n, dtype=np.int64)
    assert segment is not None  # noqa: S101 - for the type checker: `limited` says so
    profit, cost = _mask(problem)
    return Partition(profit, cost, np.ascontiguousarray(segment), np.ones(n, dtype=np.int32))


def make_rules(problem: CouponProblem) -> Rules:
    """The coupling rules; a rule that is not asked for is an infinite limit."""
    limited = problem.segment is not None and problem.segment_budget is not None
    return Rules(
        budget=math.inf if problem.budget is None else problem.budget,
        segment_budget=problem.segment_budget if limited and problem.segment_budget is not None else np.full(1, np.inf),
        floor=float(problem.min_sent or 0),
        ceiling=math.inf if problem.max_sent is None else float(problem.max_sent),
        cap=np.full(problem.n_offers, math.inf) if problem.offer_cap is None else problem.offer_cap,
    )


def sums_of(rows: Rows, choice: Ints) -> Sums:
    """Sums of a choice of one offer per customer, (N,)."""
    return _summed(rows, rows.member, choice, np.ones(1))


def sums_of_rows(rows: Rows, choice: Choice, count: Floats) -> Sums:
    """Sums of a choice (T,) of one offer per row, for `count` (T,) customers of each."""
    return _summed(rows, np.arange(len(choice)), choice, count)


def _summed(rows: Rows, at: Ints, choice: Ints | Choice, count: Floats) -> Sums:
    from optimizers.coupons.kernels import sum_choices

    sums = no_sums(rows.n_segments, rows.n_offers)
    sum_choices(rows.profit, rows.cost, rows.segment, at, choice, count, sums.profit, sums.cost, sums.sent)
    return sums


def part(rows: Rows, still_open: Bools, settled: Sums, choice: Choice) -> Parted:
    """Keep the open rows; the others take their `choice` (T,), which adds up to `settled`."""
    number = np.cumsum(still_open) - 1
    if rows.collapsed:
        people = np.flatnonzero(still_open[rows.member])
        by_customer, member = choice[rows.member], number[rows.member[people]]
    else:
        people = np.flatnonzero(still_open)
        by_customer, member = choice, np.arange(len(people), dtype=np.int64)
    left = Rows(
        rows.partition.take(np.flatnonzero(still_open)),
        member,
        rows.rules.left_by(settled),
        rows.profit_elsewhere + math.fsum(settled.profit),
    )
    return Parted(left, people, by_customer)


def part_further(parted: Parted, still_open: Bools, choice: Choice) -> Parted:
    """Settle more rows of what is still open: those outside `still_open` (T,) take their `choice` (T,)."""
    rows = parted.rows
    count = np.where(still_open, 0.0, rows.partition.count)
    inner = part(rows, still_open, sums_of_rows(rows, choice, count), choice)
    outer = parted.choice.copy()
    outer[parted.people] = inner.choice
    return Parted(inner.rows, parted.people[inner.people], outer)


def _mask(problem: CouponProblem) -> tuple[Matrix, Matrix]:
    sendable = problem.sendable()
    if sendable is None:
        return problem.profit, problem.cost
    profit = np.where(sendable, problem.profit, -np.inf).astype(problem.profit.dtype)
    return profit, np.where(sendable, problem.cost, 0).astype(problem.cost.dtype)


def collapse(profit: Matrix, cost: Matrix, segment: Ints) -> tuple[Ints | None, Ints, Counts]:
    """First customer of each distinct row (None: not worth it), row of each customer, customers of each row."""
    n = len(profit)
    some = slice(None, None, max(1, n // SAMPLE))
    first, member, count = _grouped(profit[some], cost[some], segment[some])
    if len(first) > WORTH_COLLAPSING * len(member):
        return None, np.arange(n, dtype=np.int64), np.ones(n, dtype=np.int32)
    return (first, member, count) if len(member) == n else _grouped(profit, cost, segment)


def _grouped(profit: Matrix, cost: Matrix, segment: Ints) -> tuple[Ints, Ints, Counts]:
    from optimizers.coupons.kernels import group_rows

    n = len(profit)
    table = np.full(1 << (2 * n + 2).bit_length(), -1, dtype=np.int64)
    first, member, count = np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(n, np.int32)
    kinds = group_rows(_bits(profit), _bits(cost), segment, table, first, member, count)
    return first[:kinds], member, count[:kinds]


def _bits(values: Matrix) -> Matrix:
    return np.ascontiguousarray(values).view(np.uint32 if values.dtype == np.float32 else np.uint64)
