"""The table of coupon values in long form (contract: coupon_values), read into matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from optimizers.coupons.problem import Floats, Ints

REQUIRED = ("customer_id", "offer_id", "profit", "cost")


@dataclass(frozen=True)
class Values:
    """The table in dense form: N customers, O offers of which offer 0 is none."""

    customer_ids: npt.NDArray[np.object_]
    offer_ids: npt.NDArray[np.object_]
    profit: npt.NDArray[np.float32]
    cost: npt.NDArray[np.float32]
    offered: npt.NDArray[np.bool_] | None
    segment: Ints | None
    segment_names: tuple[str, ...]
    contacts: Ints | None = None
    """(N,) contacts of this period so far."""
    protected: npt.NDArray[np.object_] | None = None
    """(N,) group of each customer, for the parity report alone."""


def read_values(path: Path, *, contacts: bool = False, protected: str | None = None) -> Values:
    """Read the long table into matrices.

    Args:
        path: the table.
        contacts: whether the column of that name is read too.
        protected: a further column to be read by customer.

    Raises:
        DataError: missing file or column, unreadable file, empty identifier, number that is none, negative cost,
            duplicate key, customer in two segments.
    """
    extra = [*(["contacts"] if contacts else []), *([protected] if protected else [])]
    table = _read_table(path, extra)
    missing = [name for name in (*REQUIRED, *extra) if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; a table of values has {', '.join(REQUIRED)}")
    if not table.num_rows:
        raise DataError(f"{path}: the table has no rows; give one for each customer and offer")
    customer, customer_ids = _codes(table, "customer_id")
    offer, offer_ids = _codes(table, "offer_id")
    profit, cost = _numbers(table, "profit"), _numbers(table, "cost")
    faults = [
        *_empty_keys("customer_id", customer),
        *_empty_keys("offer_id", offer),
        *_bad("profit", profit, ~np.isfinite(profit), "is not a finite number; give money"),
        *_bad("cost", cost, ~np.isfinite(cost), "is not a finite number; give money"),
        *_bad("cost", cost, cost < 0, "is negative; a coupon never costs less than 0"),
        *_duplicates(customer, offer, len(offer_ids)),
    ]
    segment, names, found = _by_customer(table, "segment", customer, len(customer_ids))
    faults += found
    counted, found = _contacts(table, customer, len(customer_ids)) if contacts else (None, [])
    faults += found
    group, group_names, found = _by_customer(table, protected, customer, len(customer_ids))
    faults += found
    if faults:
        raise DataError(f"{path}: " + "\n  ".join(faults))
    dense = _dense(customer, offer, customer_ids, offer_ids, profit, cost, segment, names)
    named = None if group is None else np.array(group_names, dtype=object)[group]
    return replace(dense, contacts=counted, protected=named)


def _read_table(path: Path, extra: Sequence[str]) -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa
    from pyarrow import csv, parquet

    if not path.is_file():
        raise DataError(f"{path}: no such file; give a Parquet or CSV table of values")
    try:
        if path.suffix.lower() == ".csv":
            as_text = csv.ConvertOptions(
                column_types={name: pa.string() for name in ("customer_id", "offer_id", "segment")}
            )
            return csv.read_csv(path, convert_options=as_text)
        wanted = [*REQUIRED, "segment", *extra]
        names = parquet.read_schema(path).names
        return parquet.read_table(path, columns=[name for name in wanted if name in names])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]}); give Parquet or CSV") from error


def _codes(table: Any, name: str) -> tuple[Ints, npt.NDArray[np.object_]]:  # noqa: ANN401
    """Number of each row's identifier (-1: missing or empty), and the identifiers in order of first appearance."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.cast(table.column(name), pa.string())
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    coded = column.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, np.array(coded.dictionary.to_pylist(), dtype=object)


def _numbers(table: Any, name: str) -> Floats:  # noqa: ANN401
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = pc.cast(table.column(name), pa.float64())
    except pa.ArrowException as error:
        raise DataError(f"column {name} holds no numbers ({str(error).splitlines()[0]}); give money") from error
    return np.asarray(pc.fill_null(values, math.nan).to_numpy(), dtype=np.float64)


def _empty_keys(name: str, codes: Ints) -> list[str]:
    empty = np.flatnonzero(codes < 0)
    if not len(empty):
        return []
    return [f"column {name}, row {empty[0] + 1}: empty ({len(empty):,} rows); give an identifier"]


def _bad(name: str, values: Floats, wrong: npt.NDArray[np.bool_], what: str) -> list[str]:
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return []
    return [f"column {name}, row {rows[0] + 1}: {float(values[rows[0]])!r} {what} ({len(rows):,} rows)"]


def _duplicates(customer: Ints, offer: Ints, n_offers: int) -> list[str]:
    key = customer * n_offers + offer
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(np.diff(key[order]) == 0)
    if not len(twice):
        return []
    row = int(order[twice + 1].min())
    return [
        f"columns customer_id, offer_id, row {row + 1}: the pair stood before ({len(twice):,} rows); keep one of each"
    ]


def _by_customer(
    table: Any,  # noqa: ANN401
    name: str | None,
    customer: Ints,
    n: int,
) -> tuple[Ints | None, tuple[str, ...], list[str]]:
    """Number of each customer's value in a column of names, the names, and faults; None without the column."""
    if name is None or name not in table.column_names:
        return None, (), []
    codes, names = _codes(table, name)
    by_customer = np.full(n, -1, dtype=np.int64)
    known = customer >= 0
    by_customer[customer[known][::-1]] = codes[known][::-1]
    differ = np.flatnonzero(known & (by_customer[customer] != codes))
    faults = []
    if len(differ):
        faults.append(
            f"column {name}, row {differ[0] + 1}: the customer stood in another {name} before "
            f"({len(differ):,} rows); a customer belongs to one"
        )
    if (by_customer < 0).any():  # customers without one share one that has no name
        by_customer = np.where(by_customer < 0, len(names), by_customer)
        names = np.append(names, "")
    return by_customer, tuple(str(found) for found in names), faults


def _contacts(table: Any, customer: Ints, n: int) -> tuple[Ints, list[str]]:  # noqa: ANN401
    """Contacts of each customer, the most of his rows."""
    given = _numbers(table, "contacts")
    wrong = ~(given >= 0) | (given != np.floor(given))
    faults = _bad("contacts", given, wrong, "is no count; give a whole number of at least 0")
    most = np.zeros(n, dtype=np.int64)
    if not faults:
        known = customer >= 0
        np.maximum.at(most, customer[known], np.minimum(given[known], 2**31).astype(np.int64))
    return most, faults


def _dense(
    customer: Ints,
    offer: Ints,
    customer_ids: npt.NDArray[np.object_],
    offer_ids: npt.NDArray[np.object_],
    profit: Floats,
    cost: Floats,
    segment: Ints | None,
    names: tuple[str, ...],
) -> Values:
    shape = (len(customer_ids), len(offer_ids) + 1)
    dense_profit, dense_cost = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    dense_profit[customer, offer + 1] = profit
    dense_cost[customer, offer + 1] = cost
    offered = None
    if len(customer) < shape[0] * (shape[1] - 1):
        offered = np.zeros(shape, dtype=np.bool_)
        offered[:, 0] = True
        offered[customer, offer + 1] = True
    ids = np.array(["", *offer_ids], dtype=object)
    return Values(customer_ids, ids, dense_profit, dense_cost, offered, segment, names)
