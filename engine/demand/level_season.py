"""The season of each category: what of a week's demand comes back every year.

Trees see two years as two examples of a season and learn little from them. Two harmonics for each category, drawn
towards the shop's, need five figures (West and Harrison, Bayesian Forecasting and Dynamic Models, 1997, chapter 8, for
the Fourier form). They are read from the category's weekly units, promotions, prices and each series' own level taken
out; neighbouring weeks share shocks, so the figures count as known as well as an autoregressive error says.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.demand.level_filter import pooled_effects

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

YEAR_WEEKS = 365.25 / 7
HARMONICS = 2
LEAST_WEEKS = 78
"""Shorter panels cannot tell a season from a trend and from chance."""
ROUNDS = 2
"""Promotions follow the season and the season is read net of promotions: each is found again given the other."""
LARGEST_PERSISTENCE = 0.9
LEAST_SPREAD = 1e-3
"""Variance of log demand that categories' harmonics are at least allowed."""


def pooled_with_season(units: Floats, usable: Bools, seen: Floats, group: Ints, own: Bools) -> tuple[Floats, Floats]:
    """Effects common to all series, and the season of each group, each net of the other.

    Args:
        units: (S, T).
        usable: (S, T) cells that may be used.
        seen: (S, T, K) drivers.
        group: (S,) category 0…G-1.
        own: (K,) False: the driver is left out.

    Returns:
        (K,) effects, 0 where left out; (G, 2 · HARMONICS) season, 0 where the panel is too short for one.
    """
    kept = np.where(own, seen, 0.0)
    season = np.zeros((int(group.max(initial=-1)) + 1, 2 * HARMONICS))
    effects = np.where(own, pooled_effects(units, usable, kept), 0.0)
    if int(usable.any(axis=0).sum()) < LEAST_WEEKS:
        return effects, season
    for _ in range(ROUNDS):
        season = _seasons(units, usable, kept @ effects, group)
        path = season[group] @ harmonics(np.arange(units.shape[1])).T
        effects = np.where(own, pooled_effects(units, usable, kept, known=path), 0.0)
    return effects, season


def harmonics(week: Ints) -> Floats:
    """(W, 2 · HARMONICS) sine and cosine of the weeks' place in the year, and of its fractions."""
    angle = 2 * np.pi * week / YEAR_WEEKS
    return np.column_stack([wave(k * angle) for k in range(1, HARMONICS + 1) for wave in (np.sin, np.cos)])


def _seasons(units: Floats, usable: Bools, effect: Floats, group: Ints) -> Floats:
    """(G, 2 · HARMONICS) harmonics of the groups' log demand, each drawn towards their mean."""
    index, weeks = _group_index(units, usable, effect, group)
    clock = np.linspace(-0.5, 0.5, len(weeks))
    design = np.column_stack([np.ones(len(weeks)), clock, harmonics(weeks)])
    own = index @ np.linalg.pinv(design).T
    left = index - own @ design.T
    variance = np.maximum(_long_run(left), 1e-6)
    inverse = np.linalg.inv(design.T @ design)[2:, 2:]
    own = own[:, 2:]
    noise = variance[:, None, None] * inverse
    weight = 1.0 / (np.diagonal(noise, axis1=1, axis2=2) + LEAST_SPREAD)
    mean = (weight * own).sum(axis=0) / weight.sum(axis=0)
    return _drawn_together(own, noise, mean)


def _drawn_together(own: Floats, noise: Floats, mean: Floats) -> Floats:
    """(G, J) posterior means of the groups' coefficients; the spread of each harmonic by moments (Morris 1983)."""
    away = own - mean
    excess = away**2 - np.diagonal(noise, axis1=1, axis2=2)
    pairs = excess.reshape(len(own), HARMONICS, 2).mean(axis=(0, 2))
    spread = np.repeat(np.maximum(pairs, LEAST_SPREAD), 2)
    gain = np.linalg.solve(noise + np.diag(spread), np.broadcast_to(np.diag(spread), noise.shape))
    return np.asarray(mean + np.einsum("gji,gj->gi", gain, away), dtype=np.float64)


def _group_index(units: Floats, usable: Bools, effect: Floats, group: Ints) -> tuple[Floats, Ints]:
    """(G, W) log of a group's units over what its series' levels and drivers expect, and the weeks that have any."""
    sold = np.where(usable, units, 0.0)
    rate = np.where(usable, np.exp(np.clip(effect, -5.0, 5.0)), 0.0)
    total = rate.sum(axis=1)
    level = np.divide(sold.sum(axis=1), total, out=np.zeros(len(total)), where=total > 0)
    ones = np.zeros((int(group.max()) + 1, units.shape[1]))
    got, hoped = ones.copy(), ones.copy()
    np.add.at(got, group, sold)
    np.add.at(hoped, group, rate * level[:, None])
    weeks = np.flatnonzero(hoped.sum(axis=0) > 0)
    return np.log((got[:, weeks] + 1.0) / (hoped[:, weeks] + 1.0)), weeks


def _long_run(left: Floats) -> Floats:
    """(G,) variance of residuals (G, W), made larger as neighbouring weeks go together (first-order autoregression)."""
    variance = left.var(axis=1)
    pair = (left[:, 1:] * left[:, :-1]).mean(axis=1).sum() / max(float(variance.sum()), 1e-12)
    persistence = float(np.clip(pair, 0.0, LARGEST_PERSISTENCE))
    return np.asarray(variance * (1 + persistence) / (1 - persistence), dtype=np.float64)
