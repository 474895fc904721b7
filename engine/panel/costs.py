"""What a unit costs the shop: recorded, or assumed from a margin and said to be so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.errors import DataError
from engine.panel.current import current_prices
from engine.panel.record import Floats, Panel
from engine.settings import Settings
from engine.shop import Shop

RECENT_WEEKS = 8


def with_costs(panel: Panel, shop: Shop, settings: Settings, weekly_cost: Floats) -> Panel:
    """Fill in `unit_cost` and `cost_assumed`.

    First the cost logged with the weekly prices (mean of its last eight weeks), then `products.unit_cost`, then
    today's everyday price times one minus the margin that the settings give for the department, or overall.

    Args:
        panel: without costs, or with those of the product table.
        shop: named in the error.
        settings: `data.margin_by_department` and `data.default_margin`.
        weekly_cost: (S, T) cost per unit, NaN where it was not logged.

    Raises:
        DataError: a product has no cost and there is no margin to assume.
    """
    products = panel.products.copy()
    recent = recent_cost(panel, weekly_cost)
    listed = products["unit_cost"].to_numpy(dtype=np.float64)
    cost = np.where(np.isfinite(recent), recent, np.where(listed > 0, listed, np.nan))
    unknown = ~np.isfinite(cost)
    margin = _margins(tuple(products["department"]), settings)
    missing = int((unknown & ~np.isfinite(margin)).sum())
    if missing:
        raise DataError(
            f"{shop.name}: {missing} of {len(cost)} products have no unit_cost; add the column to products, or give "
            "data.default_margin or data.margin_by_department"
        )
    products["unit_cost"] = np.where(unknown, current_prices(panel) * (1 - margin), cost)
    flagged = products["cost_assumed"].to_numpy(dtype=bool)
    by_source = shop.costs_assumed and not flagged.any()  # filled in from a margin, without saying for which products
    products["cost_assumed"] = (flagged | by_source) & ~np.isfinite(recent) | unknown
    return replace(panel, products=products)


def recent_cost(panel: Panel, weekly_cost: Floats) -> Floats:
    """(P,) mean over stores and the last eight weeks with a logged cost; NaN where none was logged."""
    known = weekly_cost > 0
    rank_from_end = np.cumsum(known[:, ::-1], axis=1)[:, ::-1]
    window = known & (rank_from_end <= RECENT_WEEKS)
    total = np.bincount(
        panel.series_product, weights=np.where(window, weekly_cost, 0.0).sum(axis=1), minlength=panel.n_products
    )
    count = np.bincount(panel.series_product, weights=window.sum(axis=1), minlength=panel.n_products)
    cost: Floats = np.divide(total, count, out=np.full(panel.n_products, np.nan), where=count > 0)
    return cost


def _margins(departments: tuple[str, ...], settings: Settings) -> Floats:
    by_name = {name.lower(): margin for name, margin in settings.data.margin_by_department.items()}
    fallback = settings.data.default_margin if settings.data.default_margin is not None else np.nan
    return np.array([by_name.get(name.lower(), fallback) for name in departments], dtype=np.float64)
