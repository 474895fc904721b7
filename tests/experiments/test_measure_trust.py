import math

import numpy as np
import pandas as pd
import pytest
from experiment_tables import REFERENCE, small_table

from engine.errors import ProblemError
from experiments.measure import AnalysisPlan, Metric, Profit, Quantile, Ratio, analyse
from experiments.statistics.arms import pair
from experiments.statistics.heterogeneity import heterogeneity
from experiments.statistics.modification import slope_contrast
from experiments.statistics.moments import moments
from experiments.statistics.multiple import benjamini_hochberg, holm
from experiments.trust.novelty import check_novelty
from experiments.trust.sample_ratio import sample_ratio_p, sequential_sample_ratio_p

SPEND = Metric("spend", "spend")


def verdicts(reading):
    return {check.name: check.verdict for check in reading.checks}


def finite(value):
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(finite(one) for one in value)
    return True


def test_sample_ratio_agrees_with_the_reference():
    figure = REFERENCE["sample_ratio_50000_50700_p"]["chi_square"]
    assert sample_ratio_p([50_000, 50_700], [1, 1]) == pytest.approx(figure, abs=6e-8)


def test_looking_at_the_split_every_day_does_not_raise_the_false_alarms():
    """The chi-square test, looked at as often, cries wolf many times more than its alpha."""
    rng = np.random.default_rng(1)
    control = np.cumsum(rng.binomial(200, 0.5, (300, 50)), axis=1)
    total = 200 * np.arange(1, 51)
    e_process, chi_square = 0, 0
    for path in control:
        splits = [(int(c), int(n - c)) for c, n in zip(path, total, strict=True)]
        e_process += min(sequential_sample_ratio_p(split, [1, 1]) for split in splits) < 0.05
        chi_square += min(sample_ratio_p(split, [1, 1]) for split in splits) < 0.05
    assert e_process <= 0.05 * 300
    assert chi_square > 0.15 * 300


def test_a_lost_percent_of_a_variant_is_found():
    assert sequential_sample_ratio_p([100_000, 97_000], [1, 1]) < 0.001
    assert sequential_sample_ratio_p([100_000, 99_800], [1, 1]) == 1.0
    assert sequential_sample_ratio_p([90_000, 10_000], [0.9, 0.1]) == 1.0


def test_a_broken_split_is_marked_wherever_it_is_shown():
    units = pd.DataFrame({"variant": [0] * 600 + [1] * 400, "spend": np.arange(1000.0)})
    guardrail = Metric("guardrail", "spend", margin=0.1)
    for plan in (AnalysisPlan(), AnalysisPlan("always_valid", planned_units=5_000)):
        reading = analyse(units, [SPEND, guardrail], plan=plan)
        assert not reading.trustworthy
        assert {effect.decision for effect in reading.effects} == {"untrustworthy"}
        assert reading.effects[1].guardrail == "untrustworthy"


def test_a_split_that_is_broken_in_one_segment_only_is_found():
    units = small_table(4_000)
    lost = (units.store == "west") & (units.variant == 1) & (units.index % 3 > 0)
    gained = units[(units.store == "north") & (units.variant == 0)].sample(int(lost.sum()), random_state=1).index
    reading = analyse(units[~lost].drop(gained), [SPEND], segments=["store"])
    assert verdicts(reading)["sample_ratio"] == "passed"
    assert verdicts(reading)["sample_ratio:store"] == "broken"
    assert not reading.trustworthy


def test_groups_that_differed_before_the_experiment_break_the_result():
    units = small_table(2_000)
    units["habit"] += 3.0 * units["variant"]
    metric = Metric("m", "spend", covariate="habit")
    assert verdicts(analyse(units, [metric]))["before:m:1"] == "broken"
    assert verdicts(analyse(small_table(2_000), [metric]))["before:m:1"] == "passed"


