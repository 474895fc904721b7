"""Coupon allocation from a table of any size: memory does not grow with the number of customers.

The long table is read once, row group by row group, and dealt into buckets by a hash of the customer, so that all rows
of a customer meet whatever the table's order is. Each bucket becomes a chunk: dense matrices on disk, which the search
maps into memory one at a time (`optimizers.coupons.partitions`). Everything lies in a work folder, which is removed at
the end, also when something fails; the result itself appears whole or not at all.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DataError, ProblemError
from engine.files import atomic_file
from optimizers.coupons.check_partitions import Limits, Prices, Tally, check_partitions, tally
from optimizers.coupons.partitions import Chunks, PartitionedPlan, allocate_partitions, offers_of
from optimizers.coupons.problem import Floats, Ints
from optimizers.coupons.sums import Partition, Rules
from optimizers.coupons.watch import Watch

COLUMNS = ("customer_id", "offer_id", "profit", "cost")
BATCH = 500_000
"""Rows read at a time."""
BUCKET_ROWS = 4_000_000
"""Rows of one bucket, about: one is in memory at a time."""
MOST_FAULTS = 20


@dataclass(frozen=True)
class Chunk:
    """Dense matrices of some customers, on disk."""

    folder: Path
    number: int

    def __call__(self) -> Partition:
        """Map the chunk into memory."""
        segment = np.asarray(self.part("segment"), dtype=np.int64)
        return Partition(self.part("profit"), self.part("cost"), segment, np.ones(len(segment), dtype=np.int32))

    def part(self, name: str) -> np.ndarray:
        """One of profit and cost (T, O) float32, segment (T,) uint16."""
        mapped: np.ndarray = np.load(self.folder / f"{self.number:05d}.{name}.npy", mmap_mode="r")
        return mapped

    def save(self, profit: np.ndarray, cost: np.ndarray, segment: np.ndarray) -> None:
        """Write the matrices; -inf in profit marks what cannot be sent."""
        for name, values in (("profit", profit), ("cost", cost), ("segment", segment.astype(np.uint16))):
            np.save(self.folder / f"{self.number:05d}.{name}.npy", values)

    def customers(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        """(T,) identifiers, an Arrow array."""
        from pyarrow import feather

        return feather.read_table(self.folder / f"{self.number:05d}.customers").column(0).combine_chunks()


@dataclass(frozen=True)
class Staged:
    """The whole table as chunks."""

    chunks: tuple[Chunk, ...]
    offers: tuple[str, ...]
    """(O,) identifiers; the first is "", no coupon."""
    segments: tuple[str, ...]
    """(S,) names; ("",) where the table has no segments."""
    customers: int


def allocate_large_file(
    path: Path,
    *,
    budget: float | None,
    segment_budgets: Mapping[str, float] | None = None,
    min_sent: int | None = None,
    out: Path | None = None,
    gap: float = 1e-4,
    work: Path | None = None,
    seconds: float = math.inf,
) -> dict[str, Any]:
    """Allocate the offers of a Parquet table in long form, of any size.

    Args and result as `optimizers.coupons.allocate_file.allocate_file`; customers are written chunk by chunk. `work` is
    the folder under which the chunks lie meanwhile (None: that of the result), about 9 bytes a row of the table.
    `seconds` limits the search, not the reading.

    Raises:
        DataError: the table cannot be used: file, column and row of every fault (up to 20).
        InfeasibleError, ProblemError, StorageError: as there.
    """
    began = time.perf_counter()
    with _work_folder(work or (out or path).parent) as folder:
        staged = stage(path, folder)
        rules = _rules(staged, budget, segment_budgets or {}, min_sent)
        plan = allocate_partitions(Chunks(staged.chunks), rules, gap=gap, watch=Watch(seconds))
        if out is None:
            tallies = [_decided(number, chunk, plan)[1] for number, chunk in enumerate(staged.chunks)]
            _check(tallies, rules, plan)
        else:
            with atomic_file(out) as temporary:
                _check(list(_write(temporary, out.suffix, staged, plan)), rules, plan)
    return _summary(staged, plan, budget, out, time.perf_counter() - began)


def stage(path: Path, folder: Path) -> Staged:
    """Turn the long table into chunks in `folder`.

    Raises:
        DataError: missing file or column, empty identifier, number that is none, negative cost, duplicate key,
            customer in two segments; each with its row.
    """
    dealt = _deal(path, folder)
    chunks, customers, faults = [], 0, list(dealt.faults)
    offers, segments = ("", *dealt.offers), tuple(dealt.segments) or ("",)
    for number, bucket in enumerate(sorted(folder.glob("bucket-*.parquet"))):
        chunk = Chunk(folder, number)
        found, many = _condense(bucket, chunk, len(offers))
        bucket.unlink()
        faults += found
        chunks.append(chunk)
        customers += many
    if faults:
        more = f"\n  … and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise DataError(f"{path}: " + "\n  ".join(faults[:MOST_FAULTS]) + more)
    return Staged(tuple(chunks), offers, segments, customers)


# --- from the long table to buckets


@dataclass
class _Names:
    """Numbers for names, in the order of their first appearance."""

    number: dict[str, int] = field(default_factory=dict)

    def codes(self, column: Any) -> Ints:  # noqa: ANN401
        """(n,) number of each value."""
        import pyarrow as pa
        import pyarrow.compute as pc

        coded = pc.dictionary_encode(pc.fill_null(pc.cast(column, pa.string()), "")).combine_chunks()
        table = [self.number.setdefault(value, len(self.number)) for value in coded.dictionary.to_pylist()]
        codes: Ints = np.array(table, dtype=np.int64)[coded.indices.to_numpy(zero_copy_only=False)]
        return codes


class _Buckets:
    """Files into which rows are dealt by a hash of the customer; small writes are gathered."""

    GATHERED = 50_000

    def __init__(self, folder: Path, many: int) -> None:
        self._folder, self._many = folder, many
        self._waiting: list[list[Any]] = [[] for _ in range(many)]
        self._rows = [0] * many
        self._writers: dict[int, Any] = {}

    def take(self, table: Any) -> None:  # noqa: ANN401
        """Deal the rows of an Arrow table with a column customer_id."""
        from pandas.util import hash_array

        coded = table.column("customer_id").combine_chunks().dictionary_encode()
        names = np.asarray(coded.dictionary.to_numpy(zero_copy_only=False), dtype=object)
        hashed = hash_array(names, categorize=False) % np.uint64(self._many)
        bucket = hashed[coded.indices.to_numpy(zero_copy_only=False)].astype(np.uint16)
        order = np.argsort(bucket, kind="stable")
        ends = np.searchsorted(bucket[order], np.arange(self._many + 1))
        sorted_table = table.take(order)
        for b in range(self._many):
            if ends[b + 1] > ends[b]:
                self._waiting[b].append(sorted_table.slice(ends[b], ends[b + 1] - ends[b]))
                self._rows[b] += int(ends[b + 1] - ends[b])
                if self._rows[b] >= self.GATHERED:
                    self._flush(b)

    def close(self) -> None:
        """Write what is waiting, and close the files."""
        for b in range(self._many):
            self._flush(b)
        for writer in self._writers.values():
            writer.close()

    def _flush(self, b: int) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        if not self._waiting[b]:
            return
        table = pa.concat_tables(self._waiting[b])
        if b not in self._writers:
            self._writers[b] = parquet.ParquetWriter(
                self._folder / f"bucket-{b:05d}.parquet", table.schema, compression="lz4"
            )
        self._writers[b].write_table(table)
        self._waiting[b], self._rows[b] = [], 0


@dataclass(frozen=True)
class _Dealt:
    offers: tuple[str, ...]
    segments: tuple[str, ...]
    faults: tuple[str, ...]


def _deal(path: Path, folder: Path) -> _Dealt:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]}); give Parquet") from error
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; a table of values has {', '.join(COLUMNS)}")
    if not file.metadata.num_rows:
        raise DataError(f"{path}: the table has no rows; give one for each customer and offer")
    buckets = _Buckets(folder, math.ceil(file.metadata.num_rows / BUCKET_ROWS))
    offers, segments, faults, first = _Names(), _Names(), [], 0
    segmented = "segment" in file.schema_arrow.names
    try:
        for batch in file.iter_batches(BATCH, columns=[*COLUMNS, *(["segment"] if segmented else [])]):
            table = pa.Table.from_batches([batch])
            faults += _take(table, first, offers, segments if segmented else None, buckets)
            first += table.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: row {first + 1} and after cannot be read ({str(error).splitlines()[0]})") from error
    finally:
        buckets.close()
    return _Dealt(tuple(offers.number), tuple(segments.number), tuple(faults))


def _take(table: Any, first: int, offers: _Names, segments: _Names | None, buckets: _Buckets) -> list[str]:  # noqa: ANN401
    """Check a batch and deal its sound rows; the faults of the others, with their rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    customer = pc.fill_null(pc.cast(table.column("customer_id"), pa.string()), "")
    profit, cost = _numbers(table, "profit", first), _numbers(table, "cost", first)
    nobody = pc.equal(customer, "").to_numpy()
    offer = offers.codes(table.column("offer_id"))
    nothing = offer == offers.number.get("", -1)
    faults = [
        *_faults("customer_id", None, nobody, first, "empty; give an identifier"),
        *_faults("offer_id", None, nothing, first, "empty; give an identifier"),
        *_faults("profit", profit, ~np.isfinite(profit), first, "is not a finite number; give money"),
        *_faults("cost", cost, ~np.isfinite(cost), first, "is not a finite number; give money"),
        *_faults("cost", cost, cost < 0, first, "is negative; a coupon never costs less than 0"),
    ]
    buckets.take(
        pa.table(
            {
                "customer_id": customer,
                "offer": offer,
                "profit": profit,
                "cost": cost,
                "segment": segments.codes(table.column("segment")) if segments else np.zeros(len(offer), np.int64),
                "row": np.arange(first + 1, first + 1 + len(offer)),
            }
        )
    )
    return faults


