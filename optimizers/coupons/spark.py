"""Coupon allocation on Apache Spark (extra `spark`): partitions answer, the driver moves the prices.

The same search as over chunks (`optimizers.coupons.partitions`), asked of a Spark RDD: each question is one broadcast
of a few numbers, each partition's answer is one small record, and the answers are put in the order of the partitions
before they are added, so that executors which finish first, or tasks that run again after a lost worker, change no
digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from engine.errors import DataError
from optimizers.coupons.by_name import Limits
from optimizers.coupons.long_table import REQUIRED, read_contacts, read_held
from optimizers.coupons.parity import ParityReport, PartParity, part_parity, report_of_parts
from optimizers.coupons.partitioned_plan import PartitionedPlan, decided
from optimizers.coupons.problem import close
from optimizers.coupons.questions import Work
from optimizers.coupons.sums import Box, Partition, Screened, Sums, no_sums, screen

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import RDD
    from pyspark.sql import DataFrame

T = TypeVar("T")

DENSE = "number int, customers binary, profit binary, cost binary, segment binary, groups binary, fault string"


@dataclass(frozen=True)
class SparkPartitions:
    """Customers in a Spark RDD of (number, partition) pairs, one for each Spark partition."""

    rdd: RDD[Any]

    def map(self, work: Work[T], argument: Any) -> list[T]:  # noqa: ANN401
        """One broadcast, one small answer from each partition."""
        sent = self.rdd.context.broadcast(argument)
        try:
            answers = self.rdd.map(lambda item: (item[0], work(item[0], item[1], sent.value))).collect()
        finally:
            sent.unpersist()
        return [answer for _, answer in sorted(answers, key=lambda pair: int(pair[0]))]

    def narrowed(self, box: Box) -> tuple[SparkPartitions, Sums]:
        """The open customers stay on the executors; the sums of the others come back."""
        from pyspark import StorageLevel

        sent = self.rdd.context.broadcast(box)
        kept = self.rdd.map(lambda item: _keep(item[0], item[1], sent.value)).persist(StorageLevel.MEMORY_AND_DISK)
        parts = sorted(kept.map(lambda item: (item[0], item[2])).collect(), key=lambda pair: int(pair[0]))
        total = no_sums(len(box.money), len(box.toll))
        for _, settled in parts:
            total = total + settled
        return SparkPartitions(kept.map(lambda item: (item[0], item[1]))), total

    def changed(self, work: Work[Partition], argument: Any) -> SparkPartitions:  # noqa: ANN401
        """The customers that `work` makes of each partition, where they are."""
        sent = self.rdd.context.broadcast(argument)
        return SparkPartitions(self.rdd.map(lambda item: (item[0], work(item[0], item[1], sent.value))))


def _keep(number: int, partition: Partition, box: Box) -> tuple[int, Partition, Sums]:
    found: Screened = screen(partition, box)
    return number, partition.take(np.flatnonzero(found.open)), found.settled


@dataclass(frozen=True)
class _Form:
    """What the matrices of a partition are made of."""

    offers: tuple[str, ...]
    segments: tuple[str, ...]
    contact_limit: int | None
    exclusive: tuple[tuple[int, ...], ...]
    protected: str | None

    @property
    def columns(self) -> list[str]:
        """That the long table has to have."""
        asked = ((self.segments, "segment"), (self.contact_limit is not None, "contacts"), (self.exclusive, "held"))
        named = [] if self.protected is None else [self.protected]
        return [*REQUIRED, *(name for wanted, name in asked if wanted), *named]


def dense_table(
    values: DataFrame, offers: Sequence[str], segments: Sequence[str], partitions: int, limits: Limits | None = None
) -> DataFrame:
    """Deal a long table of values over partitions, each as dense matrices in one row.

    Args:
        values: columns customer_id, offer_id, profit, cost, and segment where there are segments; contacts and held
            where `limits` need them.
        offers: identifiers without the empty one; offer o of the plan is `offers[o - 1]`.
        segments: names; empty: one segment.
        partitions: into how many parts the customers are divided; the plan depends on it within the gap.
        limits: of which those of single customers (contacts, exclusions) are applied here, and the column `parity` is
            kept for `parity_of`; budgets, numbers sent and caps belong to the rules of `allocate_partitions`.

    Raises:
        DataError: a value that cannot be used, with its customer and offer; an offer or segment not listed; a column
            that a limit needs and the table has not.
        ProblemError: a limit names an offer that is not listed.
    """
    limits = limits or Limits()
    exclusive = limits.groups(("", *offers))
    form = _Form(tuple(offers), tuple(segments), limits.contact_limit, exclusive, limits.parity)
    missing = [name for name in form.columns if name not in values.columns]
    if missing:
        raise DataError(f"the table of values has no column {', '.join(missing)}; it has {', '.join(values.columns)}")
    chosen = values.select(*form.columns)
    dealt = chosen.repartition(partitions, "customer_id").sortWithinPartitions("customer_id", "offer_id")
    dense = dealt.mapInArrow(partial(_densify, form=form), DENSE).persist()
    faults = [row.fault for row in dense.filter("fault is not null").select("fault").collect()]
    if faults:
        raise DataError("the table of values cannot be used: " + "\n  ".join(sorted(faults)[:20]))
    return dense


def spark_partitions(dense: DataFrame, offers: int) -> SparkPartitions:
    """The customers of a dense table, ready for `allocate_partitions`.

    Args:
        dense: of `dense_table`.
        offers: O, "no coupon" included.
    """
    return SparkPartitions(dense.rdd.map(partial(_unpacked, offers=offers)))


def chosen_coupons(dense: DataFrame, offers: Sequence[str], plan: PartitionedPlan) -> DataFrame:
    """The coupons of a plan as a Spark table customer_id, offer_id, profit, cost; nothing passes the driver.

    With exploration also explored and propensity, and a line with an empty offer_id for each explored customer who was
    drawn no coupon.
    """
    sent = dense.sparkSession.sparkContext.broadcast((("", *offers), plan))
    schema = "customer_id string, offer_id string, profit double, cost double"
    logged = "" if plan.slice is None else ", explored boolean, propensity double"
    return dense.mapInArrow(partial(_chosen, sent=sent), schema + logged)


def parity_of(
    dense: DataFrame, offers: Sequence[str], plan: PartitionedPlan, attribute: str, *, segment_budgets: bool
) -> ParityReport:
    """How a plan treats the groups of a protected attribute: each partition answers with sums by group.

    Args:
        dense: of `dense_table`, with `attribute` as the limits' `parity`.
        offers: identifiers without the empty one.
        plan: the plan.
        attribute: its name.
        segment_budgets: whether budgets are set by segment.

    Raises:
        DataError: the table was dealt without a protected attribute.
        ProblemError: more groups than can be compared, or budgets that follow the attribute.
    """
    if dense.filter("groups is null").limit(1).count():
        raise DataError(
            f"the table was dealt without {attribute}; give it to dense_table as Limits(parity={attribute!r})"
        )
    sent = dense.sparkSession.sparkContext.broadcast((len(offers) + 1, plan))
    answers = dense.rdd.map(lambda row: (row["number"], _parity(row, sent.value))).collect()
    parts = [part for _, part in sorted(answers, key=lambda pair: int(pair[0]))]
    return report_of_parts(attribute, parts, segment_budgets=segment_budgets)


def _parity(row: Any, question: tuple[int, PartitionedPlan]) -> PartParity:  # noqa: ANN401 - a Spark row
    width, plan = question
    number, partition = _unpacked(row, width)
    coded = _read_names(row["groups"]).dictionary_encode()
    return part_parity(
        tuple(coded.dictionary.to_pylist()),
        coded.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        partition,
        decided(number, partition, plan).choice,
    )


def _densify(batches: Iterator[pa.RecordBatch], form: _Form) -> Iterator[pa.RecordBatch]:
    """All rows of one Spark partition, sorted by customer, as one row of matrices."""
    import pyarrow as pa
    from pyspark import TaskContext

    context = TaskContext.get()
    parts = list(batches)
    table = pa.Table.from_batches(parts) if parts else None
    customers, groups, partition, fault = _matrices(table, form)
    row = {
        "number": pa.array([context.partitionId() if context else 0], pa.int32()),
        "customers": pa.array([_packed_names(customers)], pa.binary()),
        "profit": pa.array([partition.profit.tobytes()], pa.binary()),
        "cost": pa.array([partition.cost.tobytes()], pa.binary()),
        "segment": pa.array([partition.segment.tobytes()], pa.binary()),
        "groups": pa.array([None if form.protected is None else _packed_names(groups)], pa.binary()),
        "fault": pa.array([fault], pa.string()),
    }
    yield pa.RecordBatch.from_pydict(row)


def _matrices(table: pa.Table | None, form: _Form) -> tuple[Any, Any, Partition, str | None]:
    """Names and groups of the customers, their values, and the first fault."""
    import pyarrow as pa

    width = len(form.offers) + 1
    if table is None or not table.num_rows:
        nobody = pa.array([], pa.string())
        return nobody, nobody, _partition(np.zeros((0, width)), np.zeros((0, width)), np.zeros(0)), None
    coded = table.column("customer_id").cast(pa.string()).combine_chunks().dictionary_encode()
    customer = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    offer = _numbered(table.column("offer_id"), form.offers) + 1
    money = [np.asarray(table.column(n).cast(pa.float64()).to_numpy(), dtype=np.float64) for n in ("profit", "cost")]
    place = np.zeros(len(offer), dtype=np.int64)
    if form.segments:
        place = _numbered(table.column("segment"), form.segments)
    fault = _fault(table, customer, offer, money, place, width)
    many = len(coded.dictionary)
    profit, cost = np.full((many, width), -np.inf), np.zeros((many, width))
    profit[:, 0] = 0.0
    segment = np.zeros(many)
    if fault is None:
        profit[customer, offer], cost[customer, offer] = money
        segment[customer] = place
        fault = _close(table, customer, offer, form, profit)
    groups, wrong = _groups(table, customer, many, form)
    return coded.dictionary, groups, _partition(profit, cost, segment), fault or wrong


def _groups(table: pa.Table, customer: np.ndarray, many: int, form: _Form) -> tuple[Any, str | None]:
    """(T,) protected group of each customer, the missing one empty; a customer in two of them is a fault."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if form.protected is None:
        return pa.array([], pa.string()), None
    coded = pc.fill_null(pc.cast(table.column(form.protected), pa.string()), "").combine_chunks().dictionary_encode()
    group = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    mine = np.zeros(many, dtype=np.int64)
    mine[customer[::-1]] = group[::-1]
    wrong = np.flatnonzero((mine[customer] != group) & (customer >= 0))
    if len(wrong):
        who = table.column("customer_id")[int(wrong[0])].as_py()
        return pa.array(
            [], pa.string()
        ), f"customer {who!r} is in two groups of {form.protected} ({len(wrong):,} such rows)"
    return coded.dictionary.take(pa.array(mine)), None


