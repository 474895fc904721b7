import duckdb
import numpy as np
import pandas as pd
import pytest
from experiment_tables import START, UNTIL, clean_logs, units_by_hand

from experiments.measure import (
    Condition,
    Logs,
    Lookback,
    Metric,
    Profit,
    Proportion,
    Ratio,
    Retention,
    Window,
    analyse,
    analyse_logs,
    duckdb_warehouse,
)

REVENUE = Metric("revenue", "revenue")


def read(exposures, outcomes, metrics, *, trend_days=0, weights=None, **named):
    connection = duckdb.connect(config={"threads": 1})
    connection.register("shown", exposures)
    connection.register("came", outcomes)
    given = {"experiment": "spring", "until": UNTIL.to_pydatetime(), **named}
    logs = Logs(duckdb_warehouse(connection), "shown", "came", **given)
    return analyse_logs(logs, metrics, trend_days=trend_days, weights=weights)


def verdicts(reading):
    return {check.name: check.verdict for check in reading.checks}


def left_out(reading):
    return {one.reason.code: one.count for one in reading.exclusions}


def interval(effect):
    return effect.estimate, effect.low, effect.high


def app_only(rows):
    return rows.channel == "app"


APP = (Condition("channel", "=", "app"),)
BY_HAND = [
    (REVENUE, {}, Metric("m", "revenue")),
    (Metric("m", "revenue", where=APP), {"where": app_only}, Metric("m", "revenue")),
    (Metric("m", "revenue", window=Window(24, 240)), {"start_hours": 24, "end_hours": 240}, Metric("m", "revenue")),
    (Profit("m", "revenue"), {}, Profit("m", "revenue")),
    (Ratio("m", "revenue", denominator="items"), {}, Ratio("m", "revenue", denominator="items")),
]


@pytest.mark.parametrize(("metric", "window", "same"), BY_HAND)
def test_logs_are_read_as_rows_would_be(metric, window, same):
    exposures, outcomes = clean_logs()
    found = read(exposures, outcomes, [metric]).effects[0]
    by_hand = analyse(units_by_hand(exposures, outcomes, **window), [same]).effects[0]
    assert interval(found) == pytest.approx(interval(by_hand), rel=1e-9)


def test_retention_is_the_share_that_came_back():
    exposures, outcomes = clean_logs()
    outcomes = outcomes.sample(frac=0.1, random_state=1)
    back = Retention("back", "revenue", window=Window(7 * 24, 14 * 24))
    found = read(exposures, outcomes, [back]).effects[0]
    units = units_by_hand(exposures, outcomes, start_hours=7 * 24, end_hours=14 * 24)
    by_hand = analyse(units.assign(back=(units.rows > 0).astype(int)), [Proportion("back", "back")]).effects[0]
    assert interval(found) == pytest.approx(interval(by_hand), rel=1e-9)
    assert 0.1 < found.control_mean < 0.9


def test_the_same_metric_before_exposure_is_a_covariate():
    exposures, outcomes = clean_logs()
    plain, adjusted = (
        read(exposures, outcomes, [Metric("m", "revenue", covariate=c)]).effects[0] for c in (None, Lookback(21 * 24))
    )
    before = outcomes.merge(exposures[["unit_id", "timestamp"]], on="unit_id", suffixes=("", "_shown"))
    before = before[before.timestamp < before.timestamp_shown]
    assert (before.timestamp_shown - before.timestamp).max() < pd.Timedelta(days=28)
    assert adjusted.variance_ratio < 0.8
    assert adjusted.error < plain.error


def test_duplicates_count_once_and_whoever_saw_two_variants_is_left_out():
    exposures, outcomes = clean_logs(400)
    again = exposures.head(30).assign(timestamp=exposures.timestamp.head(30) + pd.Timedelta(hours=1))
    both = exposures.tail(2).assign(variant=1 - exposures.variant.tail(2))
    reading = read(pd.concat([exposures, again, both]), outcomes, [REVENUE])
    clean = read(exposures.head(398), outcomes, [REVENUE])
    assert interval(reading.effects[0]) == interval(clean.effects[0])
    assert verdicts(reading)["in_two_variants"] == "notice"
    assert left_out(reading)["{count} units were exposed more than once; their first exposure counts"] == 32
    assert left_out(reading)["{count} units were shown two variants; they are left out"] == 2


def test_too_many_units_in_two_variants_break_the_result():
    exposures, outcomes = clean_logs(400)
    both = exposures.tail(20).assign(variant=1 - exposures.variant.tail(20))
    reading = read(pd.concat([exposures, both]), outcomes, [REVENUE])
    assert not reading.trustworthy
    assert reading.effects[0].decision == "untrustworthy"


def test_exposures_before_the_start_and_after_the_end_are_named_and_left_out():
    exposures, outcomes = clean_logs(400)
    exposures.loc[0, "timestamp"] = START - pd.Timedelta(days=1)
    exposures.loc[1, "timestamp"] = UNTIL + pd.Timedelta(days=300)
    exposures.loc[2, "timestamp"] = pd.NaT
    reading = read(exposures, outcomes, [REVENUE], started=START.to_pydatetime())
    assert sum(reading.counts) == 397
    names = ("before_assignment", "clock", "without_time")
    assert [verdicts(reading)[name] for name in names] == ["notice"] * 3


