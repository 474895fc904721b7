"""Coupons of a simulated shop: the random holdout is honest, targeting is not, and redemption is not profit."""

from __future__ import annotations

import numpy as np
import pytest

from engine.simulation import make_shop
from engine.simulation.scenario import make_scenario

SIZE = {"products": 10, "weeks": 10, "customers": 6000, "transactions": False}


def simulated(scenario="default", **overrides):
    return make_shop(make_scenario(scenario, {**SIZE, **overrides}), seed=21)


@pytest.fixture(scope="module")
def shop():
    return simulated(coupon_waves=10)


def differences(history, offer):
    """Difference in means of profit between the sent and the unsent, and its standard error."""
    sent, unsent = history[history["offer_id"] == offer]["profit"], history[history["sent"] == 0]["profit"]
    return sent.mean() - unsent.mean(), np.sqrt(sent.var() / len(sent) + unsent.var() / len(unsent))


@pytest.mark.parametrize("scenario", ["default", "hidden_confounding"])
def test_the_random_slice_recovers_the_true_average_effect(scenario):
    shop = simulated(scenario, coupon_waves=10)
    history, truth = shop.tables["coupon_history"], shop.truth.coupons
    drawn = history[history["randomised"] == 1]
    for column, offer in enumerate(truth.offer_ids[1:], start=1):
        found, error = differences(drawn, offer)
        assert abs(found - truth.profit[:, column].mean()) < 4 * error


@pytest.mark.parametrize("scenario", ["default", "hidden_confounding"])
def test_the_targeted_rows_flatter_the_coupons(scenario):
    shop = simulated(scenario, coupon_waves=10)
    history, truth = shop.tables["coupon_history"], shop.truth.coupons
    chosen = history[history["randomised"] == 0]
    for column, offer in enumerate(truth.offer_ids[1:], start=1):
        found, error = differences(chosen, offer)
        assert found - truth.profit[:, column].mean() > 5 * error


def test_redemptions_and_costs_are_those_stated(shop):
    history, truth = shop.tables["coupon_history"], shop.truth.coupons
    drawn = history[(history["randomised"] == 1) & (history["sent"] == 1)]
    for column, offer in enumerate(truth.offer_ids[1:], start=1):
        rows = drawn[drawn["offer_id"] == offer]
        cost = rows["redeemed"] * rows["face_value"]
        assert abs(cost.mean() - truth.cost[:, column].mean()) < 4 * cost.std() / np.sqrt(len(cost))
    assert (history["redeemed"] <= history["bought"]).all()
    assert (history["redeemed"] <= history["sent"]).all()
    assert history.loc[history["sent"] == 0, "offer_id"].isna().all()


def test_ranking_by_redemption_loses_money_while_the_best_policy_earns(shop):
    truth = shop.truth.coupons
    best = truth.best_profit()
    choice = truth.profit.argmax(axis=1)
    assert truth.policy_profit(choice) == pytest.approx(best)
    assert best > 0
    count = int((choice > 0).sum())
    redeemers = np.zeros(len(choice), dtype=np.int64)
    redeemers[np.argsort(-truth.cost[:, 2], kind="stable")[:count]] = 2
    assert truth.policy_profit(redeemers) < -0.5 * best
    assert truth.policy_profit(np.full(len(choice), 3)) < -best
    assert truth.policy_cost(np.zeros(len(choice), dtype=np.int64)) == 0


def test_sending_nothing_is_the_baseline(shop):
    truth = shop.truth.coupons
    assert shop.truth.coupon_profit(np.zeros(len(truth.customer_ids), dtype=np.int64)) == 0
    drawn = shop.tables["coupon_history"]
    unsent = drawn[(drawn["randomised"] == 1) & (drawn["sent"] == 0)]["profit"]
    assert abs(unsent.mean() - truth.baseline.mean()) < 4 * unsent.std() / np.sqrt(len(unsent))
