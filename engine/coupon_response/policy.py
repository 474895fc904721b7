"""What sending by the estimates earned on customers that the estimates had not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.coupon_response.history import History
from engine.coupon_response.nuisance import Nuisance
from engine.coupon_response.record import Floats, Ints, PolicyValue


def cross_fitted_value(
    history: History,
    nuisance: Nuisance,
    fold: Ints,
    estimate: Callable[[np.ndarray], tuple[Floats, Floats]],
) -> PolicyValue:
    """Doubly robust value of "send the best offer that pays" against sending nothing (Dudík, Langford and Li 2011).

    Args:
        history: the rows; randomised ones alone are used where there are enough.
        nuisance: chances and expectations of the rows.
        fold: (R,).
        estimate: given the (R,) rows to learn from, effects on gross profit (R, O) and expected cost (R, O) of all.
    """
    rows = history.randomised if history.randomised.sum() >= 400 else np.ones(len(fold), dtype=np.bool_)
    score = np.zeros(len(fold))
    sent = np.zeros(len(fold), dtype=np.bool_)
    for k in np.unique(fold):
        gross, cost = estimate(fold != k)
        test = np.flatnonzero((fold == k) & rows)
        net = gross[test] - cost[test]
        net[:, 0] = 0.0
        pick = net.argmax(axis=1)
        score[test] = _gain(history, nuisance, test, gross[test], cost[test], pick)
        sent[test] = pick > 0
    return _per_wave(history, score[rows], sent[rows], history.customer[rows])


def _gain(history: History, nuisance: Nuisance, test: Ints, gross: Floats, cost: Floats, pick: Ints) -> Floats:
    """Doubly robust score of the gain of offer `pick` over none, net of the coupon."""
    at = np.arange(len(test))
    chance = nuisance.propensity[test]
    gross = gross.copy()
    gross[:, 0] = 0.0
    # outcome() is the mean over what is sent; the mean without a coupon lies below it by the expected effects
    none = nuisance.outcome[test] - (chance * gross).sum(axis=1)
    error = history.gross[test] - none - gross[at, history.arm[test]]
    paid = cost[at, pick]
    arm = history.arm[test]
    hit, miss = arm == pick, arm == 0
    weight = hit / np.maximum(chance[at, pick], 0.01) - miss / np.maximum(chance[:, 0], 0.01)
    surprise = hit * (history.redeemed_value[test] - cost[at, arm]) / np.maximum(chance[at, pick], 0.01)
    return np.where(pick > 0, gross[at, pick] - paid + weight * error - surprise, 0.0)


def _per_wave(history: History, score: Floats, sent: np.ndarray, customer: Ints) -> PolicyValue:
    """Sum over all customers of one wave, with errors clustered by customer."""
    n = len(history.customer_ids)
    if not len(score):
        return PolicyValue.of(0.0, 0.0, 0.0)
    mean = float(score.mean())
    by_customer = np.bincount(customer, score - mean)
    se = float(np.sqrt((by_customer**2).sum())) / len(score)
    return PolicyValue.of(n * mean, n * se, n * float(sent.mean()))
