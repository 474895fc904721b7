import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.experiments import LOOKS, revenue_error, sequential_rates
from engine.errors import ProblemError
from experiments.sequential import (
    AnalysisPlan,
    always_valid_multiplier,
    crossing_probability,
    drift_for_power,
    interval_multiplier,
    may_decide,
    power,
    rejection_boundary,
    sequential_p_value,
    spent,
)

REFERENCE = json.loads((Path(__file__).parents[1] / "fixtures" / "experiment_reference.json").read_text())
FIXED_Z = stats.norm.ppf(0.975)


def group_sequential(looks=5, **rest):
    return AnalysisPlan("group_sequential", planned_units=10_000, looks=looks, **rest)


def test_pocock_like_boundaries_are_the_published_ones():
    """Five equal looks, two-sided 5 %: 2.438, 2.427, 2.410, 2.397, 2.386 (Reboussin, DeMets, Kim and Lan 2000)."""
    plan = group_sequential(spending="pocock")
    published = [2.438, 2.427, 2.410, 2.397, 2.386]
    assert rejection_boundary(plan, plan.planned_fractions) == pytest.approx(published, abs=6e-4)


def test_two_looks_spend_what_the_bivariate_normal_says():
    plan = group_sequential()
    first, last = rejection_boundary(plan, [0.4, 1.0])
    together = stats.multivariate_normal([0, 0], [[1, math.sqrt(0.4)], [math.sqrt(0.4), 1]])
    inside = together.cdf([first, last], lower_limit=[-first, -last])
    assert 2 * stats.norm.sf(first) == pytest.approx(0.05 * 0.4**3, rel=1e-9)
    assert 1 - inside == pytest.approx(0.05, abs=1e-8)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6, unique_by=lambda x: round(x, 2)),
    st.sampled_from(["obrien_fleming", "pocock"]),
    st.sampled_from([0.01, 0.05, 0.2]),
)
def test_whenever_the_looks_come_the_error_spent_is_the_error_planned(fractions, spending, alpha):
    at = np.sort(fractions)
    plan = group_sequential(spending=spending, alpha=alpha)
    crossed = crossing_probability(at, rejection_boundary(plan, at)).sum(axis=1)
    assert np.cumsum(crossed) == pytest.approx(spent(plan, at), rel=1e-7)


def test_looks_close_together_cost_what_their_error_says():
    plan = group_sequential()
    at = np.array([0.5, 0.5 + 3e-4, 0.51, 1.0])
    assert crossing_probability(at, rejection_boundary(plan, at)).sum() == pytest.approx(0.05, rel=1e-7)


def test_a_look_repeated_before_anything_changed_costs_nothing():
    plan = AnalysisPlan("group_sequential", planned_units=1_000_000)
    assert interval_multiplier(plan, [400_000, 400_001, 900_000]) == pytest.approx(
        interval_multiplier(plan, [400_001, 900_000]), rel=1e-12
    )


def test_fifty_looks_keep_the_power_and_width_of_the_evidence():
    drift = drift_for_power(AnalysisPlan("fixed"), 0.8)
    spending, valid = group_sequential(looks=50), AnalysisPlan("always_valid", planned_units=10_000, looks=50)
    assert power(spending, drift) >= 0.76
    assert rejection_boundary(spending, spending.planned_fractions)[-1] / FIXED_Z <= 1.12
    assert power(valid, drift) >= 0.51
    assert rejection_boundary(valid, [1.0])[0] / FIXED_Z <= 1.55
    assert power(valid, 0.0) <= 0.05


def test_crossing_agrees_with_simulated_paths():
    plan = group_sequential(looks=10)
    at, rng = plan.planned_fractions, np.random.default_rng(5)
    boundary = rejection_boundary(plan, at)
    paths = np.cumsum(rng.normal(2.5 * 0.1, math.sqrt(0.1), (40_000, 10)), axis=1) / np.sqrt(at)
    up = (paths > boundary).any(axis=1).mean()
    assert power(plan, 2.5) == pytest.approx(up, abs=0.01)


