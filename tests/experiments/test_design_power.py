"""Power and size, held against statsmodels, closed forms, the evidence on peeking, and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestIndPower

from engine.errors import ProblemError
from experiments.history import (
    Outcome,
    linearised,
    mean_outcome,
    panel_outcome,
    proportion_outcome,
    ratio_outcome,
    with_clusters,
    with_covariates,
)
from experiments.power import (
    arrivals,
    detectable_effect,
    detectable_watched,
    power_at,
    power_watched,
    required_units,
    required_watched,
    size_of,
    weeks_until,
)
from experiments.sequential import AnalysisPlan

FIXED = AnalysisPlan()
PROFIT = Outcome("profit", "mean", 10.0, 400.0, 5000)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.2, 0.7), st.integers(4, 80), st.sampled_from([0.25, 0.5, 1.0]))
def test_fixed_power_is_that_of_the_t_test(size, units, ratio):
    weights = (1 / (1 + ratio), ratio / (1 + ratio))
    total = units * (1 + ratio)
    if total != int(total):
        return
    expected = TTestIndPower().power(size, units, 0.05, ratio=ratio)
    found = power_at(Outcome("y", "mean", 0.0, 1.0, 100), size, int(total), FIXED, weights=weights)
    assert found == pytest.approx(expected, abs=1e-6)


def test_size_is_that_of_the_textbook():
    assert required_units(PROFIT, 1.0, FIXED) == pytest.approx(2 * 2 * 400 * (1.959964 + 0.841621) ** 2, abs=2)
    share = Outcome("buys", "proportion", 0.10, 0.09, 5000)
    expected = 2 * (0.09 + 0.11 * 0.89) * (1.959964 + 0.841621) ** 2 / 0.01**2
    assert required_units(share, 0.01, FIXED) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    ("plan", "low", "high"),
    [
        (AnalysisPlan("group_sequential", planned_units=1, looks=50), 0.76, 0.79),
        (AnalysisPlan("always_valid", looks=50), 0.49, 0.53),
    ],
)
def test_looking_fifty_times_costs_what_was_measured_elsewhere(plan, low, high):
    units = required_units(PROFIT, 1.0, FIXED)
    assert low <= power_at(PROFIT, 1.0, units, plan) <= high


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(["fixed", "group_sequential", "always_valid"]),
    st.floats(0.05, 3.0),
    st.sampled_from([(0.5, 0.5), (0.8, 0.2), (0.4, 0.3, 0.3)]),
)
def test_size_power_and_detectable_effect_agree(method, effect, weights):
    plan = AnalysisPlan(method, planned_units=1000 if method == "group_sequential" else None, looks=4)
    units = required_units(PROFIT, effect, plan, weights=weights)
    assert power_at(PROFIT, effect, units, plan, weights=weights) >= 0.8 - 1e-6
    assert power_at(PROFIT, effect, units - 1, plan, weights=weights) < 0.8 + 1e-6
    assert detectable_effect(PROFIT, units, plan, weights=weights) == pytest.approx(effect, rel=2e-3)


def test_simulated_tests_find_the_effect_as_often_as_planned():
    rng = np.random.default_rng(7)
    units = required_units(PROFIT, 4.0, FIXED)
    half = units // 2
    control = rng.normal(10, 20, (4000, half))
    treated = rng.normal(14, 20, (4000, half))
    error = np.sqrt((control.var(axis=1, ddof=1) + treated.var(axis=1, ddof=1)) / half)
    found = np.abs(treated.mean(axis=1) - control.mean(axis=1)) / error > 1.966
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_cuped_takes_off_what_history_explains():
    rng = np.random.default_rng(3)
    before = rng.normal(size=20_000)
    profit = 0.8 * before + 0.6 * rng.normal(size=20_000)
    outcome = with_covariates(mean_outcome("profit", profit), profit, before)
    assert outcome.explained == pytest.approx(0.64, abs=0.02)
    plain = required_units(mean_outcome("profit", profit), 0.1, FIXED)
    assert required_units(outcome, 0.1, FIXED) == pytest.approx(plain * (1 - outcome.explained), rel=0.01)
    noise = with_covariates(mean_outcome("profit", profit[:50]), profit[:50], rng.normal(size=(50, 20)))
    assert noise.explained < 0.35, "twenty covariates of noise explain nothing"
    assert with_covariates(outcome, profit, np.ones(20_000)).explained == 0.0


def test_a_ratio_has_the_variance_of_its_bootstrap():
    rng = np.random.default_rng(4)
    orders = 1 + rng.poisson(2.0, 4000).astype(float)
    profit = orders * rng.gamma(2.0, 3.0, 4000)
    outcome = ratio_outcome("profit_per_order", profit, orders)
    picks = rng.integers(0, 4000, (800, 4000))
    bootstrap = profit[picks].sum(axis=1) / orders[picks].sum(axis=1)
    assert outcome.mean == pytest.approx(profit.sum() / orders.sum())
    assert math.sqrt(outcome.variance / 4000) == pytest.approx(bootstrap.std(), rel=0.1)
    assert linearised("r", profit, orders)[1].mean() == pytest.approx(0.0, abs=1e-9)


def test_clusters_cost_what_their_correlation_says():
    rng = np.random.default_rng(5)
    stores = np.repeat(np.arange(300), 20)
    spend = rng.normal(0, 0.5, 300)[stores] + rng.normal(0, 1, 6000)
    outcome = with_clusters(mean_outcome("spend", spend), spend, stores)
    assert outcome.correlation == pytest.approx(0.2, abs=0.04)
    assert outcome.design_effect == pytest.approx(1 + 19 * 0.2, rel=0.2)
    means = spend.reshape(300, 20).mean(axis=1)
    assert outcome.residual_variance / 20 == pytest.approx(means.var(ddof=1), rel=0.1)
    alone = with_clusters(mean_outcome("spend", spend), spend, np.arange(6000))
    assert alone.design_effect == 1.0


def test_few_clusters_count_as_few_whatever_the_units():
    clustered = Outcome("y", "mean", 0.0, 1.0, 100, correlation=0.1, cluster_size=1000.0)
    stores = 12
    many = power_at(clustered, 0.4, stores * 1000, FIXED)
    means = Outcome("y", "mean", 0.0, clustered.residual_variance / 1000, stores)
    assert many == pytest.approx(power_at(means, 0.4, stores, FIXED), abs=1e-9)
    needed = required_units(clustered, 0.4, FIXED)
    assert power_at(clustered, 0.4, needed, FIXED) >= 0.8 > power_at(clustered, 0.4, needed - 1000, FIXED)


def test_the_panel_says_what_the_test_will_be_read_against():
    rng = np.random.default_rng(6)
    level = rng.lognormal(3, 1, (400, 1))
    panel = level + rng.normal(0, 5, (400, 60))
    four, sixteen = (panel_outcome("profit", panel, weeks=weeks, before=16) for weeks in (4, 16))
    assert four.residual_variance == pytest.approx(25 / 4 + 25 / 16, rel=0.15)
    assert sixteen.residual_variance == pytest.approx(25 / 8, rel=0.15)
    assert four.explained > 0.98


def test_the_run_length_follows_the_arrivals():
    arrived = arrivals([0, 0, 0, 1, 1, 2, 3], 4)
    assert arrived.tolist() == [3, 5, 6, 7]
    assert [weeks_until(units, arrived) for units in (3, 4, 7, 8)] == [1, 2, 4, None]
    sizing = size_of(PROFIT, 2.0, FIXED, [1000, 2500, 4000])
    assert (sizing.units, sizing.weeks) == (required_units(PROFIT, 2.0, FIXED), 3)
    short = size_of(PROFIT, 0.5, FIXED, [1000, 2000])
    assert short.weeks is None
    assert short.power < 0.8
    assert short.detectable > 0.5


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: mean_outcome("y", [1.0, 1.0]), "no variance"),
        (lambda: mean_outcome("y", [1.0, math.nan]), "row 2"),
        (lambda: proportion_outcome("y", [0, 1, 2]), "holds 2"),
        (lambda: ratio_outcome("y", [1.0, 2.0], [1.0, -1.0]), "do not add up to 0"),
        (lambda: with_covariates(PROFIT, [1.0, 2.0, 4.0], [1.0, math.nan, 2.0]), "missing values"),
        (lambda: with_clusters(PROFIT, [1.0, 2.0], ["a", "a"]), "at least 2"),
        (lambda: panel_outcome("y", np.ones((5, 4)), weeks=3, before=2), "needs 5"),
        (lambda: required_units(PROFIT, 0.0, FIXED), "smallest difference"),
        (lambda: required_units(Outcome("b", "proportion", 0.9, 0.09, 9), 0.2, FIXED), "out of 0…1"),
        (lambda: required_units(PROFIT, 1e-9, FIXED), "plan for a larger one"),
        (lambda: power_at(PROFIT, 1.0, 3, FIXED), "each needs 2"),
    ],
)
def test_what_no_size_can_be_planned_for_is_refused(make, says):
    with pytest.raises(ProblemError, match=says):
        make()


@pytest.mark.parametrize("method", ["fixed", "group_sequential", "always_valid"])
def test_few_units_that_are_watched_have_size_power_and_detectable_effect_under_every_analysis(method):
    plan = AnalysisPlan(method, planned_units=1, looks=1 if method == "fixed" else 4)
    alone = Outcome("profit", "mean", 10.0, 4.0, 100)
    for outcome, units in ((alone, 20), (with_categories(alone), 800)):
        smallest = detectable_watched(outcome, units, plan)
        assert power_watched(outcome, smallest, units, plan) == pytest.approx(0.8, abs=1e-6)
        assert required_watched(outcome, smallest, plan) == pytest.approx(units, abs=outcome.cluster_size)
    if method == "fixed":
        assert power_watched(alone, 2.0, 20, plan) == power_at(alone, 2.0, 20, plan)
    else:
        assert power_watched(alone, 2.0, 20, plan) < power_at(alone, 2.0, 20, FIXED), "looking has its price"
        assert power_watched(alone, 0.2, 2000, plan) == pytest.approx(power_at(alone, 0.2, 2000, plan), abs=0.01)
        with pytest.raises(ProblemError, match="5 units leave 3 degrees of freedom"):
            power_watched(alone, 2.0, 5, plan)


def with_categories(outcome):
    return Outcome("profit", "mean", 10.0, outcome.variance, 4000, correlation=0.02, cluster_size=40.0)


def test_a_share_that_is_watched_has_its_own_variance_at_the_effect():
    buys = Outcome("buys", "proportion", 0.10, 0.09, 5000)
    plan = AnalysisPlan("group_sequential", planned_units=1, looks=3)
    smallest = detectable_watched(buys, 2000, plan)
    assert power_watched(buys, smallest, 2000, plan) == pytest.approx(0.8, abs=1e-6)
    with pytest.raises(ProblemError, match="show no effect of 'buys'"):
        detectable_watched(Outcome("buys", "proportion", 0.97, 0.03, 5000), 20, plan)
