"""The state of the shop at the end of a panel: prices in force and units sold lately."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.panel.record import Floats, Panel
from engine.panel.references import HALF_A_CENT, wobbling

RECENT_OBSERVATIONS = 4
RECENT_WEEKS = 13


def current_prices(panel: Panel) -> Floats:
    """Everyday price in force at the end of the panel.

    `regular_price` in the last observed week of each series; of rebuilt prices that wobble from week to week the median
    of its last four observed weeks. Weeks in which the everyday price itself was moved at random do not count. A
    product in several stores: the mean over stores, weighted by units of the last thirteen weeks.

    Returns:
        (P,) money per unit; NaN for a product that has no observed week.
    """
    wobbles = panel.prices_reconstructed and wobbling(panel.price, panel.observed & (panel.units > 0))
    depth = RECENT_OBSERVATIONS if wobbles else 1
    cells = zip(panel.regular_price, _everyday_cells(panel), strict=True)
    by_series = np.array([_last_median(row, seen, depth) for row, seen in cells])
    lately = panel.units[:, -RECENT_WEEKS:].sum(axis=1)  # a store that closed has no say
    weight = np.where(np.isfinite(by_series), lately + 1e-9, 0.0)
    total = np.bincount(panel.series_product, weights=weight, minlength=panel.n_products)
    value = np.bincount(panel.series_product, weights=weight * np.nan_to_num(by_series), minlength=panel.n_products)
    price: Floats = np.divide(value, total, out=np.full(panel.n_products, np.nan), where=total > 0)
    return price


def _everyday_cells(panel: Panel) -> npt.NDArray[np.bool_]:
    """(S, T) observed cells whose everyday price is one: not moved along with a price that was moved at random."""
    moved = (panel.experiment >= 0.5) & (np.abs(panel.regular_price - panel.price) < HALF_A_CENT)
    settled: npt.NDArray[np.bool_] = panel.observed & ~moved
    lately = settled[:, -RECENT_WEEKS:].any(axis=1, keepdims=True)
    return np.where(lately, settled, panel.observed)


def _last_median(values: Floats, seen: npt.NDArray[np.bool_], depth: int) -> float:
    last = values[np.flatnonzero(seen)[-depth:]]
    return float(np.median(last)) if last.size else float("nan")


def recent_units(panel: Panel, weeks: int) -> Floats:
    """Mean units per week over the last `weeks` observed weeks of each series, summed over the stores of a product.

    Weeks in which the product was known not to be there do not count.

    Returns:
        (P,) units per week; 0 for a product without an observed week.
    """
    counted = panel.observed & (panel.stock_out < 1)
    rank_from_end = np.cumsum(counted[:, ::-1], axis=1)[:, ::-1]
    window = counted & (rank_from_end <= weeks)
    length = window.sum(axis=1)
    mean = np.divide(
        np.where(window, panel.units, 0.0).sum(axis=1), length, out=np.zeros(len(length)), where=length > 0
    )
    return np.bincount(panel.series_product, weights=mean, minlength=panel.n_products).astype(np.float64)
