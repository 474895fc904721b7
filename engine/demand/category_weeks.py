"""Category weeks: how demand of a whole category moved from week to week, held against its prices.

The counts are fitted with free effects of every category and week, so what the prices of the rest of a category do to
a product lies in those effects. Here they are regressed on a price index of the category. Errors of neighbouring weeks
go together: the regression is prewhitened with one autocorrelation for the shop (Prais & Winsten 1954) and its variance
is the larger of the classical and that of Newey & West on prewhitened scores (Andrews & Monahan, Econometrica 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.channels import PROMOTION, Channels
from engine.demand.controls import WEEKS_FOR_SEASON, YEAR_WEEKS
from engine.demand.counts import CountFit
from engine.demand.noise import long_run_variance
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GROUPS_FOR_WEEKS = 5
"""With this many groups the weeks they have in common are taken out."""
LEAST_WEIGHT = 0.2
"""A week effect that its data know less well than this share is not used."""
LARGEST_PERSISTENCE = 0.9
LEAST_SPARE_WEEKS = 8
"""Weeks beyond the number of regressors below which a category tells nothing."""
LEAST_INFORMATION = 1e-3


@dataclass(frozen=True)
class CategoryWeeks:
    """Week effects of G groups of products over T weeks, ready to be held against a price index."""

    effect: Floats
    """(G, T) log demand, the weeks common to all groups taken out."""
    weight: Floats
    """(G, T) how well each is known, 0…1; 0 where it is not used."""
    known: Floats
    """(G, T, q) what else moves it: constant, trend, season, index of promotions."""
    persistence: float
    """Autocorrelation of the errors from week to week."""
    common: bool
    """The weeks that all groups have in common were taken out, and are to be taken out of an index too."""


@dataclass(frozen=True)
class IndexFit:
    """Elasticity of the demand of G groups to an index of their prices."""

    estimate: Floats
    """(G,) 0 where the data say nothing."""
    variance: Floats
    """(G,) infinite where the data say nothing."""
    log_likelihood: Floats
    """(G,) at the estimate, above that without the index."""


def category_weeks(panel: Panel, channels: Channels, fit: CountFit) -> CategoryWeeks:
    """Take the week effects out of fitted counts."""
    trust = fit.group_weight / (fit.group_weight + fit.group_ridge)
    weight = np.where(trust >= LEAST_WEIGHT, trust, 0.0)
    effect = np.divide(fit.group_effect, trust, out=np.zeros_like(trust), where=weight > 0)
    groups, weeks = effect.shape
    common = groups >= GROUPS_FOR_WEEKS
    if common:
        effect = effect - np.median(effect, axis=0)
    promoted = price_index(panel, channels, fit, channels.column(PROMOTION), series_revenue(panel, channels))
    calendar = np.broadcast_to(_calendar(weeks), (groups, weeks, _calendar(weeks).shape[1]))
    raw = CategoryWeeks(effect, weight, np.concatenate([calendar, promoted[:, :, None]], axis=2), 0.0, common)
    index = everyday_index(panel, channels, fit, series_revenue(panel, channels))
    return CategoryWeeks(effect, weight, raw.known, _persistence(raw, index), common)


def series_revenue(panel: Panel, channels: Channels) -> Floats:
    """(S,) revenue of each series over its usable weeks."""
    return np.asarray(np.where(channels.usable, panel.units * panel.price, 0.0).sum(axis=1), dtype=np.float64)


def everyday_index(panel: Panel, channels: Channels, fit: CountFit, weight: Floats) -> Floats:
    """(G, T) index of everyday prices and random moves, series weighted by `weight` (S,)."""
    return price_index(panel, channels, fit, channels.values.sum(axis=2) - channels.column(PROMOTION), weight)


def price_index(panel: Panel, channels: Channels, fit: CountFit, log_price: Floats, weight: Floats) -> Floats:
    """(G, T) index of (S, T) log prices in each group, each series against its own mean, weighted by (S,) weights."""
    usable = channels.usable
    count = np.maximum(usable.sum(axis=1, keepdims=True), 1)
    moved = log_price - np.where(usable, log_price, 0.0).sum(axis=1, keepdims=True) / count
    group = fit.design.group[panel.series_product]
    index, mass = np.zeros(fit.group_effect.shape), np.zeros(fit.group_effect.shape)
    has = group >= 0
    heavy = weight[:, None] * usable
    np.add.at(index, group[has], (heavy * moved)[has])
    np.add.at(mass, group[has], heavy[has])
    return np.divide(index, mass, out=np.zeros_like(index), where=mass > 0)


def regress(weeks: CategoryWeeks, index: Floats) -> IndexFit:
    """Regress the week effects of each group on its index (G, T), net of what else is known."""
    moved = index - index.mean(axis=0) if weeks.common else index
    found = [_one_group(weeks, moved[g], g) for g in range(len(index))]
    columns = np.array(found, dtype=np.float64).reshape(-1, 3).T
    return IndexFit(columns[0], columns[1], columns[2])


def _one_group(weeks: CategoryWeeks, index: Floats, g: int) -> tuple[float, float, float]:
    both, spare = _net(weeks, np.column_stack([weeks.effect[g], index]), g)
    information = float(both[:, 1] @ both[:, 1])
    if spare < LEAST_SPARE_WEEKS or information < LEAST_INFORMATION:
        return 0.0, np.inf, 0.0
    estimate = float(both[:, 1] @ both[:, 0]) / information
    left = both[:, 0] - estimate * both[:, 1]
    square, whole = max(float(left @ left), 1e-12), max(float(both[:, 0] @ both[:, 0]), 1e-12)
    robust = float(long_run_variance((left * both[:, 1])[None, :, None])[0, 0]) * len(left) / spare
    variance = max(square / spare / information, robust / information**2)
    return estimate, variance, -0.5 * spare * float(np.log(square / whole))


def _net(weeks: CategoryWeeks, columns: Floats, g: int) -> tuple[Floats, int]:
    """Columns (T, n) prewhitened, weighted and net of what is known; and the weeks to spare."""
    root = np.sqrt(weeks.weight[g])
    rows = np.minimum(root, np.r_[root[:1], root[:-1]])[:, None]
    known = rows * _whitened(weeks.known[g], weeks.persistence)
    moved = rows * _whitened(columns, weeks.persistence)
    solved, *_ = np.linalg.lstsq(known, moved, rcond=None)
    return moved - known @ solved, int((rows > 0).sum()) - known.shape[1] - 1


def _whitened(columns: Floats, persistence: float) -> Floats:
    """(T, n) columns less what the week before foretells of them."""
    first = np.sqrt(1.0 - persistence**2) * columns[:1]
    return np.concatenate([first, columns[1:] - persistence * columns[:-1]])


def _persistence(weeks: CategoryWeeks, index: Floats) -> float:
    """Autocorrelation of what index and calendar leave of the week effects, over all groups.

    Regressors take some of it away; what they take on average, about (1 + 3 r) / T for each of a few, is given back
    (Kendall 1954, for the mean).
    """
    moved = index - index.mean(axis=0) if weeks.common else index
    above = below = 0.0
    for g in range(len(index)):
        both, spare = _net(weeks, np.column_stack([weeks.effect[g], moved[g]]), g)
        information = float(both[:, 1] @ both[:, 1])
        if spare < LEAST_SPARE_WEEKS:
            continue
        slope = float(both[:, 1] @ both[:, 0]) / information if information > LEAST_INFORMATION else 0.0
        left = both[:, 0] - slope * both[:, 1]
        above, below = above + float(left[1:] @ left[:-1]), below + float(left @ left)
    plain = above / below if below > 0 else 0.0
    lost = weeks.known.shape[2] / 2 * (1 + 3 * plain) / max(index.shape[1], 1)
    return float(np.clip(plain + lost, 0.0, LARGEST_PERSISTENCE))


def _calendar(weeks: int) -> Floats:
    """(T, q) constant, trend and the season: waves where there is more than a year, else a cubic."""
    clock = np.arange(weeks)
    trend = clock / max(weeks, 1) - 0.5
    columns = [np.ones(weeks), trend]
    if weeks < WEEKS_FOR_SEASON:
        columns += [trend**2, trend**3]
    else:
        angle = 2 * np.pi * clock / YEAR_WEEKS
        columns += [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    return np.column_stack(columns)