def _numbers(table: Any, name: str, first: int) -> Floats:  # noqa: ANN401
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = pc.cast(table.column(name), pa.float64())
    except pa.ArrowException as error:
        why = str(error).splitlines()[0]
        raise DataError(f"column {name}, row {first + 1} and after: no numbers ({why}); give money") from error
    return np.array(pc.fill_null(values, math.nan).to_numpy(), dtype=np.float64)


def _faults(name: str, values: Floats | None, wrong: np.ndarray, first: int, what: str) -> list[str]:
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return []
    shown = "" if values is None else f"{float(values[rows[0]])!r} "
    return [f"column {name}, row {first + rows[0] + 1}: {shown}{what} ({len(rows):,} rows)"]


# --- from a bucket to a chunk


def _condense(bucket: Path, chunk: Chunk, offers: int) -> tuple[list[str], int]:
    """Write a bucket as dense matrices; faults that only show when a customer's rows meet, and the customers."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    table = parquet.read_table(bucket)
    coded = table.column("customer_id").combine_chunks().dictionary_encode()
    customer = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    offer, row = table.column("offer").to_numpy() + 1, table.column("row").to_numpy()
    many = len(coded.dictionary)
    code = table.column("segment").to_numpy()
    segment = np.zeros(many, dtype=np.int64)
    segment[customer[::-1]] = code[::-1]
    faults = [*_twice(customer * offers + offer, row), *_elsewhere(segment[customer] != code, row)]
    profit = np.full((many, offers), -np.inf, dtype=np.float32)
    cost = np.zeros((many, offers), dtype=np.float32)
    profit[:, 0] = 0.0
    profit[customer, offer] = table.column("profit").to_numpy()
    cost[customer, offer] = table.column("cost").to_numpy()
    chunk.save(profit, cost, segment)
    names = pa.table({"customer_id": coded.dictionary})
    feather.write_feather(names, chunk.folder / f"{chunk.number:05d}.customers", compression="lz4")
    return faults, many


def _twice(key: Ints, row: Ints) -> list[str]:
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(np.diff(key[order]) == 0)
    if not len(twice):
        return []
    place = int(row[order[twice + 1]].min())
    return [
        f"columns customer_id, offer_id, row {place}: the pair stood before ({len(twice):,} rows); keep one of each"
    ]


def _elsewhere(differ: np.ndarray, row: Ints) -> list[str]:
    rows = row[differ]
    if not len(rows):
        return []
    return [
        f"column segment, row {rows.min()}: the customer stood in another segment before ({len(rows):,} rows); a "
        "customer belongs to one"
    ]


# --- rules, result


def _rules(staged: Staged, budget: float | None, by_segment: Mapping[str, float], min_sent: int | None) -> Rules:
    unknown = [name for name in by_segment if name not in staged.segments]
    if by_segment and staged.segments == ("",):
        raise ProblemError("segment budgets are given, but the table has no column segment; add it or leave them out")
    if unknown:
        known = ", ".join(sorted(staged.segments)[:20])
        raise ProblemError(f"segment '{unknown[0]}' is not in the table; it has: {known}")
    bad = [amount for amount in (budget, *by_segment.values()) if amount is not None and not 0 <= amount < math.inf]
    if bad:
        raise ProblemError(f"budget = {bad[0]!r} is refused; give an amount of money of at least 0")
    return Rules(
        budget=math.inf if budget is None else float(budget),
        segment_budget=np.array([by_segment.get(name, math.inf) for name in staged.segments]),
        floor=float(min_sent or 0),
        ceiling=math.inf,
        cap=np.full(len(staged.offers), math.inf),
    )


def _decided(number: int, chunk: Chunk, plan: PartitionedPlan) -> tuple[np.ndarray, Tally]:
    partition = chunk()
    choice = offers_of(number, partition, plan.placement)
    return choice, tally(partition.profit, partition.cost, partition.segment, choice, _prices(plan))


def _write(path: Path, ending: str, staged: Staged, plan: PartitionedPlan) -> Iterator[Tally]:
    """Write the coupons sent, one row each, chunk by chunk; yields what each chunk's re-check found."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    schema = pa.schema(
        [("customer_id", pa.string()), ("offer_id", pa.string()), ("profit", pa.float64()), ("cost", pa.float64())]
    )
    make = csv.CSVWriter if ending.lower() == ".csv" else parquet.ParquetWriter
    offers = pa.array(staged.offers, pa.string())
    with make(path, schema) as writer:
        for number, chunk in enumerate(staged.chunks):
            choice, found = _decided(number, chunk, plan)
            sent = np.flatnonzero(choice)
            picked = choice[sent].astype(np.int64)
            money = [chunk.part(name)[sent, picked].astype(np.float64) for name in ("profit", "cost")]
            names = chunk.customers().take(pa.array(sent))
            writer.write_table(pa.table([names, offers.take(pa.array(picked)), *money], schema=schema))
            yield found


