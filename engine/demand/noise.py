"""Noise of the product estimates: how far each would move if the weeks were drawn again.

Counts of neighbouring weeks and of stores in the same week move together, so the model's own information promises too
much. The variance of a product's weekly scores (stores summed within the week) with Bartlett weights over lags (Newey &
West, Econometrica 1987) is compared with the model's; the ratio, noisy for a product with few moves, is
averaged with the shop's ratio by the number of weeks that speak (as Smyth, SAGMB 2004, moderates variances).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.demand.counts import CHANNEL_PRIOR_SD, CountFit

Floats = npt.NDArray[np.float64]

LAGS = 4
PRIOR_WEEKS = 20.0
"""The shop's ratio counts as much as this many informative weeks of the product's own."""
LARGEST_LEVERAGE = 0.7
INFLATION_RANGE = (0.6, 8.0)
LARGEST_SE = 10.0
"""A channel with a larger standard error than this carries no information."""


def weekly_scores(fit: CountFit, moves: Floats) -> Floats:
    """(P, T, K) score of each product in each week, stores summed, for (S, T, K) residual moves."""
    by_series = fit.score[:, :, None] * moves
    out = np.zeros((fit.design.n_products, *moves.shape[1:]))
    np.add.at(out, fit.design.product, by_series)
    return out


def long_run_variance(scores: Floats, lags: int = LAGS) -> Floats:
    """(P, K) variance of the sum over weeks of (P, T, K) scores, Bartlett weights."""
    variance: Floats = (scores**2).sum(axis=1)
    for lag in range(1, min(lags, scores.shape[1] - 1) + 1):
        weight = 1.0 - lag / (lags + 1.0)
        variance = variance + 2.0 * weight * (scores[:, lag:] * scores[:, :-lag]).sum(axis=1)
    kept: Floats = np.maximum(variance, 0.0)
    return kept


def informative_weeks(fit: CountFit, moves: Floats) -> Floats:
    """(P, K) effective number of weeks in which the price moves: (sum of m)² / sum of m² over weekly information m."""
    weekly = np.zeros((fit.design.n_products, *moves.shape[1:]))
    np.add.at(weekly, fit.design.product, fit.weight[:, :, None] * moves**2)
    square = (weekly**2).sum(axis=1)
    return np.asarray(
        np.divide(weekly.sum(axis=1) ** 2, square, out=np.zeros(square.shape), where=square > 0), dtype=np.float64
    )


def leverage(fit: CountFit, moves: Floats, inverse: Floats) -> Floats:
    """(P, T) how much of each week's residual its own moves have explained away, at most `LARGEST_LEVERAGE`.

    Residuals of the few weeks that decide an estimate are too small; dividing them by 1 - leverage undoes it (HC3:
    MacKinnon & White, Journal of Econometrics 1985).
    """
    by_series = np.matmul(moves, inverse[fit.design.product])
    own = fit.weight * (by_series * moves).sum(axis=2)
    total = np.zeros((fit.design.n_products, own.shape[1]))
    np.add.at(total, fit.design.product, own)
    return np.clip(total, 0.0, LARGEST_LEVERAGE)


def variance_inflation(fit: CountFit, moves: Floats, inverse: Floats, has: npt.NDArray[np.bool_]) -> Floats:
    """(P, K) robust over model variance of each coefficient, averaged with the shop's.

    Args:
        fit: fitted counts.
        moves: (S, T, K) residual moves.
        inverse: (P, K, K) inverse information.
        has: (P, K) where there is information.
    """
    influence = np.matmul(weekly_scores(fit, moves), inverse) / (1.0 - leverage(fit, moves, inverse))[:, :, None]
    weeks = np.maximum((fit.weight > 0).sum(axis=1).max(initial=0), 1)
    used = fit.design.controls.shape[2] + 2.0
    robust = long_run_variance(influence) * weeks / max(weeks - used, 0.5 * weeks)
    model = np.maximum(np.diagonal(inverse, axis1=1, axis2=2), 1e-12)
    ratio = np.clip(robust / model, 0.05, 50.0)
    count = np.where(has, informative_weeks(fit, moves), 0.0)
    total = count.sum(axis=0)
    pooled = np.where(total > 0, (count * ratio).sum(axis=0) / np.maximum(total, 1e-12), 1.0)
    moderated = (PRIOR_WEEKS * pooled + count * ratio) / (PRIOR_WEEKS + count)
    bounded: Floats = np.clip(moderated, *INFLATION_RANGE)
    return bounded


def noise_precision(fit: CountFit) -> Floats:
    """(P, K, K) inverse noise covariance of `fit.coefficient`; zero rows for channels that say nothing."""
    information = fit.information
    n_channels = information.shape[1]
    diagonal = np.diagonal(information, axis1=1, axis2=2)
    has = diagonal > LARGEST_SE**-2
    safe = np.where(has[:, :, None] & has[:, None, :], information, 0.0)
    safe = safe + np.where(has, 1e-9 * diagonal, 1.0)[:, :, None] * np.eye(n_channels)
    inverse = np.linalg.inv(safe)
    scale = 1.0 / np.sqrt(variance_inflation(fit, fit.residual_moves, inverse, has))
    scale = np.where(has, scale, 0.0)
    precision: Floats = safe * scale[:, :, None] * scale[:, None, :]
    return precision


def unshrunken(fit: CountFit) -> Floats:
    """(P, K) coefficients without the loose pull towards the shop's mean that kept the fit stable."""
    k = fit.information.shape[1]
    held = np.eye(k) / CHANNEL_PRIOR_SD**2
    diagonal = np.diagonal(fit.information, axis1=1, axis2=2)
    has = diagonal > LARGEST_SE**-2
    safe = np.where(has[:, :, None] & has[:, None, :], fit.information, 0.0)
    safe = safe + np.where(has, 1e-9, 1.0)[:, :, None] * np.eye(k)
    gap = np.where(has, fit.coefficient - fit.channel_mean, 0.0)
    return fit.coefficient + np.linalg.solve(safe, np.matmul(held, gap[:, :, None]))[:, :, 0]
