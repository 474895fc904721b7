"""A Poisson regression for each series, whose level drifts from week to week, filtered forward in time.

For series s in week t with drivers x (discount, everyday price, leaflet, display):

    units_st ~ mean μ_st, variance μ_st + α μ_st²,   log μ_st = level_st + x_st · effect_s
    level_st = level_s,t-1 + noise,   effect_s = constant, drawn around the shop's pooled effects

This is the dynamic generalised linear model of West, Harrison and Migon (JASA 1985), with the posterior mode of each
week's linear predictor in place of their conjugate step. What stands at week t has seen weeks up to t only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DISPERSION = 0.15
"""Extra variance of weekly counts beyond Poisson, as a share of the squared mean, before the data speak."""
NEW_LEVEL_VARIANCE = 2.0
"""Variance of a new series' log level around its category's."""
EFFECT_SD = (1.0, 1.0, 0.5, 0.5)
"""Spread of the series' own effects around the pooled ones: discount, everyday price, leaflet, display."""
DRIVERS = ("discount", "regular", "mailer", "display")
MAX_LOG_UNITS = 20.0
NEWTON_STEPS = 6


@dataclass(frozen=True)
class Noise:
    """What the filter takes for chance."""

    step: float = 0.005
    """Variance of the weekly step of the log level (.005: about 7 % a week)."""
    dispersion: float = DISPERSION
    """α: extra variance of weekly counts beyond Poisson, as a share of the squared mean."""


USUAL_NOISE = Noise()


@dataclass(frozen=True)
class Filtered:
    """The state of every series as of each week."""

    level: Floats
    """(S, T) log units at no discount, no promotion and the everyday price of the series' first week."""
    effects: Floats
    """(S, T, K) effect of each driver on log units."""
    level_variance: Floats
    """(S, T) variance of `level`."""

    def log_mean(self, as_of: Ints, drivers: Floats) -> Floats:
        """(S, W) expected log units at planned `drivers` (S, W, K), from the state as of the weeks `as_of` (W,).

        A price effect that was estimated above zero counts as zero: no forecast rises with its own price.
        """
        effects = self.effects[:, as_of].copy()
        effects[:, :, :2] = np.minimum(effects[:, :, :2], 0.0)
        eta = self.level[:, as_of] + np.einsum("swk,swk->sw", effects, drivers)
        return np.asarray(np.clip(eta, -MAX_LOG_UNITS, MAX_LOG_UNITS), dtype=np.float64)


def pooled_effects(
    units: Floats, usable: Bools, drivers: Floats, *, known: Floats | None = None, ridge: float = 5.0, steps: int = 15
) -> Floats:
    """Effects common to all series: Poisson regression with a constant for each series, weighted for overdispersion.

    The constants are profiled out (Hausman, Hall and Griliches, Econometrica 1984). Price effects above zero are
    taken as zero.

    Args:
        units: (S, T).
        usable: (S, T) cells that may be used.
        drivers: (S, T, K).
        known: (S, T) log factor of demand that is given, such as a season; None: none.
        ridge: precision of a normal prior around zero.
        steps: Newton steps.

    Returns:
        (K,) effects on log units.
    """
    effects = np.zeros(drivers.shape[-1])
    sold = np.where(usable, units, 0.0).sum(axis=1)
    given = np.zeros(units.shape) if known is None else known
    for _ in range(steps):
        rate = np.where(usable, np.exp(np.clip(drivers @ effects + given, -5.0, 5.0)), 0.0)
        mean = rate * np.divide(sold, rate.sum(axis=1), out=np.zeros_like(sold), where=sold > 0)[:, None]
        step = _newton_step(np.where(usable, units, 0.0), mean, drivers, effects, ridge)
        effects = effects + np.clip(step, -1.0, 1.0)
        if np.abs(step).max(initial=0.0) < 1e-8:
            break
    effects[:2] = np.minimum(effects[:2], 0.0)
    return np.asarray(np.clip(effects, -6.0, 6.0), dtype=np.float64)


def _newton_step(units: Floats, mean: Floats, drivers: Floats, effects: Floats, ridge: float) -> Floats:
    weight = 1.0 / (1.0 + DISPERSION * mean)
    total = np.maximum(mean.sum(axis=1), 1e-9)
    centred = drivers - (np.einsum("st,stk->sk", mean, drivers) / total[:, None])[:, None]
    score = np.einsum("stk,st->k", centred, (units - mean) * weight) - ridge * effects
    information = np.einsum("stk,st,stl->kl", centred, mean * weight, centred) + ridge * np.eye(len(effects))
    return np.asarray(np.linalg.solve(information, score), dtype=np.float64)


