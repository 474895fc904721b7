"""The features of the level model: strictly point in time, and what their names say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from level_panels import make_panel, promoted, scrambled_after, with_stores

from engine.demand.level_calendar import holiday_distance, holidays, season
from engine.demand.level_features import Wanted, build_design, build_history, rolling_mean, usual_promotions
from engine.demand.level_plan import plan_of

POOLED = np.array([-2.0, -1.0, 0.2, 0.3])
ALL = np.ones(4, dtype=bool)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10_000), week=st.integers(8, 65), ahead=st.integers(1, 8))
def test_shuffling_the_future_changes_no_feature(seed, week, ahead):
    panel, _ = promoted(seed, products=7, weeks=75)
    plan, target = plan_of(panel), np.array([week + ahead])
    truth = build_design(build_history(panel, POOLED, ALL), plan, target, ahead, Wanted())
    blind = build_design(build_history(scrambled_after(panel, week, seed), POOLED, ALL), plan, target, ahead, Wanted())
    assert truth.names == blind.names
    np.testing.assert_array_equal(truth.values, blind.values)
    np.testing.assert_array_equal(truth.offset, blind.offset)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_price_features_grow_with_the_planned_price_and_no_other_feature_moves(seed):
    panel, _ = promoted(seed, products=7, weeks=40)
    history, target = build_history(panel, POOLED, ALL), np.array([30])
    dearer = plan_of(panel)
    before = build_design(history, dearer, target, 4, Wanted())
    dearer.price[2, 30] *= 1.2
    dearer.regular[2, 30] *= 1.2
    after = build_design(history, dearer, target, 4, Wanted())
    moved = after.values[2] - before.values[2]
    for name, move in zip(after.names, moved, strict=True):
        if name.startswith("price."):
            assert move >= 0 or np.isnan(move), name
        elif name == "filter.log_mean":
            assert move <= 0
        else:
            assert move == 0 or np.isnan(move), name


def test_a_feature_says_what_its_name_says():
    units = np.arange(1.0, 21.0)[None, :]
    panel = make_panel(units)
    history = build_history(panel, np.zeros(4), ALL)
    design = build_design(history, plan_of(panel), np.array([19]), 3, Wanted())
    value = dict(zip(design.names, design.values[0], strict=True))
    level = history.filtered.level[0, 16]
    assert value["lags.mean_4"] == pytest.approx(np.log(np.mean([14, 15, 16, 17]) + 0.05) - level, abs=1e-5)
    assert value["lags.units_0"] == pytest.approx(np.log(17.05) - level, abs=1e-5)
    assert value["age.weeks"] == 13
    assert value["horizon.weeks"] == 3


def test_last_years_growth_is_read_for_category_and_shop():
    shape = np.exp(0.5 * np.sin(2 * np.pi * np.arange(104) / 52))
    panel = make_panel(np.tile(50 * shape, (6, 1)))
    history = build_history(panel, np.zeros(4), ALL)
    design = build_design(history, plan_of(panel), np.array([90]), 6, Wanted())
    value = dict(zip(design.names, design.values[0], strict=True))
    # a year ago: from weeks 31–33 (around 84 - 52) to weeks 37–39 (around 90 - 52)
    growth = np.log(shape[37:40].mean() / shape[31:34].mean())
    assert value["category.year_ago"] == pytest.approx(growth, abs=0.06)
    assert value["calendar.year_ago"] == pytest.approx(growth, abs=0.06)


def test_unobserved_weeks_are_bridged():
    observed = np.ones((1, 12), dtype=bool)
    observed[0, 8:] = False
    mean = rolling_mean(np.full((1, 12), 5.0), observed, 4)
    assert mean[0, 10] == 5.0
    assert np.isnan(mean[0, 11])


def test_a_category_does_not_fall_because_its_products_ran_out():
    panel, _ = promoted(9, products=9, weeks=40)
    empty = np.zeros(panel.units.shape)
    empty[:, -5:] = 1.0
    out = replace(panel, units=np.where(empty > 0, 0.0, panel.units), stock_out=empty)
    assert np.abs(build_history(out, POOLED, ALL).known["category.week"][:, -1]).max() < 0.3


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10_000), weeks=st.integers(5, 70))
def test_the_usual_promotions_of_a_category_are_among_those_seen_in_the_past_year(seed, weeks):
    panel, _ = promoted(seed, products=12, weeks=weeks)
    history, plan = build_history(panel, POOLED, ALL), plan_of(panel)
    usual = usual_promotions(history, plan)
    assert set(usual) == {"category.discount", "category.mailer"}
    others = [np.array([j for j in range(i % 3, 12, 3) if j != i]) for i in range(12)]
    seen = {"category.discount": np.log(plan.price / plan.regular), "category.mailer": plan.mailer}
    for name, matrix in seen.items():
        weight = np.exp(history.filtered.level[:, -1])
        means = np.array([np.average(matrix[rest, -52:], axis=0, weights=weight[rest]) for rest in others])
        assert usual[name].shape == (12, 1)
        assert (usual[name][:, 0] >= means.min(axis=1) - 1e-9).all()
        assert (usual[name][:, 0] <= means.max(axis=1) + 1e-9).all()


def test_what_is_given_takes_the_place_of_what_the_plan_says_and_changes_nothing_else():
    panel, _ = promoted(3, products=12, weeks=40)
    history, plan, target = build_history(panel, POOLED, ALL), plan_of(panel), np.array([35])
    plain = build_design(history, plan, target, 4, Wanted())
    usual = usual_promotions(history, plan)
    told = build_design(history, plan, target, 4, Wanted(given=usual))
    for name, was, now in zip(plain.names, plain.values.T, told.values.T, strict=True):
        np.testing.assert_array_equal(now, usual[name][:, 0].astype(np.float32) if name in usual else was)
    np.testing.assert_array_equal(plain.offset, told.offset)


def test_a_product_alone_in_its_category_has_no_usual_promotions_of_others():
    panel = make_panel(np.full((3, 30), 5.0))
    usual = usual_promotions(build_history(panel, POOLED, ALL), plan_of(panel))
    assert np.isnan(usual["category.discount"]).all()
    assert np.isnan(usual["category.mailer"]).all()


def test_a_category_context_is_that_of_the_same_store():
    panel, _ = promoted(5, products=6, weeks=30)
    split = with_stores(panel, 2)
    assert len(set(build_history(split, POOLED, ALL).group)) == 2 * len(set(build_history(panel, POOLED, ALL).group))


@pytest.mark.parametrize(
    ("year", "easter", "memorial", "labor", "thanksgiving"),
    [
        (2000, date(2000, 4, 23), date(2000, 5, 29), date(2000, 9, 4), date(2000, 11, 23)),
        (2017, date(2017, 4, 16), date(2017, 5, 29), date(2017, 9, 4), date(2017, 11, 23)),
        (2024, date(2024, 3, 31), date(2024, 5, 27), date(2024, 9, 2), date(2024, 11, 28)),
        (2038, date(2038, 4, 25), date(2038, 5, 31), date(2038, 9, 6), date(2038, 11, 25)),
    ],
)
def test_holidays_fall_where_almanacs_put_them(year, easter, memorial, labor, thanksgiving):
    assert holidays(year) == (easter, memorial, date(year, 7, 4), labor, thanksgiving, date(year, 12, 25))


def test_holiday_distance_counts_weeks_and_knows_no_calendar():
    mondays = np.array(["2017-11-13", "2017-11-20", "2017-11-27", "2018-02-05", "NaT"], dtype="datetime64[D]")
    near = holiday_distance(mondays)
    np.testing.assert_array_equal(near[:4], [[1, 3], [0, 0], [3, 1], [3, 3]])
    assert np.isnan(near[4]).all()
    assert np.isnan(season(mondays)[4]).all()
    assert np.isfinite(season(mondays)[:4]).all()
