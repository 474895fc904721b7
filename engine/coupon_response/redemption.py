"""Expected cost of a coupon: the chance that it is redeemed, among all who are sent it, times its face value."""

from __future__ import annotations

import numpy as np

from engine.coupon_response.history import History
from engine.coupon_response.record import Floats, Ints

STRENGTH = 1.0
"""Inverse ridge of the logistic regression on standardised features."""


def expected_cost(history: History, rows: Floats, today: Floats) -> Floats:
    """(N, O) expected cost, money.

    Args:
        history: its sent rows are learned from, redeemed or not.
        rows: (R, F) features of the rows.
        today: (N, F) features of the customers now.
    """
    n_offers = len(history.offer_ids)
    chance = np.zeros((len(today), n_offers))
    sent = history.arm > 0
    arm, redeemed = history.arm[sent], history.redeemed[sent].astype(np.float64)
    if not sent.any() or not redeemed.any():
        return chance
    for offer, found in enumerate(_chances(rows[sent], arm, redeemed, today, n_offers), start=1):
        chance[:, offer] = found
    return chance * history.face_value


def _chances(x: Floats, arm: Ints, redeemed: Floats, today: Floats, n_offers: int) -> list[Floats]:
    """Chance of redemption of each offer 1…O-1 by each customer."""
    from sklearn.linear_model import LogisticRegression

    if redeemed.all():
        return [np.ones(len(today)) for _ in range(1, n_offers)]
    model = LogisticRegression(C=STRENGTH, solver="newton-cholesky", max_iter=100)
    model.fit(_design(x, arm, n_offers), redeemed)
    found = []
    for offer in range(1, n_offers):
        same = np.full(len(today), offer, dtype=np.int64)
        found.append(np.asarray(model.predict_proba(_design(today, same, n_offers))[:, 1], dtype=np.float64))
    return found


def _design(x: Floats, arm: Ints, n_offers: int) -> Floats:
    """Features, offers, and features by offer at a third of the weight, so that what is shared goes first."""
    offers = (arm[:, None] == np.arange(1, n_offers)).astype(np.float64)
    crossed = (x[:, :, None] * offers[:, None, :]).reshape(len(x), -1) / 3.0
    return np.concatenate([x, offers, crossed], axis=1)
