"""Quantiles by segment: each level is read by itself, and whether they differ is told."""

import numpy as np
import pandas as pd
import pytest

from experiments.measure import Condition, Metric, Quantile, analyse

TAIL = Quantile("tail", "spend", level=0.75)


def countries(n=6_000, seed=1, shift=0.0):
    rng = np.random.default_rng(seed)
    units = pd.DataFrame({"user": np.arange(n), "variant": rng.integers(0, 2, n), "spend": rng.lognormal(2, 0.7, n)})
    units["country"] = rng.choice(["DE", "FR", "IT"], n, p=[0.5, 0.3, 0.2])
    units.loc[units["user"] % 50 == 0, "country"] = None
    units["spend"] += shift * units["variant"] * (units["country"] == "DE")
    return units


def test_a_level_is_read_as_if_it_were_alone():
    units = countries()
    found = analyse(units, [TAIL, Metric("m", "spend")], unit="user", segments=["country"])
    by = {(one.metric, part.level): part.effect for one in found.breakdowns for part in one.effects}
    assert {level for _, level in by} == {"DE", "FR", "IT", "(missing)"}
    for level in ("DE", "FR", "IT"):
        mine = units[units["country"] == level]
        assert by["tail", level] == analyse(mine, [TAIL], unit="user").effects[0]
        sides = [mine.loc[mine["variant"] == variant, "spend"] for variant in (0, 1)]
        there = [np.quantile(side, 0.75, method="inverted_cdf") for side in sides]
        assert by["tail", level].estimate == pytest.approx(there[1] - there[0], rel=1e-12)


def test_levels_that_differ_are_told_apart_and_levels_that_do_not_are_not():
    differ = analyse(countries(shift=4.0), [TAIL], unit="user", segments=["country"]).breakdowns[0]
    assert differ.differ_p < 0.001
    truth = {"DE": 4.0, "FR": 0.0, "IT": 0.0}
    assert all(
        part.effect.low <= truth[part.level] <= part.effect.high for part in differ.effects if part.level in truth
    )
    assert analyse(countries(), [TAIL], unit="user", segments=["country"]).breakdowns[0].differ_p > 0.01


def test_intervals_by_level_hold_what_they_promise():
    held = of = 0
    for seed in range(20):
        parts = analyse(countries(800, seed), [TAIL], unit="user", segments=["country"]).breakdowns[0].effects
        held += sum(part.effect.low <= 0.0 <= part.effect.high for part in parts)
        of += len(parts)
    assert of >= 60
    assert held / of >= 0.88


def test_a_level_with_too_few_units_is_refused_by_name_and_the_rest_is_read():
    units = countries(600)
    found = analyse(units, [Quantile("q", "spend", level=0.95)], unit="user", segments=["country"])
    said = " ".join(one.reason.english() for one in found.refused)
    assert "where country is IT: quantile 0.95 of" in said
    assert found.effects[0].metric == "q"
    many = analyse(units.assign(code=units["user"]), [TAIL], unit="user", segments=["code"])
    assert "code has 51 levels" in many.refused[0].reason.english()


def test_clusters_and_filters_count_in_a_segment_too():
    rows = countries(4_000).assign(store=lambda table: table["user"] // 8)
    rows["variant"] = rows["store"] % 2
    rows["country"] = np.where(rows["store"] % 3, "DE", "FR")
    some = Quantile("q", "spend", level=0.5, where=(Condition("spend", ">", 2.0),))
    found = analyse(rows, [some], cluster="store", segments=["country"]).breakdowns[0]
    for part in found.effects:
        alone = analyse(rows[rows["country"] == part.level], [some], cluster="store").effects[0]
        assert (part.effect.estimate, part.effect.low, part.effect.high) == (alone.estimate, alone.low, alone.high)
