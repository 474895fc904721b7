"""The learning of profile weights, against independent references and known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from engine.profiles.learning import NORMAL_95, auc, auc_gain_interval, fit, learn, rfm


def sample(rng: np.random.Generator, n: int, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = rng.standard_normal((n, len(weight)))
    chance = 1 / (1 + np.exp(-(features @ weight - 1.0)))
    return features, rng.random(n) < chance


def test_the_fit_is_that_of_an_independent_solver() -> None:
    features, label = sample(np.random.default_rng(1), 400, np.array([1.0, -0.5, 0.0, 0.3]))
    ours = fit(features, label, penalty=5.0)
    reference = LogisticRegression(C=1 / 5.0, tol=1e-10, max_iter=1000).fit(features, label)
    assert ours.weight == pytest.approx(reference.coef_[0], abs=1e-5)
    assert ours.intercept == pytest.approx(float(reference.intercept_[0]), abs=1e-4)


def test_intervals_of_the_barely_penalised_weight_cover_the_truth() -> None:
    """A 90 % interval, 200 samples of three weights: outside 85–95 % would be six standard errors of luck."""
    truth = np.array([0.8, -0.4, 0.0])
    rng = np.random.default_rng(4)
    inside = []
    for _ in range(200):
        found = fit(*sample(rng, 400, truth), penalty=0.1)
        inside.append(np.abs(found.weight - truth) <= NORMAL_95 * found.standard_error)
    assert 0.85 < np.mean(inside) < 0.95


def test_noise_is_shrunk_and_signal_is_not() -> None:
    rng = np.random.default_rng(3)
    features, label = sample(rng, 1500, np.array([1.5, *[0.0] * 30]))
    found = learn(features, label, seed=1)
    assert found.weight[0] > 1.0
    assert np.abs(found.weight[1:]).max() < 0.25


def test_perfectly_separated_classes_keep_finite_weights() -> None:
    features = np.linspace(-1, 1, 60)[:, None]
    found = learn(features, features[:, 0] > 0, seed=1)
    assert np.isfinite(found.weight).all()
    assert np.isfinite(found.standard_error).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_that_of_an_independent_implementation(rows: list[tuple[int, bool]]) -> None:
    score = np.array([value for value, _ in rows], dtype=float)
    label = np.array([outcome for _, outcome in rows])
    if label.all() or not label.any():
        assert np.isnan(auc(score, label))
    else:
        assert auc(score, label) == pytest.approx(roc_auc_score(label, score))


def test_the_interval_of_an_auc_gain_covers_it_and_is_zero_for_equals() -> None:
    rng = np.random.default_rng(2)
    features, label = sample(rng, 500, np.array([1.0, 1.0]))
    good, poor = features.sum(axis=1), features[:, 0]
    low, high = auc_gain_interval(good, poor, label, seed=1)
    assert 0 < low < auc(good, label) - auc(poor, label) < high
    assert auc_gain_interval(good, good, label, seed=1) == (0.0, 0.0)


def test_rfm_prefers_the_recent_the_frequent_and_the_generous() -> None:
    n = np.arange(10.0)
    value = rfm(recency=n[::-1], frequency=n, monetary=n)
    assert value[-1] == 15
    assert value[0] == 3
    assert (np.diff(value) >= 0).all()
