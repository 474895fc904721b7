"""Shrinkage against the textbook and against shops drawn from its own model."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.demand.elasticities import default_prior
from engine.demand.shrinkage import shrink
from engine.demand.substitution import kept_positive

ONE = ("promotion",)
TWO = ("promotion", "regular")


def drawn(seed, products=300, categories=10, noise=0.6):
    """Two channels from the hierarchy itself: truth, estimates and their precision."""
    rng = np.random.default_rng(seed)
    category = np.arange(products) % categories
    sigma = np.array([[0.36, 0.24], [0.24, 0.25]])
    root = np.linalg.cholesky(sigma)
    middle = np.array([-2.0, -1.2]) + 0.6 * rng.normal(size=(categories, 2)) @ root.T
    truth = middle[category] + rng.normal(size=(products, 2)) @ root.T
    sd = noise * rng.uniform(0.5, 2.0, (products, 2))
    estimate = truth + sd * rng.normal(size=(products, 2))
    precision = np.stack([np.diag(1 / row**2) for row in sd])
    return truth, estimate, precision, category


def run(estimate, precision, category, names=TWO, seed=0):
    return shrink(estimate, precision, category, default_prior(names), rng=np.random.default_rng(seed))


def test_intervals_cover_and_errors_fall():
    inside, better = [], []
    for seed in range(3):
        truth, estimate, precision, category = drawn(seed)
        found = run(estimate, precision, category)
        sd = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
        inside.append((np.abs(found.mean - truth) < 1.645 * sd).mean())
        better.append(((found.mean - truth) ** 2).mean() / ((estimate - truth) ** 2).mean())
    assert 0.87 <= np.mean(inside) <= 0.94
    assert np.mean(better) < 0.6


def test_one_channel_teaches_another_through_the_spread_they_share():
    truth, estimate, precision, category = drawn(5, noise=0.4)
    precision[:, 1, 1] *= np.where(np.arange(300) < 150, 1.0, 0.0)
    found = run(estimate, precision, category)
    blind = run(estimate[:, 1:], precision[:, 1:, 1:], category, ("regular",))
    late = slice(150, None)
    with_promotion = np.abs(found.mean[late, 1] - truth[late, 1]).mean()
    without = np.abs(blind.mean[late, 0] - truth[late, 1]).mean()
    assert with_promotion < 0.85 * without
    assert np.isfinite(found.own_se[late, 1]).all()


def test_own_evidence_of_one_channel_is_the_estimate_and_its_noise():
    _, estimate, precision, category = drawn(2)
    found = run(estimate[:, :1], precision[:, :1, :1], category, ONE)
    plain = np.abs(estimate[:, 0] + 2) < 2
    assert np.allclose(found.own_estimate[plain, 0], estimate[plain, 0], atol=1e-6)
    assert np.allclose(found.own_se[plain, 0] ** -2, precision[plain, 0, 0], rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(value=st.floats(-4, 0), seed=st.integers(0, 100))
def test_precise_estimates_stand_and_missing_ones_become_the_category(value, seed):
    _, estimate, precision, category = drawn(seed, products=60, categories=3)
    estimate[0], precision[0] = value, np.eye(2) * 1e6
    precision[1] = 0.0
    estimate[1] = 1e3
    found = run(estimate, precision, category)
    assert np.allclose(found.mean[0], value, atol=0.1)
    assert np.allclose(found.mean[1], found.category_mean[category[1]], atol=1e-6)
    assert np.isinf(found.own_se[1]).all()
    assert np.isnan(found.own_estimate[1]).all()
    typical = np.median(found.covariance[2:, 0, 0])
    assert found.covariance[1, 0, 0] > typical


def test_an_absurd_estimate_does_not_drag_its_category():
    _, estimate, precision, category = drawn(3)
    clean = run(estimate, precision, category)
    estimate[0] = 12.0
    spoiled = run(estimate, precision, category)
    assert np.allclose(spoiled.category_mean[0], clean.category_mean[0], atol=0.2)
    assert np.allclose(spoiled.sigma, clean.sigma, atol=0.12)


def test_draws_have_the_moments_of_the_posterior():
    _, estimate, precision, category = drawn(4, products=40, categories=4)
    found = run(estimate, precision, category)
    draws = found.draws(3000, np.random.default_rng(1))
    sd = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    assert np.allclose(draws.mean(axis=0), found.mean, atol=0.08)
    assert np.allclose(draws.std(axis=0), sd, rtol=0.12)


def test_products_without_data_move_together_in_the_draws():
    _, estimate, precision, category = drawn(6, products=40, categories=4)
    precision[:8] = 0.0
    draws = run(estimate, precision, category).draws(2000, np.random.default_rng(1))
    same = np.corrcoef(draws[:, 0, 0], draws[:, 4, 0])[0, 1]
    assert category[0] == category[4]
    assert same > 0.03


@settings(max_examples=20, deadline=None)
@given(mean=st.floats(-1, 1), sd=st.floats(0.05, 1))
def test_moments_of_a_normalkept_positive(mean, sd):
    first, second = kept_positive(np.array([mean]), np.array([sd]))
    sample = np.maximum(np.random.default_rng(0).normal(mean, sd, 200_000), 0)
    assert abs(first[0] - sample.mean()) < 0.01
    assert abs(second[0] - sample.std()) < 0.01
