"""Covariates of a product's response: what its margin and its price level foretell about its elasticity.

A shop earns where its customers mind prices least (Lerner 1934: at the optimum margin = -1 / elasticity), so the margin
it takes tells something about the elasticity it believes in. A prior that ignores this promises too much: the plan
raises the very prices whose low margins say that customers do mind. The slopes are learned in `log_normal`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.panel import Panel

Floats = npt.NDArray[np.float64]

LARGEST = 3.0
"""Standardised covariates are cut here, so that one odd cost does not carry a product's response away."""


def product_covariates(panel: Panel) -> Floats:
    """(P, Q) margin (where unit costs are known, not assumed) and log price within the category, standardised."""
    price = _typical_price(panel)
    cost = panel.products["unit_cost"].to_numpy(dtype=np.float64)
    assumed = panel.products["cost_assumed"].to_numpy(dtype=np.bool_)
    margin = np.where(assumed | ~np.isfinite(cost) | ~(price > 0), np.nan, 1.0 - cost / np.where(price > 0, price, 1.0))
    level = np.log(np.where(price > 0, price, np.nan))
    return np.column_stack([_standardised(column, panel) for column in (margin, level)])


def _typical_price(panel: Panel) -> Floats:
    """(P,) mean everyday price over the product's series and observed weeks; NaN where none was observed."""
    seen = panel.observed
    total = np.bincount(
        panel.series_product, np.where(seen, panel.regular_price, 0.0).sum(axis=1), minlength=panel.n_products
    )
    weeks = np.bincount(panel.series_product, seen.sum(axis=1), minlength=panel.n_products)
    mean: Floats = np.divide(total, weeks, out=np.full(panel.n_products, np.nan), where=weeks > 0)
    return mean


def _standardised(values: Floats, panel: Panel) -> Floats:
    """(P,) values less their category's mean, over their spread in the shop; 0 where unknown or constant."""
    category, known = panel.category_code, np.isfinite(values)
    n = int(category.max(initial=-1)) + 1
    count = np.bincount(category, known, minlength=n)
    total = np.bincount(category, np.where(known, values, 0.0), minlength=n)
    mean = np.divide(total, count, out=np.zeros(n), where=count > 0)
    centred = np.where(known, values - mean[category], 0.0)
    spread = float(np.sqrt(np.mean(centred[known] ** 2))) if known.any() else 0.0
    return np.clip(centred / spread, -LARGEST, LARGEST) if spread > 1e-9 else np.zeros_like(values)
