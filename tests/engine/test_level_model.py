"""The level model: falls with the price, finds known demand, states honest errors, and copes with almost nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from level_panels import make_panel, promoted, with_stores

from engine.demand.level import LevelForecast, LevelOptions, fit_level, forecast
from engine.errors import DataError
from engine.settings import load_settings


@pytest.fixture(scope="module")
def quick():
    return load_settings(None, ["demand.trees=40", "data.threads=1"])


@pytest.fixture(scope="module")
def fitted(quick):
    panel, level = promoted(1, products=60, weeks=70)
    return panel, level, fit_level(panel, quick, horizon=8, seed=1)


def test_forecasts_what_full_price_demand_is(fitted):
    panel, level, model = fitted
    found = forecast(model, panel, panel.regular_price[:, -1])
    assert found.units.shape == (60, 8)
    assert found.product_units.sum() / (8 * level.sum()) == pytest.approx(1.0, abs=0.06)
    assert np.abs(found.product_units - 8 * level).sum() / (8 * level.sum()) < 0.12


def promoted_when_busy(seed, *, products=60, weeks=104):
    """Sales of three categories that always promote something, and more of it in the weeks that sell well anyway."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(3.0, 0.6, products))
    regular = np.repeat(rng.uniform(1.0, 5.0, (products, 1)), weeks, axis=1)
    shock = rng.normal(0.0, 0.25, (3, weeks))[np.arange(products) % 3]
    deal = rng.random((products, weeks)) < np.clip(0.4 + 1.2 * shock, 0.1, 0.9)
    discount = np.where(deal, 0.8, 1.0)
    mailer = (deal & (rng.random(deal.shape) < 0.5)).astype(float)
    units = rng.poisson(level[:, None] * discount**-2.0 * np.exp(shock - 0.25**2 / 2)).astype(float)
    return make_panel(units, price=regular * discount, regular=regular, mailer=mailer), level


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_plan_without_promotions_is_not_taken_for_a_quiet_week(quick, seed):
    panel, level = promoted_when_busy(seed)
    found = forecast(fit_level(panel, quick, horizon=8, seed=1), panel, panel.regular_price[:, -1])
    assert found.product_units.sum() / (8 * level.sum()) == pytest.approx(1.0, abs=0.1)
    assert np.abs(found.product_units - 8 * level).sum() / (8 * level.sum()) < 0.13


def test_recent_promotions_sell_more_than_none(fitted):
    panel, _, model = fitted
    price = panel.regular_price[:, -1]
    on = (panel.price[:, -8:] < panel.regular_price[:, -8:]).any(axis=1)
    plain, again = (forecast(model, panel, price, promotions=p).product_units for p in ("none", "recent"))
    assert on.any()
    assert (again[on] > plain[on]).mean() > 0.95


def test_units_never_rise_with_the_own_price(fitted):
    panel, _, model = fitted
    today = panel.regular_price[:, -1]
    for i in range(0, 60, 20):
        units = []
        for factor in (0.5, 0.8, 0.95, 1.0, 1.05, 1.3, 2.0):
            price = today.copy()
            price[i] *= factor
            units.append(forecast(model, panel, price).product_units[i])
        assert (np.diff(units) <= 1e-9).all(), units


def test_stated_errors_hold_on_sales_to_come(quick):
    inside, total = 0, 0
    for seed in range(3):
        panel, level = promoted(seed, products=60, weeks=52)
        found = forecast(fit_level(panel, quick, horizon=8, seed=1), panel, panel.regular_price[:, -1])
        sold = np.random.default_rng(seed).poisson(8 * level)
        error = (sold - found.product_units) / found.product_units
        inside += int((np.abs(error) <= 1.645 * found.relative_sd).sum())
        total += error.size
    assert 0.85 <= inside / total <= 0.99


def test_stock_outs_do_not_drag_the_level_down(quick):
    panel, level = promoted(4, products=40, weeks=60)
    empty = np.zeros(panel.units.shape)
    empty[:, -6:] = 1.0
    cut = replace(panel, units=np.where(empty > 0, 0.0, panel.units), stock_out=empty)
    found = forecast(fit_level(cut, quick, horizon=8, seed=1), cut, cut.regular_price[:, -1])
    assert found.product_units.sum() / (8 * level.sum()) == pytest.approx(1.0, abs=0.1)


def test_the_same_inputs_give_the_same_bytes(fitted, quick):
    panel, _, model = fitted
    again = fit_level(panel, quick, horizon=8, seed=1)
    price = panel.regular_price[:, -1]
    assert forecast(model, panel, price).units.tobytes() == forecast(again, panel, price).units.tobytes()


def test_stores_add_up_to_their_product(quick):
    panel, level = promoted(6, products=20, weeks=50)
    split = with_stores(panel, 3)
    found = forecast(fit_level(split, quick, horizon=4, seed=1), split, panel.regular_price[:, -1])
    assert found.units.shape == (60, 4)
    np.testing.assert_allclose(found.product_units, found.units.sum(axis=1).reshape(3, 20).sum(axis=0))
    assert found.product_units.sum() / (12 * level.sum()) == pytest.approx(1.0, abs=0.1)


