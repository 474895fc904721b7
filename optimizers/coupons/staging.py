"""From a long table of any size to chunks on disk: dense matrices of some hundred thousand customers each.

The long table is read once, row group by row group, and dealt into buckets by a hash of the customer, so that all rows
of a customer meet whatever the table's order is. Each bucket becomes a chunk: dense matrices, which the search maps
into memory one at a time. What a customer cannot be sent (no row, too many contacts, an offer that excludes it) has a
profit of -inf from there on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DataError
from optimizers.coupons import long_table
from optimizers.coupons.by_name import Limits
from optimizers.coupons.long_table import REQUIRED, Asked
from optimizers.coupons.problem import Ints, close
from optimizers.coupons.sums import Partition

BATCH = 500_000
"""Rows read at a time."""
BUCKET_ROWS = 4_000_000
"""Rows of one bucket, about: one is in memory at a time."""
MOST_NAMES = 2**16
"""Offers, segments or protected groups that a chunk can number."""


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
        """One of profit and cost (T, O) float32, segment and group (T,) uint16."""
        mapped: np.ndarray = np.load(self.folder / f"{self.number:05d}.{name}.npy", mmap_mode="r")
        return mapped

    def save(self, profit: np.ndarray, cost: np.ndarray, **by_customer: np.ndarray) -> None:
        """Write the matrices; -inf in profit marks what cannot be sent.

        Args:
            profit: (T, O).
            cost: (T, O).
            by_customer: `segment`, and what else has a number below 2**16 for each customer.
        """
        numbered = {name: values.astype(np.uint16) for name, values in by_customer.items()}
        for name, values in {"profit": profit, "cost": cost, **numbered}.items():
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
    groups: tuple[str, ...]
    """Names of the protected groups; empty: none were asked for."""
    customers: int


def stage(path: Path, folder: Path, limits: Limits | None = None) -> Staged:
    """Turn the long table into chunks in `folder`.

    Args:
        path: a Parquet table of values.
        folder: an empty one.
        limits: of which those of single customers (contacts, exclusions) are applied here.

    Raises:
        DataError: missing file or column, empty identifier, number that is none, negative cost, duplicate key,
            customer in two segments; each with its row.
        ProblemError: a group of offers names one that the table does not hold.
    """
    limits = limits or Limits()
    dealt = _deal(path, folder, limits.asked)
    chunks, customers, faults = [], 0, list(dealt.faults)
    offers, segments = ("", *dealt.offers), tuple(dealt.segments) or ("",)
    exclusive = () if faults else limits.groups(offers)
    rules = _OfCustomers(len(offers), limits.contact_limit, exclusive, limits.parity, sound=not faults)
    for number, bucket in enumerate(sorted(folder.glob("bucket-*.parquet"))):
        chunk = Chunk(folder, number)
        found, many = _condense(bucket, chunk, rules)
        bucket.unlink()
        faults += found
        chunks.append(chunk)
        customers += many
    long_table.refuse(path, faults)
    return Staged(tuple(chunks), offers, segments, dealt.groups, customers)


@dataclass(frozen=True)
class _OfCustomers:
    """Rules that each customer keeps or breaks alone."""

    offers: int
    """O."""
    contact_limit: int | None
    exclusive: tuple[tuple[int, ...], ...]
    protected: str | None
    sound: bool
    """Whether every row can be used so far."""


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

    def too_many(self, column: str) -> list[str]:
        """A fault where there are more names than numbers for them."""
        many = len(self.number)
        return (
            [f"column {column}: {many:,} different values, and fewer than {MOST_NAMES:,} can be held; group them"]
            if many >= MOST_NAMES
            else []
        )


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
    groups: tuple[str, ...]
    faults: tuple[str, ...]


def _deal(path: Path, folder: Path, asked: Asked) -> _Dealt:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]}); give Parquet") from error
    names = file.schema_arrow.names
    long_table.check_columns(path, names, file.metadata.num_rows, asked)
    dealer = _Dealer(_Buckets(folder, math.ceil(file.metadata.num_rows / BUCKET_ROWS)), asked, "segment" in names)
    columns = [*REQUIRED, *(["segment"] if "segment" in names else []), *asked.columns]
    faults, first = [], 0
    try:
        with long_table.named(path):
            for batch in file.iter_batches(BATCH, columns=columns):
                faults += dealer.take(pa.Table.from_batches([batch]), first)
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: row {first + 1} and after cannot be read ({str(error).splitlines()[0]})") from error
    finally:
        dealer.buckets.close()
    known = (dealer.offers, "offer_id"), (dealer.segments, "segment"), (dealer.groups, asked.protected or "")
    faults += [fault for found, column in known for fault in found.too_many(column)]
    offers, segments, groups = (tuple(found.number) for found, _ in known)
    return _Dealt(offers, segments, groups, tuple(faults))


class _Dealer:
    """Checks batches and deals their rows."""

    def __init__(self, buckets: _Buckets, asked: Asked, segmented: bool) -> None:
        self.buckets, self._asked, self._segmented = buckets, asked, segmented
        self.offers, self.segments, self.groups = _Names(), _Names(), _Names()

    def take(self, table: Any, first: int) -> list[str]:  # noqa: ANN401
        """Deal a batch before which `first` rows of the table stand; its faults."""
        import pyarrow as pa
        import pyarrow.compute as pc

        customer = pc.fill_null(pc.cast(table.column("customer_id"), pa.string()), "")
        profit, cost = long_table.numbers(table, "profit", first), long_table.numbers(table, "cost", first)
        offer = self.offers.codes(table.column("offer_id"))
        further, faults = self._further(table, first)
        nobody, nothing = pc.equal(customer, "").to_numpy(), offer == self.offers.number.get("", -1)
        faults = [
            *long_table.empty("customer_id", nobody, first),
            *long_table.empty("offer_id", nothing, first),
            *long_table.money_faults(profit, cost, first),
            *faults,
        ]
        row = np.arange(first + 1, first + 1 + len(offer))
        columns = {"customer_id": customer, "offer": offer, "profit": profit, "cost": cost, "row": row, **further}
        self.buckets.take(pa.table(columns).filter(pa.array(~(nobody | nothing))))
        return faults

    def _further(self, table: Any, first: int) -> tuple[dict[str, Any], list[str]]:  # noqa: ANN401
        """What is known of each row's customer beside the values."""
        faults: list[str] = []
        found: dict[str, Any] = {"segment": np.zeros(table.num_rows, np.int64)}
        if self._segmented:
            found["segment"] = self.segments.codes(table.column("segment"))
        if self._asked.protected:
            found["group"] = self.groups.codes(table.column(self._asked.protected))
        for name, wanted, read in (
            ("contacts", self._asked.contacts, long_table.read_contacts),
            ("held", self._asked.held, long_table.read_held),
        ):
            if wanted:
                found[name], wrong = read(table, first)
                faults += wrong
        return found, faults


