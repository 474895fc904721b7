import math
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from experiment_tables import REFERENCE, reference_table, small_table
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from experiments.measure import (
    AnalysisPlan,
    Condition,
    Metric,
    Prior,
    Profit,
    Proportion,
    Quantile,
    Ratio,
    Units,
    Window,
    Winsorise,
    analyse,
    analyse_units,
    duckdb_warehouse,
    metric_from,
)
from experiments.statistics.arms import pair
from experiments.statistics.contrast import Value, contrast
from experiments.statistics.moments import moments

SPEND = Metric("spend", "spend")
EXACT = {"rel": 1e-9}
PRINTED = {"abs": 6e-8}
"""The relative figures are printed with seven decimals."""


@pytest.fixture(scope="module")
def table():
    return reference_table()


def interval(effect):
    return effect.estimate, effect.low, effect.high


def relative_interval(effect):
    return effect.relative, effect.relative_low, effect.relative_high


def golden(name, part=None):
    figures = REFERENCE[name] | (REFERENCE[name][part] if part else {})
    return tuple(figures[key] for key in ("estimate", "low", "high"))


ABSOLUTE = {
    "mean_revenue_absolute": Metric("m", "revenue"),
    "cuped_revenue_absolute": Metric("m", "revenue", covariate="pre"),
    "ratio_orders_per_session_absolute": Ratio("m", "orders", denominator="sessions"),
}


@pytest.mark.parametrize("name", ABSOLUTE)
def test_effects_agree_with_the_reference_packages(table, name):
    effect = analyse(table, [ABSOLUTE[name]], unit="user").effects[0]
    # The figures have ten digits, so the small ones of the ratio cannot be compared more closely than their last.
    assert interval(effect) == pytest.approx(golden(name), **EXACT, abs=6e-11)


RELATIVE = [
    ("mean_revenue_relative", "delta", "delta", Metric("m", "revenue")),
    ("mean_revenue_relative", "log", "log", Metric("m", "revenue")),
    ("ratio_orders_per_session_relative", "delta", "delta", Ratio("m", "orders", denominator="sessions")),
    ("ratio_orders_per_session_relative", "log", "log", Ratio("m", "orders", denominator="sessions")),
    ("cuped_revenue_relative", "over_raw_control_mean", "delta", Metric("m", "revenue", covariate="pre")),
    ("cuped_revenue_relative", "over_adjusted_control_mean_log", "log", Metric("m", "revenue", covariate="pre")),
]


@pytest.mark.parametrize(("name", "part", "convention", "metric"), RELATIVE)
def test_relative_effects_agree_in_both_conventions(table, name, part, convention, metric):
    effect = analyse(table, [metric], convention=convention).effects[0]
    assert relative_interval(effect) == pytest.approx(golden(name, part), **PRINTED)


def test_a_ratio_with_a_covariate_agrees_with_tea_tasting(table):
    """Figures of tea-tasting 1.14: RatioOfMeans("orders", "sessions", numer_covariate="pre") on the same table."""
    metric = Ratio("m", "orders", denominator="sessions", covariate="pre")
    effect = analyse(table, [metric], convention="log").effects[0]
    assert interval(effect) == pytest.approx((0.004967476423241, 0.002362614011066, 0.007572338835416), **EXACT)
    relative = (0.03218430584992, 0.01517723343417, 0.04947629453707)
    assert relative_interval(effect) == pytest.approx(relative, **EXACT)
    assert effect.p_value == pytest.approx(0.00018581509878535, rel=1e-9)


def test_a_sequential_reading_agrees_with_the_reference(table):
    plan = AnalysisPlan("always_valid", tuning_units=5_000)
    effect = analyse(table, [Metric("m", "revenue")], plan=plan).effects[0]
    figures = REFERENCE["mean_revenue_sequential_absolute"]
    assert (effect.low, effect.high) == pytest.approx((figures["low"], figures["high"]), **PRINTED)


def test_an_interim_look_shows_the_interval_that_is_valid_then_and_decides_nothing(table):
    early = AnalysisPlan("fixed", planned_units=200_000)
    reading, final = (analyse(table, [Metric("m", "revenue")], plan=plan) for plan in (early, AnalysisPlan()))
    assert (reading.interval, reading.final) == ("always_valid", False)
    assert reading.effects[0].decision == "undecided"
    assert final.effects[0].decision == "better"
    assert reading.effects[0].high - reading.effects[0].low > final.effects[0].high - final.effects[0].low


