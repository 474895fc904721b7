"""Coupon allocation over customers who lie in partitions: files read chunk by chunk, or an Apache Spark cluster.

The driver never holds the customers. It asks all partitions the same pure question and gets one small answer from each,
in the order of the partitions, so that the plan depends on how the customers are divided and on nothing else: not on
who answers first, and not on whether chunks or Spark executors answer.

1. A sample finds the multipliers nearly. A neighbourhood about them is drawn, and each partition settles the customers
   whose choice no multipliers in it can change; only the others are kept for what follows.
2. Cutting planes over the kept customers (see `optimizers.coupons.dual`): multipliers out, sums back.
3. The few customers on whom the answers differ, or who are nearly indifferent, come to the driver as distinct rows
   with counts; there the mixture becomes whole offers.
4. Each partition writes its customers' offers from the multipliers and from what the driver decided for its few.

The bound is the Lagrangian value over all customers; `optimizers.coupons.check_partitions` takes it, and every sum,
again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from engine.errors import InfeasibleError, PlanError
from optimizers.coupons import dual as coupon_dual
from optimizers.coupons import repair as coupon_repair
from optimizers.coupons.dual import Answer, Dual
from optimizers.coupons.exchange import RESERVE, fill, keeps_rules, least_losses, mend, profit_of
from optimizers.coupons.gap import relative_gap
from optimizers.coupons.problem import Bools, Ints
from optimizers.coupons.rows import Rows, collapse, sums_of, sums_of_rows
from optimizers.coupons.sums import (
    Box,
    Choice,
    Multipliers,
    Partition,
    Rules,
    Sums,
    evaluate,
    no_prices,
    no_sums,
    respond,
    screen,
)
from optimizers.coupons.watch import StopReason, Watch

T = TypeVar("T")
Work = Callable[[int, Partition, Any], T]

SAMPLED = 100_000
"""Customers on whom the multipliers are found first."""
MOST_OPEN = 3_000_000
"""Customers kept after screening, about: 84 bytes each with ten offers."""
POOL = 4_000
"""Customers nearest to indifference who come to the driver, about."""


class Partitions(Protocol):
    """Customers in partitions, wherever they are."""

    def map(self, work: Work[T], argument: Any) -> list[T]:  # noqa: ANN401 - whatever the work takes
        """Do `work(number, partition, argument)` on each partition; the answers in the order of the partitions."""

    def narrowed(self, box: Box) -> tuple[Partitions, Sums]:
        """The customers whose choice is open in the box, kept where they are, and the sums of the others."""


@dataclass(frozen=True)
class Placement:
    """All that a partition needs to give each of its customers an offer."""

    box: Box
    dual: Dual
    threshold: float
    """Customers who lose less by their best other offer are in the pool."""
    pool: tuple[Choice, ...]
    """Offers of the pool's customers, for each partition: row by row, customer by customer."""


@dataclass(frozen=True)
class PartitionedPlan:
    """What was decided, without the customers; `offers_of` gives each partition's."""

    placement: Placement
    multipliers: Multipliers
    sums: Sums
    """Of the whole plan."""
    customers: int
    bound: float
    gap: float
    status: str
    """"optimal" (within the gap), "gap_limit", "time_limit" or "cancelled"."""
    passes: int
    """Questions asked of all partitions."""
    kept: int
    """Customers who were kept after screening."""

    @property
    def objective(self) -> float:
        """Expected incremental profit, money."""
        return math.fsum(self.sums.profit)

    @property
    def spend(self) -> float:
        """Expected cost, money."""
        return math.fsum(self.sums.cost)

    @property
    def sent(self) -> int:
        """Number of customers who are sent a coupon."""
        return round(float(self.sums.sent.sum()))


