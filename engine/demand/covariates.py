"""Covariates of a product's response: what its margin and its price level foretell about its elasticity.

A shop earns where its customers mind prices least (Lerner 1934: at the optimum margin = -1 / elasticity), so the margin
it takes tells something about the elasticity it believes in. A prior that ignores this promises too much: the plan
raises the very prices whose low margins say that customers do mind. Regression within the Fay and Herriot (1979) model:
the estimate, net of its category's mean, on standardised covariates, each product weighted by what its data know.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.demand.shrinkage import Shrunken
from engine.panel import Panel

Floats = npt.NDArray[np.float64]

PRIOR_SD = 0.3
"""Elasticity points that one standard deviation of a covariate may explain before the data speak."""
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


def covariate_offsets(covariates: Floats, shrunken: Shrunken, estimate: Floats, precision: Floats) -> Floats:
    """(P, K) shift of each product's expected coefficients that its covariates foretell.

    Args:
        covariates: (P, Q) standardised.
        shrunken: a first posterior, without offsets.
        estimate: (P, K) unshrunken coefficients.
        precision: (P, K, K) their noise precision.
    """
    centre = shrunken.category_mean[shrunken.category]
    offset = np.zeros_like(estimate)
    ridge = np.eye(covariates.shape[1]) / PRIOR_SD**2
    for k in range(estimate.shape[1]):
        own = precision[:, k, k]
        use = own > 0
        noise = float(shrunken.sigma[k, k]) + np.divide(1.0, own, out=np.ones_like(own), where=use)
        weighted = covariates * (use / noise)[:, None]
        slope = np.linalg.solve(
            weighted.T @ covariates + ridge, weighted.T @ np.where(use, estimate[:, k] - centre[:, k], 0.0)
        )
        offset[:, k] = covariates @ slope
    return offset