def _close(table: pa.Table, customer: np.ndarray, offer: np.ndarray, form: _Form, profit: np.ndarray) -> str | None:
    """Mark what contacts and exclusions rule out; the first fault of their columns."""
    faults: list[str] = []
    contacts = held = None
    if form.contact_limit is not None:
        given, faults = read_contacts(table)
        contacts = np.zeros(len(profit), dtype=np.int64)
        np.maximum.at(contacts, customer, given)
    if form.exclusive:
        mine, found = read_held(table)
        faults += found
        held = np.zeros(profit.shape, dtype=np.bool_)
        held[customer, offer] = mine
    close(profit, contacts, form.contact_limit, held, form.exclusive)
    return faults[0] if faults else None


def _partition(profit: np.ndarray, cost: np.ndarray, segment: np.ndarray) -> Partition:
    ones = np.ones(len(profit), dtype=np.int32)
    return Partition(profit.astype(np.float32), cost.astype(np.float32), segment.astype(np.int64), ones)


def _numbered(column: Any, names: tuple[str, ...]) -> np.ndarray:  # noqa: ANN401
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.index_in(column.cast(pa.string()).combine_chunks(), value_set=pa.array(names, pa.string()))
    numbers: np.ndarray = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _fault(
    table: pa.Table, customer: np.ndarray, offer: np.ndarray, money: list[np.ndarray], place: np.ndarray, width: int
) -> str | None:
    """The first fault of a partition in words; None: it can be used."""
    key = customer * width + offer
    twice = np.append(False, key[1:] == key[:-1])
    moved = np.append(False, (customer[1:] == customer[:-1]) & (place[1:] != place[:-1]))
    checks = [
        (customer < 0, "has no customer_id"),
        (offer < 1, "has an offer_id that is not listed"),
        (~np.isfinite(money[0]), "has a profit that is not a finite number"),
        (~np.isfinite(money[1]), "has a cost that is not a finite number"),
        (money[1] < 0, "has a negative cost"),
        (place < 0, "has a segment that is not listed"),
        (twice, "stands twice for this customer and offer"),
        (moved, "puts the customer into a second segment"),
    ]
    for wrong, words in checks:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            who, what = (table.column(name)[row].as_py() for name in ("customer_id", "offer_id"))
            return f"the row of customer {who!r}, offer {what!r} {words} ({int(wrong.sum()):,} such rows)"
    return None


