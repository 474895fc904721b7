"""Splits, layers, holdouts, ramps and targeting, held against the growthbook package on random cases."""

import time
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from growthbook.core import chooseVariation, evalCondition, gbhash, getBucketRanges, inNamespace
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from experiments.assign import (
    NOT_ASSIGNED,
    REASONS,
    Holdout,
    Slice,
    Split,
    assign,
    bucket,
    enrol,
    enrol_one,
    free_slice,
    ramped,
    require_exclusive,
)
from experiments.targeting import matches

SIGNS = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
identifiers = st.text(SIGNS, max_size=40)
seeds = st.text(SIGNS, max_size=20)


def random_texts(rng, number):
    """UUIDs, numbers, and texts of one to four bytes a sign."""
    signs = np.array([*"abcXYZ019-_ ", "é", "ß", "客", "户", "😀", "𝒳"])
    words = ["".join(rng.choice(signs, rng.integers(0, 12))) for _ in range(number // 2)]
    ids = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(number - len(words))]
    return [*words, *ids]


def test_thousands_of_random_cases_agree_with_growthbook():
    rng = np.random.default_rng(11)
    for case in range(60):
        ids, seed = random_texts(rng, 100), random_texts(rng, 2)[case % 2]
        weights = rng.dirichlet(np.ones(rng.integers(2, 6))).tolist()
        coverage, version = float(rng.choice([0.0, 1.0, rng.random()])), int(rng.integers(1, 3))
        ranges = getBucketRanges(len(weights), coverage, weights)
        expected = [chooseVariation(gbhash(seed, unit_id, version), ranges) for unit_id in ids]
        assert assign(ids, seed, weights, coverage, version).tolist() == expected
        assert [assign(unit_id, seed, weights, coverage, version) for unit_id in ids[:5]] == expected[:5]


@settings(deadline=None, max_examples=40)
@given(st.lists(identifiers, min_size=1, max_size=40), seeds, st.integers(0, 999), st.integers(1, 1000))
def test_a_slice_of_a_layer_is_a_namespace_of_growthbook(ids, layer, low, wide):
    low, high = low / 1000, min(low + wide, 1000) / 1000
    split = Split("s", layer=Slice(layer, low, high))
    inside = enrol(ids, split).variant != NOT_ASSIGNED
    assert inside.tolist() == [inNamespace(unit_id, (layer, low, high)) for unit_id in ids]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(identifiers, min_size=1, max_size=40),
    st.lists(st.floats(0, 1), min_size=4, max_size=4, unique=True),
    st.sampled_from([1, 2]),
)
def test_explicit_ranges_are_those_of_growthbook(ids, edges, version):
    a, b, c, d = sorted(edges)
    split = Split("s", ranges=((c, d), (a, b)), version=version)
    expected = [chooseVariation(gbhash("s", unit_id, version), [(c, d), (a, b)]) for unit_id in ids]
    assert enrol(ids, split).variant.tolist() == expected


@pytest.mark.parametrize(
    "form",
    [
        lambda ids: ids,
        lambda ids: np.array(ids, dtype=object),
        pd.Series,
        lambda ids: pd.Series(ids).astype("category"),
        pa.array,
        lambda ids: pa.chunked_array([ids[:7], [], ids[7:]]),
        lambda ids: pa.array(["x", *ids, "y"]).slice(1, len(ids)),
        lambda ids: pa.array(ids, pa.large_string()),
    ],
    ids=["list", "objects", "series", "categories", "arrow", "chunks", "slice", "large"],
)
def test_every_form_of_a_table_gives_the_same_variants(form):
    ids = random_texts(np.random.default_rng(5), 60)
    for version in (1, 2):
        assert bucket(form(ids), "s", version).tolist() == [bucket(unit_id, "s", version) for unit_id in ids]


def test_whole_numbers_are_hashed_in_decimal_form():
    numbers = [0, 9, 10, 4294967295, -3]
    assert bucket(np.array(numbers), "s").tolist() == [bucket(str(number), "s") for number in numbers]


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["a", None], "identifier 2 is missing"),
        (["a", float("nan")], "identifier 2 is missing"),
        (pd.Series(["a", None]), "identifier 2 is missing"),
        (["a", "\ud800"], "identifier 2, .* no valid text"),
        (pd.Series([1.5, 2.0]), "decimal"),
        (np.array([["a"], ["b"]]), "one dimension"),
    ],
)
def test_an_identifier_that_is_none_is_refused(ids, says):
    with pytest.raises(ProblemError, match=says):
        bucket(ids, "s")


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 1), st.floats(0, 1), seeds)
def test_a_ramp_keeps_everybody_where_they_are(one, other, seed):
    low, high = sorted([one, other])
    ids = np.arange(400)
    split = Split(seed, (0.2, 0.3, 0.5), low, layer=Slice("l", 0.1, 0.9), holdouts=(Holdout("h", 0.1),))
    before, after = enrol(ids, split).variant, enrol(ids, ramped(split, high)).variant
    inside = before != NOT_ASSIGNED
    assert np.array_equal(before[inside], after[inside])
    if low < high:
        with pytest.raises(ProblemError, match="drop out"):
            ramped(ramped(split, high), low)