def _prices(plan: PartitionedPlan) -> Prices:
    m = plan.multipliers
    return Prices(m.total, m.segment, m.floor, m.ceiling, m.offer)


def _check(tallies: list[Tally], rules: Rules, plan: PartitionedPlan) -> None:
    limits = Limits(rules.budget, rules.segment_budget, rules.floor, rules.ceiling, rules.cap)
    check_partitions(tallies, limits, _prices(plan), objective=plan.objective, bound=plan.bound)


def _summary(
    staged: Staged, plan: PartitionedPlan, budget: float | None, out: Path | None, seconds: float
) -> dict[str, Any]:
    named = staged.segments != ("",)
    prices = plan.multipliers.segment.tolist()
    return {
        "customers": staged.customers,
        "offers": len(staged.offers) - 1,
        "sent": plan.sent,
        "objective": plan.objective,
        "bound": plan.bound,
        "gap": plan.gap,
        "budget": budget,
        "spend": plan.spend,
        "shadow_price": plan.multipliers.total,
        "segment_shadow_price": dict(zip(staged.segments, prices, strict=True)) if named else {},
        "status": plan.status,
        "method": "dual",
        "seconds": seconds,
        "out": None if out is None else str(out),
    }


@contextmanager
def _work_folder(under: Path) -> Iterator[Path]:
    """A folder for the chunks: removed at the end, whatever happens."""
    under.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".allocate-", dir=under))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
