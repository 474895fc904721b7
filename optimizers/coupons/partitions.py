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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.errors import InfeasibleError, ProblemError
from engine.proposal import Reason
from optimizers.coupons import dual as coupon_dual
from optimizers.coupons import repair as coupon_repair
from optimizers.coupons.dual import Answer, Dual
from optimizers.coupons.exchange import RESERVE, fill, keeps_rules, least_losses, mend, profit_of
from optimizers.coupons.explore import BESIDE, rules_beside
from optimizers.coupons.floor import check_floor
from optimizers.coupons.partitioned_plan import PartitionedPlan
from optimizers.coupons.problem import Ints
from optimizers.coupons.questions import (
    Partitions,
    Placement,
    added,
    count_customers,
    joined,
    pool_of,
    sum_answers,
    take_sample,
)
from optimizers.coupons.rows import Rows, collapse, sums_of
from optimizers.coupons.slices import Slice, plan_slice, used_by_slice, without_slice
from optimizers.coupons.sums import (
    Box,
    Choice,
    Multipliers,
    Partition,
    Rules,
    Sums,
    no_prices,
    no_sums,
    respond,
    screen,
)
from optimizers.coupons.watch import StopReason, Watch
from optimizers.gap import gap_below

STOPPED_EARLY = (
    "the search was stopped ({stopped}) before a plan was found that sends min_sent = {floor:,}; give it more time"
)
NOBODY = "min_sent = {floor:,} cannot be reached: there are no customers; lower it"
NONE_FOUND = (
    "no plan was found that keeps every limit and sends {more:,} more coupons; lower min_sent or raise the limits a "
    "little"
)
SAMPLED = 100_000
"""Customers on whom the multipliers are found first."""
MOST_OPEN = 3_000_000
"""Customers kept after screening, about: 84 bytes each with ten offers."""
POOL = 4_000
"""Customers nearest to indifference who come to the driver, about."""
NOTHING = 1e-9
"""Share of the floor that may be missing by rounding."""


def allocate_partitions(
    partitions: Partitions,
    rules: Rules,
    *,
    gap: float = 1e-4,
    watch: Watch | None = None,
    explore: float = 0.0,
    seed: int = 0,
) -> PartitionedPlan:
    """Allocate coupons to customers in partitions.

    Args:
        partitions: the customers.
        rules: budgets, floor, ceiling and caps over all of them.
        gap: relative gap that counts as optimal.
        watch: time limit, cancelling, listener.
        explore: share of the customers whose offer is drawn at random; their rows have to be one customer each.
        seed: of the exploration; nothing else is random.

    Raises:
        InfeasibleError: the floor cannot be reached; the message says the most that is possible, as certified by the
            same multipliers with a coupon's profit counted as 1.
    """
    watch = watch or Watch()
    if explore > 0:
        return _allocate_beside_slice(partitions, rules, plan_slice(partitions, rules, explore, seed), gap, watch)
    return _allocate(partitions, rules, gap, watch)


def _allocate_beside_slice(
    partitions: Partitions, rules: Rules, drawn: Slice, gap: float, watch: Watch
) -> PartitionedPlan:
    """What is drawn is settled; the others are allocated what it leaves of the limits."""
    used = used_by_slice(partitions, drawn)
    try:
        plan = _allocate(partitions.changed(without_slice, drawn), rules_beside(rules, used), gap, watch)
    except InfeasibleError as error:
        raise InfeasibleError(Reason(BESIDE, {"share": drawn.share, "why": error.sentence})) from error
    whole = replace(plan, slice=drawn, sums=plan.sums + used, bound=plan.bound + math.fsum(used.profit))
    customers = sum(partitions.map(count_customers, None))
    reached = gap_below(whole.objective, whole.bound)
    status = "optimal" if reached <= gap else "gap_limit" if plan.status == "optimal" else plan.status
    return replace(whole, customers=customers, gap=reached, status=status)