def test_power_and_its_drift_undo_each_other():
    for plan in (AnalysisPlan("fixed"), group_sequential(), AnalysisPlan("always_valid", planned_units=900, looks=4)):
        assert power(plan, drift_for_power(plan, 0.9)) == pytest.approx(0.9, abs=1e-7)
    assert drift_for_power(AnalysisPlan("fixed"), 0.8) == pytest.approx(FIXED_Z + stats.norm.ppf(0.8), abs=1e-4)


def test_the_untuned_confidence_sequence_is_growthbooks():
    mean, sequence = REFERENCE["mean_revenue_absolute"], REFERENCE["mean_revenue_sequential_absolute"]
    error = (mean["high"] - mean["low"]) / 2 / stats.t.ppf(0.975, 99_998)
    half = (sequence["high"] - sequence["low"]) / 2
    multiplier = interval_multiplier(AnalysisPlan("always_valid", tuning_units=5_000), [100_000])
    assert multiplier * error == pytest.approx(half, rel=2e-6)


def test_a_fixed_plan_read_early_shows_a_wider_interval_and_decides_nothing():
    plan = AnalysisPlan("fixed", planned_units=10_000)
    assert interval_multiplier(plan, [4_000]) == pytest.approx(always_valid_multiplier([4_000], 0.05, 10_000)[0])
    assert interval_multiplier(plan, [4_000, 10_000]) == pytest.approx(FIXED_Z)
    assert (may_decide(plan, 4_000), may_decide(plan, 10_000)) == (False, True)
    assert rejection_boundary(plan, [0.4, 1.0]).tolist() == [math.inf, pytest.approx(FIXED_Z)]


@pytest.mark.parametrize("plan", [group_sequential(), AnalysisPlan("always_valid", planned_units=10_000)])
def test_the_p_value_is_the_alpha_whose_interval_just_reaches_nought(plan):
    looks = [3_000, 7_000]
    at_bound = interval_multiplier(plan, looks)
    assert sequential_p_value(plan, looks, at_bound) == pytest.approx(plan.alpha, rel=1e-6)
    assert sequential_p_value(plan, looks, at_bound + 0.5) < plan.alpha
    assert sequential_p_value(plan, looks, 0.0) == 1.0


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda: AnalysisPlan("weekly"), "analysis method"),
        (lambda: AnalysisPlan("group_sequential"), "planned_units"),
        (lambda: AnalysisPlan(alpha=1.5), "alpha"),
        (lambda: AnalysisPlan(looks=0), "looks"),
        (lambda: AnalysisPlan(spending="linear"), "spending"),
        (lambda: rejection_boundary(group_sequential(), [0.5, 0.4]), "increase"),
        (lambda: rejection_boundary(group_sequential(), [0.5, 1.4]), "within"),
        (lambda: interval_multiplier(group_sequential(), [5_000, 10_000, 12_000]), "read there already"),
        (lambda: drift_for_power(AnalysisPlan(), 0.01), "power"),
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused(broken, says):
    with pytest.raises(ProblemError, match=says):
        broken()


def test_fifty_looks_at_simulated_tests_reject_no_more_than_promised():
    """The small version of benchmarks/results/experiments_sequential.md, within three standard errors."""
    rates = sequential_rates(1_500)
    assert LOOKS == 50
    peeked = rates.pop("fixed horizon, peeked at (not valid)")
    assert peeked[0] > 0.25
    assert all(wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1_500) for wrong, _, _ in rates.values())
    _, found, width = rates["group sequential, alpha·t³ (O'Brien-Fleming-like)"]
    assert (found >= 0.74, width <= 1.12) == (True, True)
    assert rates["always valid, planned N"][2] <= 1.55


def test_heavy_tailed_revenue_keeps_its_error_at_a_fixed_horizon():
    """The small version of benchmarks/results/experiments_revenue.md."""
    assert revenue_error(800, 10_000, 0.05, 1.0) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 800))