def _packed_names(names: Any) -> bytes:  # noqa: ANN401
    import pyarrow as pa

    batch = pa.record_batch([names], names=["customer_id"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _read_names(packed: bytes) -> Any:  # noqa: ANN401
    import pyarrow as pa

    return pa.ipc.open_stream(packed).read_all().column(0).combine_chunks()


def _unpacked(row: Any, offers: int) -> tuple[int, Partition]:  # noqa: ANN401 - a Spark row
    shape = (-1, offers)
    profit, cost = (np.frombuffer(row[name], np.float32).reshape(shape) for name in ("profit", "cost"))
    segment = np.frombuffer(row["segment"], np.int64)
    return int(row["number"]), Partition(profit, cost, segment, np.ones(len(segment), dtype=np.int32))


def _chosen(batches: Iterator[pa.RecordBatch], sent: Any) -> Iterator[pa.RecordBatch]:  # noqa: ANN401 - a broadcast
    import pyarrow as pa

    offers: tuple[str, ...]
    plan: PartitionedPlan
    offers, plan = sent.value
    for batch in batches:
        for row in batch.to_pylist():
            number, partition = _unpacked(row, len(offers))
            found = decided(number, partition, plan)
            listed = found.listed
            names = _read_names(row["customers"])
            picked = found.choice[listed]
            columns = {
                "customer_id": names.take(pa.array(listed)),
                "offer_id": pa.array(offers, pa.string()).take(pa.array(picked)),
                "profit": pa.array(partition.profit[listed, picked].astype(np.float64)),
                "cost": pa.array(partition.cost[listed, picked].astype(np.float64)),
            }
            if found.explored is not None:
                columns["explored"] = pa.array(found.explored.explored[listed])
                columns["propensity"] = pa.array(found.explored.propensity[listed])
            yield pa.RecordBatch.from_pydict(columns)