# --- from a bucket to a chunk


def _condense(bucket: Path, chunk: Chunk, rules: _OfCustomers) -> tuple[list[str], int]:
    """Write a bucket as dense matrices; faults that only show when a customer's rows meet, and the customers."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    table = parquet.read_table(bucket)
    coded = table.column("customer_id").combine_chunks().dictionary_encode()
    customer = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    offer, row = table.column("offer").to_numpy() + 1, table.column("row").to_numpy()
    many = len(coded.dictionary)
    names = {"segment": "segment"} | ({"group": rules.protected} if rules.protected else {})
    by_customer = {name: _of_customer(table.column(name).to_numpy(), customer, many) for name in names}
    faults = long_table.twice(customer * rules.offers + offer, row)
    for name, said in names.items():
        faults += long_table.elsewhere(said, row[by_customer[name][customer] != table.column(name).to_numpy()])
    profit = np.full((many, rules.offers), -np.inf, dtype=np.float32)
    cost = np.zeros((many, rules.offers), dtype=np.float32)
    profit[:, 0] = 0.0
    if rules.sound and not faults:
        profit[customer, offer] = table.column("profit").to_numpy()
        cost[customer, offer] = table.column("cost").to_numpy()
        _close(table, customer, offer, rules, profit)
    chunk.save(profit, cost, **by_customer)
    feather.write_feather(
        pa.table({"customer_id": coded.dictionary}), chunk.folder / f"{chunk.number:05d}.customers", compression="lz4"
    )
    return faults, many


def _of_customer(code: Ints, customer: Ints, many: int) -> Ints:
    """The code of each customer's first row."""
    found = np.zeros(many, dtype=np.int64)
    found[customer[::-1]] = code[::-1]
    return found


def _close(
    table: Any,  # noqa: ANN401
    customer: Ints,
    offer: Ints,
    rules: _OfCustomers,
    profit: np.ndarray,
) -> None:
    """Mark what contacts and exclusions rule out."""
    contacts = held = None
    if rules.contact_limit is not None:
        contacts = np.zeros(len(profit), dtype=np.int64)
        np.maximum.at(contacts, customer, table.column("contacts").to_numpy())
    if rules.exclusive:
        held = np.zeros(profit.shape, dtype=np.bool_)
        held[customer, offer] = table.column("held").to_numpy()
    close(profit, contacts, rules.contact_limit, held, rules.exclusive)
