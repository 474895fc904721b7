import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from experiments.measure import Metric, analyse, moments, sample_ratio_p

REFERENCE = json.loads((Path(__file__).parents[1] / "fixtures" / "experiment_reference.json").read_text())
REVENUE = Metric("revenue", "revenue")


@pytest.fixture(scope="module")
def reference_table():
    """100,000 customers, half of them treated: spending that grows with taste, a small true effect on orders."""
    rng = np.random.default_rng(20240601)
    variant = np.repeat([0, 1], 50_000)
    taste = rng.gamma(2.0, 1.0, 100_000)
    rng.normal(0, 4, 100_000)
    sessions = 1 + rng.poisson(taste + 0.05 * variant)
    orders = rng.binomial(sessions, np.clip(0.10 + 0.02 * taste + 0.006 * variant, 0, 1))
    revenue = np.where(orders > 0, orders * rng.lognormal(3.0 + 0.1 * taste, 0.6, 100_000), 0.0)
    return pd.DataFrame({"user": np.arange(100_000), "variant": variant, "revenue": revenue})


def test_difference_in_means_agrees_with_the_reference_packages(reference_table):
    effect = analyse(reference_table, [REVENUE], unit="user").effects[0]
    golden = REFERENCE["mean_revenue_absolute"]
    assert effect.estimate == pytest.approx(golden["estimate"], rel=1e-9)
    assert effect.low == pytest.approx(golden["low"], rel=1e-9)
    assert effect.high == pytest.approx(golden["high"], rel=1e-9)
    assert effect.decision == "better"


def test_relative_interval_agrees_with_the_reference_packages(reference_table):
    effect = analyse(reference_table, [REVENUE]).effects[0]
    golden = REFERENCE["mean_revenue_relative"]
    assert effect.relative == pytest.approx(golden["estimate"], abs=1e-9)
    assert effect.relative_low == pytest.approx(golden["delta"]["low"], abs=1e-7)
    assert effect.relative_high == pytest.approx(golden["delta"]["high"], abs=1e-7)


def test_sample_ratio_agrees_with_the_reference():
    assert sample_ratio_p([50_000, 50_700], [1, 1]) == pytest.approx(
        REFERENCE["sample_ratio_50000_50700_p"]["chi_square"], abs=1e-7
    )


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30),
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30),
)
def test_moments_of_parts_add_up_to_those_of_the_whole(first, second):
    whole = moments(np.array(first + second))
    merged = moments(np.array(first)).merged(moments(np.array(second)))
    assert merged.count == whole.count
    assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    assert merged.centred_squares == pytest.approx(whole.centred_squares, rel=1e-9, abs=1e-2)


def test_an_a_a_test_rejects_as_often_as_promised():
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(1000):
        table = pd.DataFrame({"variant": np.repeat([0, 1], 200), "revenue": rng.gamma(0.5, 4.0, 400)})
        rejected += analyse(table, [REVENUE]).effects[0].decision != "undecided"
    assert 30 <= rejected <= 72


def test_a_broken_split_is_marked_wherever_it_is_shown():
    table = pd.DataFrame({"variant": [0] * 600 + [1] * 400, "revenue": np.arange(1000.0)})
    reading = analyse(table, [REVENUE])
    assert not reading.trustworthy
    assert {effect.decision for effect in reading.effects} == {"untrustworthy"}


def test_units_outside_the_experiment_are_counted_and_left_out():
    table = pd.DataFrame({"variant": [0, 0, 1, 1, -1], "revenue": [1.0, 2.0, 3.0, 4.0, 1e9]})
    reading = analyse(table, [REVENUE])
    assert (reading.excluded, reading.counts) == (1, (2, 2))
    assert reading.effects[0].estimate == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"variant": [0, 0, 1, 1], "revenue": [1.0, 1.0, 1.0, 1.0]}, "no variance"),
        ({"variant": [0, 0, 1, 1], "revenue": [1.0, float("nan"), 1.0, 2.0]}, "row 2"),
        ({"variant": [0, 0, 1, 1], "spend": [1.0, 2.0, 1.0, 2.0]}, "lacks the columns"),
        ({"variant": [0, 0, 0, 0], "revenue": [1.0, 2.0, 1.0, 2.0]}, "every one needs units"),
        ({"variant": [0, 0, 0, 1], "revenue": [1.0, 2.0, 1.0, 2.0]}, "at least 2"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_the_reason(table, says):
    with pytest.raises(ProblemError, match=says):
        analyse(pd.DataFrame(table), [REVENUE])


def test_a_unit_on_two_rows_is_refused():
    table = pd.DataFrame({"user": [1, 1, 2, 3], "variant": [0, 0, 1, 1], "revenue": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(ProblemError, match="more than one row"):
        analyse(table, [REVENUE], unit="user")