def test_the_looks_of_one_reading_are_handed_to_the_next():
    plan = AnalysisPlan("group_sequential", planned_units=800)
    first = analyse(small_table(400), [SPEND], plan=plan)
    last = analyse(small_table(800), [SPEND], plan=plan, earlier_looks=first.looks)
    assert last.looks == (400, 800)
    alone = analyse(small_table(800), [SPEND], plan=plan)
    assert last.effects[0].high - last.effects[0].low > alone.effects[0].high - alone.effects[0].low


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30),
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30),
)
def test_moments_of_parts_add_up_to_those_of_the_whole(first, second):
    whole = moments(np.array(first + second))
    merged = moments(np.array(first)).merged(moments(np.array(second)))
    assert merged.count == whole.count
    assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    assert merged.scatter == pytest.approx(whole.scatter, rel=1e-9, abs=1e-2)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1e6, -1e9]), st.sampled_from([1.0, 1e5]))
def test_what_the_database_sums_is_what_the_rows_say(seed, shift, scale):
    """Far from zero too, where a mean itself has seven decimals left."""
    units = small_table(60, seed)
    units["spend"] = shift + scale * units["spend"]
    units["habit"] = shift + scale * units["habit"]
    effect = analyse(units, [Metric("spend", "spend", covariate="habit")]).effects[0]
    columns = units[["spend", "habit"]].to_numpy()
    centred = columns - columns.mean(axis=0)  # an exact shift, so that the rows keep their digits
    control, treatment = (moments(centred[units.variant == arm]) for arm in (0, 1))
    expected = contrast(pair(control, treatment), Value(0), Value(1))
    assert effect.estimate == pytest.approx(expected.estimate, rel=1e-6, abs=5e-7)
    assert effect.error == pytest.approx(expected.error, rel=1e-6)


def test_the_order_and_the_number_of_rows_cannot_change_a_digit():
    units = small_table(5_000)
    shuffled = units.sample(frac=1.0, random_state=3)
    metrics = [Metric("spend", "spend", covariate="habit"), Ratio("rate", "spend", denominator="visits")]
    assert analyse(units, metrics) == analyse(shuffled, metrics)


def test_the_number_of_threads_cannot_change_a_digit():
    """Several row groups, so that the threads do meet the rows in another order."""
    rng = np.random.default_rng(6)
    rows = pd.DataFrame({"house": rng.integers(0, 4_000, 400_000), "spend": rng.lognormal(0.0, 2.0, 400_000)})
    rows["variant"] = rows.house % 2
    found = []
    for threads in (1, 4):
        connection = duckdb.connect(config={"threads": threads})
        connection.execute("CREATE TABLE units AS SELECT * FROM rows")
        units = [Units(duckdb_warehouse(connection), "units", cluster=cluster) for cluster in (None, "house")]
        found.append([analyse_units(one, [SPEND]) for one in units])
    assert found[0] == found[1]


def test_a_cluster_without_rows_in_a_metric_is_no_part_of_it():
    units = small_table(400)
    units["house"] = units["user"] // 4
    units["variant"] = units["house"] % 2
    only = Metric("spend", "spend", where=(Condition("store", "=", "west"), Condition("visits", ">", 3)))
    filtered = analyse(units, [only], cluster="house").effects[0]
    kept = units[(units.store == "west") & (units.visits > 3)]
    assert kept.house.nunique() < 80
    assert interval(filtered) == pytest.approx(interval(analyse(kept, [SPEND], cluster="house").effects[0]), rel=1e-9)


def test_a_constant_shift_of_the_treatment_is_found_exactly():
    units = small_table(400)
    moved = units.assign(spend=units.spend + 3.0 * units.variant)
    before, after = (analyse(t, [SPEND]).effects[0] for t in (units, moved))
    assert after.estimate - before.estimate == pytest.approx(3.0, rel=1e-12)
    assert after.error == pytest.approx(before.error, rel=1e-12)


def test_cuped_narrows_the_interval_by_what_the_habit_explains():
    units = small_table(4_000)
    raw, adjusted = (analyse(units, [Metric("m", "spend", covariate=c)]).effects[0] for c in (None, "habit"))
    explained = 1 - np.corrcoef(units.spend, units.habit)[0, 1] ** 2
    assert adjusted.variance_ratio == pytest.approx(explained, rel=0.1)
    assert adjusted.error < 0.5 * raw.error


def test_profit_is_net_of_the_coupon():
    units = small_table(400)
    net = analyse(units, [Profit("profit", "spend", cost="cost")]).effects[0]
    by_hand = analyse(units.assign(net=units.spend - units.cost), [Metric("profit", "net")]).effects[0]
    assert interval(net) == pytest.approx(interval(by_hand), rel=1e-9)
    assert net.estimate < analyse(units, [SPEND]).effects[0].estimate


