"""Curvature: how an elasticity changes along the demand curve.

    elasticity at price p = beta (p / p_ref)^kappa,    log demand = beta ((p / p_ref)^kappa - 1) / kappa + constant

kappa = 0 is the constant elasticity of log-log demand, kappa = 1 demand that is exponential in the price (semi-log),
and a logit with small shares lies just above 1 (the Box and Cox transform of the price, JRSS B 1964). To second order
the term it adds to log demand is kappa · beta x² / 2, with x the log move of a channel: one coefficient for the shop,
read from everyday moves, discounts and random moves together, net of everything else in the counts.

Being on offer may lift demand whatever the depth, and weeks may be chosen for an offer because they are good; both look
like curvature of the opposite sign. So each model is taken with and without a lift of its own for weeks on offer and
for random weeks, and the two are averaged by their marginal likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.channels import EXPERIMENT, PROMOTION, Channels
from engine.demand.counts import CountFit
from engine.panel import Panel

Floats = npt.NDArray[np.float64]

TYPICAL, TYPICAL_SD = 0.5, 0.5
"""Halfway between the two forms in use, and wide enough to hold both."""
CURVATURE_RANGE = (-0.5, 2.0)
LIFTS = (0.0, 0.05)
"""Standard deviation of the lift of a week on offer, in units of |beta|: none, and that of a further 5 % off."""
TINY_LIFT = 1e-4
OFFER_DEPTH = 0.02
"""Log discount from which a week counts as one on offer."""
LEAST_INFORMATION = 1e-6
LARGEST_SHIFT = 0.5


@dataclass(frozen=True)
class Curvature:
    """Posterior of the shop's curvature kappa."""

    mean: float
    sd: float
    shift: Floats
    """(P,) log of the everyday price in force over the mean price that the elasticities were estimated at."""

    def draws(self, n: int, rng: np.random.Generator) -> Floats:
        """(n,) draws, within CURVATURE_RANGE."""
        return np.clip(self.mean + self.sd * rng.standard_normal(n), *CURVATURE_RANGE)


def estimate_curvature(panel: Panel, channels: Channels, fit: CountFit, elasticity: Floats) -> Curvature:
    """Estimate the curvature that all products share.

    Args:
        panel: weekly sales and prices.
        channels: its prices, taken apart.
        fit: its counts, explained with constant elasticities.
        elasticity: (P, K) posterior mean by channel.
    """
    by_series = elasticity[panel.series_product]
    bends = [_bend(channels, fit, name) * by_series[:, None, k] for k, name in enumerate(channels.names)]
    lifts = _lifts(channels, np.abs(by_series[:, :1]))
    estimate, covariance = _coefficients(fit, np.stack([*bends, *lifts]))
    told = np.isfinite(estimate)
    is_bend = (np.arange(len(estimate)) < len(bends))[told]
    mean, sd = _average(estimate[told], covariance[np.ix_(told, told)], is_bend)
    return Curvature(mean, sd, _shift(panel, channels, fit))


def _centre(channels: Channels, fit: CountFit, name: str) -> Floats:
    """(S, 1) move of a channel that its elasticity is estimated at: none for offers, the mean for the others."""
    if name == PROMOTION:
        return np.zeros((len(channels.usable), 1))
    total = np.maximum(fit.weight.sum(axis=1, keepdims=True), 1e-12)
    return np.asarray((fit.weight * channels.column(name)).sum(axis=1, keepdims=True) / total)


def _bend(channels: Channels, fit: CountFit, name: str) -> Floats:
    """(S, T) half the squared move of a channel; 0 in cells that do not count."""
    moved = channels.column(name) - _centre(channels, fit, name)
    return np.where(channels.usable, moved**2 / 2, 0.0)


def _lifts(channels: Channels, size: Floats) -> list[Floats]:
    """(S, T) each: weeks on offer and, where there are such, weeks at a random price, times `size` (S, 1)."""
    on = [channels.column(PROMOTION) < -OFFER_DEPTH]
    if EXPERIMENT in channels.names:
        on.append(np.abs(channels.column(EXPERIMENT)) > OFFER_DEPTH)
    return [np.where(weeks & channels.usable, size, 0.0) for weeks in on]


