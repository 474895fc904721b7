"""The data contract as data: which tables a shop may hand in, their keys, their columns and what each may hold.

`docs/data.md` says it for people; a test holds the two against each other. What is done about a fault follows from
here: a value that a *required* column cannot use sets its row aside, a value that an *optional* column cannot use sets
only that value aside (the row stays, with the value missing), and both are counted and quarantined. A missing required
column, an unreadable file, or keys that contradict each other refuse the data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a column holds, and as what it lands."""

    ID = "identifier"
    """Text; whole numbers are written without a decimal point."""
    TEXT = "text"
    NUMBER = "number"
    """float64, any sign."""
    AMOUNT = "amount"
    """float64, not negative: money, prices, units, sizes."""
    SHARE = "share"
    """float64 in 0…1: a flag, or the share of the chain where it is set."""
    FLAG = "flag"
    """int8, 0 or 1."""
    WEEK = "week"
    """int64: a date (weeks start on Monday) or a running whole number."""
    WAVE = "wave"
    """int64: a running whole number; dates or names become their rank, in order."""
    TIME = "timestamp"
    """Naive timestamp; ISO 8601."""


@dataclass(frozen=True)
class Column:
    """One column of the contract."""

    name: str
    kind: Kind
    required: bool = False
    high: float | None = None
    """Largest value that can be meant, in the column's unit."""
    positive: bool = False
    """True: zero cannot be meant either."""


@dataclass(frozen=True)
class Table:
    """One table of the contract."""

    name: str
    key: tuple[str, ...]
    """Columns that name a row; those that are optional count where they are given. Empty: no key."""
    columns: tuple[Column, ...]
    repeats_refuse: bool = False
    """True: two rows with one key and different content refuse the data set, since nobody can say which is right.
    False: the later rows are set aside."""

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns without which the table means nothing."""
        return tuple(column.name for column in self.columns if column.required)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None where the contract has none."""
        return next((column for column in self.columns if column.name == name), None)


ABSURD_PRICE = 1e6
"""A price per unit above this is taken for a mistake of unit or separator."""
ABSURD_RATIO = 1_000.0
"""A price this many times the median of its product is taken for a mistake."""
ABSURD_QUANTITY = 1e7


def _id(name: str, *, required: bool = False) -> Column:
    return Column(name, Kind.ID, required)


def _amount(name: str, *, required: bool = False, high: float | None = None, positive: bool = False) -> Column:
    return Column(name, Kind.AMOUNT, required, high, positive)


def _texts(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, Kind.TEXT) for name in names)


_PRODUCTS = Table(
    "products",
    ("product_id",),
    (
        _id("product_id", required=True),
        *_texts("title", "description", "category", "department", "brand"),
        Column("private_label", Kind.FLAG),
        _amount("pack_size"),
        Column("unit", Kind.TEXT),
        _amount("unit_cost", high=ABSURD_PRICE),
        _amount("list_price", high=ABSURD_PRICE, positive=True),
        Column("image_path", Kind.TEXT),
    ),
    repeats_refuse=True,
)

_TRANSACTIONS = Table(
    "transactions",
    ("transaction_id", "product_id"),
    (
        _id("transaction_id", required=True),
        _id("product_id", required=True),
        Column("timestamp", Kind.TIME, required=True),
        Column("quantity", Kind.NUMBER, required=True, high=ABSURD_QUANTITY),
        Column("sales_value", Kind.NUMBER, required=True),
        _id("customer_id"),
        _id("store_id"),
        _amount("discount"),
        _amount("coupon_discount"),
        Column("week", Kind.WEEK),
    ),
)

_PRICES_WEEKLY = Table(
    "prices_weekly",
    ("product_id", "week", "store_id"),
    (
        _id("product_id", required=True),
        Column("week", Kind.WEEK, required=True),
        _id("store_id"),
        _amount("price", required=True, high=ABSURD_PRICE, positive=True),
        _amount("regular_price", high=ABSURD_PRICE, positive=True),
        Column("mailer", Kind.SHARE),
        Column("display", Kind.SHARE),
        Column("stock_out", Kind.SHARE),
        Column("experiment", Kind.SHARE),
        _amount("unit_cost", high=ABSURD_PRICE),
    ),
    repeats_refuse=True,
)

_SALES_WEEKLY = Table(
    "sales_weekly",
    ("product_id", "week", "store_id"),
    (
        _id("product_id", required=True),
        Column("week", Kind.WEEK, required=True),
        _id("store_id"),
        _amount("units", required=True, high=ABSURD_QUANTITY * 100),
        _amount("revenue"),
    ),
    repeats_refuse=True,
)

_CUSTOMERS = Table("customers", ("customer_id",), (_id("customer_id", required=True),), repeats_refuse=True)

_COUPON_HISTORY = Table(
    "coupon_history",
    ("customer_id", "wave", "offer_id"),
    (
        _id("customer_id", required=True),
        Column("wave", Kind.WAVE, required=True),
        Column("sent", Kind.FLAG, required=True),
        _id("offer_id"),
        _amount("face_value", high=ABSURD_PRICE),
        Column("redeemed", Kind.FLAG),
        Column("bought", Kind.FLAG),
        Column("profit", Kind.NUMBER),
        Column("randomised", Kind.FLAG),
    ),
    repeats_refuse=True,
)

_EVENTS = Table(
    "events",
    (),
    (
        _id("customer_id"),
        _id("product_id"),
        Column("event", Kind.TEXT),
        Column("timestamp", Kind.TIME),
        Column("query", Kind.TEXT),
    ),
)

_REVIEWS = Table(
    "reviews",
    (),
    (
        _id("product_id"),
        _id("customer_id"),
        Column("text", Kind.TEXT),
        _amount("rating"),
        Column("timestamp", Kind.TIME),
    ),
)

_COUPON_VALUES = Table(
    "coupon_values",
    ("customer_id", "offer_id"),
    (
        _id("customer_id", required=True),
        _id("offer_id", required=True),
        Column("profit", Kind.NUMBER, required=True),
        _amount("cost", required=True),
        _id("segment"),
        _amount("contacts"),
        Column("held", Kind.FLAG),
    ),
    repeats_refuse=True,
)

_EXPOSURES = Table(
    "exposures",
    (),
    (
        _id("unit_id", required=True),
        _id("experiment"),
        _id("variant"),
        Column("timestamp", Kind.TIME),
    ),
)

_OUTCOMES = Table("outcomes", (), (_id("unit_id", required=True), Column("timestamp", Kind.TIME)))

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        _PRODUCTS,
        _TRANSACTIONS,
        _PRICES_WEEKLY,
        _SALES_WEEKLY,
        _CUSTOMERS,
        _COUPON_HISTORY,
        _EVENTS,
        _REVIEWS,
        _COUPON_VALUES,
        _EXPOSURES,
        _OUTCOMES,
    )
}
"""Every table of the contract by name, in the order in which they are checked."""

SALES_TABLES = ("transactions", "sales_weekly")
"""One of these must be there, and not be empty."""