def allocate_partitions(
    partitions: Partitions, rules: Rules, *, gap: float = 1e-4, watch: Watch | None = None
) -> PartitionedPlan:
    """Allocate coupons to customers in partitions.

    Args:
        partitions: the customers.
        rules: budgets, floor, ceiling and caps over all of them.
        gap: relative gap that counts as optimal.
        watch: time limit, cancelling, listener.

    Raises:
        InfeasibleError: the floor cannot be reached; the message says the most that is possible, as certified by the
            same multipliers with a coupon's profit counted as 1.
    """
    watch = watch or Watch()
    if rules.floor > 0:
        _check_floor(partitions, rules, watch)
    search = _search(partitions, rules, watch)
    kinds = _gather(search, rules)
    try:
        choice, stopped = _decide(kinds, search.dual, gap, watch)
    except InfeasibleError:
        if search.dual.stopped is None:
            raise
        return _nobody(search, rules, search.dual.stopped)
    objective = profit_of(kinds.rows, choice)
    reached = relative_gap(objective, search.dual.bound)
    return PartitionedPlan(
        placement=Placement(search.box, search.dual, search.threshold, _slices(kinds, choice)),
        multipliers=search.dual.multipliers,
        sums=kinds.settled + sums_of(kinds.rows, choice),
        customers=search.customers,
        bound=max(search.dual.bound, objective),
        gap=reached,
        status="optimal" if reached <= gap else search.dual.stopped or stopped or "gap_limit",
        passes=search.dual.passes,
        kept=search.kept,
    )


def _nobody(search: _Search, rules: Rules, stopped: StopReason) -> PartitionedPlan:
    """What is held when the search was stopped before its multipliers kept the rules: no coupon for anybody."""
    if rules.floor > 0:
        raise PlanError(
            "time was up before a plan was found that sends as many as min_sent asks for; give more seconds"
        )
    closed = replace(no_prices(rules), offer=np.full(len(rules.cap), math.inf))
    box = Box(closed, np.zeros(len(rules.segment_budget)), np.zeros(len(rules.cap)))
    return PartitionedPlan(
        placement=Placement(box, search.dual, 0.0, ()),
        multipliers=search.dual.multipliers,
        sums=no_sums(len(rules.segment_budget), len(rules.cap)),
        customers=search.customers,
        bound=max(search.dual.bound, 0.0),
        gap=relative_gap(0.0, search.dual.bound),
        status=stopped,
        passes=search.dual.passes,
        kept=search.kept,
    )


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


# --- the questions that partitions are asked


def _count(_number: int, partition: Partition, _argument: None) -> int:
    return int(partition.count.sum())


