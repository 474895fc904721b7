"""Drawn assignments: exact shares, clusters kept whole, balance that chance seldom gives, p-values that hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InfeasibleError, ProblemError
from experiments.randomise import by_cluster, imbalance, rerandomisation_p_value, rerandomised, stratified

HALVES = (0.5, 0.5)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=60),
    st.sampled_from([HALVES, (0.2, 0.8), (0.2, 0.3, 0.5)]),
    st.integers(0, 10_000),
)
def test_every_stratum_has_its_share_to_the_unit(strata, weights, seed):
    variant = stratified(strata, weights, np.random.default_rng(seed))
    for stratum in set(strata):
        inside = variant[np.array(strata) == stratum]
        for arm, weight in enumerate(weights):
            assert abs((inside == arm).sum() - weight * inside.size) < 1 + 1e-9
    assert np.array_equal(variant, stratified(strata, weights, np.random.default_rng(seed)))


def test_every_unit_has_its_chance():
    rng = np.random.default_rng(1)
    strata = ["a", "a", "a", "b", "b", "c"]
    chance = np.mean([stratified(strata, (0.3, 0.7), rng) for _ in range(4000)], axis=0)
    assert np.all(np.abs(chance - 0.7) < 0.03)


def test_a_cluster_stays_whole():
    clusters = np.random.default_rng(2).integers(0, 30, 500)
    variant = by_cluster(clusters, HALVES, np.random.default_rng(3), strata=clusters % 3)
    assert all(len(set(variant[clusters == name])) == 1 for name in set(clusters))
    arm = np.array([variant[clusters == name][0] for name in range(30)])
    assert [arm[stratum::3].sum() for stratum in range(3)] == [5, 5, 5]
    with pytest.raises(ProblemError, match="two strata"):
        by_cluster(["x", "x", "y"], HALVES, np.random.default_rng(1), strata=[0, 1, 1])
    with pytest.raises(ProblemError, match="1 clusters for 2 variants"):
        by_cluster(["x", "x"], HALVES, np.random.default_rng(1))


def test_the_distance_is_that_of_mahalanobis():
    rng = np.random.default_rng(4)
    x, variant = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3)), np.arange(50) % 2
    apart = x[variant == 1].mean(axis=0) - x[variant == 0].mean(axis=0)
    expected = 25 * 25 / 50 * apart @ np.linalg.inv(np.cov(x, rowvar=False)) @ apart
    assert imbalance(x, variant) == pytest.approx(expected)
    assert imbalance(np.column_stack([x, x[:, 0], np.ones(50)]), variant) == pytest.approx(expected)


def test_splits_that_are_out_of_balance_are_thrown_back():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 3))
    chance = [imbalance(x, stratified(np.zeros(60), HALVES, rng)) for _ in range(2000)]
    assert np.mean(chance) == pytest.approx(3.0, abs=0.2), "χ² with three degrees of freedom"
    drawn = rerandomised(x, HALVES, rng, acceptance=0.01)
    assert drawn.distance <= drawn.threshold == pytest.approx(np.quantile(chance, 0.01), rel=0.5)
    assert abs(drawn.variant.sum() - 30) == 0
    three = rerandomised(x, (0.2, 0.3, 0.5), rng, acceptance=0.05)
    assert np.bincount(three.variant).tolist() == [12, 18, 30]


def test_balance_makes_the_estimate_narrower_and_the_p_value_stays_exact():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(40, 2))
    y = x.sum(axis=1) + 0.5 * rng.normal(size=40)
    plain = [stratified(np.zeros(40), HALVES, rng) for _ in range(150)]
    balanced = [rerandomised(x, HALVES, rng, acceptance=0.05) for _ in range(150)]

    def spread(variants):
        return np.std([y[variant == 1].mean() - y[variant == 0].mean() for variant in variants])

    assert spread([one.variant for one in balanced]) < 0.6 * spread(plain)
    p_values = [rerandomisation_p_value(y, one, x, HALVES, rng, draws=9) for one in balanced[:120]]
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.06)
    effect = y + 2.0 * balanced[0].variant
    assert rerandomisation_p_value(effect, balanced[0], x, HALVES, rng, draws=99) == 0.01


@pytest.mark.parametrize(
    ("covariates", "more", "error", "says"),
    [
        ([1.0, float("nan"), 2.0, 3.0], {}, ProblemError, "finite"),
        (np.ones((3, 1)), {}, ProblemError, "4 or more"),
        (np.eye(6), {"acceptance": 0.0}, ProblemError, "acceptance 0 "),
        ([1.0, 2.0, 4.0, 100.0], {"acceptance": 0.05}, InfeasibleError, "fewer covariates"),
    ],
)
def test_what_cannot_be_balanced_is_refused(covariates, more, error, says):
    with pytest.raises(error, match=says):
        rerandomised(covariates, HALVES, np.random.default_rng(1), **more)
