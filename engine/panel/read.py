"""Reading a shop's tables into weekly cells; the heavy grouping runs in the dataframe layer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import narwhals as nw
import numpy as np
import pandas as pd

from engine.errors import DataError
from engine.frames import PARTS, TICKS, DuckDbBackend, Frame, SparkBackend, parts, ticks
from engine.shop import Shop
from engine.sources.rebuild import rebuild_prices, weekly_sales

Half = Literal["a", "b"]
FLAGS = ("mailer", "display", "stock_out", "experiment")
PRICE_COLUMNS = ("price", "regular_price", *FLAGS, "unit_cost")
CELL_KEYS = ("product_id", "store_id", "week")


@dataclass(frozen=True)
class Scope:
    """Which part of a shop is read: weeks up to and with `until_week`, one half of its customers or all of them."""

    until_week: int | None = None
    half: Half | None = None
    salt: str = ""
    """Another salt gives another split of the customers."""


class Reader:
    """Lazy tables of one shop on one connection."""

    def __init__(self, shop: Shop, backend: DuckDbBackend | SparkBackend) -> None:
        self.shop = shop
        self._backend = backend

    def columns(self, table: str) -> tuple[str, ...]:
        """Column names of a table; empty where the shop lacks it."""
        return tuple(self.table(table).collect_schema().names()) if self.shop.has(table) else ()

    def table(self, name: str) -> Frame:
        """Open a table of the shop, lazily."""
        return self._backend.scan(self.shop.tables[name])

    def collect(self, frame: Frame) -> pd.DataFrame:
        """Run a lazy table and hand it over as pandas."""
        table: pd.DataFrame = self._backend.collect(frame).to_pandas()
        return table

    def frame(self, table: pd.DataFrame) -> Frame:
        """Make a small table of ours lazy on the same connection, so that it can be joined."""
        if isinstance(self._backend, SparkBackend):
            rows = [tuple(row) for row in table.astype(object).itertuples(index=False)]
            there: Frame = nw.from_native(self._backend.session.createDataFrame(rows, list(table.columns)))
            return there
        return nw.from_native(self._backend.connection.from_df(table))

    def transactions(self, scope: Scope) -> Frame:
        """Transactions with a `week` column, up to the scope's last week, of the scope's customers."""
        lines = self.table("transactions")
        if "week" not in self.columns("transactions"):
            lines = lines.with_columns(week=self._week_of("timestamp"))
        lines = _until(lines, scope)
        if scope.half is None:
            return lines
        half = self.frame(self._customers(scope))
        return lines.join(half, on="customer_id", how="semi")

    def _week_of(self, column: str) -> nw.Expr:
        if self.shop.first_monday is None:
            raise DataError(
                f"{self.shop.name}: transactions carry neither week nor a calendar; add a column week or timestamp"
            )
        first = date.fromisoformat(self.shop.first_monday)
        monday = (first.toordinal() + 305) - 7 * self.shop.first_week  # `_day_number` counts from 1 March of year 0
        return (_day_number(column) - monday) // 7

    def _customers(self, scope: Scope) -> pd.DataFrame:
        if "customer_id" not in self.columns("transactions"):
            raise DataError(
                f"{self.shop.name}: half={scope.half!r} needs transactions with customer_id; "
                "this shop's halves come from split_panel (stores, or thinned counts)"
            )
        found = self.collect(self.table("transactions").select("customer_id").drop_nulls().unique())
        names = found["customer_id"].astype(str)
        return pd.DataFrame({"customer_id": [name for name in names if half_of(name, scope.salt) == scope.half]})


def _day_number(column: str) -> nw.Expr:
    """Days since 1 March of the year 0, in whole numbers (the Gregorian calendar); every backend can do that."""
    year, month, day = (nw.col(column).dt.year(), nw.col(column).dt.month(), nw.col(column).dt.day())
    months = (month.cast(nw.Int64) + 9) % 12
    years = year.cast(nw.Int64) - months // 10
    return years * 365 + years // 4 - years // 100 + years // 400 + (months * 306 + 5) // 10 + day.cast(nw.Int64) - 1


def half_of(name: str, salt: str = "") -> Half:
    """Put a customer or store in a half: a bit of BLAKE2b over salt and name, the same on every machine."""
    digest = hashlib.blake2b(f"{salt}\x1f{name}".encode(), digest_size=1).digest()
    return "a" if digest[0] & 1 else "b"


def sales_cells(reader: Reader, scope: Scope, *, by_store: bool) -> Frame:
    """Units and revenue by product, store ('' for the chain) and week.

    Weekly sales are taken where the shop has them, unless a half of the customers is asked for. Sums are taken over
    whole ticks and parts, so that the number of threads changes no digit.
    """
    if scope.half is not None or not reader.shop.has("sales_weekly"):
        return _with_store(weekly_sales(reader.transactions(scope), by_store=by_store), by_store=by_store)
    rows = with_nulls(_until(reader.table("sales_weekly"), scope), ("revenue",))
    lines = _with_store(rows, by_store=by_store).select(
        *CELL_KEYS, _q=parts(nw.col("units")), _v=ticks(nw.col("revenue"))
    )
    sums = lines.group_by(*CELL_KEYS).agg(_q=nw.col("_q").sum().cast(nw.Int64), _v=nw.col("_v").sum().cast(nw.Int64))
    return sums.select(*CELL_KEYS, units=nw.col("_q") / PARTS, revenue=nw.col("_v") / TICKS)


def price_cells(reader: Reader, scope: Scope, *, by_store: bool) -> Frame:
    """Read the shop's own price table by product, store and week; the mean over stores where the chain is asked for."""
    rows = with_nulls(_until(reader.table("prices_weekly"), scope), PRICE_COLUMNS)
    lines = _with_store(rows, by_store=by_store).select(
        *CELL_KEYS, **{name: ticks(nw.col(name).cast(nw.Float64())) for name in PRICE_COLUMNS}
    )
    totals = {f"_{name}": nw.col(name).sum().cast(nw.Int64) for name in PRICE_COLUMNS}
    counts = {f"_n_{name}": nw.col(name).count() for name in PRICE_COLUMNS}
    sums = lines.group_by(*CELL_KEYS).agg(**totals, **counts)
    return sums.select(
        *CELL_KEYS, **{name: nw.col(f"_{name}") / (nw.col(f"_n_{name}") * TICKS) for name in PRICE_COLUMNS}
    )


