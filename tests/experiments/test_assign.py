import numpy as np
import pytest
from growthbook.core import chooseVariation, gbhash, getBucketRanges
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from experiments.assign import NOT_ASSIGNED, assign, bucket

identifiers = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)


@settings(deadline=None, max_examples=300)
@given(identifiers, st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20))
def test_the_hash_is_the_one_of_growthbook(unit_id, seed):
    assert bucket(unit_id, seed=seed) == gbhash(seed, unit_id, 2)
    assert bucket(unit_id, seed=seed, version=1) == gbhash(seed, unit_id, 1)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.floats(0, 1),
    st.lists(identifiers, min_size=1, max_size=30),
)
def test_assignment_is_the_one_of_growthbook(parts, coverage, ids):
    weights = [part / sum(parts) for part in parts]
    ranges = getBucketRanges(len(weights), coverage, weights)
    expected = [chooseVariation(gbhash("price-test", unit_id, 2), ranges) for unit_id in ids]
    assert assign(ids, seed="price-test", weights=weights, coverage=coverage).tolist() == expected


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_ramp_never_moves_a_unit_between_variants(one, other):
    low, high = sorted([one, other])
    ids = np.arange(500)
    before = assign(ids, seed="ramp", weights=[0.3, 0.7], coverage=low)
    after = assign(ids, seed="ramp", weights=[0.3, 0.7], coverage=high)
    inside = before != NOT_ASSIGNED
    assert np.array_equal(before[inside], after[inside])


def test_shares_come_out_as_planned_and_seeds_are_independent():
    ids = np.arange(100_000)
    first = assign(ids, seed="one", weights=[0.2, 0.8])
    second = assign(ids, seed="two", weights=[0.5, 0.5])
    assert first.mean() == pytest.approx(0.8, abs=0.01)
    assert second[first == 0].mean() == pytest.approx(0.5, abs=0.02)


def test_one_identifier_and_a_table_agree():
    ids = ["a", "客户-17", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"]
    assert bucket(ids, seed="s").tolist() == [bucket(unit_id, seed="s") for unit_id in ids]
    assert assign(ids, seed="s").tolist() == [assign(unit_id, seed="s") for unit_id in ids]
    assert bucket(17, seed="s") == bucket("17", seed="s")
    assert assign([], seed="s").tolist() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"weights": [0.5, 0.6]}, "add up to 1.1"),
        ({"weights": [1.0]}, "two or more"),
        ({"weights": [-0.5, 1.5]}, "non-negative"),
        ({"coverage": 1.5}, "outside 0…1"),
        ({"version": 3}, "version 3"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(arguments, says):
    with pytest.raises(ProblemError, match=says):
        assign(["a"], seed="s", **arguments)


def test_decimal_identifiers_are_refused():
    with pytest.raises(ProblemError, match="decimal"):
        assign(np.array([1.0, 2.0]), seed="s")
