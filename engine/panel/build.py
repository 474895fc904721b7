"""From a shop's tables to the panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from engine.errors import DataError
from engine.frames import Frame, open_backend
from engine.panel import cache
from engine.panel.costs import with_costs
from engine.panel.current import RECENT_WEEKS
from engine.panel.grid import Grid, make_grid
from engine.panel.pending import settle_pending
from engine.panel.products import describe
from engine.panel.read import (
    PRICE_COLUMNS,
    Half,
    Reader,
    Scope,
    cells,
    price_cells,
    product_totals,
    rebuilt_cells,
    sales_cells,
)
from engine.panel.record import Bools, Floats, Ints, Panel
from engine.panel.references import HALF_A_CENT, everyday_reference, filled, wobbling
from engine.panel.stock_outs import improbable_zero_runs
from engine.panel.weeks import incomplete_weeks, week_starts
from engine.proposal import N_
from engine.settings import Settings
from engine.shop import Shop

MAX_CELLS = 12_000_000
"""Above this many series times weeks, the stores are added up: nine dense matrices would not fit beside the models."""

_ADDED_UP = N_("series by store would be too many for one machine's memory; the stores were added up")
_REBUILT = N_(
    "prices were rebuilt from purchases: they wobble with who bought where, and a promotion in which nobody bought "
    "is not seen"
)
_NO_REGULAR = N_("no everyday price is logged; the price path with dips of up to four weeks filled in stands for it")
_NO_FLAGS = N_("no mailer or display flags are logged: the effect of promotion flags is part of the effect of price")
_DELISTED = N_("products without a price or a sale in the last thirteen weeks count as delisted and are left out")
_ZERO_RUNS = N_("stock-outs are not logged; improbably long runs of zero sales were marked as such")


def build_panel(
    shop: Shop,
    settings: Settings,
    *,
    until_week: int | None = None,
    half: Half | None = None,
) -> Panel:
    """Build the weekly panel of the products with the largest revenue, or take it from the cache.

    Args:
        shop: a shop that passed the contract.
        settings: `demand.top_products`, the margins, and the limits of the dataframe layer.
        until_week: nothing recorded after this week is looked at; None: everything.
        half: units bought by one half of the customers only (a stable hash of customer_id); products and weeks are
            those of the whole shop. Prices stay the shop's own table, unless they were rebuilt from purchases: then
            they are rebuilt from that half, so that the other half can judge.

    Raises:
        DataError: there is neither a price nor revenue to divide by, no sale up to `until_week`, no customer_id for a
            half, or no cost and no margin to assume.
    """
    scope = Scope(until_week=until_week, half=half)
    return cache.kept(shop, settings, scope, lambda: build_scope(shop, settings, scope))


@dataclass(frozen=True)
class Selection:
    """What a panel is asked to hold."""

    products: tuple[str, ...]
    weeks: Ints
    price: Floats
    """(P,) mean price over everything, for a series that shows none of its own: it is never observed, but finite."""
    caveats: tuple[str, ...] = ()


def build_scope(shop: Shop, settings: Settings, scope: Scope, selection: Selection | None = None) -> Panel:
    """Build a panel for any scope and, where given, of exactly these products and weeks; see `build_panel`."""
    with open_backend(settings) as backend:
        reader = Reader(shop, backend)
        source = _source(reader, scope)
        selection = selection or _select(reader, settings, scope)
        source = replace(source, caveats=(*source.caveats, *selection.caveats))
        found = _read(reader, scope, source, selection)
        if found.size > MAX_CELLS:
            source = replace(source, by_store=False, caveats=(*source.caveats, _ADDED_UP))
            found = _read(reader, scope, source, selection)
        return _assemble(reader, settings, scope, source, found, selection.price)


@dataclass(frozen=True)
class _Source:
    """Where units and prices come from."""

    by_store: bool
    rebuild: bool
    """Prices from this scope's purchases rather than from the price table."""
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """What the tables say, as long cells, and the grid it goes to."""

    grid: Grid
    sales: pd.DataFrame
    table: pd.DataFrame | None
    """The shop's price table."""
    rebuilt: pd.DataFrame | None
    """Prices from this scope's transactions."""

    @property
    def size(self) -> int:
        return self.grid.shape[0] * self.grid.shape[1]


