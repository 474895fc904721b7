"""How fast demand drifts and how far its counts scatter, chosen by what the filter would have forecast.

A filter that expects large steps follows every chance of the last weeks, one that expects small ones is late where
demand moves. Which is right differs by shop by a factor of twenty, and the past tells: of a grid of variances the pair
is taken under which the counts were most likely, each seen one, two, four … weeks before, up to the horizon (the
predictive likelihood of West and Harrison, Bayesian Forecasting and Dynamic Models, 1997, chapter 10).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from engine.demand.level_features import series_groups
from engine.demand.level_filter import USUAL_NOISE, Filtered, Noise, filter_series
from engine.demand.level_plan import drivers, first_everyday_price, live_cells, plan_of, usable_cells
from engine.demand.level_season import harmonics
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

STEPS = (0.02, 0.01, 0.005, 0.0025, 0.001, 0.0005, 0.0002, 0.0001, 0.00005)
DISPERSIONS = (0.1, 0.3)
SCATTERS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
"""Dispersion of a count around its forecast: the largest likelihood over these counts for a candidate."""
MAX_SERIES = 600
"""More series than this are thinned out evenly."""
WARM_UP = 13
"""Weeks that the filter is given before its forecasts count."""
LEAST_TARGETS = 8


def choose_noise(panel: Panel, pooled: Floats, own: Bools, season: Floats, horizons: Sequence[int]) -> Noise:
    """The noise under which the past was forecast best.

    Args:
        panel: S series by T weeks.
        pooled: (4,) effects of the drivers common to all series.
        own: (4,) whether the series have their own effect.
        season: (S, J) harmonics of the series' yearly season.
        horizons: weeks ahead that count alike.

    Returns:
        the filter's usual noise where the panel is too short to tell.
    """
    n_weeks = panel.units.shape[1]
    targets = np.arange(WARM_UP + max(horizons), n_weeks)
    if len(targets) < LEAST_TARGETS:
        return USUAL_NOISE
    kept = np.unique(np.linspace(0, len(panel.units) - 1, MAX_SERIES).round().astype(np.int64))
    usable, live, anchor = usable_cells(panel)[kept], live_cells(panel)[kept], first_everyday_price(panel)[kept]
    seen = drivers(plan_of(panel), first_everyday_price(panel))[kept]
    units = np.where(usable, panel.units[kept], 0.0)
    path = season[kept] @ harmonics(np.arange(n_weeks)).T
    group = series_groups(panel)[kept]
    counted = usable[:, targets] & np.isfinite(anchor[:, targets - max(horizons)])

    @functools.cache
    def score(dispersion: float, step: int) -> float:
        noise = Noise(STEPS[step], dispersion)
        filtered = filter_series(units, usable, live, seen, pooled, group, own=own, season=path, noise=noise)
        return sum(
            log_likelihood(units[:, targets][counted], _expected(filtered, targets, ahead, seen, path)[counted])
            for ahead in horizons
        )

    tops = [(_climb(functools.partial(score, dispersion)), dispersion) for dispersion in DISPERSIONS]
    step, dispersion = max(tops, key=lambda top: score(top[1], top[0]))
    return Noise(STEPS[step], dispersion)


def _climb(score: Callable[[int], float]) -> int:
    """Position in `STEPS` that scores better than both its neighbours, uphill from the usual step."""
    at = STEPS.index(USUAL_NOISE.step)
    while True:
        best = max((k for k in (at, at - 1, at + 1) if 0 <= k < len(STEPS)), key=score)
        if best == at:
            return at
        at = best


def _expected(filtered: Filtered, targets: Ints, ahead: int, seen: Floats, path: Floats) -> Floats:
    """(S, W) units expected in the target weeks, seen `ahead` weeks before."""
    return np.asarray(np.exp(filtered.log_mean(targets - ahead, seen[:, targets]) + path[:, targets]))


def log_likelihood(units: Floats, expected: Floats) -> float:
    """Of (n,) negative binomial counts with these means, the scatter that suits them best; up to a constant."""
    from scipy.special import gammaln

    size = 1.0 / SCATTERS
    constant = np.array([gammaln(units + k).sum() - units.size * gammaln(k) for k in size])
    log_mean = float((units * np.log(expected)).sum())
    spread = [float((units * np.log(a) - (units + 1.0 / a) * np.log1p(a * expected)).sum()) for a in SCATTERS]
    return float((constant + log_mean + np.array(spread)).max())
