"""Price tests over products: substitution inside the category is measured, not mistaken for a gain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.experiment_truth import product_profits, repeated
from engine.errors import ProblemError
from experiments.cluster_robust import clustered_fit
from experiments.price_test import draw_price_test, read_price_test


def test_the_launch_is_covered_and_the_naive_reading_is_not():
    truth, estimate, low, high, naive, naive_low, naive_high = repeated("prices over products, substitution", 120, 2).T
    assert 0.91 <= np.mean((low <= truth) & (truth <= high)) <= 0.99
    assert estimate.mean() == pytest.approx(2.0, abs=0.15)
    assert naive.mean() > 3.0
    assert np.mean((naive_low <= truth) & (truth <= naive_high)) < 0.3


def test_own_and_neighbour_effects_are_told_apart():
    rng = np.random.default_rng(3)
    categories = np.repeat(np.arange(400), 8)
    test = draw_price_test(categories, rng)
    before, during = product_profits(rng, categories, test.variant)
    got = read_price_test(during, test, categories, before=before)
    assert got.own.estimate == pytest.approx(6 + 4 / 7, abs=0.5), "the treated lose to one neighbour fewer"
    assert got.neighbour.estimate == pytest.approx(-4 * 4 / 7, abs=0.5)
    assert got.launch.estimate == pytest.approx(2.0, abs=0.4)
    assert sum(got.categories) == 400


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 8), min_size=30, max_size=80), st.integers(0, 1000))
def test_the_draw_keeps_to_its_saturations(categories, seed):
    categories = np.concatenate([categories, np.arange(9)])
    test = draw_price_test(categories, np.random.default_rng(seed))
    for name in set(categories.tolist()):
        inside = categories == name
        assert len(set(test.saturation[inside])) == 1
        assert abs(test.variant[inside].sum() - test.saturation[inside].sum()) < 1


def test_one_row_a_cluster_gives_the_error_of_unequal_variances():
    rng = np.random.default_rng(4)
    off, on = rng.normal(0, 1, 30), rng.normal(0, 3, 50)
    arm = np.repeat([0.0, 1.0], [30, 50])
    fit = clustered_fit(np.column_stack([1 - arm, arm]), np.concatenate([off, on]), np.arange(80))
    estimate, error = fit.contrast(1, 0)
    assert estimate == pytest.approx(on.mean() - off.mean())
    assert error == pytest.approx(np.sqrt(off.var(ddof=1) / 30 + on.var(ddof=1) / 50))


def test_the_degrees_of_freedom_are_those_of_the_clusters_and_fewer_where_they_differ():
    """Two groups of errors alike: (1/n + 1/m)² / (1/(n²(n - 1)) + 1/(m²(m - 1))), Satterthwaite (1946)."""
    rng = np.random.default_rng(5)
    for rows in (1, 4):
        arm = np.repeat(np.repeat([0.0, 1.0], [12, 20]), rows)
        fit = clustered_fit(np.column_stack([1 - arm, arm]), rng.normal(size=32 * rows), np.repeat(np.arange(32), rows))
        expected = (1 / 12 + 1 / 20) ** 2 / (1 / (12**2 * 11) + 1 / (20**2 * 19))
        assert fit.freedom(1, 0) == pytest.approx(expected)
    size = np.tile([1, 9], 10)
    arm = np.repeat(np.repeat([0.0, 1.0], 10), size)
    fit = clustered_fit(np.column_stack([1 - arm, arm]), rng.normal(size=100), np.repeat(np.arange(20), size))
    assert 5 < fit.freedom(1, 0) < 14


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda rng: draw_price_test([1, 2, 3], rng, saturations=(0.0, 1.0), shares=(0.5, 0.5)), "one or more between"),
        (lambda rng: draw_price_test([1, 1, 2, 2], rng), "2 clusters for 3"),
        (lambda rng: _read(rng, np.nan), "NaN inside"),
        (lambda rng: _read(rng, 1.0, before=np.full(60, np.nan)), "before has shape"),
    ],
)
def test_a_price_test_that_makes_no_sense_is_refused(make, says):
    with pytest.raises(ProblemError, match=says):
        make(np.random.default_rng(1))


def _read(rng, value, before=None):
    categories = np.repeat(np.arange(12), 5)
    values = rng.normal(size=60)
    values[0] = value
    return read_price_test(values, draw_price_test(categories, rng), categories, before=before)
