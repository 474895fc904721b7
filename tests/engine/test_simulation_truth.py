"""The truth is true: what is drawn has the means it states, and what should fool an estimator does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from engine.simulation import make_shop
from engine.simulation.catalogue import make_catalogue
from engine.simulation.demand import draw_units, log_response, make_sales, others_index
from engine.simulation.market import make_market
from engine.simulation.paths import make_paths
from engine.simulation.scenario import make_scenario
from engine.simulation.truth import make_truth

SMALL = {"products": 30, "weeks": 60, "customers": 50, "categories": 4, "transactions": False, "coupon_waves": 0}


@pytest.fixture(scope="module")
def truth():
    return make_shop(make_scenario("promo_not_price", SMALL), seed=5).truth


def test_drawn_sales_average_to_the_stated_units(truth):
    prices = truth.current_price * np.random.default_rng(0).uniform(0.9, 1.1, 30)
    rng = np.random.default_rng(1)
    draws = np.stack([truth.draw_sales(prices, rng, weeks=4).sum(axis=1) for _ in range(1500)])
    error = (draws.mean(axis=0) - truth.units(prices, weeks=4)) / (draws.std(axis=0) / np.sqrt(len(draws)))
    assert np.abs(error).max() < 4.0
    assert abs(error.mean()) < 4.0 / np.sqrt(30)


def test_the_model_run_forward_sells_what_the_truth_states():
    """Independent of the truth's formulae: go on with the generator's own weeks at planned prices, many times over."""
    scenario = make_scenario("hidden_confounding", {**SMALL, "category_noise_sd": 0.0})
    rng = np.random.default_rng(7)
    catalogue = make_catalogue(scenario, rng)
    market = make_market(scenario, catalogue, rng)
    paths = make_paths(scenario, catalogue, market, rng)
    truth = make_truth(scenario, "hidden_confounding", 7, catalogue, market, paths, None)
    weeks, n = 6, scenario.products
    plan = truth.current_price * rng.uniform(0.9, 1.1, n)
    planned = np.concatenate([paths.everyday, np.tile(plan[:, None], weeks)], axis=1)
    zeros = np.zeros((n, weeks))
    onward = dataclasses.replace(
        paths,
        everyday=planned,
        shelf=np.concatenate([paths.shelf, np.tile(plan[:, None], weeks)], axis=1),
        **{name: np.concatenate([getattr(paths, name), zeros], axis=1) for name in ("mailer", "display", "experiment")},
    )
    listed = np.ones(planned.shape, dtype=bool)
    response = log_response(scenario, catalogue, onward, listed)[:, -weeks:]
    fade = scenario.hidden_persistence ** np.arange(1, weeks + 1)
    known = market.hidden[:, -1:] * fade + 0.5 * scenario.hidden_sd**2 * (1 - fade**2)
    plain = market.future[:, :weeks] - known
    shock, total, runs = np.tile(market.hidden[:, -1], (4000, 1)), np.zeros((n, weeks)), 4000
    step = np.sqrt(1 - scenario.hidden_persistence**2) * scenario.hidden_sd
    for week in range(weeks):
        shock = scenario.hidden_persistence * shock + rng.normal(0, step, shock.shape)
        total[:, week] = np.exp(shock).mean(axis=0) * np.exp(plain[:, week] + response[:, week])
    assert runs == len(shock)
    np.testing.assert_allclose(total.sum(axis=1), truth.units(plan, weeks=weeks), rtol=0.03)


def test_elasticities_are_what_demand_does(truth):
    i, step = 7, 1e-5
    moved = truth.current_price.copy()
    moved[i] *= np.exp(step)
    slope = np.log(truth.units(moved) / truth.units(truth.current_price)) / step
    assert slope[i] == pytest.approx(truth.elasticity_regular[i], abs=1e-3)
    same = (truth.category == truth.category[i]) & (np.arange(30) != i)
    share = truth.weight[i] / (truth.weight[truth.category == truth.category[i]].sum() - truth.weight[same])
    np.testing.assert_allclose(slope[same], truth.elasticity_cross[same] * share, atol=1e-3)
    assert np.abs(slope[truth.category != truth.category[i]]).max() == 0


def test_gain_is_profit_against_today(truth):
    assert truth.gain(truth.current_price) == 0
    up = truth.current_price * 1.02
    assert truth.gain(up) == pytest.approx(truth.profit(up) - truth.profit(truth.current_price))
    assert truth.gain(up, current=up) == 0
    assert truth.line_profit(up).sum() == pytest.approx(truth.profit(up))
    recent = truth.gain(up, promotions="recent")
    assert np.isfinite(recent)
    assert recent != truth.gain(up)


def test_recent_promotions_sell_more_at_less(truth):
    plain, promoted = truth.units(truth.current_price), truth.units(truth.current_price, promotions="recent")
    assert promoted.sum() > plain.sum()


@settings(deadline=None, max_examples=20)
@given(weeks=st.integers(1, 51), factor=st.floats(0.5, 2.0))
def test_longer_horizons_sell_more_and_all_prices_times_a_factor_is_predictable(truth, weeks, factor):
    prices = truth.current_price * factor
    assert (truth.units(prices, weeks=weeks + 1) > truth.units(prices, weeks=weeks)).all()
    size = np.bincount(truth.category)[truth.category]
    power = truth.elasticity_regular + np.where(size > 1, truth.elasticity_cross, 0)
    np.testing.assert_allclose(truth.units(prices) / truth.units(truth.current_price), factor**power)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda t: t.units([1.0, 2.0]), "shape"),
        (lambda t: t.units(t.current_price * 0), "above 0"),
        (lambda t: t.units(t.current_price * np.nan), "above 0"),
        (lambda t: t.units(t.current_price, weeks=0), "weeks = 0"),
        (lambda t: t.units(t.current_price, weeks=53), "1 to 52"),
        (lambda t: t.prices_of(["nobody"], [1.0]), "'nobody' is not in"),
        (lambda t: t.coupon_profit([0]), "no coupons"),
    ],
)
def test_a_question_without_an_answer_is_refused(truth, call, says):
    with pytest.raises(ProblemError, match=says):
        call(truth)


def test_prices_of_a_plan_keep_the_others_at_todays(truth):
    full = truth.prices_of(["P00003", "P00001"], [9.99, 1.23])
    assert full[2] == 9.99
    assert full[0] == 1.23
    np.testing.assert_array_equal(np.delete(full, [0, 2]), np.delete(truth.current_price, [0, 2]))


def test_others_index_leaves_the_product_itself_out():
    index = others_index(np.array([0.1, 0.2, 0.4, 0.5]), np.array([1.0, 1.0, 3.0, 2.0]), np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(index, [(0.2 + 1.2) / 4, (0.1 + 1.2) / 4, 0.15, 0.0])


def test_counts_have_the_stated_mean_and_overdispersion():
    drawn = draw_units(np.full(200_000, 12.0), 8.0, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(12.0, rel=0.01)
    assert drawn.var() == pytest.approx(12 + 144 / 8, rel=0.03)


def test_shortages_sell_less_and_part_of_them_is_logged():
    scenario = make_scenario("stock_outs", {**SMALL, "products": 200})
    rng = np.random.default_rng(2)
    catalogue = make_catalogue(scenario, rng)
    market = make_market(scenario, catalogue, rng)
    sales = make_sales(scenario, catalogue, market, make_paths(scenario, catalogue, market, rng), rng)
    assert 0.05 < sales.short.mean() < 0.2
    assert 0.45 < sales.flagged.sum() / sales.short.sum() < 0.75
    assert (sales.flagged <= sales.short).all()
    assert sales.units[sales.short].sum() < 0.6 * sales.expected[sales.short].sum()
    fine = ~sales.short
    assert sales.units[fine].sum() == pytest.approx(sales.expected[fine].sum(), rel=0.02)


def pooled_slope(shop, *, random_moves_only=False):
    """Slope of log units on log price, pooled, after product and category-week means (iterated), without promotions.

    With `random_moves_only` the price is the logged random move; otherwise the everyday price.
    """
    prices = shop.tables["prices_weekly"].merge(shop.tables["sales_weekly"], on=["product_id", "week"])
    prices = prices.merge(shop.tables["products"][["product_id", "category"]], on="product_id")
    quiet = (prices["experiment"] == 1) | (prices["price"] == prices["regular_price"])
    rows = prices[quiet & (prices["units"] > 0) & (prices["stock_out"] == 0)]
    move = np.log(rows["price"] / rows["regular_price"])
    table = pd.DataFrame(
        {
            "y": np.log(rows["units"]),
            "x": move if random_moves_only else np.log(rows["regular_price"]),
            "product": rows["product_id"],
            "cell": rows["category"].astype(str) + rows["week"].astype(str),
        }
    )
    for _ in range(8):
        for group in ("product", "cell"):
            table[["x", "y"]] -= table.groupby(group)[["x", "y"]].transform("mean")
    return float((table["x"] * table["y"]).sum() / (table["x"] ** 2).sum())


BUSY = {
    "products": 150, "weeks": 104, "categories": 6, "transactions": False, "coupon_waves": 0,
    "weekly_units": 400.0, "weekly_units_spread": 0.5, "stock_out_rate": 0.0, "new_share": 0.0,
}  # fmt: skip


def true_slope(shop):
    return float(np.mean(shop.truth.elasticity_regular))


def test_plain_regression_is_sound_where_only_the_season_confounds():
    shop = make_shop(make_scenario("default", BUSY), seed=11)
    assert abs(pooled_slope(shop) - true_slope(shop)) < 0.35


def test_plain_regression_is_fooled_by_the_hidden_confounder():
    shop = make_shop(make_scenario("hidden_confounding", BUSY), seed=11)
    assert pooled_slope(shop) - true_slope(shop) > 0.7


def test_random_moves_are_not_fooled():
    shop = make_shop(make_scenario("price_experiments", BUSY), seed=11)
    assert shop.tables["prices_weekly"]["experiment"].mean() == pytest.approx(0.2, abs=0.02)
    assert pooled_slope(shop) - true_slope(shop) > 0.7
    assert abs(pooled_slope(shop, random_moves_only=True) - true_slope(shop)) < 0.25


def test_discounts_say_little_about_everyday_prices_where_the_scenario_says_so():
    truth = make_shop(make_scenario("promo_not_price", BUSY), seed=11).truth
    assert np.median(truth.elasticity_regular / truth.elasticity_promotion) == pytest.approx(0.4, rel=0.1)
