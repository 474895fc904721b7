"""Synthetic controls on regions with known truth: weights, placebos, coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from engine.errors import ProblemError
from experiments.synthetic_control import read_synthetic_control, synthetic_weights


def regions(rng, count=24, periods=60, noise=1.0):
    """Levels, shared seasons that weigh differently in each region, and noise."""
    factors = np.cumsum(rng.normal(size=(3, periods)), axis=1)
    return (
        rng.normal(100, 10, (count, 1))
        + rng.dirichlet([2, 2, 2], count) @ factors
        + rng.normal(0, noise, (count, periods))
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_the_weights_are_the_best_on_the_simplex(seed):
    rng = np.random.default_rng(seed)
    donors, target = rng.normal(size=(4, 9)), rng.normal(size=9)
    weights = synthetic_weights(target, donors)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)

    def loss(w):
        return float(np.sum((target - w @ donors) ** 2))

    simplex = {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = minimize(loss, np.full(4, 0.25), bounds=[(0, 1)] * 4, constraints=[simplex], options={"maxiter": 500})
    assert loss(weights) <= best.fun + 1e-4


def test_a_mix_of_others_is_found_again():
    rng = np.random.default_rng(1)
    donors = rng.normal(size=(6, 40))
    mix = np.array([0.5, 0.3, 0.2, 0, 0, 0])
    assert synthetic_weights(mix @ donors, donors) == pytest.approx(mix, abs=1e-4)


def test_the_interval_covers_the_truth_and_nothing_is_nothing():
    rng = np.random.default_rng(2)
    covered, p_values = 0, []
    for _ in range(120):
        table = regions(rng)
        null = read_synthetic_control(table, [0], 48, rng=rng)
        p_values.append(null.p_value)
        table[0, 48:] += 3.0
        got = read_synthetic_control(table, [0], 48, rng=rng)
        covered += got.low <= 3.0 <= got.high
    assert 0.83 <= covered / 120 <= 0.97
    assert np.mean(np.array(p_values) <= 0.1) <= 0.17


def test_several_regions_are_read_together():
    rng = np.random.default_rng(3)
    table = regions(rng)
    table[[2, 5, 7], 48:] += 4.0
    got = read_synthetic_control(table, [2, 5, 7], 48, rng=rng)
    assert got.weights.shape == (3, 21)
    assert got.low < 4.0 < got.high
    assert got.p_value < 0.05
    assert np.abs(got.path[:48]).mean() < 1.5 < got.path[48:].mean()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"launched": [30]}, "are not rows"),
        ({"start": 60}, "start 60"),
        ({"values": np.ones((6, 10))}, "without the launch"),
        ({"alpha": 0.01}, "can show nothing"),
        ({"values": np.full((24, 60), np.nan)}, "with gaps"),
    ],
)
def test_what_cannot_be_read_is_refused(change, says):
    rng = np.random.default_rng(4)
    given = {"values": regions(rng), "launched": [0], "start": 48, "rng": rng} | change
    with pytest.raises(ProblemError, match=says):
        read_synthetic_control(given.pop("values"), given.pop("launched"), given.pop("start"), **given)