def test_an_effect_that_depends_on_an_earlier_test_is_noticed():
    units = small_table(4_000)
    units["autumn"] = (np.arange(4_000) // 2) % 2
    units["spend"] += 4.0 * units["variant"] * units["autumn"]
    reading = analyse(units, [Metric("m", "spend", covariate="habit")], earlier=["autumn"])
    assert verdicts(reading)["carry_over:autumn:m:1"] == "notice"
    assert verdicts(reading)["carry_over:autumn"] == "passed"
    assert reading.trustworthy


def test_one_unit_that_makes_the_result_is_noticed_by_its_value():
    units = small_table(1_000)
    assert verdicts(analyse(units, [SPEND]))["outlier:spend"] == "passed"
    units.loc[5, "spend"] = 1e9 * units.spend.mean()
    reading = analyse(units, [SPEND])
    (check,) = [one for one in reading.checks if one.name == "outlier:spend"]
    assert check.verdict == "notice"
    assert check.reason.values["value"] == units.spend.max()
    assert check.reason.values["share"] > 0.99
    assert reading.effects[0].decision == "undecided"


def test_an_effect_too_good_to_be_true_is_noticed():
    units = small_table(1_000)
    units["spend"] *= 1 + units["variant"]
    assert verdicts(analyse(units, [SPEND]))["miracle:spend:1"] == "notice"


def test_a_breakdown_says_whether_segments_differ_and_shrinks_them_when_not():
    units = small_table(3_000)
    units["store"] += units.visits.clip(upper=2).astype(str)
    metric = Metric("m", "spend", covariate="habit")
    (alike,) = analyse(units, [metric], segments=["store"]).breakdowns
    units.loc[units.store == "west2", "spend"] += 2.0 * units.variant
    (apart,) = analyse(units, [metric], segments=["store"]).breakdowns
    assert apart.differ_p < 1e-6 < alike.differ_p
    raw = [line.effect.estimate for line in alike.effects]
    shrunk = [line.shrunk for line in alike.effects]
    assert np.ptp(shrunk) < np.ptp(raw)
    west = {line.level: line for line in apart.effects}["west2"]
    assert west.shrunk == pytest.approx(2.0, abs=0.5)
    assert west.shrunk_low < 2.0 < west.shrunk_high


def test_an_effect_that_grows_along_a_number_is_read_as_regression_would():
    units = small_table(2_000)
    units["spend"] += (0.5 + 0.1 * units.habit) * units.variant
    (found,) = analyse(units, [SPEND], modifiers=["habit"]).modifications
    lines = [np.polyfit(arm.habit, arm.spend, 1) for arm in (units[units.variant == v] for v in (0, 1))]
    slope, level = lines[1] - lines[0]
    assert found.slope == pytest.approx(slope, rel=1e-9)
    assert found.low < 0.1 < found.high
    assert found.p_value < 1e-4
    mean, spread = units.habit.mean(), units.habit.std(ddof=0)
    assert found.effect_below == pytest.approx(level + slope * (mean - spread), rel=1e-9)
    assert found.effect_above == pytest.approx(level + slope * (mean + spread), rel=1e-9)


def test_a_modifier_that_says_nothing_is_refused_by_name():
    units = small_table(400).assign(flat=1.0, lone=np.where(np.arange(400) % 2, np.nan, 1.0))
    units.loc[0, "lone"] = 2.0
    reading = analyse(units, [SPEND], modifiers=["flat", "lone"])
    assert reading.modifications == ()
    assert ["no variance" in one.reason.english() for one in reading.refused] == [True, False]
    assert len(reading.effects) == 1


def test_the_slope_of_an_effect_keeps_its_error_where_the_spread_is_not_equal():
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(400):
        x, variant = rng.uniform(0, 1, 400), np.arange(400) % 2
        y = rng.normal(x, 0.2 + 2.0 * x**2 * (1 + variant))
        parts = np.column_stack([y, x - x.mean(), y * (x - x.mean()), (x - x.mean()) ** 2])
        found = slope_contrast(pair(moments(parts[variant == 0]), moments(parts[variant == 1])))
        rejected += abs(found.slope) > 1.96 * found.error
    assert 0.02 <= rejected / 400 <= 0.085


def test_shrunken_segments_hold_the_truth_more_often_than_they_miss_it():
    rng = np.random.default_rng(3)
    held, raw_error, shrunk_error = [], [], []
    for _ in range(300):
        truth = rng.normal(1.0, 0.3, 12)
        errors = rng.uniform(0.2, 1.0, 12)
        found = heterogeneity(seen := rng.normal(truth, errors), errors)
        held.append(np.abs(found.shrunk - truth) <= 1.96 * found.shrunk_error)
        raw_error.append((seen - truth) ** 2)
        shrunk_error.append((found.shrunk - truth) ** 2)
    assert np.mean(held) > 0.92
    assert np.mean(shrunk_error) < 0.5 * np.mean(raw_error)


def test_a_trend_is_judged_with_the_covariance_of_its_days():
    """Days that move together look like a trend less often than independent ones."""
    falling = np.array([3.0, 2.5, 2.0, 1.5, 1.0])
    assert check_novelty("m", 1, falling, 0.01 * np.eye(5)).verdict == "notice"
    assert check_novelty("m", 1, falling, 4.0 * np.eye(5)).verdict == "passed"
    assert check_novelty("m", 1, np.full(5, 2.0), 0.01 * np.eye(5)).p_value == pytest.approx(1.0)


def test_the_corrections_are_the_textbook_ones():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])