def test_an_exposure_before_its_own_assignment_is_left_out():
    exposures, outcomes = clean_logs(400)
    exposures["assigned_at"] = exposures.timestamp - pd.Timedelta(minutes=1)
    exposures.loc[:2, "assigned_at"] = exposures.timestamp + pd.Timedelta(minutes=1)
    reading = read(exposures, outcomes, [REVENUE], assigned="assigned_at")
    assert sum(reading.counts) == 397
    assert verdicts(reading)["before_assignment"] == "notice"


def test_outcomes_before_exposure_after_the_end_and_of_strangers_are_counted_not_read():
    exposures, outcomes = clean_logs()
    clean = read(exposures, outcomes, [REVENUE])
    late = outcomes.head(5).assign(timestamp=UNTIL + pd.Timedelta(days=9))
    strange = outcomes.head(7).assign(unit_id="nobody")
    reading = read(exposures, pd.concat([outcomes, late, strange]), [REVENUE])
    assert interval(reading.effects[0]) == interval(clean.effects[0])
    assert left_out(reading)["{count} outcomes from after the data end are not counted"] == 5
    assert left_out(reading)["{count} outcomes of units that were never exposed are not counted"] == 7
    assert left_out(clean)["{count} outcomes from before the exposure are not counted"] > 0


def test_half_a_window_is_no_outcome():
    exposures, outcomes = clean_logs()
    fortnight = Metric("m", "revenue", window=Window(0, 25 * 24))
    reading = read(exposures, outcomes, [fortnight])
    open_yet = int((exposures.timestamp + pd.Timedelta(days=25) > UNTIL).sum())
    assert left_out(reading)["{metric}: the window of {count} units has not ended yet"] == open_yet > 0
    assert reading.effects[0].control_count + reading.effects[0].treatment_count == 300 - open_yet


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_missing_amount_is_refused_excluded_or_zero_as_the_metric_says(bad):
    exposures, outcomes = clean_logs()
    after = outcomes.timestamp > START + pd.Timedelta(days=8)
    outcomes.loc[outcomes[after].index[:1], "revenue"] = bad
    metrics = [Metric(rule, "revenue", missing=rule) for rule in ("refuse", "exclude", "zero")]
    reading = read(exposures, outcomes, [*metrics, Metric("items", "items")])
    assert [one.metric for one in reading.refused] == ["refuse"]
    by_name = {effect.metric: effect for effect in reading.effects}
    assert by_name["exclude"].control_count + by_name["exclude"].treatment_count == 299
    assert by_name["zero"].control_count + by_name["zero"].treatment_count == 300
    assert left_out(reading)["{metric}: {count} missing values counted as zero, as the metric says"] == 1


def test_an_effect_that_wears_off_is_noticed():
    rng = np.random.default_rng(2)
    exposures, _ = clean_logs(600)
    days = np.tile(np.arange(20), 600)
    rows = np.repeat(np.arange(600), 20)
    wears = np.where(exposures.variant.to_numpy()[rows] == 1, np.maximum(0.0, 3.0 - 0.3 * days), 0.0)
    at = exposures.timestamp.to_numpy()[rows] + pd.to_timedelta(days * 24 + 1, unit="h")
    steady = rng.gamma(4.0, 1.0, rows.size)
    frame = {"unit_id": exposures.unit_id.to_numpy()[rows], "timestamp": at, "revenue": steady + wears, "items": steady}
    metrics = [REVENUE, Metric("items", "items")]
    reading = read(exposures, pd.DataFrame(frame), metrics, trend_days=14)
    assert verdicts(reading)["novelty:revenue:1"] == "notice"
    assert verdicts(reading)["novelty:items:1"] == "passed"
    assert len(reading.trend["revenue:1"]) == 14
    assert reading.trend["revenue:1"][0] > 2.0 > reading.trend["revenue:1"][-1]


def test_segments_and_earlier_tests_come_with_the_exposures():
    exposures, outcomes = clean_logs(600)
    exposures["autumn"] = (np.arange(600) // 2) % 2
    reading = read(exposures, outcomes, [REVENUE], segments=("region",), earlier=("autumn",))
    assert {one.segment for one in reading.breakdowns} == {"region"}
    assert verdicts(reading)["carry_over:autumn"] == "passed"
    tied = exposures.assign(autumn=exposures.variant)
    assert not read(tied, outcomes, [REVENUE], earlier=("autumn",)).trustworthy


def test_a_variant_removed_mid_way_breaks_the_result():
    exposures, outcomes = clean_logs(600)
    exposures["variant"] = np.arange(600) % 3
    assert verdicts(read(exposures, outcomes, [REVENUE]))["running"] == "passed"
    removed = exposures[(exposures.variant != 2) | (exposures.timestamp < START + pd.Timedelta(days=4))]
    reading = read(removed, outcomes, [REVENUE], weights=[2, 2, 1])
    assert verdicts(reading)["running"] == "broken"
    assert not reading.trustworthy