def test_clustered_rows_count_as_clusters():
    """Ten identical rows for each household say no more than one; a row-level reading would say ten times as much."""
    households = small_table(200)
    rows = households.loc[households.index.repeat(10)]
    clustered = analyse(rows, [SPEND], cluster="user").effects[0]
    once = analyse(households, [SPEND]).effects[0]
    assert (clustered.control_count, clustered.treatment_count) == (100, 100)
    assert interval(clustered) == pytest.approx(interval(once), rel=1e-6)
    naive = analyse(rows, [SPEND]).effects[0]
    assert naive.error < 0.4 * clustered.error


def test_clusters_of_unequal_size_are_ratios_of_their_sums():
    units = small_table(300)
    units["house"] = units["user"] // 3
    units["variant"] = units["house"] % 2
    clustered = analyse(units, [SPEND], cluster="house").effects[0]
    sums = units.groupby(["variant", "house"]).spend.agg(["sum", "size"]).reset_index()
    ratio = analyse(sums, [Ratio("spend", "sum", denominator="size")]).effects[0]
    assert interval(clustered) == pytest.approx(interval(ratio), rel=1e-9)


def test_strata_that_explain_the_metric_narrow_the_interval():
    rng = np.random.default_rng(2)
    units = small_table(2_000)
    units["store"] = rng.integers(0, 4, 2_000)
    units["spend"] += 20.0 * units["store"]
    plain, stratified = analyse(units, [SPEND]).effects[0], analyse(units, [SPEND], stratum="store").effects[0]
    assert stratified.error < 0.5 * plain.error
    parts = [analyse(units[units.store == s], [SPEND]).effects[0] for s in range(4)]
    shares = [float((units.store == s).mean()) for s in range(4)]
    assert stratified.estimate == pytest.approx(sum(w * p.estimate for w, p in zip(shares, parts, strict=True)))
    assert stratified.error == pytest.approx(
        math.sqrt(sum((w * p.error) ** 2 for w, p in zip(shares, parts, strict=True)))
    )


def test_winsorising_uses_one_bound_for_every_variant():
    units = small_table(1_000)
    units.loc[0, "spend"] = 1e9
    capped = analyse(units, [Metric("m", "spend", winsorise=Winsorise(high=0.99))]).effects[0]
    bound = units.spend.quantile(0.99, interpolation="lower")
    by_hand = analyse(units.assign(spend=units.spend.clip(upper=bound)), [SPEND]).effects[0]
    assert interval(capped) == pytest.approx(interval(by_hand), rel=1e-9)


def test_a_filter_reads_the_units_that_pass_it():
    units = small_table(600)
    only = Metric("m", "spend", where=(Condition("store", "in", ("north", "west")), Condition("visits", ">", 1)))
    reading = analyse(units, [only])
    kept = units[units.store.isin(["north", "west"]) & (units.visits > 1)]
    assert interval(reading.effects[0]) == pytest.approx(interval(analyse(kept, [SPEND]).effects[0]), rel=1e-12)
    assert reading.exclusions[0].count == 600 - len(kept)


def test_several_variants_and_goals_share_their_error():
    units = small_table(900)
    units["variant"] = np.arange(900) % 3
    metrics = [SPEND, Metric("habit", "habit"), Metric("visits", "visits", margin=0.5)]
    plain, holm, hochberg = (
        analyse(units, metrics, correction=name) for name in ("none", "holm", "benjamini_hochberg")
    )
    p = sorted(e.p_value for e in plain.effects if e.guardrail is None)
    assert len(p) == 4
    assert min(e.adjusted_p for e in holm.effects if e.guardrail is None) == pytest.approx(min(1, 4 * p[0]))
    assert max(e.adjusted_p for e in hochberg.effects if e.guardrail is None) == pytest.approx(p[-1])
    guarded = [e for e in holm.effects if e.guardrail is not None]
    assert all(e.adjusted_p == e.p_value for e in guarded)


def test_a_guardrail_is_safe_only_when_harm_beyond_its_margin_is_ruled_out():
    def verdict(effect, margin, n=4_000):
        metric = Metric("m", "spend", covariate="habit", margin=margin)
        return analyse(small_table(n, effect=effect), [metric]).effects[0].guardrail

    assert verdict(0.0, 0.05) == "safe"
    assert verdict(-2.0, 0.05) == "harmed"
    assert verdict(-0.6, 0.03, n=40) == "undecided"
    complaints = Metric("m", "spend", higher_is_better=False, covariate="habit", margin=0.05)
    assert analyse(small_table(4_000, effect=2.0), [complaints]).effects[0].guardrail == "harmed"


def test_a_posterior_is_drawn_to_its_prior():
    units = small_table(400, effect=1.0)
    wide, narrow = (analyse(units, [SPEND], prior=Prior(0.0, spread)).effects[0] for spread in (1e3, 0.001))
    assert wide.posterior.mean == pytest.approx(wide.relative, rel=1e-3)
    assert (wide.posterior.low, wide.posterior.high) == pytest.approx((wide.relative_low, wide.relative_high), abs=2e-3)
    assert abs(narrow.posterior.mean) < 0.001
    assert narrow.posterior.chance_better == pytest.approx(0.5, abs=0.05)


