"""The checks of a table of values in long form (contract: coupon_values), taken whole or batch by batch.

Both roads read the same table and have to refuse it in the same words: `optimizers.coupons.table` holds it in memory,
`optimizers.coupons.staging` deals it into chunks. A fault names column, first row and remedy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DataError
from optimizers.coupons.problem import Bools, Floats, Ints

REQUIRED = ("customer_id", "offer_id", "profit", "cost")
MOST_CONTACTS = 2**31
"""More contacts than this count as so many."""
MOST_MONEY = 1e30
"""Larger amounts cannot be added up in the precision in which values are held."""
MOST_FAULTS = 20


@dataclass(frozen=True)
class Asked:
    """Columns that are read beside the required ones and `segment`."""

    contacts: bool = False
    """Contacts of each customer in this period so far."""
    held: bool = False
    """Whether the customer holds the offer from earlier."""
    protected: str | None = None
    """A protected attribute by customer, for the parity report alone."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names."""
        flags = (("contacts", self.contacts), ("held", self.held))
        named = [name for name, wanted in flags if wanted]
        return (*named, *([self.protected] if self.protected else []))


def check_columns(path: Path, names: Sequence[str], rows: int, asked: Asked) -> None:
    """Refuse a table without the columns that are needed, or without rows.

    Raises:
        DataError: naming every column that is missing.
    """
    missing = [name for name in (*REQUIRED, *asked.columns) if name not in names]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; a table of values has {', '.join(REQUIRED)}")
    if not rows:
        raise DataError(f"{path}: the table has no rows; give one for each customer and offer")


def refuse(path: Path, faults: Sequence[str]) -> None:
    """Say all faults at once, the first 20 in full.

    Raises:
        DataError: where there are any.
    """
    if faults:
        more = f"\n  … and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise DataError(f"{path}: " + "\n  ".join(faults[:MOST_FAULTS]) + more)


class ColumnError(DataError):
    """A column holds what is no number; of which table, whoever reads it says (`named`)."""


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Say of which table a column is refused.

    Raises:
        DataError: with the table's name.
    """
    try:
        yield
    except ColumnError as error:
        raise DataError(f"{path}: {error}") from error


def numbers(table: Any, name: str, first: int = 0) -> Floats:  # noqa: ANN401 - pyarrow has no types
    """A column as float64, NaN where it is empty; `first` rows of the table stand before this batch.

    Raises:
        ColumnError: the column holds what is no number.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    try:
        values = pc.cast(column, pa.float64())
    except pa.ArrowException as error:
        place = f", row {first + 1} and after," if first else ""
        why = str(error).splitlines()[0]
        raise ColumnError(f"column {name}{place} holds no numbers ({why}); give numbers") from error
    return np.array(pc.fill_null(values, math.nan).to_numpy(), dtype=np.float64)


def bad(name: str, values: Floats | None, wrong: Bools, what: str, first: int = 0) -> list[str]:
    """The fault of a column, with the first row that has it and how many have."""
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return []
    shown = "" if values is None else f"{float(values[rows[0]])!r} "
    return [f"column {name}, row {first + rows[0] + 1}: {shown}{what} ({len(rows):,} rows)"]


def empty(name: str, nothing: Bools, first: int = 0) -> list[str]:
    """Identifiers that are missing."""
    return bad(name, None, nothing, "empty; give an identifier", first)


def money_faults(profit: Floats, cost: Floats, first: int = 0) -> list[str]:
    """Profit and cost that are none."""
    return [
        *_amount_faults("profit", profit, first),
        *_amount_faults("cost", cost, first),
        *bad("cost", cost, cost < 0, "is negative; a coupon never costs less than 0", first),
    ]


def _amount_faults(name: str, values: Floats, first: int) -> list[str]:
    finite, small = np.isfinite(values), np.abs(values) <= MOST_MONEY
    return [
        *bad(name, values, ~finite, "is not a finite number; give money", first),
        *bad(name, values, finite & ~small, f"is too large; give money, at most {MOST_MONEY:g}", first),
    ]


def read_contacts(table: Any, first: int = 0) -> tuple[Ints, list[str]]:  # noqa: ANN401
    """Contacts in each row, and faults."""
    given = numbers(table, "contacts", first)
    wrong = ~(given >= 0) | (given != np.floor(given))
    faults = bad("contacts", given, wrong, "is no count; give a whole number of at least 0", first)
    return np.where(wrong, 0, np.minimum(given, MOST_CONTACTS)).astype(np.int64), faults


def read_held(table: Any, first: int = 0) -> tuple[Bools, list[str]]:  # noqa: ANN401
    """Whether each row's offer is held already, and faults; empty: it is not."""
    given = np.nan_to_num(numbers(table, "held", first), nan=0.0)
    return given == 1, bad("held", given, (given != 0) & (given != 1), "is neither 0 nor 1", first)


def twice(key: Ints, row: Ints) -> list[str]:
    """Pairs of customer and offer, numbered by `key`, that stand more than once; `row` counts from 1."""
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(np.diff(key[order]) == 0)
    if not len(again):
        return []
    place = int(row[order[again + 1]].min())
    return [
        f"columns customer_id, offer_id, row {place}: the pair stood before ({len(again):,} rows); keep one of each"
    ]


def elsewhere(name: str, row: Ints) -> list[str]:
    """Rows that put a customer into another `name` than a row before; counted from 1."""
    if not len(row):
        return []
    return [
        f"column {name}, row {int(row.min())}: the customer stood in another {name} before ({len(row):,} rows); a "
        "customer belongs to one"
    ]
