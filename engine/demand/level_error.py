"""How wrong a level forecast is: measured on the panel's own past, at every origin, before the trees' correction.

The filter needs no fit beyond four pooled effects, so its forecasts from each past week are forecasts in earnest. Of
the horizon totals y and their forecasts f, the error's variance is a f + b f², by product, around an error common to
all products, whose spread over the origins is kept apart: it does not average out over a plan. A part of b is shared by
the products of a category, which have seasons and fashions of their own; it averages out over categories only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.level_features import History, by_product
from engine.demand.level_plan import Plan, drivers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_WEEKS = 6
"""Weeks of history before an origin."""
DEFAULT_COUNT, DEFAULT_SHARE, DEFAULT_COMMON, DEFAULT_CATEGORY = 2.0, 0.09, 0.08, 0.1
"""Without a past to measure on: overdispersion 2, 30 % a product, 8 % shop-wide, 10 % of the 30 by category."""
PRIOR_ORIGINS = 2.0
"""Independent origins that the assumed shop-wide error counts for; origins that share weeks count for less."""
MIN_COUNT = 1.0
"""Counts vary by chance: no product is known better than a Poisson count is."""
MAX_ORIGINS = 26


@dataclass(frozen=True)
class LevelError:
    """Variance of the relative error of horizon totals: count / f + share, plus common_sd²."""

    count: float
    share: float
    common_sd: float
    category_sd: float
    """Standard deviation of the part of `share` that a category's products have in common."""
    origins: int
    """Past weeks it was measured from; 0: assumed."""

    def relative_sd(self, units: Floats) -> Floats:
        """(P,) standard deviation of the relative error, the common part included; at most 2."""
        return np.minimum(np.sqrt(self.count / np.maximum(units, 0.1) + self.share + self.common_sd**2), 2.0)


def measure_error(history: History, plan: Plan, series_product: Ints, category: Ints, horizon: int) -> LevelError:
    """Measure the error of horizon totals from past origins; assumed where the past is too short.

    Args:
        history: as of each week.
        plan: of the same weeks.
        series_product: (S,) 0…P-1.
        category: (P,) codes.
        horizon: weeks whose total is forecast.
    """
    n_weeks = history.units.shape[1]
    origins = np.arange(MIN_WEEKS - 1, n_weeks - horizon)[-MAX_ORIGINS:]
    pairs = [_totals(history, plan, series_product, category, int(t), horizon) for t in origins]
    pairs = [part for part in pairs if part[0].sum() > 0 and part[1].sum() > 0]
    if not pairs:
        return LevelError(DEFAULT_COUNT, DEFAULT_SHARE, DEFAULT_COMMON, DEFAULT_CATEGORY, 0)
    ratios = np.array([sold.sum() / hoped.sum() for sold, hoped, _ in pairs])
    independent = len(pairs) / horizon
    squares = independent * np.mean(np.square(np.log(ratios))) + PRIOR_ORIGINS * DEFAULT_COMMON**2
    common = float(np.sqrt(squares / (independent + PRIOR_ORIGINS)))
    sold = np.concatenate([part[0] for part in pairs])
    hoped = np.concatenate([part[1] * ratio for part, ratio in zip(pairs, ratios, strict=True)])
    count, share = _variance_law(np.square(sold - hoped), hoped)
    cell = np.concatenate([part[2] + k * (category.max() + 1) for k, part in enumerate(pairs)])
    shared = _category_variance(sold, hoped, cell, count, share)
    return LevelError(max(count, MIN_COUNT), share, min(common, 1.0), float(np.sqrt(shared)), len(pairs))


def _totals(
    history: History, plan: Plan, series_product: Ints, category: Ints, origin: int, horizon: int
) -> tuple[Floats, Floats, Ints]:
    """Sold and expected units by product over the usable cells of the weeks after `origin`, and its category."""
    targets = np.arange(origin + 1, origin + horizon + 1)
    as_of = np.full(horizon, origin)
    seen = drivers(plan.at(targets), history.anchor[:, as_of])
    counted = history.usable[:, targets] & np.isfinite(history.anchor[:, as_of])
    hoped = np.where(counted, np.exp(history.log_mean(as_of, targets, seen)), 0.0).sum(axis=1)
    sold = np.where(counted, history.units[:, targets], 0.0).sum(axis=1)
    n_products = len(category)
    present = by_product(counted.mean(axis=1), series_product, n_products) > 0
    got, expected = (by_product(part, series_product, n_products)[present] for part in (sold, hoped))
    return got, expected, category[present]


def _category_variance(sold: Floats, hoped: Floats, cell: Ints, count: float, share: float) -> float:
    """Variance of the relative error that a category's products share, by moments, at most `share`.

    Of a category's total F = sum f the relative error has variance c (1 - h) + count / F + share h, with
    h = sum f² / F² and c what is looked for.
    """
    got, total, square = (np.bincount(cell, part) for part in (sold, hoped, np.square(hoped)))
    kept = total > count
    if not kept.any():
        return min(DEFAULT_CATEGORY**2, share)
    concentration = square[kept] / total[kept] ** 2
    error = np.square(got[kept] / total[kept] - 1.0)
    excess = float((error - count / total[kept] - share * concentration).sum())
    spread = float((1.0 - concentration).sum())
    return float(np.clip(excess / spread if spread > 1e-9 else 0.0, 0.0, share))


def _variance_law(square: Floats, hoped: Floats) -> tuple[float, float]:
    """(a, b) of E[(y - f)²] = a f + b f², least squares in classes of volume, weighted by their relative error."""
    order = np.argsort(hoped, kind="stable")
    classes = [part for part in np.array_split(order, min(12, max(len(order) // 20, 1))) if part.size]
    f = np.array([hoped[part].mean() for part in classes])
    f2 = np.array([np.square(hoped[part]).mean() for part in classes])
    v = np.array([square[part].mean() for part in classes])
    scale = 1.0 / np.maximum(v, 1e-9)
    design = np.column_stack([f * scale, f2 * scale])
    from scipy.optimize import nnls

    (count, share), _ = nnls(design, v * scale)
    return float(count), float(share)