def _allocate(partitions: Partitions, rules: Rules, gap: float, watch: Watch) -> PartitionedPlan:
    customers = sum(partitions.map(count_customers, None))
    if not customers:
        return _of_nobody(rules)
    sample = _sample(partitions, rules, customers)
    search = _search(partitions, rules, sample, customers, watch)
    kinds = _gather(search, rules)
    try:
        choice, stopped = _decide(kinds, search.dual, gap, watch)
    except InfeasibleError:
        if search.dual.stopped is None:
            check_floor(partitions, rules, sample, watch)
            raise
        if rules.floor > 0:
            values = {"stopped": search.dual.stopped, "floor": math.ceil(rules.floor)}
            raise ProblemError(Reason(STOPPED_EARLY, values)) from None
        return _nobody(rules, search.dual, search.customers, search.kept)
    objective = profit_of(kinds.rows, choice)
    reached = gap_below(objective, search.dual.bound)
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


def _of_nobody(rules: Rules) -> PartitionedPlan:
    """The plan of no customers."""
    if rules.floor > 0:
        raise InfeasibleError(Reason(NOBODY, {"floor": math.ceil(rules.floor)}))
    return _nobody(rules, Dual(no_prices(rules), 0.0, (), np.zeros((0, len(rules.segment_budget))), 0), 0, 0)


def _nobody(rules: Rules, dual: Dual, customers: int, kept: int) -> PartitionedPlan:
    """No coupon for anybody: what is held when the search was stopped before its multipliers kept the rules."""
    closed = replace(no_prices(rules), offer=np.full(len(rules.cap), math.inf))
    box = Box(closed, np.zeros(len(rules.segment_budget)), np.zeros(len(rules.cap)))
    return PartitionedPlan(
        placement=Placement(box, dual, 0.0, ()),
        multipliers=dual.multipliers,
        sums=no_sums(len(rules.segment_budget), len(rules.cap)),
        customers=customers,
        bound=max(dual.bound, 0.0),
        gap=gap_below(0.0, dual.bound),
        status=dual.stopped or "optimal",
        passes=dual.passes,
        kept=kept,
    )


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


def _search(partitions: Partitions, rules: Rules, sample: Rows, customers: int, watch: Watch) -> _Search:
    coarse = coupon_dual.minimise_rows(sample, [no_prices(rules)], watch, tolerance=1e-6)
    centre = coarse.multipliers
    if coarse.missing > NOTHING * rules.floor:  # the customers may have more than the sample
        check_floor(partitions, rules, sample, watch)
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
    if dual.missing > NOTHING * rules.floor and not dual.stopped:
        check_floor(partitions, rules, sample, watch)
    dual = replace(dual, **_active(dual), passes=passes)
    count = sum(kept.map(count_customers, None))
    return _Search(dual, box, kept, settled, _threshold(sample, dual, customers), customers, count)


def _sample(partitions: Partitions, rules: Rules, customers: int) -> Rows:
    step = max(1, customers // SAMPLED)
    parts = partitions.map(take_sample, step)
    some = joined(parts)
    share = float(some.count.sum()) / max(customers, 1)
    return Rows(some, np.arange(len(some.count), dtype=np.int64), rules.scaled(share))


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
        return added(kept.map(sum_answers, prices), len(rules.segment_budget), len(rules.cap))

    return coupon_dual.minimise(
        *(ask, rules.left_by(settled), start, watch),
        elsewhere=math.fsum(settled.profit),
        box=box,
        penalty=coupon_dual.PENALTY * coupon_dual.mean_profit(sample),
    )


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
    found = search.kept_partitions.map(pool_of, (search.dual, search.threshold))
    settled = search.settled
    for part in found:
        settled = settled + part.settled
    rows, member = _merged(joined([part.rows for part in found]))
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
        if gap_below(profit_of(rows, choice), dual.bound) > min(gap, coupon_repair.CLOSE) and not watch.stop():
            choice = fill(rows, choice, dual.multipliers, reserve=RESERVE)
        return choice, watch.stop()
    base, _, _, _ = coupon_repair.base_of(rows, dual)
    choice = coupon_repair.trimmed(rows, base[rows.member].astype(np.int64))
    if not keeps_rules(rows, choice):
        raise InfeasibleError(Reason(NONE_FOUND, {"more": math.ceil(rows.rules.floor)}))
    return choice, watch.stop()


def _slices(kinds: _Kinds, choice: Ints) -> tuple[Choice, ...]:
    ends = np.cumsum(kinds.by_partition)
    return tuple(part.astype(np.uint16) for part in np.split(choice, ends[:-1]))
