"""Nuisances, cross-fitted by customer: the chance of each offer being sent, and the profit to be expected anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.coupon_response.history import History
from engine.coupon_response.record import Bools, Floats, Ints

CLIP = 0.01
"""Chances below this count as this; such rows say little anyway."""
RIDGE = 30.0
"""Ridge of the linear outcome model, in rows."""


@dataclass(frozen=True)
class Nuisance:
    """What each row was to expect, by models that had not seen the customer."""

    propensity: Floats
    """(R, O) chance of each offer, offer 0 for none; rows add up to 1; 0 where an offer was not to be had."""
    outcome: Floats
    """(R,) expected gross profit, whatever was sent, money."""
    variance: Floats
    """(R,) expected squared error of `outcome`, money squared."""


def folds_of(history: History, folds: int, rng: np.random.Generator) -> Ints:
    """(R,) fold of each row; all rows of a customer share one."""
    n = len(history.customer_ids)
    by_customer = rng.permutation(np.arange(n) % folds)
    return by_customer[history.customer].astype(np.int64)


def fit_nuisance(history: History, features: Floats, fold: Ints, *, seed: int) -> Nuisance:
    """Fit both models on all folds but one, for each fold."""
    propensity = fit_propensity(history, features, fold)
    design = _outcome_design(history, features, propensity)
    outcome = fit_outcome(history.gross, design, fold, seed=seed)
    return Nuisance(propensity, outcome, expected_square(history.gross - outcome, outcome))


def fit_propensity(history: History, features: Floats, fold: Ints) -> Floats:
    """(R, O): shares within each stratum where sending was random, multinomial logistic elsewhere.

    Offers that a stratum never sent have chance 0 there.
    """
    n_offers = len(history.offer_ids)
    result = np.zeros((len(history.arm), n_offers))
    sent_in = np.zeros((int(history.stratum.max()) + 1, n_offers))
    np.add.at(sent_in, (history.stratum, history.arm), 1.0)
    for randomised in (True, False):
        mine = history.randomised == randomised
        if not mine.any():
            continue
        shares = _shares(history, mine)
        result[mine] = shares[history.stratum[mine]]
        if not randomised:
            result[mine] = _logistic(history, features, fold, mine, sent_in > 0, result[mine])
    return result


def _shares(history: History, mine: Bools) -> Floats:
    """(strata, O) share of each arm among these rows, pulled a little towards that of all strata."""
    strata, n_offers = int(history.stratum.max()) + 1, len(history.offer_ids)
    counts = np.zeros((strata, n_offers))
    np.add.at(counts, (history.stratum[mine], history.arm[mine]), 1.0)
    seen = counts > 0
    pooled = np.where(seen, counts.sum(axis=0), 0.0)
    pooled /= np.maximum(pooled.sum(axis=1, keepdims=True), 1.0)
    counts = counts + 2.0 * pooled
    shares: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    return shares


def _logistic(history: History, features: Floats, fold: Ints, mine: Bools, offered: Bools, shares: Floats) -> Floats:
    """Chance of being sent anything, times the chances of the offers among those sent something."""
    arm, stratum = history.arm[mine], history.stratum[mine]
    x = np.concatenate([features[mine], np.log(np.maximum(shares, CLIP))], axis=1)
    chance = 1 - shares[:, :1]
    among = shares[:, 1:] / np.maximum(chance, 1e-12)
    for k in np.unique(fold):
        train, test = fold[mine] != k, fold[mine] == k
        learned = _classify(x[train], arm[train] > 0, x[test])
        if learned is not None:
            chance[test, 0] = learned[1][:, 1]
        sent = train & (arm > 0)
        learned = _classify(x[sent], arm[sent], x[test])
        if learned is not None:
            among[test] = 0.0
            among[np.ix_(test, learned[0] - 1)] = learned[1]
    result = np.concatenate([1 - chance, chance * among], axis=1) * offered[stratum]
    result = np.where(offered[stratum], np.maximum(result, CLIP), 0.0)
    chances: Floats = result / np.maximum(result.sum(axis=1, keepdims=True), 1e-12)
    return chances


def _classify(x: Floats, label: Ints | Bools, new: Floats) -> tuple[Ints, Floats] | None:
    """The labels that occur and their chances for `new`; None where there are not two, or nothing to predict."""
    from sklearn.linear_model import LogisticRegression

    if not len(new) or len(np.unique(label)) < 2:
        return None
    model = LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=100)
    model.fit(x, label)
    return np.asarray(model.classes_), np.asarray(model.predict_proba(new), dtype=np.float64)


def _outcome_design(history: History, features: Floats, propensity: Floats) -> Floats:
    """Features, strata, the slice, and the chances themselves (the outcome's mean depends on what is likely sent)."""
    strata = history.stratum[:, None] == np.arange(1, int(history.stratum.max()) + 1)
    extra = np.concatenate([propensity[:, 1:], history.randomised[:, None]], axis=1)
    return np.concatenate([features, extra, strata], axis=1).astype(np.float64)


def fit_outcome(target: Floats, design: Floats, fold: Ints, *, seed: int) -> Floats:
    """(R,) cross-fitted mean of `target`: ridge and boosted trees, mixed as the held-out error would have it."""
    linear, trees = np.zeros(len(target)), np.zeros(len(target))
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        if not train.any():
            train = test
        linear[test] = _ridge(design[train], target[train], design[test])
        trees[test] = _boost(design[train], target[train], design[test], seed)
    apart = trees - linear
    spread = float((apart**2).sum())
    share = float((apart * (target - linear)).sum()) / spread if spread > 0 else 0.0
    return linear + min(max(share, 0.0), 1.0) * apart


def _ridge(x: Floats, y: Floats, new: Floats) -> Floats:
    mean, centre = x.mean(axis=0), float(y.mean())
    gram = (x - mean).T @ (x - mean) + RIDGE * np.eye(x.shape[1])
    found: Floats = centre + (new - mean) @ np.linalg.solve(gram, (x - mean).T @ (y - centre))
    return found


def _boost(x: Floats, y: Floats, new: Floats, seed: int) -> Floats:
    import xgboost

    settings: dict[str, Any] = {
        "max_depth": 4,
        "eta": 0.08,
        "min_child_weight": 20,
        "subsample": 0.8,
        "lambda": 5.0,
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed % (2**31),
        "base_score": float(y.mean()),
    }
    booster = xgboost.train(settings, xgboost.DMatrix(x, y, nthread=1), num_boost_round=80)
    return np.asarray(booster.predict(xgboost.DMatrix(new, nthread=1)), dtype=np.float64)


def expected_square(residual: Floats, outcome: Floats) -> Floats:
    """(R,) squared error to be expected at each level of `outcome`, in twenty classes, at least a tenth of the mean."""
    square = residual**2
    overall = max(float(square.mean()), 1e-12)
    edges = np.unique(np.quantile(outcome, np.linspace(0, 1, 21)[1:-1])) if len(outcome) else np.zeros(0)
    group = np.searchsorted(edges, outcome)
    counts = np.bincount(group, minlength=len(edges) + 1)
    sums = np.bincount(group, square, len(edges) + 1)
    level = (sums + 20 * overall) / (counts + 20)
    found: Floats = np.maximum(level, 0.1 * overall)[group]
    return found