def rebuilt_cells(reader: Reader, scope: Scope, *, by_store: bool) -> Frame:
    """Prices rebuilt from the scope's transactions: product_id, store_id, week, price, regular_price."""
    lines = with_nulls(reader.transactions(scope), ("discount", "coupon_discount"))
    if "store_id" not in lines.collect_schema().names():
        lines = lines.with_columns(store_id=nw.lit(""))
    return _with_store(rebuild_prices(lines, by_store=by_store), by_store=by_store)


def product_totals(reader: Reader, scope: Scope) -> pd.DataFrame:
    """Sum up units, revenue, mean price, first and last week of a sale and last week of a price by product.

    Products without a price are left out; product_id is text.
    """
    sums = sales_cells(reader, scope, by_store=False).group_by("product_id")
    totals = sums.agg(
        nw.col("week").min().alias("first"),
        nw.col("week").max().alias("last"),
        _q=parts(nw.col("units")).sum(),
        _v=ticks(nw.col("revenue")).sum(),
    )
    if reader.shop.has("prices_weekly"):
        price = ticks(nw.col("price")).mean().round()
        listed = price_cells(reader, scope, by_store=False).group_by("product_id")
        priced = listed.agg(nw.col("week").max().alias("priced"), _p=price)
        totals = totals.join(priced, on="product_id", how="inner")
    else:
        totals = totals.with_columns(_p=nw.lit(0.0), priced=nw.col("last"))
    found = reader.collect(totals)
    return pd.DataFrame(
        {
            "product_id": found["product_id"].astype(str),
            "units": found["_q"].astype(np.float64) / PARTS,
            "revenue": found["_v"].astype(np.float64).fillna(0.0) / TICKS,
            "price": found["_p"].astype(np.float64).fillna(0.0) / TICKS,
            "first": found["first"].astype(np.int64),
            "last": found["last"].astype(np.int64),
            "priced": found["priced"].astype(np.int64),
        }
    )


def cells(reader: Reader, frame: Frame, products: Sequence[str]) -> pd.DataFrame:
    """Run a frame of cells for these products; identifiers are text, weeks int64, all else float64 with NaN."""
    found = reader.collect(only(frame, products))
    for name in found.columns:
        kind = np.int64 if name == "week" else str if name in CELL_KEYS else np.float64
        found[name] = found[name].astype(kind)
    return found


def only(frame: Frame, products: Sequence[str]) -> Frame:
    """Keep the rows of these products."""
    return frame.filter(nw.col("product_id").is_in(list(products)))


def _until(frame: Frame, scope: Scope) -> Frame:
    frame = frame.with_columns(nw.col("week").cast(nw.Int64()))
    return frame if scope.until_week is None else frame.filter(nw.col("week") <= scope.until_week)


def with_nulls(frame: Frame, names: Sequence[str]) -> Frame:
    """Add the columns that the frame lacks, empty."""
    present = frame.collect_schema().names()
    missing = [nw.lit(None).cast(nw.Float64()).alias(name) for name in names if name not in present]
    return frame.with_columns(*missing) if missing else frame


def _with_store(frame: Frame, *, by_store: bool) -> Frame:
    present = "store_id" in frame.collect_schema().names()
    store = nw.col("store_id").cast(nw.String()).fill_null("") if by_store and present else nw.lit("")
    return frame.with_columns(store_id=store)