BAD = [
    ({"variant": [0, 0, 1, 1], "spend": [1.0, 1.0, 1.0, 1.0]}, "no variance"),
    ({"variant": [0, 0, 1, 1], "spend": [1e9, 1e9, 1e9, 1e9]}, "no variance"),
    ({"variant": [0, 0, 1, 1], "spend": [0.1, 0.1, 0.1, 0.1]}, "no variance"),
    ({"variant": [0, 0, 1, 1], "spend": [1.0, float("nan"), 1.0, 2.0]}, "1 value.s. are missing, NaN or infinite"),
    ({"variant": [0, 0, 1, 1], "spend": [1.0, float("inf"), 1.0, 2.0]}, "missing, NaN or infinite in column spend"),
    ({"variant": [0, 0, 1, 1], "spend": ["1", "many", "1", "2"]}, "1 value.s. are missing"),
    ({"variant": [0, 0, 1, 1], "spend": [None, None, None, None]}, "no unit has a value"),
    ({"variant": [0, 0, 1, 1], "paid": [1.0, 2.0, 1.0, 2.0]}, "lacks the columns spend"),
    ({"variant": [0, 0, 0, 0], "spend": [1.0, 2.0, 1.0, 2.0]}, "every one needs units"),
    ({"variant": [0, 0, 2, 2], "spend": [1.0, 2.0, 1.0, 2.0]}, "every one needs units"),
    ({"variant": [-1, -1, -1], "spend": [1.0, 2.0, 3.0]}, "no row"),
    ({"variant": [0, 0, 0, 1], "spend": [1.0, 2.0, 1.0, 2.0]}, "at least 2"),
    ({"variant": [0.0, 0.5, 1.0, 1.0], "spend": [1.0, 2.0, 1.0, 2.0]}, "whole number"),
    ({"variant": ["a", "b", "a", "b"], "spend": [1.0, 2.0, 1.0, 2.0]}, "holds text"),
]


@pytest.mark.parametrize(("table", "says"), BAD)
def test_a_table_that_cannot_be_read_is_refused_with_the_reason(table, says):
    with pytest.raises(ProblemError, match=says):
        analyse(pd.DataFrame(table), [SPEND])


def test_one_bad_metric_does_not_hide_the_others():
    units = small_table(400).assign(flat=1.0)
    units.loc[3, "visits"] = np.nan
    metrics = [
        SPEND,
        Metric("flat", "flat"),
        Metric("visits", "visits"),
        Metric("tied", "spend", covariate="flat"),
        Ratio("nought", "spend", denominator="zero"),
        Quantile("tail", "spend", level=0.999),
        Quantile("lump", "flat"),
        Profit("profit", "spend", cost="visits"),
    ]
    reading = analyse(units.assign(zero=0.0), metrics)
    assert [effect.metric for effect in reading.effects] == ["spend"]
    said = {one.metric: one.reason.english() for one in reading.refused}
    assert "no variance" in said["flat"]
    assert "covariate has no variance" in said["tied"]
    assert "denominator is zero" in said["nought"]
    assert "at least 10000 are needed" in said["tail"]
    assert "all equal" in said["lump"]
    assert said.keys() == {"flat", "visits", "tied", "nought", "tail", "lump", "profit"}


def test_a_missing_covariate_is_refused_or_its_units_left_out():
    units = small_table(400)
    units.loc[:9, "habit"] = np.nan
    kept = analyse(units, [Metric("m", "spend", covariate="habit", missing="exclude")])
    assert kept.effects[0].control_count + kept.effects[0].treatment_count == 390
    assert kept.exclusions[0].count == 10
    with pytest.raises(ProblemError, match=r"10 value.s. are missing"):
        analyse(units, [Metric("m", "spend", covariate="habit")])
    with pytest.raises(ProblemError, match="lacks the columns wont"):
        analyse(units, [Metric("m", "spend", covariate="wont")])


def test_a_unit_on_two_rows_is_refused():
    units = pd.DataFrame({"user": [1, 1, 2, 3], "variant": [0, 1, 0, 1], "spend": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(ProblemError, match="more than one row, for example 1, 1 of them in two variants"):
        analyse(units, [SPEND], unit="user")


def test_a_cluster_in_two_variants_is_left_out():
    units = small_table(400)
    units["house"] = units["user"] // 4
    units["variant"] = units["house"] % 2
    units.loc[0, "variant"] = 1 - units.loc[0, "variant"]
    reading = analyse(units, [SPEND], cluster="house")
    assert sum(reading.counts) == 99
    assert reading.exclusions[0].reason.english() == "1 clusters had rows in two variants; they are left out"


def test_a_stratum_without_a_variant_is_refused_by_name():
    units = small_table(400)
    units.loc[0, "store"] = "moon"
    with pytest.raises(ProblemError, match="stratum moon"):
        analyse(units, [SPEND], stratum="store")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, 1e9])
def test_whatever_comes_in_no_result_is_nan(bad):
    units = small_table(400)
    units.loc[7, "spend"] = bad
    metrics = [Metric("m", "spend", missing="exclude", covariate="habit"), Quantile("q", "spend", missing="exclude")]
    reading = analyse(units, metrics, segments=["store"])
    for effect in [*reading.effects, *(line.effect for b in reading.breakdowns for line in b.effects)]:
        assert all(finite(value) for value in vars(effect).values())
    assert all(finite(b.differ_p) and finite(b.spread) for b in reading.breakdowns)
