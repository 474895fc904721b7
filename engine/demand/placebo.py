"""Placebos: price paths that cannot have moved a product's sales, put through the same estimate.

What they "find" is noise, or what the method lets through. Their z-scores calibrate the standard errors (empirical
calibration with negative controls: Schuemie et al., Statistics in Medicine 2014) and, drawn anew, test them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.demand.channels import Channels
from engine.demand.counts import CountFit
from engine.demand.noise import variance_inflation
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_INFORMATION = 0.05
"""A placebo whose standard error would exceed 1 / sqrt of this says nothing and is left out."""


PLACEBO_SCORES = 1500
"""About how many placebo scores the calibration draws."""
TRUSTED_SCORES = 100.0
"""The calibration counts as much as the plain standard errors when it rests on this many scores."""
CALIBRATION_RANGE = (1.0, 10.0)


@dataclass(frozen=True)
class PlaceboScores:
    """(P, K) one-step estimates of placebo elasticities, and their standard errors; inf where there is nothing."""

    estimate: Floats
    se: Floats

    @property
    def z(self) -> Floats:
        """All informative z-scores, in one row for each channel's products with NaN elsewhere: (P, K)."""
        return np.where(np.isfinite(self.se), self.estimate / self.se, np.nan)


def placebo_scores(fit: CountFit, paths: Floats) -> PlaceboScores:
    """Estimate each extra path's elasticity, one at a time, from the fitted model by one Newton step.

    The residuals that the standard error rests on have the placebo taken out, as a product's own residuals have its
    own moves taken out: the few weeks that speak would otherwise look noisier for a placebo than for the real thing.

    Args:
        fit: fitted counts.
        paths: (S, T, K) log price moves of K placebo channels.
    """
    estimate = np.zeros((fit.design.n_products, paths.shape[2]))
    se = np.full(estimate.shape, np.inf)
    for k in range(paths.shape[2]):
        moves, information = fit.net_of_all(paths[:, :, k])
        has = information > LEAST_INFORMATION
        inverse = 1.0 / np.where(has, information, 1.0)
        slope = np.bincount(fit.design.product, weights=(fit.score * moves).sum(axis=1), minlength=len(has))
        estimate[:, k] = slope * inverse
        fitted = replace(fit, score=fit.score - fit.weight * moves * estimate[fit.design.product, k][:, None])
        inflation = variance_inflation(fitted, moves[:, :, None], inverse[:, None, None], has[:, None])[:, 0]
        se[:, k] = np.where(has, np.sqrt(inflation * inverse), np.inf)
    return PlaceboScores(estimate, se)


def strangers(panel: Panel, group: Ints, rng: np.random.Generator) -> Ints:
    """(P,) a random other product from another group for each product; -1 where there is none."""
    n = panel.n_products
    out = np.full(n, -1, dtype=np.int64)
    for i in range(n):
        others = np.flatnonzero(group != group[i])
        if others.size:
            out[i] = rng.choice(others)
    return out


def borrowed_paths(panel: Panel, channels: Channels, group: Ints, rng: np.random.Generator) -> Floats:
    """(S, T, K) price moves of a product from another group, in the same store where it is sold there.

    Where there is no other group: the product's own moves, shifted in time by a quarter to three quarters of the weeks.
    """
    stranger = strangers(panel, group, rng)
    weeks = channels.usable.shape[1]
    shift = int(rng.integers(max(weeks // 4, 1), max(3 * weeks // 4, 2)))
    out = np.roll(channels.values, shift, axis=1)
    place = {
        (int(p), str(s)): row for row, (p, s) in enumerate(zip(panel.series_product, panel.series_store, strict=True))
    }
    first = {int(p): row for row, p in reversed(list(enumerate(panel.series_product)))}
    for row, (product, store) in enumerate(zip(panel.series_product, panel.series_store, strict=True)):
        other = int(stranger[product])
        if other >= 0 and other in first:
            out[row] = channels.values[place.get((other, str(store)), first[other])]
    return out


def draw_scores(panel: Panel, channels: Channels, fit: CountFit, rng: np.random.Generator) -> Floats:
    """(R, P, K) placebo z-scores of borrowed paths, about `PLACEBO_SCORES` in each channel; NaN: not informative."""
    rounds = int(np.clip(PLACEBO_SCORES // max(panel.n_products, 1), 2, 20))
    group = fit.design.group
    return np.stack([placebo_scores(fit, borrowed_paths(panel, channels, group, rng)).z for _ in range(rounds)])


def calibration(scores: Floats) -> Floats:
    """(K,) factor by which the noise variance of each channel's estimates must grow for placebos to behave.

    The 90 % quantile of |z| over its normal value, squared; averaged (in logs) with 1 by the number of scores.

    Args:
        scores: (R, P, K) of `draw_scores`.
    """
    factor = np.ones(scores.shape[2])
    for k in range(scores.shape[2]):
        z = np.abs(scores[:, :, k][np.isfinite(scores[:, :, k])])
        if z.size:
            found = 2.0 * np.log(max(float(np.quantile(z, 0.9)) / 1.645, 1e-3))
            factor[k] = np.exp(found * z.size / (z.size + TRUSTED_SCORES))
    return np.clip(factor, *CALIBRATION_RANGE)
