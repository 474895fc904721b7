"""The table of coupon values in long form (contract: coupon_values), read into matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from optimizers.coupons import long_table
from optimizers.coupons.long_table import REQUIRED, Asked
from optimizers.coupons.problem import Bools, Floats, Ints


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
    held: Bools | None = None
    """(N, O) what the customer holds from earlier."""
    protected: npt.NDArray[np.object_] | None = None
    """(N,) group of each customer, for the parity report alone."""


def read_values(path: Path, asked: Asked | None = None) -> Values:
    """Read the long table into matrices.

    Args:
        path: the table.
        asked: columns that are read beside the required ones; None: no others.

    Raises:
        DataError: missing file or column, unreadable file, empty identifier, number that is none, negative cost,
            duplicate key, customer in two segments.
    """
    asked = asked or Asked()
    with long_table.named(path):
        return _values(path, _read_table(path, asked.columns), asked)


def _values(path: Path, table: Any, asked: Asked) -> Values:  # noqa: ANN401 - pyarrow has no types
    long_table.check_columns(path, table.column_names, table.num_rows, asked)
    customer, customer_ids = _codes(table, "customer_id")
    offer, offer_ids = _codes(table, "offer_id")
    profit, cost = long_table.numbers(table, "profit"), long_table.numbers(table, "cost")
    faults = [
        *long_table.empty("customer_id", customer < 0),
        *long_table.empty("offer_id", offer < 0),
        *long_table.money_faults(profit, cost),
    ]
    if (customer < 0).any() or (offer < 0).any():  # whose rows these are cannot be said
        long_table.refuse(path, faults)
    faults += [
        *long_table.twice(customer * len(offer_ids) + offer, np.arange(1, len(customer) + 1)),
    ]
    segment, names, found = _by_customer(table, "segment", customer, len(customer_ids))
    faults += found
    contacts, found = long_table.read_contacts(table) if asked.contacts else (None, [])
    faults += found
    held, found = long_table.read_held(table) if asked.held else (None, [])
    faults += found
    group, group_names, found = _by_customer(table, asked.protected, customer, len(customer_ids))
    long_table.refuse(path, faults + found)
    dense = _dense(customer, offer, customer_ids, offer_ids, profit, cost, segment, names)
    return replace(
        dense,
        contacts=None if contacts is None else _most(contacts, customer, len(customer_ids)),
        held=None if held is None else _marked(customer[held], offer[held] + 1, dense.profit.shape),
        protected=None if group is None else np.array(group_names, dtype=object)[group],
    )


def _read_table(path: Path, extra: Sequence[str]) -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa
    from pyarrow import csv, parquet

    if not path.is_file():
        raise DataError(f"{path}: no such file; give a Parquet or CSV table of values")
    try:
        if path.name.lower().endswith((".csv", ".csv.gz")):
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
    by_customer[customer[::-1]] = codes[::-1]
    faults = long_table.elsewhere(name, np.flatnonzero(by_customer[customer] != codes) + 1)
    if (by_customer < 0).any():  # customers without one share one that has no name
        by_customer = np.where(by_customer < 0, len(names), by_customer)
        names = np.append(names, "")
    return by_customer, tuple(str(found) for found in names), faults


def _most(contacts: Ints, customer: Ints, n: int) -> Ints:
    """Contacts of each customer, the most of his rows."""
    most = np.zeros(n, dtype=np.int64)
    np.maximum.at(most, customer, contacts)
    return most


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
        offered = _marked(customer, offer + 1, shape)
        offered[:, 0] = True
    ids = np.array(["", *offer_ids], dtype=object)
    return Values(customer_ids, ids, dense_profit, dense_cost, offered, segment, names)


def _marked(customer: Ints, offer: Ints, shape: tuple[int, ...]) -> Bools:
    marked = np.zeros(shape, dtype=np.bool_)
    marked[customer, offer] = True
    return marked