def test_draws_have_mean_one_the_stated_spread_and_a_common_factor():
    stated = LevelForecast(np.ones((3, 1)), np.ones(3), np.array([0.2, 0.3, 0.5]), common_sd=0.15)
    draws = stated.draws(200_000, np.random.default_rng(1))
    np.testing.assert_allclose(draws.mean(axis=0), 1.0, atol=0.01)
    np.testing.assert_allclose(draws.std(axis=0), [0.2, 0.3, 0.5], rtol=0.03)
    assert np.cov(np.log(draws[:, :2].T))[0, 1] == pytest.approx(np.log1p(0.15**2), rel=0.05)


def test_products_of_a_category_share_a_part_of_their_error():
    category = np.array([0, 0, 1])
    stated = LevelForecast(np.ones((3, 1)), np.ones(3), np.full(3, 0.3), 0.1, category_sd=0.2, category=category)
    draws = stated.draws(200_000, np.random.default_rng(2))
    np.testing.assert_allclose(draws.std(axis=0), 0.3, rtol=0.03)
    covariance = np.cov(np.log(draws.T))
    assert covariance[0, 1] == pytest.approx(np.log1p(0.1**2) + np.log1p(0.2**2), rel=0.05)
    assert covariance[0, 2] == pytest.approx(np.log1p(0.1**2), rel=0.1)


@pytest.mark.parametrize("shared", [0.0, 0.2])
def test_the_part_of_the_error_that_categories_share_is_measured(quick, shared):
    rng = np.random.default_rng(3)
    weeks, of = 60, np.arange(200) % 20
    walk = np.cumsum(rng.normal(0, shared / np.sqrt(6), (20, weeks)), axis=1)[of]
    level = np.exp(rng.normal(3.5, 1.0, (200, 1)))
    units = rng.poisson(level * np.exp(walk - walk[:, -1:])).astype(float)
    panel = make_panel(units)
    panel = replace(panel, products=panel.products.assign(category=[f"C{k}" for k in of]))
    error = fit_level(panel, quick, horizon=8, seed=1).error
    assert error.category_sd <= np.sqrt(error.share) + 1e-12
    assert (error.category_sd > 0.08) == (shared > 0)


@pytest.mark.parametrize("weeks", [1, 2, 10])
def test_one_product_and_few_weeks_fall_back_to_its_own_level(quick, weeks):
    panel = make_panel(np.full((1, weeks), 6.0))
    model = fit_level(panel, quick, horizon=8, seed=1)
    found = forecast(model, panel, np.array([2.0]))
    assert model.booster is None
    assert "too few" in found.reasons[0].english()
    assert 2 * 8 < found.product_units[0] < 8 * 8
    assert 0 < found.relative_sd[0] <= 2


def test_constant_sales_are_forecast_as_they_are(quick):
    panel = make_panel(np.full((12, 40), 7.0))
    found = forecast(fit_level(panel, quick, horizon=8, seed=1), panel, np.full(12, 2.0))
    np.testing.assert_allclose(found.units, 7.0, rtol=0.02)


def test_nothing_sold_is_forecast_as_next_to_nothing(quick):
    panel = make_panel(np.zeros((5, 40)))
    found = forecast(fit_level(panel, quick, horizon=8, seed=1), panel, np.full(5, 2.0))
    assert found.product_units.max() < 0.5


def test_nothing_observed_is_refused(quick):
    panel = make_panel(np.ones((2, 5)), observed=np.zeros((2, 5), dtype=bool))
    with pytest.raises(DataError, match="no observed week"):
        fit_level(panel, quick, horizon=8, seed=1)


def test_an_unknown_calendar_and_missing_prices_are_lived_with(quick):
    panel, _ = promoted(7, products=10, weeks=70)
    nowhere = replace(panel, week_start=np.full(70, "NaT", dtype="datetime64[D]"))
    price = np.where(np.arange(10) % 2 == 0, np.nan, panel.regular_price[:, -1])
    found = forecast(fit_level(nowhere, quick, horizon=8, seed=1), nowhere, price)
    assert np.isfinite(found.units).all()
    assert (found.units > 0).all()


def test_profile_and_text_enter_and_can_be_left_out(quick):
    panel, _ = promoted(8, products=40, weeks=40)
    rng = np.random.default_rng(8)
    mix, text = rng.normal(size=(40, 3)), rng.normal(size=(40, 32)).astype(np.float32)
    model = fit_level(panel, quick, horizon=2, profile_mix=mix, text=text, seed=1)
    assert {"profile.0", "profile.2", "text.0", "text.7"} <= set(model.names)
    without = LevelOptions(without=frozenset({"profile", "text", "price"}))
    plain = fit_level(panel, quick, horizon=2, profile_mix=mix, text=text, seed=1, options=without)
    assert not [name for name in plain.names if name.split(".")[0] in ("profile", "text", "price")]
    assert (plain.pooled[:2] == 0).all()


def test_the_number_of_threads_changes_nothing(fitted):
    panel, _, model = fitted
    two = load_settings(None, ["demand.trees=40", "data.threads=2"])
    price = panel.regular_price[:, -1]
    other = fit_level(panel, two, horizon=8, seed=1)
    assert forecast(model, panel, price).units.tobytes() == forecast(other, panel, price).units.tobytes()