def _source(reader: Reader, scope: Scope) -> _Source:
    shop = reader.shop
    table = "sales_weekly" if shop.has("sales_weekly") and scope.half is None else "transactions"
    sold_by, priced_by = reader.columns(table), reader.columns("prices_weekly")
    if not sold_by:
        wants = "; half of the customers needs them" if scope.half else ""
        raise DataError(f"{shop.name}: there is no table {table}{wants}")
    in_stores = "store_id" in priced_by or (table == "sales_weekly" and "store_id" in sold_by)
    rebuild = not priced_by or (scope.half is not None and shop.prices_reconstructed)
    return _Source(by_store="store_id" in sold_by and in_stores, rebuild=rebuild)


def _select(reader: Reader, settings: Settings, scope: Scope) -> Selection:
    """Listed products by revenue, all customers, ties by identifier; and the weeks from first to last sale."""
    whole = Scope(until_week=scope.until_week)
    table = product_totals(reader, whole)
    sold = table[table["units"] > 0]
    until = f" up to week {scope.until_week}" if scope.until_week is not None else ""
    if sold.empty:
        raise DataError(f"{reader.shop.name}: no product that has a price was sold{until}; nothing can be priced")
    value = sold["revenue"].where(sold["revenue"] > 0, (sold["units"] * sold["price"]).round(4))
    if not (value > 0).any():
        raise DataError(
            f"{reader.shop.name}: no price is known{until}; "
            "add prices_weekly, or transactions, or revenue to sales_weekly"
        )
    newest = sold[["last", "priced"]].max(axis=1)
    # Purchases alone do not tell a product that left from one that nobody bought.
    logged = reader.shop.has("prices_weekly") and not reader.shop.prices_reconstructed
    listed = (newest > newest.max() - RECENT_WEEKS) | (not logged)
    ranked = sold.assign(value=value)[listed & (value > 0)].sort_values(
        ["value", "product_id"], ascending=[False, True]
    )
    top = ranked.head(settings.demand.top_products)
    weeks = np.arange(int(top["first"].min()), int(top["last"].max()) + 1, dtype=np.int64)
    mean = (top["revenue"] / top["units"]).where(top["revenue"] > 0, top["price"]).to_numpy(dtype=np.float64)
    caveats = () if listed.all() else (_DELISTED,)
    return Selection(products=tuple(top["product_id"]), weeks=weeks, price=mean, caveats=caveats)


def _read(reader: Reader, scope: Scope, source: _Source, selection: Selection) -> _Found:
    def read(frame_of: Callable[..., Frame]) -> pd.DataFrame:
        return cells(reader, frame_of(reader, scope, by_store=source.by_store), selection.products)

    sales = read(sales_cells)
    shop = reader.shop
    return _Found(
        grid=make_grid(selection.products, sales, selection.weeks),
        sales=sales,
        table=read(price_cells) if shop.has("prices_weekly") else None,
        rebuilt=read(rebuilt_cells) if source.rebuild and shop.has("transactions") else None,
    )