def _sampled(_number: int, partition: Partition, step: int) -> Partition:
    return partition.take(slice(step // 2 if len(partition.count) > step // 2 else 0, None, step))


def _sums(_number: int, partition: Partition, prices: Multipliers) -> Sums:
    return evaluate(partition, prices)


@dataclass(frozen=True)
class _Pooled:
    """A partition's distinct rows that the driver has to decide, and the sums of its other kept customers."""

    rows: Partition
    settled: Sums


def _pool(_number: int, partition: Partition, question: tuple[Dual, float]) -> _Pooled:
    dual, threshold = question
    base, pooled = _base_and_pool(partition, dual, threshold)
    settled = sums_of_rows(
        _as_rows(partition, len(dual.multipliers.segment)),
        base,
        np.where(pooled, 0.0, partition.count.astype(np.float64)),
    )
    some = partition.take(np.flatnonzero(pooled))
    first, _, count = collapse(some.profit, some.cost, some.segment)
    return _Pooled(some if first is None else replace(some.take(first), count=count), settled)


def _base_and_pool(partition: Partition, dual: Dual, threshold: float) -> tuple[Choice, Bools]:
    """(T,) offer of each row where it is settled, and whether it is one for the driver."""
    rows = _as_rows(partition, len(dual.multipliers.segment))
    base, differ, _, _ = coupon_repair.base_of(rows, dual)
    loss = least_losses(rows, np.arange(len(base)), base.astype(np.int64), dual.multipliers)
    return base, differ | (np.abs(loss) <= threshold)


def _as_rows(partition: Partition, segments: int) -> Rows:
    free = Rules(math.inf, np.full(segments, np.inf), 0.0, math.inf, np.full(partition.profit.shape[1], np.inf))
    return Rows(partition, np.arange(len(partition.count)), free)


# --- multipliers


@dataclass(frozen=True)
class _Search:
    """The multipliers, and where the customers still to be decided are."""

    dual: Dual
    box: Box
    kept_partitions: Partitions
    settled: Sums
    threshold: float
    customers: int
    kept: int


def _search(partitions: Partitions, rules: Rules, watch: Watch) -> _Search:
    customers = sum(partitions.map(_count, None))
    sample = _sample(partitions, rules, customers)
    centre = coupon_dual.minimise_rows(sample, [no_prices(rules)], watch, tolerance=1e-6).multipliers
    reach = coupon_dual.REACH * math.sqrt(coupon_dual.COARSE_ROWS / max(len(sample.member), 1))
    passes = 2
    for attempt in range(coupon_dual.MAX_NEIGHBOURHOODS):
        box = coupon_dual.box_about(sample, centre, _bounded(sample, centre, reach, customers))
        kept, settled = partitions.narrowed(box)
        dual = _minimise(kept, rules, settled, coupon_dual.nearby(centre), watch, box, sample)
        passes += 1 + dual.passes
        if not dual.left_box or dual.stopped or attempt == coupon_dual.MAX_NEIGHBOURHOODS - 1:
            break
        centre, reach = dual.multipliers, reach * coupon_dual.WIDER
    dual = replace(dual, **_active(dual), passes=passes)
    count = sum(kept.map(_count, None))
    return _Search(dual, box, kept, settled, _threshold(sample, dual, customers), customers, count)


def _sample(partitions: Partitions, rules: Rules, customers: int) -> Rows:
    step = max(1, customers // SAMPLED)
    parts = partitions.map(_sampled, step)
    some = Partition(*(np.concatenate([getattr(p, name) for p in parts]) for name in _FIELDS))
    share = float(some.count.sum()) / max(customers, 1)
    return Rows(some, np.arange(len(some.count), dtype=np.int64), rules.scaled(share))


_FIELDS = ("profit", "cost", "segment", "count")


def _bounded(sample: Rows, centre: Multipliers, reach: float, customers: int) -> float:
    """The reach, halved until about `MOST_OPEN` customers are open within it."""
    most = MOST_OPEN / max(customers, 1)
    for _ in range(8):
        if float(screen(sample.partition, coupon_dual.box_about(sample, centre, reach)).open.mean()) <= most:
            break
        reach /= 2
    return reach


def _minimise(
    kept: Partitions,
    rules: Rules,
    settled: Sums,
    start: Sequence[Multipliers],
    watch: Watch,
    box: Box,
    sample: Rows,
) -> Dual:
    def ask(prices: Multipliers) -> Sums:
        return _added(kept.map(_sums, prices), len(rules.segment_budget), len(rules.cap))

    return coupon_dual.minimise(
        *(ask, rules.left_by(settled), start, watch),
        elsewhere=math.fsum(settled.profit),
        box=box,
        penalty=coupon_dual.PENALTY * coupon_dual.mean_profit(sample),
    )


def _added(parts: Sequence[Sums], segments: int, offers: int) -> Sums:
    total = no_sums(segments, offers)
    for part in parts:
        total = total + part
    return total


def _active(dual: Dual) -> dict[str, Any]:
    """Only the answers that take part in the mixture: what travels to the partitions stays small."""
    active = np.flatnonzero((dual.weights > coupon_repair.ACTIVE).any(axis=1))
    return {
        "answers": tuple(Answer(dual.answers[k].prices, no_sums(0, 0)) for k in active),
        "weights": dual.weights[active],
    }


def _threshold(sample: Rows, dual: Dual, customers: int) -> float:
    """Loss below which about `POOL` of all customers lie."""
    choice = respond(sample.partition, dual.multipliers).astype(np.int64)
    loss = np.sort(np.abs(least_losses(sample, np.arange(len(choice)), choice, dual.multipliers)))
    place = math.ceil(POOL * len(loss) / max(customers, 1))
    return float(loss[min(place, len(loss) - 1)]) if len(loss) else 0.0


# --- the driver's few


@dataclass(frozen=True)
class _Kinds:
    """The distinct rows that came to the driver, under what the others leave of the rules."""

    rows: Rows
    settled: Sums
    by_partition: tuple[int, ...]
    """Customers that came from each partition."""


def _gather(search: _Search, rules: Rules) -> _Kinds:
    found = search.kept_partitions.map(_pool, (search.dual, search.threshold))
    settled = search.settled
    for part in found:
        settled = settled + part.settled
    rows, member = _merged(Partition(*(np.concatenate([getattr(p.rows, n) for p in found]) for n in _FIELDS)))
    left = Rows(rows, member, rules.left_by(settled), math.fsum(settled.profit))
    return _Kinds(left, settled, tuple(int(p.rows.count.sum()) for p in found))


def _merged(rows: Partition) -> tuple[Partition, Ints]:
    """Rows of several partitions with the same values as one, and the row of each customer."""
    place = np.repeat(np.arange(len(rows.count), dtype=np.int64), rows.count)
    first, kind, _ = collapse(rows.profit, rows.cost, rows.segment)
    if first is None:
        return rows, place
    count = np.bincount(kind, rows.count, len(first)).astype(np.int32)
    return replace(rows.take(first), count=count), kind[place]


def _decide(kinds: _Kinds, dual: Dual, gap: float, watch: Watch) -> tuple[Ints, StopReason | None]:
    """Whole offers for the driver's customers: rounded from the mixture, mended, filled."""
    rows = kinds.rows
    # Sums taken in another order differ in their last bits: a little of each budget stays in reserve.
    for margin in (0.0, rows.n_segments + rows.n_offers + 2.0):
        choice = coupon_repair.rounded(rows, dual, margin)
        if not keeps_rules(rows, choice):
            choice = mend(rows, choice, dual.multipliers, reserve=RESERVE)
        if not keeps_rules(rows, choice):
            continue
        if relative_gap(profit_of(rows, choice), dual.bound) > min(gap, coupon_repair.CLOSE) and not watch.stop():
            choice = fill(rows, choice, dual.multipliers, reserve=RESERVE)
        return choice, watch.stop()
    base, _, _, _ = coupon_repair.base_of(rows, dual)
    choice = coupon_repair.trimmed(rows, base[rows.member].astype(np.int64))
    if not keeps_rules(rows, choice):
        raise InfeasibleError(
            f"no plan was found that keeps every limit and sends {rows.rules.floor:,.0f} more coupons; lower min_sent "
            "or raise the limits a little"
        )
    return choice, watch.stop()


def _slices(kinds: _Kinds, choice: Ints) -> tuple[Choice, ...]:
    ends = np.cumsum(kinds.by_partition)
    return tuple(part.astype(np.uint16) for part in np.split(choice, ends[:-1]))


# --- can the floor be reached at all


def _counted_sums(_number: int, partition: Partition, prices: Multipliers) -> Sums:
    return evaluate(_counted(partition), prices)


def _counted(partition: Partition) -> Partition:
    worth = np.where(np.isfinite(partition.profit), 1.0, -np.inf).astype(np.float32)
    worth[:, 0] = 0.0
    return replace(partition, profit=worth)


def _check_floor(partitions: Partitions, rules: Rules, watch: Watch) -> None:
    free = replace(rules, floor=0.0, ceiling=math.inf)
    sample = _sample(partitions, free, sum(partitions.map(_count, None)))
    sample = replace(sample, partition=_counted(sample.partition))
    centre = coupon_dual.minimise_rows(sample, [no_prices(free)], watch, tolerance=1e-6).multipliers

    def ask(prices: Multipliers) -> Sums:
        return _added(partitions.map(_counted_sums, prices), len(rules.segment_budget), len(rules.cap))

    found = coupon_dual.minimise(ask, free, coupon_dual.nearby(centre), watch, penalty=coupon_dual.PENALTY)
    most = math.floor(found.bound * (1 + 1e-9) + 1e-6)
    if most < rules.floor:
        raise InfeasibleError(
            f"min_sent = {rules.floor:,.0f} cannot be reached: these limits allow at most {most:,} coupons "
            f"({100 * most / rules.floor:.1f} % of it); raise the limits or lower min_sent"
        )


# --- customers in memory, or loaded chunk by chunk


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


@dataclass(frozen=True)
class _Held:
    partition: Partition

    def __call__(self) -> Partition:
        return self.partition