def _coefficients(fit: CountFit, columns: Floats) -> tuple[Floats, Floats]:
    """One Newton step of pooled coefficients of (M, S, T) columns, from none; NaN where the data say nothing.

    Returns:
        (M,) and their covariance (M, M): that of the model, each coefficient widened to what the products' scores vary.
    """
    left = np.stack([fit.net_of_all(column)[0] for column in columns])
    information = np.einsum("mst,st,nst->mn", left, fit.weight, left) - _absorbed(fit, left)
    score = np.zeros((fit.design.n_products, len(columns)))
    np.add.at(score, fit.design.product, np.einsum("mst,st->sm", left, fit.score))
    known = np.diagonal(information) > LEAST_INFORMATION
    estimate, covariance = np.full(len(columns), np.nan), np.zeros_like(information)
    if not known.any():
        return estimate, covariance
    grid = np.ix_(known, known)
    inverse = np.linalg.pinv(information[grid], hermitian=True)
    wider = np.sqrt(np.maximum(1.0, (score[:, known] ** 2).sum(axis=0) / np.diagonal(information)[known]))
    estimate[known] = inverse @ score[:, known].sum(axis=0)
    covariance[grid] = inverse * wider[:, None] * wider[None, :]
    return estimate, covariance


def _absorbed(fit: CountFit, left: Floats) -> Floats:
    """(M, M) information that the group-week effects take from columns (M, S, T)."""
    group = fit.design.group[fit.design.product]
    has = group >= 0
    weeks = np.zeros((len(left), *fit.group_effect.shape))
    for m in range(len(left)):
        np.add.at(weeks[m], group[has], (fit.weight * left[m])[has])
    return np.asarray(np.einsum("mgt,gt,ngt->mn", weeks, 1.0 / (fit.group_weight + fit.group_ridge), weeks))


def _average(estimate: Floats, covariance: Floats, is_bend: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Posterior mean and sd of kappa over the models without and with lifts; `is_bend` (M,) marks its readings."""
    if not is_bend.any():
        return TYPICAL, TYPICAL_SD
    found = [_posterior(estimate, covariance, is_bend, max(lift, TINY_LIFT)) for lift in LIFTS]
    log_evidence, mean, variance = (np.array(column) for column in zip(*found, strict=True))
    belief = np.exp(log_evidence - log_evidence.max())
    belief = belief / belief.sum()
    middle = float(belief @ mean)
    return middle, float(np.sqrt(belief @ (variance + (mean - middle) ** 2)))


def _posterior(
    estimate: Floats, covariance: Floats, is_bend: npt.NDArray[np.bool_], lift_sd: float
) -> tuple[float, float, float]:
    """Log marginal likelihood, and mean and variance of kappa, when lifts are N(0, lift_sd²): all is normal."""
    load = is_bend.astype(np.float64)
    own = covariance + np.diag(np.where(is_bend, 0.0, lift_sd**2))
    total = own + TYPICAL_SD**2 * np.outer(load, load)
    gap = estimate - TYPICAL * load
    solved = np.linalg.solve(total, np.column_stack([gap, load]))
    pull = TYPICAL_SD**2 * float(load @ solved[:, 0])
    variance = TYPICAL_SD**2 * (1.0 - TYPICAL_SD**2 * float(load @ solved[:, 1]))
    log_evidence = -0.5 * float(gap @ solved[:, 0]) - 0.5 * float(np.linalg.slogdet(total)[1])
    return log_evidence, TYPICAL + pull, max(variance, 1e-9)


def _shift(panel: Panel, channels: Channels, fit: CountFit) -> Floats:
    """(P,) log of the last everyday price over the mean one, series weighted by what they told."""
    moves = channels.values.sum(axis=2) - channels.column(PROMOTION) - channels.column(EXPERIMENT)
    weight = fit.weight.sum(axis=1)
    mean = (fit.weight * moves).sum(axis=1) / np.maximum(weight, 1e-12)
    away = np.bincount(panel.series_product, weight * (moves[:, -1] - mean), panel.n_products)
    total = np.bincount(panel.series_product, weight, panel.n_products)
    shift = np.divide(away, total, out=np.zeros(panel.n_products), where=total > 0)
    return np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT)
