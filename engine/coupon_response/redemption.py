"""Expected cost of a coupon: the chance that it is redeemed, among all who are sent it, times its face value.

A logistic regression, corrected by shallow boosted trees that start from its log odds. A plan sends coupons to those
whom they move most, and they redeem more often than a straight line says: by the regression alone, plans under a budget
cost 1.14 to 1.22 times what was planned on three shops with known truth; corrected, 1.00 to 1.05 times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.coupon_response.history import History
from engine.coupon_response.record import Floats, Ints

STRENGTH = 1.0
"""Inverse ridge of the logistic regression on standardised features."""
ROUNDS = 100
TREES: dict[str, Any] = {
    "objective": "binary:logistic",
    "max_depth": 2,
    "eta": 0.05,
    "min_child_weight": 50,  # of p (1 - p): at least 200 rows in a leaf
    "lambda": 5.0,
    "tree_method": "hist",
    "nthread": 1,
    "base_score": 0.5,
}
CERTAIN = 1e-4
"""Chances are kept so far from 0 and 1 where log odds are taken of them."""


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
    face = history.face_value
    for offer, found in enumerate(_chances(rows[sent], arm, redeemed, today, face), start=1):
        chance[:, offer] = found
    return chance * face


def _chances(x: Floats, arm: Ints, redeemed: Floats, today: Floats, face: Floats) -> list[Floats]:
    """Chance of redemption of each offer 1…O-1 by each customer."""
    import xgboost
    from sklearn.linear_model import LogisticRegression

    n_offers = len(face)
    if redeemed.all():
        return [np.ones(len(today)) for _ in range(1, n_offers)]
    model = LogisticRegression(C=STRENGTH, solver="newton-cholesky", max_iter=100)
    model.fit(_design(x, arm, n_offers), redeemed)

    def log_odds(features: Floats, offers: Ints) -> Floats:
        chance = model.predict_proba(_design(features, offers, n_offers))[:, 1]
        kept = np.clip(chance, CERTAIN, 1 - CERTAIN)
        return np.asarray(np.log(kept / (1 - kept)), dtype=np.float64)

    def rows(features: Floats, offers: Ints, label: Floats | None = None) -> Any:  # noqa: ANN401 - xgboost.DMatrix
        known = np.column_stack([features, face[offers]])
        return xgboost.DMatrix(known, label, base_margin=log_odds(features, offers), nthread=1)

    trees = xgboost.train(TREES, rows(x, arm, redeemed), ROUNDS)
    asked = (np.full(len(today), offer, dtype=np.int64) for offer in range(1, n_offers))
    return [np.asarray(trees.predict(rows(today, offers)), dtype=np.float64) for offers in asked]


def _design(x: Floats, arm: Ints, n_offers: int) -> Floats:
    """Features, offers, and features by offer at a third of the weight, so that what is shared goes first."""
    offers = (arm[:, None] == np.arange(1, n_offers)).astype(np.float64)
    crossed = (x[:, :, None] * offers[:, None, :]).reshape(len(x), -1) / 3.0
    return np.concatenate([x, offers, crossed], axis=1)
