"""Two halves of a panel that were sold independently, so that one can judge what was learned on the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.frames import open_backend
from engine.panel import cache
from engine.panel.build import Selection, build_scope
from engine.panel.read import Half, Reader, Scope, half_of
from engine.panel.record import Bools, Panel
from engine.proposal import N_
from engine.settings import Settings
from engine.shop import Shop

MIN_COVERAGE = 0.5
"""Households are split only where their transactions hold at least this share of the panel's units."""
MIN_SHARE = 0.2
"""With fewer, or with one customer who buys most, a half would judge nothing."""
MIN_STORES = 4
HALVES: tuple[Half, Half] = ("a", "b")


def split_panel(shop: Shop, panel: Panel, settings: Settings, seed: int) -> tuple[Panel, Panel, str]:
    """Two halves with the products and weeks of `panel`, and how they were made.

    Households where transactions name customers and hold most of what was sold; else stores where the panel's series
    are by store; else each unit is thrown to one side by a fair coin, which is exact for Poisson counts and leaves
    whatever the halves share beyond that (a common shock of the week) in both.

    Returns:
        the two panels and "households", "stores" or "thinning".
    """
    with open_backend(settings) as backend:
        by_customer = "customer_id" in Reader(shop, backend).columns("transactions")
    if by_customer and not np.any(panel.series_store != ""):
        halves = _by_households(shop, panel, settings, seed)
        if halves is not None:
            return (*halves, N_("households"))
    side = np.array([half_of(str(store), str(seed)) == "a" for store in panel.series_store])
    stores = len(set(panel.series_store.tolist()))
    if stores >= MIN_STORES and _every_product(panel, side) and _every_product(panel, ~side):
        return _rows(panel, side), _rows(panel, ~side), N_("stores")
    return (*_thinned(panel, seed), N_("thinning"))


def _by_households(shop: Shop, panel: Panel, settings: Settings, seed: int) -> tuple[Panel, Panel] | None:
    mean = np.bincount(panel.series_product, panel.price.mean(axis=1)) / np.bincount(panel.series_product)
    wanted = Selection(panel.product_ids, panel.weeks, mean)
    scopes = [Scope(int(panel.weeks[-1]), half, str(seed)) for half in HALVES]
    first, second = (_kept(shop, settings, scope, wanted) for scope in scopes)
    sold = [float(half.units.sum()) for half in (first, second)]
    useful = sum(sold) >= MIN_COVERAGE * float(panel.units.sum()) and min(sold) >= MIN_SHARE * sum(sold)
    return (first, second) if useful else None


def _kept(shop: Shop, settings: Settings, scope: Scope, wanted: Selection) -> Panel:
    named = "\x1f".join([*wanted.products, str(wanted.weeks[0]), wanted.price.tobytes().hex()])
    return cache.kept(shop, settings, scope, lambda: build_scope(shop, settings, scope, wanted), named)


def _every_product(panel: Panel, rows: Bools) -> bool:
    return len(set(panel.series_product[rows].tolist())) == panel.n_products


def _rows(panel: Panel, rows: Bools) -> Panel:
    """Keep some of the series; the products stay."""
    names = ("series_product", "series_store", "units", "price", "regular_price", "mailer", "display", "stock_out")
    part = {name: getattr(panel, name)[rows] for name in (*names, "experiment", "observed")}
    return replace(panel, **part)


def _thinned(panel: Panel, seed: int) -> tuple[Panel, Panel]:
    """Each whole unit to one side with probability one half; the fraction of a unit is shared."""
    whole = np.floor(panel.units)
    rest = (panel.units - whole) / 2
    first = np.random.default_rng([seed, 20]).binomial(whole.astype(np.int64), 0.5).astype(np.float64)
    return replace(panel, units=first + rest), replace(panel, units=whole - first + rest)
