"""Redemption: what coupons cost is right for those a plan picks, not only on average."""

import numpy as np
import pytest

from engine.coupon_response.history import History
from engine.coupon_response.redemption import expected_cost

ROWS, FACE = 12_000, np.array([0.0, 1.0, 3.0])


def history(chance: np.ndarray, arm: np.ndarray, rng: np.random.Generator) -> History:
    """One wave in which everybody was sent `arm` and redeemed with this chance."""
    redeemed = (rng.random(ROWS) < chance) & (arm > 0)
    nothing = np.zeros(ROWS)
    return History(
        customer_ids=np.array([f"C{n}" for n in range(ROWS)], dtype=object),
        offer_ids=("", "one", "three"),
        face_value=FACE,
        customer=np.arange(ROWS),
        wave=np.zeros(ROWS, dtype=np.int64),
        stratum=np.zeros(ROWS, dtype=np.int64),
        arm=arm,
        profit=nothing,
        redeemed_value=redeemed * FACE[arm],
        redeemed=redeemed,
        redemption_known=True,
        bought=nothing,
        randomised=np.ones(ROWS, dtype=np.bool_),
        before=None,
        has_profit=True,
        dropped=0,
    )


def test_those_whom_two_things_together_move_are_not_taken_for_cheaper_than_they_are() -> None:
    rng = np.random.default_rng(3)
    features = rng.standard_normal((ROWS, 4))
    keen = (features[:, 0] > 0.5) & (features[:, 1] > 0.5)
    chance = np.where(keen, 0.6, 0.1 + 0.05 * (features[:, 2] > 0))
    arm = rng.integers(0, 3, ROWS)
    cost = expected_cost(history(chance, arm, rng), features, features)
    for offer in (1, 2):  # a straight line says .33 of the .6
        assert cost[keen, offer].mean() >= 0.7 * 0.6 * FACE[offer]
        assert cost[:, offer].mean() == pytest.approx(chance.mean() * FACE[offer], rel=0.06)
    assert not cost[:, 0].any()


def test_where_a_straight_line_is_right_nothing_is_made_up() -> None:
    rng = np.random.default_rng(4)
    features = rng.standard_normal((ROWS, 4))
    chance = 1 / (1 + np.exp(1.5 - features @ np.array([0.8, -0.4, 0.0, 0.0])))
    arm = rng.integers(0, 3, ROWS)
    cost = expected_cost(history(chance, arm, rng), features, features)
    assert np.sqrt(np.mean((cost[:, 1] - chance) ** 2)) <= 0.03
