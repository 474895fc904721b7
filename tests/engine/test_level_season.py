"""The season of categories: found where two years show one, and never taken from shocks or a short past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from level_panels import make_panel

from engine.demand.level import fit_level, forecast
from engine.demand.level_season import LEAST_WEEKS, harmonics, pooled_with_season
from engine.settings import load_settings

OWN = np.ones(1, dtype=bool)


def shop_with_season(seed, *, weeks=104, amplitude=0.3, persistence=0.6, shock=0.1, ahead=0):
    """Counts of twelve categories with a yearly wave each and autoregressive shocks, and the true waves (G, W)."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(12), 10)
    coefficient = amplitude * rng.normal(0, 1, (12, 4)) * np.array([1.0, 1.0, 0.4, 0.4])
    wave = coefficient @ harmonics(np.arange(weeks + ahead)).T
    noise = np.zeros((12, weeks))
    for t in range(weeks):
        step = rng.normal(0, shock * np.sqrt(1 - persistence**2), 12)
        noise[:, t] = persistence * noise[:, t - 1] * (t > 0) + step
    level = np.exp(rng.normal(3.0, 0.5, len(group)))
    discount = np.where(rng.random((len(group), weeks)) < 0.1 + 0.2 * (wave[group, :weeks] > 0), np.log(0.8), 0.0)
    mean = level[:, None] * np.exp((wave[:, :weeks] + noise)[group] - 2.0 * discount)
    return rng.poisson(mean).astype(float), discount, group, wave, level


def found(units, discount, group):
    return pooled_with_season(units, np.ones(units.shape, dtype=bool), discount[:, :, None], group, OWN)


def test_the_wave_that_made_the_sales_is_found_beside_promotions_that_follow_it():
    units, discount, group, wave, _ = shop_with_season(1)
    effects, season = found(units, discount, group)
    assert effects[0] == pytest.approx(-2.0, abs=0.1)
    error = season @ harmonics(np.arange(104)).T - wave
    assert np.sqrt((error**2).mean()) < 0.25 * wave.std()


def test_shocks_without_a_season_are_hardly_taken_for_one():
    units, discount, group, _, _ = shop_with_season(2, amplitude=0.0, shock=0.15, persistence=0.8)
    _, season = found(units, discount, group)
    assert (season @ harmonics(np.arange(104)).T).std() < 0.5 * 0.15


def test_a_short_past_has_no_season():
    units, discount, group, _, _ = shop_with_season(3, weeks=LEAST_WEEKS - 1)
    assert not found(units, discount, group)[1].any()


def test_weeks_that_are_no_evidence_change_nothing():
    units, discount, group, _, _ = shop_with_season(4)
    usable = np.random.default_rng(4).random(units.shape) < 0.8
    args = usable, discount[:, :, None], group, OWN
    for one, other in zip(
        pooled_with_season(units, *args), pooled_with_season(np.where(usable, units, 1e5), *args), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_one_category_and_empty_weeks_are_no_trouble():
    units, discount, _, _, _ = shop_with_season(5)
    usable = np.ones(units[:3].shape, dtype=bool)
    usable[:, 10:14] = False
    effects, season = pooled_with_season(units[:3], usable, discount[:3, :, None], np.zeros(3, dtype=int), OWN)
    assert np.isfinite(effects).all()
    assert np.isfinite(season).all()
    none = np.zeros(units[:3].shape, dtype=bool)
    assert not pooled_with_season(units[:3], none, discount[:3, :, None], np.zeros(3, dtype=int), OWN)[1].any()


def test_the_forecast_turns_with_the_season():
    units, discount, group, wave, level = shop_with_season(6, amplitude=0.35, ahead=8)
    regular = np.full(units.shape, 3.0)
    panel = make_panel(units, price=regular * np.exp(discount), regular=regular)
    panel = replace(panel, products=panel.products.assign(category=[f"C{g}" for g in group]))
    settings = load_settings(None, ["demand.trees=40", "data.threads=1"])
    coming = forecast(fit_level(panel, settings, horizon=8, seed=1), panel, regular[:, -1]).product_units
    truth = level * np.exp(wave[group, 104:]).sum(axis=1)
    of_category = [np.log(coming[group == g].sum() / truth[group == g].sum()) for g in range(12)]
    usual = [np.log(8 * level[group == g].sum() / truth[group == g].sum()) for g in range(12)]
    assert np.std(of_category) < 0.5 * np.std(usual)