def test_experiments_on_slices_of_one_layer_never_share_a_unit():
    ids = np.arange(20_000)
    first = free_slice("prices", 0.3, [])
    second = free_slice("prices", 0.6, [first])
    inside = [enrol(ids, Split(f"s{i}", layer=part)).variant >= 0 for i, part in enumerate((first, second))]
    assert not np.any(inside[0] & inside[1])
    assert inside[1].mean() == pytest.approx(0.6, abs=0.02)
    require_exclusive(second, {"one": first})
    with pytest.raises(ProblemError, match="overlaps with experiment 'one'"):
        require_exclusive(Slice("prices", 0.25, 0.5), {"one": first})
    with pytest.raises(ProblemError, match=r"no free slice of 0\.2; the widest is 0\.1"):
        free_slice("prices", 0.2, [first, second])


def test_a_holdout_is_out_of_every_experiment_that_names_it():
    ids = np.arange(20_000)
    holdout = Holdout("2027", 0.05)
    one, other = (enrol(ids, Split(seed, holdouts=(holdout,))) for seed in ("a", "b"))
    held = REASONS.index("held out")
    assert np.array_equal(one.why == held, other.why == held)
    assert (one.why == held).mean() == pytest.approx(0.05, abs=0.01)
    assert set(one.variant[one.why == held]) == {NOT_ASSIGNED}
    assert sum(one.counts().values()) == ids.size


def test_one_unit_gets_what_the_table_gets_and_gets_it_at_once():
    rule = {"country": {"$in": ["DE", "FR"]}, "age": {"$gte": 18}}
    split = Split("s", (0.3, 0.7), 0.8, layer=Slice("l", 0.2, 0.9), holdouts=(Holdout("h", 0.1),), target=rule)
    ids = [f"u{i}" for i in range(300)]
    people = pd.DataFrame({"country": ["DE", "FR", "IT"] * 100, "age": [17, 18, 40, 41] * 75})
    one_by_one = [enrol_one(one, split, row) for one, row in zip(ids, people.to_dict("records"), strict=True)]
    assert one_by_one == enrol(ids, split, people).variant.tolist()
    assert len(set(one_by_one)) == 3
    begun = time.process_time()
    for one in ids:
        enrol_one(one, split, {"country": "DE", "age": 30})
    assert (time.process_time() - begun) / 300 < 1e-3
    with pytest.raises(ProblemError, match="no column 'age'"):
        enrol_one("u0", Split("s", target={"age": 3}), {"country": "DE"})


values = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["a", "b", "客"]))
operators = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), values.filter(lambda value: value is not None)),
    st.tuples(st.sampled_from(["$lt", "$lte", "$gt", "$gte"]), st.one_of(st.integers(-3, 3), st.sampled_from("ab"))),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(st.sampled_from(["a", "b", 1, 2]), max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
)
leaves = st.dictionaries(
    st.sampled_from(["x", "y"]),
    st.one_of(values, st.lists(operators, min_size=1, max_size=2).map(dict)),
    min_size=1,
    max_size=2,
)
rules = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda rule: {"$not": rule}),
        st.tuples(st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda pair: {pair[0]: pair[1]}
        ),
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=250)
@given(rules, st.lists(st.fixed_dictionaries({"x": values, "y": values}), min_size=1, max_size=6))
def test_targeting_means_what_it_means_in_growthbook(rule, rows):
    table = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in ("x", "y")})
    present = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert matches(rule, table).tolist() == [evalCondition(row, rule) for row in present]


def test_targeting_reads_ordinary_columns():
    table = pd.DataFrame({"country": ["DE", "FR", None], "age": [17, 40, 30], "vip": [True, False, True]})
    assert matches({"country": {"$in": ["DE", "FR"]}, "age": {"$gte": 18}}, table).tolist() == [False, True, False]
    assert matches({"vip": True}, table).tolist() == [True, False, True]
    split = Split("s", target={"age": {"$gte": 18}})
    assert enrol(["a", "b", "c"], split, table).why.tolist()[0] == REASONS.index("not targeted")
    with pytest.raises(ProblemError, match="attributes of all 2 units"):
        enrol(["a", "b"], split)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"city": "Rome"}, "no column 'city'"),
        ({"age": {"$near": 3}}, r"'\$near' is unknown"),
        ({"$xor": []}, r"'\$xor' is unknown"),
        ({"age": {"$in": 3}}, "needs a list"),
        ({"age": {"$gt": None}}, "needs a number"),
        ({"$or": {"age": 3}}, "needs a list of rules"),
    ],
)
def test_a_targeting_rule_that_makes_no_sense_is_refused(rule, says):
    with pytest.raises(ProblemError, match=says):
        matches(rule, pd.DataFrame({"age": [1]}))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"ranges": ((0.0, 0.6), (0.5, 1.0))}, "overlap"),
        ({"ranges": ((0.0, 0.6),)}, "two or more"),
        ({"ranges": ((0.6, 0.1), (0.7, 1.0))}, "low before high"),
        ({"weights": (0.5, 0.6)}, "add up"),
        ({"version": 7}, "version 7"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused_when_it_is_written(arguments, says):
    with pytest.raises(ProblemError, match=says):
        Split("s", **arguments)
    with pytest.raises(ProblemError, match="no part"):
        Slice("l", 0.5, 0.5)
    with pytest.raises(ProblemError, match="outside 0…1"):
        Holdout("h", 1.0)
