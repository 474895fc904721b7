"""Learning the weights of a profile, and judging them against hand-set ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from engine.profiles.record import Floats

Labels = npt.NDArray[np.bool_]

PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0)
FOLDS = 5
NORMAL_95 = 1.6448536269514722
MAX_STEPS = 50
BOOTSTRAPS = 200


@dataclass(frozen=True)
class Weights:
    """A penalised logistic regression on scaled features."""

    weight: Floats
    """(F,) log-odds per standard deviation."""
    intercept: float
    standard_error: Floats
    """(F,) sandwich, of the penalised weight: the shrinkage towards zero is not in it."""
    penalty: float

    def score(self, features: Floats) -> Floats:
        """Σ wᵢ fᵢ of each row, without the intercept."""
        out: Floats = features @ self.weight
        return out


def learn(features: Floats, label: Labels, seed: int) -> Weights:
    """Fit by ridge-penalised maximum likelihood; the penalty with the best cross-fitted likelihood of five.

    Intervals come from the sandwich H⁻¹ G H⁻¹ (Huber 1967; White 1982) at the chosen penalty.
    """
    rng = np.random.default_rng([seed, 31])
    fold = rng.permutation(len(label)) % FOLDS
    losses = [_cross_fitted_loss(features, label, fold, penalty) for penalty in PENALTIES]
    return fit(features, label, PENALTIES[int(np.argmin(np.round(losses, 8)))])


def fit(features: Floats, label: Labels, penalty: float) -> Weights:
    """Fit at one penalty by Newton's method; the intercept is not penalised."""
    design = np.column_stack([np.ones(len(features)), features])
    ridge = np.full(design.shape[1], penalty)
    ridge[0] = 1e-6
    target = label.astype(np.float64)
    beta = np.zeros(design.shape[1])
    for _ in range(MAX_STEPS):
        chance = _logistic(design @ beta)
        gradient = design.T @ (target - chance) - ridge * beta
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        beta = beta + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    chance = _logistic(design @ beta)
    bread = np.linalg.inv((design * (chance * (1 - chance))[:, None]).T @ design + np.diag(ridge))
    meat = (design * (target - chance)[:, None] ** 2).T @ design
    error = np.sqrt(np.maximum(np.diag(bread @ meat @ bread), 0.0))
    return Weights(beta[1:], float(beta[0]), error[1:], penalty)


def _cross_fitted_loss(features: Floats, label: Labels, fold: npt.NDArray[np.int64], penalty: float) -> float:
    loss = 0.0
    for k in range(FOLDS):
        away = fold != k
        learned = fit(features[away], label[away], penalty)
        odds = learned.score(features[~away]) + learned.intercept
        loss += float(np.logaddexp(0.0, np.where(label[~away], -odds, odds)).sum())
    return loss / len(label)


def _logistic(odds: Floats) -> Floats:
    out: Floats = 1.0 / (1.0 + np.exp(-np.clip(odds, -30, 30)))
    return out


def auc(score: Floats, label: Labels) -> float:
    """Area under the ROC curve (Mann and Whitney 1947), ties counted half; NaN if only one class is there."""
    positive, negative = int(label.sum()), int((~label).sum())
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(np.round(score, 9))
    return float((ranks[label].sum() - positive * (positive + 1) / 2) / (positive * negative))


def auc_gain_interval(score: Floats, other: Floats, label: Labels, seed: int) -> tuple[float, float]:
    """90 % percentile interval of the difference of two AUCs over bootstrapped customers."""
    rng = np.random.default_rng([seed, 32])
    gains = []
    for _ in range(BOOTSTRAPS):
        rows = rng.integers(0, len(label), len(label))
        gains.append(auc(score[rows], label[rows]) - auc(other[rows], label[rows]))
    low, high = np.nanquantile(gains, [0.05, 0.95])
    return float(low), float(high)


def rfm(recency: Floats, frequency: Floats, monetary: Floats) -> Floats:
    """Hand-set value: the sum of the quintiles (1…5) of recency, frequency and spend (Hughes 1994)."""
    return _quintile(-recency) + _quintile(frequency) + _quintile(monetary)


def _quintile(values: Floats) -> Floats:
    out: Floats = np.ceil(5 * rankdata(values) / max(len(values), 1))
    return out