def test_a_quantile_of_clusters_is_less_sure_than_one_of_as_many_rows():
    units = small_table(1_000)
    rows = units.loc[units.index.repeat(5)].reset_index(drop=True)
    median = Quantile("median", "spend", level=0.5)
    once, clustered, naive = (
        analyse(units, [median]).effects[0],
        analyse(rows, [median], cluster="user").effects[0],
        analyse(rows, [median]).effects[0],
    )
    assert clustered.estimate == once.estimate
    assert clustered.high - clustered.low == pytest.approx(once.high - once.low, rel=0.1)
    assert naive.high - naive.low < 0.6 * (clustered.high - clustered.low)


def test_quantile_intervals_hold_what_they_promise():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(40):
        units = pd.DataFrame({"variant": np.arange(600) % 2, "x": rng.lognormal(0.0, 1.0, 600)})
        units.loc[units.variant == 1, "x"] += 0.5
        effect = analyse(units, [Quantile("q", "x", level=0.75)]).effects[0]
        held += effect.low <= 0.5 <= effect.high
    assert held / 40 >= 0.88


def test_an_a_a_test_rejects_as_often_as_promised():
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(2_000):
        arms = pair(*(moments(rng.gamma(0.5, 4.0, 200)) for _ in range(2)))
        rejected += contrast(arms, Value(0)).p_value <= 0.05
    assert 0.038 <= rejected / 2_000 <= 0.062


def test_a_variant_may_be_written_as_true_and_false():
    units = small_table(400)
    written = units.assign(variant=units.variant == 1)
    assert analyse(written, [SPEND]).effects == analyse(units, [SPEND]).effects


def test_units_outside_the_experiment_are_counted_and_left_out():
    units = pd.DataFrame({"variant": [0, 0, 1, 1, -1, None], "spend": [1.0, 2.0, 3.0, 4.0, 1e9, float("nan")]})
    reading = analyse(units, [SPEND])
    assert (reading.excluded, reading.counts) == (2, (2, 2))
    assert reading.effects[0].estimate == pytest.approx(2.0)


def test_a_metric_is_the_same_from_plain_data():
    declared = {
        "kind": "ratio",
        "name": "rate",
        "column": "orders",
        "denominator": "sessions",
        "where": [{"column": "store", "operator": "in", "value": ["a", "b"]}],
        "window": {"end_hours": 48},
    }
    condition = Condition("store", "in", ("a", "b"))
    assert metric_from(declared) == Ratio(
        "rate", "orders", denominator="sessions", where=(condition,), window=Window(end_hours=48)
    )
    assert metric_from({"name": "m", "column": "x"}) == Metric("m", "x")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"kind": "median", "name": "m", "column": "x"}, "kind 'median'"),
        ({"name": "m", "column": "x", "cap": 3}, "no field cap"),
        ({"name": "m"}, "column"),
        ({"name": "", "column": "x"}, "name"),
        ({"kind": "ratio", "name": "m", "column": "x"}, "denominator"),
        ({"kind": "quantile", "name": "m", "column": "x", "level": 2}, "level"),
        ({"name": "m", "column": "x", "missing": "ignore"}, "missing"),
        ({"name": "m", "column": "x", "margin": -1}, "margin"),
        ({"name": "m", "column": "x", "winsorise": {"low": 0.9, "high": 0.1}}, "winsorising"),
        ({"name": "m", "column": "x", "window": {"start_hours": 5, "end_hours": 2}}, "window"),
        ({"name": "m", "column": "x", "where": [{"column": "y", "operator": "~", "value": 1}]}, "operator"),
    ],
)
def test_a_metric_that_makes_no_sense_is_refused(broken, says):
    with pytest.raises(ProblemError, match=says):
        metric_from(broken)


def test_a_metric_declared_twice_or_not_at_all_is_refused():
    with pytest.raises(ProblemError, match="once"):
        analyse(small_table(), [SPEND, replace(SPEND, column="habit")])
    with pytest.raises(ProblemError, match="at least one"):
        analyse(small_table(), [])


def test_a_share_takes_zeros_and_ones_only():
    units = small_table(400)
    share = analyse(units, [Proportion("bought", "bought")]).effects[0]
    assert share.control_mean == pytest.approx(units[units.variant == 0].bought.mean())
    with pytest.raises(ProblemError, match="other than 0 and 1"):
        analyse(units, [Proportion("m", "visits")])
    with pytest.raises(ProblemError, match="other than 0 and 1"):
        analyse(units.assign(half=units.bought / 2), [Proportion("m", "half")])