def _assemble(
    reader: Reader, settings: Settings, scope: Scope, source: _Source, found: _Found, mean_price: Floats
) -> Panel:
    grid, shop = found.grid, reader.shop
    sold = grid.dense(found.sales, ("units", "revenue"))
    units = np.maximum(np.nan_to_num(sold["units"]), 0.0)
    table = _table(found)
    reconstructed = source.rebuild or shop.prices_reconstructed
    price, seen = _price(table["price"], units, sold["revenue"])
    flags = np.maximum(_share(table["mailer"]), _share(table["display"]))
    chosen = seen & (_share(table["experiment"]) < 0.5)  # a price moved at random says nothing of the everyday one
    regular, regular_logged = _regular(table["regular_price"], price, chosen, flags, reconstructed=reconstructed)
    launched = np.maximum.accumulate((units > 0) | seen, axis=1)
    whole_weeks = ~incomplete_weeks(reader, scope, grid.weeks, units)
    observed = (launched if reconstructed else seen) & whole_weeks & np.isfinite(regular)
    price = np.where(seen, price, regular) if reconstructed else filled(price)
    stand_in = mean_price[grid.series_product][:, None]
    price, regular = (np.where(np.isfinite(prices), prices, stand_in) for prices in (price, regular))
    stock_out, inferred = _stock_out(table["stock_out"], units, observed)
    panel = Panel(
        products=describe(reader, grid.products),
        series_product=grid.series_product,
        series_store=grid.series_store,
        weeks=grid.weeks,
        week_start=week_starts(shop, grid.weeks),
        units=units,
        price=price,
        regular_price=regular,
        mailer=_share(table["mailer"]),
        display=_share(table["display"]),
        stock_out=stock_out,
        experiment=_share(table["experiment"]),
        observed=observed,
        regular_logged=regular_logged,
        price_caveats=_caveats(table, source, (reconstructed, not regular_logged, inferred)),
        prices_reconstructed=reconstructed,
        stock_out_logged=not inferred,
    )
    return with_costs(panel, shop, settings, table["unit_cost"])


def _table(found: _Found) -> dict[str, Floats]:
    """Matrices of the price table's columns; prices from this scope's purchases where they were rebuilt."""
    if found.table is not None:
        table = found.grid.dense(found.table, PRICE_COLUMNS)
    else:
        table = {name: np.full(found.grid.shape, np.nan) for name in PRICE_COLUMNS}
    if found.rebuilt is None:
        return table
    return table | found.grid.dense(found.rebuilt, ("price", "regular_price"))


def _price(table: Floats, units: Floats, revenue: Floats) -> tuple[Floats, Bools]:
    """Take the table's price, else revenue per unit; and say where either is known."""
    per_unit = np.divide(revenue, units, out=np.full(units.shape, np.nan), where=(units > 0) & (revenue > 0))
    price = np.where(table > 0, table, per_unit)
    return price, np.isfinite(price)


def _regular(table: Floats, price: Floats, seen: Bools, flags: Floats, *, reconstructed: bool) -> tuple[Floats, bool]:
    """Give the everyday price in every cell, and whether it was logged."""
    logged = np.where(table > 0, table, np.nan)
    known = np.isfinite(logged)
    # Purchases that carry no discounts give the price once more, not the everyday one.
    nothing_said = reconstructed and not (known & (np.abs(logged - price) > HALF_A_CENT)).any()
    wobbles = reconstructed and wobbling(price, seen)
    reference = everyday_reference(price, seen, wobbles=wobbles)
    if nothing_said or not known.any():
        settled = reference if wobbles else settle_pending(reference, price, seen, flags)
        return filled(settled), False
    return filled(np.where(known.any(axis=1, keepdims=True), logged, reference)), True


def _stock_out(table: Floats, units: Floats, observed: Bools) -> tuple[Floats, bool]:
    if np.isfinite(table).any():
        return _share(table), False
    runs = improbable_zero_runs(units, observed)
    return runs.astype(np.float64), bool(runs.any())


def _share(table: Floats) -> Floats:
    return np.clip(np.nan_to_num(table), 0.0, 1.0)


def _caveats(table: dict[str, Floats], source: _Source, holds: tuple[bool, bool, bool]) -> tuple[str, ...]:
    flagged = bool(np.isfinite(table["mailer"]).any() or np.isfinite(table["display"]).any())
    said = zip((*holds, not flagged), (_REBUILT, _NO_REGULAR, _ZERO_RUNS, _NO_FLAGS), strict=True)
    return (*source.caveats, *(sentence for true, sentence in said if true))
