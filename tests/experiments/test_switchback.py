"""Switchbacks on sales with known truth: season, autocorrelation and carry-over."""

import numpy as np
import pytest

from benchmarks.experiment_truth import FELT, STEP_EFFECT, daily_sales, with_effect
from engine.errors import InfeasibleError, ProblemError
from experiments.switchback import (
    SwitchbackPlan,
    draw_switchback,
    estimate_carry_over,
    plan_switchback,
    read_switchback,
)

EFFECT = STEP_EFFECT


@pytest.fixture(scope="module")
def plan():
    return plan_switchback(
        daily_sales(np.random.default_rng(1)), steps=168, effect=EFFECT, felt=FELT, lengths=(7, 14, 21)
    )


def test_the_plan_outlasts_the_carry_over(plan):
    assert plan.length == 7
    assert plan.carry_over_bias <= 0.1 * plan.standard_error
    assert plan.pairs == 8 * 12
    assert plan.power > 0.8
    assert plan.detectable < EFFECT


def test_the_interval_covers_the_truth_and_the_naive_one_does_not(plan):
    rng = np.random.default_rng(2)
    covered = naive = 0
    estimates, errors = [], []
    for _ in range(400):
        schedule = draw_switchback(plan, rng)
        reading = read_switchback(
            with_effect(daily_sales(rng), schedule), schedule, length=plan.length, burn_in=plan.burn_in
        )
        covered += reading.low <= EFFECT <= reading.high
        naive += reading.naive - EFFECT
        estimates.append(reading.estimate)
        errors.append(reading.standard_error)
    assert 0.92 <= covered / 400 <= 0.98
    assert np.mean(estimates) == pytest.approx(EFFECT, abs=0.1)
    assert naive / 400 < -0.15 * EFFECT, "carry-over makes the naive estimate too small"
    assert np.std(estimates) == pytest.approx(np.mean(errors), rel=0.12)
    assert plan.standard_error == pytest.approx(np.mean(errors), rel=0.12), "history foretold the error"


def test_a_test_of_nothing_rejects_as_often_as_promised(plan):
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(400):
        schedule = draw_switchback(plan, rng)
        rejected += read_switchback(daily_sales(rng), schedule, length=7, burn_in=plan.burn_in).p_value < 0.05
    assert 0.03 <= rejected / 400 <= 0.075


def test_carry_over_is_found_and_forgotten_where_it_ends():
    rng = np.random.default_rng(4)
    plan = SwitchbackPlan(14, 3, 28 * 30, 12, 1.0, 0.0, 1.0, 1.0)
    truth = EFFECT * np.array([*FELT, 0, 0, 0, 0])
    covered = ended = 0
    for _ in range(25):
        schedule = draw_switchback(plan, rng)
        found = estimate_carry_over(with_effect(daily_sales(rng, 12, 840), schedule), schedule, length=14)
        covered += bool(np.all((found.low <= truth) & (truth <= found.high)))
        ended += found.burn_in in {2, 3}
    assert covered >= 22
    assert ended >= 22
    none = estimate_carry_over(with_effect(daily_sales(rng, 12, 840), schedule, felt=()), schedule, length=14)
    assert none.burn_in == 0


def test_regions_that_switch_together_are_one_cluster():
    rng = np.random.default_rng(5)
    plan = SwitchbackPlan(7, 0, 168, 1, 1.0, 0.0, 1.0, 1.0)
    schedule = np.repeat(draw_switchback(plan, rng), 8, axis=0)
    common = 10 * rng.standard_normal(168)
    reading = read_switchback(daily_sales(rng) + common, schedule, length=7, burn_in=0)
    alone = read_switchback((daily_sales(rng) + common).mean(axis=0), schedule[:1], length=7, burn_in=0)
    assert (reading.pairs, alone.pairs) == (12, 12)
    assert reading.standard_error == pytest.approx(alone.standard_error, rel=0.2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v, s: (np.where(np.arange(28) == 3, np.nan, v), s), "step 3 is missing"),
        (lambda v, s: (v[:, :27], s[:, :27]), "no pairs of periods"),
        (lambda v, s: (v, np.ones_like(s)), "one arm twice"),
        (lambda v, s: (v, np.roll(s, 1, axis=1)), "switches inside a period"),
        (lambda v, s: (v, 2 * s), "0 or 1"),
    ],
)
def test_a_switchback_that_cannot_be_read_is_refused(change, says):
    values, schedule = change(np.arange(28.0)[None, :], np.repeat([[0, 1, 1, 0]], 7, axis=1).reshape(1, 28)[:, :])
    with pytest.raises(ProblemError, match=says):
        read_switchback(values, schedule, length=7, burn_in=1)


def test_a_carry_over_that_no_period_outlasts_is_refused():
    with pytest.raises(InfeasibleError, match="outlasts"):
        plan_switchback(daily_sales(np.random.default_rng(1)), steps=28, effect=40.0, felt=[1.0] * 10, lengths=(7,))


def test_one_pair_that_all_regions_switched_alike_has_no_variance():
    ran = np.tile(np.repeat([1, 0], 7), (4, 1))
    with pytest.raises(ProblemError, match="switched together in the one pair"):
        read_switchback(np.random.default_rng(1).normal(100, 2, (4, 14)), ran, length=7, burn_in=1)