def filter_series(
    units: Floats,
    usable: Bools,
    live: Bools,
    drivers: Floats,
    pooled: Floats,
    group: Ints,
    *,
    own: Bools,
    season: Floats | None = None,
    noise: Noise = USUAL_NOISE,
) -> Filtered:
    """Filter all series forward; a series that is not yet live carries its group's mean level.

    Args:
        units: (S, T).
        usable: (S, T) cells that are evidence; in the others the state only grows less certain.
        live: (S, T) from the first week in which the series was on sale.
        drivers: (S, T, K).
        pooled: (K,) effects that the series' own ones spread around.
        group: (S,) group (category) 0…G-1.
        own: (K,) False: the series keeps the pooled effect.
        season: (S, T) log factor of demand that comes with the week; None: none.
        noise: what counts as chance (`level_noise.choose_noise`).
    """
    state, variance = _initial(len(units), pooled, own)
    n_weeks = units.shape[1]
    levels, spread = np.zeros(units.shape), np.zeros(units.shape)
    effects = np.zeros((*units.shape, len(pooled)))
    before = np.zeros(len(units), dtype=bool)
    for t in range(n_weeks):
        state[:, 0] = np.where(
            before, state[:, 0], _newcomer_level(state[:, 0], before, units[:, t], usable[:, t], group)
        )
        variance[:, 0, 0] += np.where(before, noise.step, 0.0)
        seen = np.column_stack([np.ones(len(units)), drivers[:, t]])
        given = season[:, t] if season is not None else np.zeros(len(units))
        _observe(state, variance, seen, given, units[:, t], usable[:, t] & live[:, t], noise.dispersion)
        before = before | live[:, t]
        levels[:, t], effects[:, t], spread[:, t] = state[:, 0], state[:, 1:], variance[:, 0, 0]
    return Filtered(level=levels, effects=effects, level_variance=spread)


def _initial(n_series: int, pooled: Floats, own: Bools) -> tuple[Floats, Floats]:
    width = len(pooled) + 1
    state = np.zeros((n_series, width))
    state[:, 1:] = pooled
    variance = np.zeros((n_series, width, width))
    variance[:, 0, 0] = NEW_LEVEL_VARIANCE
    for k, sd in enumerate(EFFECT_SD):
        variance[:, k + 1, k + 1] = sd**2 if own[k] else 0.0
    return state, variance


def _newcomer_level(level: Floats, before: Bools, units: Floats, usable: Bools, group: Ints) -> Floats:
    """(S,) level at which a series starts: its group's mean, or that of all; in the first week, this week's sales."""
    if not before.any():
        first = units[usable].mean() if usable.any() else 1.0
        return np.full(len(level), np.log(first + 0.1) - 0.5)
    count = np.bincount(group, weights=before, minlength=group.max() + 1)
    total = np.bincount(group, weights=np.where(before, level, 0.0), minlength=group.max() + 1)
    overall = level[before].mean()
    return np.asarray(((total + overall) / (count + 1.0))[group], dtype=np.float64)


def _observe(
    state: Floats, variance: Floats, seen: Floats, given: Floats, units: Floats, usable: Bools, dispersion: float
) -> None:
    """Move states (S, K+1) and variances in place to the posterior mode given this week's counts."""
    gain = np.einsum("skl,sl->sk", variance, seen)
    prior = np.maximum(np.einsum("sk,sk->s", seen, gain), 1e-12)
    mean = np.exp(np.clip(np.einsum("sk,sk->s", seen, state) + given, -8.0, MAX_LOG_UNITS))
    shift, information = _posterior_mode(mean, prior, units, dispersion)
    state += np.where(usable, shift / prior, 0.0)[:, None] * gain
    shrink = np.where(usable, information / (1.0 + prior * information), 0.0)
    variance -= shrink[:, None, None] * np.einsum("sk,sl->skl", gain, gain)


def _posterior_mode(mean: Floats, prior: Floats, units: Floats, dispersion: float) -> tuple[Floats, Floats]:
    """Shift of log μ at the posterior mode, and the information of the count there (negative binomial quasi-score)."""
    shift = np.zeros_like(mean)
    for _ in range(NEWTON_STEPS):
        now = mean * np.exp(shift)
        slope = (units - now) / (1.0 + dispersion * now) - shift / prior
        curve = now * (1.0 + dispersion * units) / (1.0 + dispersion * now) ** 2 + 1.0 / prior
        shift = np.clip(shift + slope / curve, -4.0, 4.0)
    now = mean * np.exp(shift)
    return shift, now / (1.0 + dispersion * now)
