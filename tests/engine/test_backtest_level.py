"""The backtest: counts as anybody would, looks at nothing it must not know, and finds the better model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from level_panels import make_panel, promoted

from engine.demand.backtest import Backtest, backtest
from engine.demand.backtest_record import GLM, NAIVE, TREES
from engine.demand.baselines import fit_loglog
from engine.demand.level_features import build_history
from engine.demand.level_plan import drivers, plan_of
from engine.settings import load_settings


@pytest.fixture(scope="module")
def quick():
    return load_settings(None, ["demand.trees=40", "data.threads=1"])


@pytest.fixture(scope="module")
def shop():
    return promoted(1, products=60, weeks=60)[0]


@pytest.fixture(scope="module")
def tested(shop, quick) -> Backtest:
    return backtest(shop, quick, seed=1)


def test_the_naive_row_is_what_a_reader_would_work_out(shop, tested):
    for ahead in (1, 8):
        errors, sold, hoped = 0.0, 0.0, 0.0
        for week in range(52, 60):
            mean = shop.units[:, week - ahead - 3 : week - ahead + 1].mean(axis=1)
            errors += np.abs(shop.units[:, week] - mean).sum()
            sold, hoped = sold + shop.units[:, week].sum(), hoped + mean.sum()
        row = tested.row(NAIVE, ahead)
        assert row.wape == pytest.approx(errors / sold)
        assert row.bias == pytest.approx(hoped / sold - 1)
        assert row.n == 60 * 8


def test_the_better_model_is_found_with_an_interval_clear_of_zero(tested):
    assert tested.wape == tested.row(TREES, 1).wape < tested.wape_naive == tested.row(NAIVE, 1).wape
    gap = next(i for i in tested.intervals if (i.other, i.horizon) == (NAIVE, 1))
    assert gap.low <= gap.difference <= gap.high < 0
    assert gap.difference == pytest.approx(tested.wape - tested.wape_naive)


def test_products_that_answer_differently_are_told_apart_by_the_level_model_and_not_by_the_glm(quick):
    steep, flat = (promoted(5, products=60, weeks=60, elasticity=e)[0] for e in (-4.0, 0.0))
    odd = np.arange(60)[:, None] % 2 == 1
    found = backtest(replace(steep, units=np.where(odd, steep.units, flat.units)), quick, seed=1)
    assert found.wape < found.wape_glm - 0.01
    assert next(i for i in found.intervals if (i.other, i.horizon) == (GLM, 1)).high < 0


def test_forecasts_eight_weeks_ahead_do_not_know_the_test(shop, tested, quick):
    units = shop.units.copy()
    units[:, 52:] = units[::-1, 52:] * 5 + 100
    other = backtest(replace(shop, units=units), quick, seed=1)
    for week, twin in zip(tested.weeks, other.weeks, strict=True):
        for name in (TREES, GLM, NAIVE):
            assert week.forecast[f"{name}, 8 ahead"] == twin.forecast[f"{name}, 8 ahead"]
        assert week.actual != twin.actual


def test_segments_are_parts_of_all(tested):
    for ahead in tested.horizons:
        parts = [tested.row(TREES, ahead, name) for name in ("high", "medium", "low")]
        assert sum(part.n for part in parts) == tested.row(TREES, ahead).n
        assert parts[0].units > parts[1].units > parts[2].units


def test_new_and_thin_products_are_told_apart(quick):
    panel, _ = promoted(2, products=30, weeks=60)
    observed, units = panel.observed.copy(), panel.units.copy()
    observed[:4, :48] = False
    units[4:9] = np.where(np.arange(60) % 5 == 0, 1.0, 0.0)
    found = backtest(replace(panel, observed=observed, units=units), quick, seed=1)
    assert found.row(TREES, 1, "new").n == 4 * 8
    assert found.row(TREES, 1, "thin").n == 5 * 8


def test_stated_errors_cover(tested):
    assert tested.coverage.products == 60
    assert 0.75 <= tested.coverage.covered <= 1.0
    assert abs(tested.coverage.total_error) < 3 * tested.coverage.total_sd


def test_profiles_that_know_the_test_are_left_out(shop, quick):
    mix = np.random.default_rng(1).normal(size=(60, 2))
    late = backtest(shop, quick, profile_mix=mix, profile_week=59, seed=1)
    assert "profiles were left out" in late.reasons[0].english()
    early = backtest(shop, quick, profile_mix=mix, profile_week=45, seed=1)
    assert early.reasons == ()
    assert early.wape != late.wape


def test_ablations_name_what_was_left_out(quick):
    panel, _ = promoted(3, products=30, weeks=40)
    found = backtest(panel, quick, seed=1, ablations=True)
    names = {row.model for row in found.ablations}
    assert {"without price", "without promotions", "without lags"} <= names
    assert "without text" not in names
    full = found.row(TREES, 1)
    blind = next(r for r in found.ablations if (r.model, r.horizon, r.segment) == ("without price", 1, "all"))
    assert blind.wape > full.wape


def test_fixed_effects_agree_with_dummy_variables(shop):
    history = build_history(shop, np.zeros(4), np.ones(4, dtype=bool))
    fitted = fit_loglog(history, plan_of(shop), 50)
    seen = drivers(plan_of(shop), history.anchor)[:, :50, [0, 2]].reshape(-1, 2)
    dummies = np.repeat(np.eye(60), 50, axis=0)
    logs = np.log1p(shop.units[:, :50]).ravel()
    found = np.linalg.lstsq(np.column_stack([seen, dummies]), logs)[0]
    np.testing.assert_allclose(fitted.slope[[0, 2]], found[:2], atol=1e-4)
    np.testing.assert_allclose(fitted.effect, found[2:], atol=1e-4)


@pytest.mark.parametrize("units", [np.ones((1, 1)), np.ones((3, 7)), np.zeros((4, 40)), np.full((4, 40), 3.0)])
def test_almost_nothing_to_hold_out_is_said_or_scored_without_a_warning(units, quick):
    found = backtest(make_panel(units), quick, seed=1)
    assert found.reasons or found.rows
    assert np.isnan(found.wape) or found.wape >= 0


def test_a_horizon_too_long_for_the_history_is_said_to_be_untested(quick):
    found = backtest(promoted(4, products=20, weeks=18)[0], quick, seed=1)
    assert found.horizons == (1,)
    assert found.reasons[-1].english() == "not tested 8 weeks ahead: the history is too short"


@pytest.mark.real_data
def test_complete_journey_reaches_the_bars(tmp_path):
    from engine.panel import build_panel
    from engine.sources import open_shop

    settings = load_settings(None, [f"data.home={tmp_path}"])
    found = backtest(build_panel(open_shop("complete_journey", settings), settings), settings, seed=1)
    assert found.row(TREES, 1).wape <= 0.37
    assert found.row(TREES, 8).wape <= 0.41
    assert abs(found.bias) <= 0.04
    for interval in found.intervals:
        if interval.other == GLM:
            assert interval.high < 0
    assert 0.85 <= found.coverage.covered <= 0.97
