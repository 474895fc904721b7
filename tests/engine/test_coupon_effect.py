"""The effect regression: what data do not show is not promised, and what they show is found."""

from __future__ import annotations

import numpy as np
import pytest

from engine.coupon_response.effect import fit_effect, make_basis, row_design

CUSTOMERS, WAVES, FEATURES = 400, 4, 30
BASIS = make_basis(np.array([0.0, 4.0]))
NOISE = 8.0


def trial(seed, slope):
    """A randomised history with an effect of -1 that varies with the features by this much, and the effects found."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (CUSTOMERS, FEATURES))
    truth = -1.0 + slope * features @ rng.choice([-1.0, 1.0], FEATURES) / np.sqrt(FEATURES)
    customer = np.repeat(np.arange(CUSTOMERS), WAVES)
    sent = rng.random(len(customer)) < 0.5
    target = (sent - 0.5) * truth[customer] + rng.normal(0, NOISE, len(customer))
    treatment = np.column_stack([0.5 - sent, sent - 0.5])
    design, groups = row_design(BASIS, features[customer], treatment, np.full(len(customer), 0.5), None)
    variance = np.full(len(customer), NOISE**2)
    effect = fit_effect(design, groups, target, variance, customer, BASIS, rng=np.random.default_rng([seed, 1]))
    return truth, effect.predict(features)[:, 1], effect.error(features)


def plan(seed, slope):
    """Promise, its standard error and what comes, where everybody is sent a coupon whose effect looks positive."""
    truth, found, errors = trial(seed, slope)
    chosen = found > 0
    return found[chosen].sum(), errors.sd_of_sum(chosen.astype(np.int64)), truth[chosen].sum()


def test_intervals_hold_where_little_is_to_be_seen():
    promised, error, earned = np.array([plan(seed, 1.0) for seed in range(16)]).T
    assert np.mean(np.abs(promised - earned) <= 1.645 * np.maximum(error, 1e-9)) >= 0.75  # at likeliest scales: a third
    assert promised.mean() < 0.1 * CUSTOMERS


def test_no_effect_is_hardly_acted_on():
    promised, _, earned = np.array([plan(seed, 0.0) for seed in range(8)]).T
    assert promised.mean() < 0.03 * CUSTOMERS
    assert earned.mean() > -0.1 * CUSTOMERS


def test_effects_that_show_are_found_and_covered():
    outcomes = np.array([plan(seed, 3.0) for seed in range(10)])
    best = np.array([np.maximum(trial(seed, 3.0)[0], 0).sum() for seed in range(10)])
    assert outcomes[:, 2].sum() > 0.6 * best.sum()
    assert outcomes[:, 0].sum() == pytest.approx(outcomes[:, 2].sum(), rel=0.2)
    assert np.mean(np.abs(outcomes[:, 0] - outcomes[:, 2]) <= 1.645 * outcomes[:, 1]) >= 0.75


def test_the_same_random_numbers_give_the_same_effects():
    np.testing.assert_array_equal(trial(1, 1.0)[1], trial(1, 1.0)[1])
