"""What partitions of customers are asked, wherever they lie: pure functions of one partition, and small answers.

The driver (`optimizers.coupons.partitions`) never holds the customers. `Chunks` asks partitions that are loaded one by
one; `optimizers.coupons.spark` asks those of a cluster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from optimizers.coupons import repair as coupon_repair
from optimizers.coupons.dual import Dual
from optimizers.coupons.exchange import least_losses
from optimizers.coupons.problem import Bools
from optimizers.coupons.rows import Rows, collapse, sums_of_rows
from optimizers.coupons.sums import (
    Box,
    Choice,
    Multipliers,
    Partition,
    Rules,
    Sums,
    evaluate,
    no_sums,
    respond,
    screen,
)

T = TypeVar("T")
Work = Callable[[int, Partition, Any], T]
FIELDS = ("profit", "cost", "segment", "count")
"""Of a partition."""


class Partitions(Protocol):
    """Customers in partitions, wherever they are."""

    def map(self, work: Work[T], argument: Any) -> list[T]:  # noqa: ANN401 - whatever the work takes
        """Do `work(number, partition, argument)` on each partition; the answers in the order of the partitions."""

    def narrowed(self, box: Box) -> tuple[Partitions, Sums]:
        """The customers whose choice is open in the box, kept where they are, and the sums of the others."""

    def changed(self, work: Work[Partition], argument: Any) -> Partitions:  # noqa: ANN401
        """The customers that `work(number, partition, argument)` makes of each partition."""


@dataclass(frozen=True)
class Placement:
    """All that a partition needs to give each of its customers an offer."""

    box: Box
    dual: Dual
    threshold: float
    """Customers who lose less by their best other offer are in the pool."""
    pool: tuple[Choice, ...]
    """Offers of the pool's customers, for each partition: row by row, customer by customer."""


def offers_of(number: int, partition: Partition, placement: Placement) -> Choice:
    """(T,) the offer of each customer of a partition under a plan; offer 0 is no coupon."""
    choice = respond(partition, placement.box.centre)
    still_open = np.flatnonzero(screen(partition, placement.box).open)
    rows = partition.take(still_open)
    base, pooled = _base_and_pool(rows, placement.dual, placement.threshold)
    inside = np.flatnonzero(pooled)
    if len(inside):
        first, member, _ = collapse(rows.profit[inside], rows.cost[inside], rows.segment[inside])
        order = inside if first is None else inside[np.argsort(member, kind="stable")]
        base[order] = placement.pool[number]
    choice[still_open] = base
    return choice


def count_customers(_number: int, partition: Partition, _argument: None) -> int:
    """How many there are."""
    return int(partition.count.sum())


def take_sample(_number: int, partition: Partition, step: int) -> Partition:
    """Every `step`-th row."""
    return partition.take(slice(step // 2 if len(partition.count) > step // 2 else 0, None, step))


def sum_answers(_number: int, partition: Partition, prices: Multipliers) -> Sums:
    """What the customers answer to multipliers."""
    return evaluate(partition, prices)


@dataclass(frozen=True)
class Pooled:
    """A partition's distinct rows that the driver has to decide, and the sums of its other kept customers."""

    rows: Partition
    settled: Sums


def pool_of(_number: int, partition: Partition, question: tuple[Dual, float]) -> Pooled:
    """The few for the driver; `question` is the mixture of answers and the loss below which a customer is one."""
    dual, threshold = question
    base, pooled = _base_and_pool(partition, dual, threshold)
    settled = sums_of_rows(
        _as_rows(partition, len(dual.multipliers.segment)),
        base,
        np.where(pooled, 0.0, partition.count.astype(np.float64)),
    )
    some = partition.take(np.flatnonzero(pooled))
    first, _, count = collapse(some.profit, some.cost, some.segment)
    return Pooled(some if first is None else replace(some.take(first), count=count), settled)


def _base_and_pool(partition: Partition, dual: Dual, threshold: float) -> tuple[Choice, Bools]:
    """(T,) offer of each row where it is settled, and whether it is one for the driver."""
    rows = _as_rows(partition, len(dual.multipliers.segment))
    base, differ, _, _ = coupon_repair.base_of(rows, dual)
    loss = least_losses(rows, np.arange(len(base)), base.astype(np.int64), dual.multipliers)
    return base, differ | (np.abs(loss) <= threshold)


def _as_rows(partition: Partition, segments: int) -> Rows:
    free = Rules(math.inf, np.full(segments, np.inf), 0.0, math.inf, np.full(partition.profit.shape[1], np.inf))
    return Rows(partition, np.arange(len(partition.count)), free)


def added(parts: Sequence[Sums], segments: int, offers: int) -> Sums:
    """Sums of all parts, in their order."""
    total = no_sums(segments, offers)
    for part in parts:
        total = total + part
    return total


def joined(parts: Sequence[Partition]) -> Partition:
    """The rows of all parts, in their order."""
    return Partition(*(np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS))


@dataclass(frozen=True)
class Chunks:
    """Partitions that are loaded one after the other, so that one at a time is in memory."""

    loaders: Sequence[Callable[[], Partition]]

    def map(self, work: Work[T], argument: Any) -> list[T]:  # noqa: ANN401
        """Load, work, forget."""
        return [work(number, load(), argument) for number, load in enumerate(self.loaders)]

    def narrowed(self, box: Box) -> tuple[Partitions, Sums]:
        """The open customers of all chunks, in memory."""
        kept: list[Callable[[], Partition]] = []
        settled = None
        for load in self.loaders:
            partition = load()
            found = screen(partition, box)
            kept.append(_Held(partition.take(np.flatnonzero(found.open))))
            settled = found.settled if settled is None else settled + found.settled
        return Chunks(kept), settled if settled is not None else no_sums(len(box.money), len(box.toll))

    def changed(self, work: Work[Partition], argument: Any) -> Chunks:  # noqa: ANN401
        """The same chunks, changed each time that they are loaded."""
        return Chunks([partial(_loaded, work, number, load, argument) for number, load in enumerate(self.loaders)])


def _loaded(work: Work[Partition], number: int, load: Callable[[], Partition], argument: Any) -> Partition:  # noqa: ANN401
    return work(number, load(), argument)


@dataclass(frozen=True)
class _Held:
    partition: Partition

    def __call__(self) -> Partition:
        return self.partition
