"""A design's method is tried out on history before the start: sound ones pass, unsound ones are named."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from engine.errors import ProblemError
from experiments.assign import Split
from experiments.budget_design import design_budget_split
from experiments.design import design_arriving, design_from, record_of
from experiments.history import mean_outcome, with_covariates
from experiments.known_units import design_known
from experiments.measure import Metric, Units, duckdb_warehouse, replay
from experiments.measure.replay import judge_replay
from experiments.replay_design import PastPeriods, PastUnits, replay_design
from experiments.switchback_design import design_switchback

METRIC = [{"name": "y", "column": "y"}]
RNG = np.random.default_rng(11)
BEFORE = RNG.gamma(2, 5, 3000)
AFTER = BEFORE + RNG.normal(0, 4, 3000)


def arriving(**changes):
    outcome = with_covariates(mean_outcome("y", AFTER), AFTER, BEFORE)
    return design_arriving("a", outcome, [5000], 0.5, treatment="coupon", metrics=METRIC, **changes)


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.8, 0.2), (0.4, 0.3, 0.3)])
def test_a_sound_method_finds_what_it_promises(weights):
    design = arriving(split=Split("a", weights))
    found = replay_design(design, PastUnits(AFTER, covariate=BEFORE), splits=1600)
    assert 0.6 * design.plan.alpha < found.rejected < 1.4 * design.plan.alpha
    assert found.z_spread == pytest.approx(1, abs=0.06)
    assert found.check.verdict == "passed"


def test_it_agrees_with_the_replay_in_the_database():
    table = pd.DataFrame({"unit": np.arange(1000), "y": AFTER[:1000]})
    with duckdb.connect(config={"threads": 1}) as database:
        database.register("history", table)
        there = replay(Units(duckdb_warehouse(database), "history", unit="unit"), Metric("y", "y"), splits=64)
    here = replay_design(arriving(), PastUnits(AFTER[:1000]), splits=64)
    assert there.z_spread == pytest.approx(here.z_spread, abs=0.3)
    assert max(there.low, here.low) <= min(there.high, here.high)


def test_rows_of_one_household_are_split_together():
    home = np.repeat(np.arange(150), 20)
    alike = np.repeat(RNG.normal(0, 3, 150), 20) + RNG.normal(0, 1, 3000)
    design = design_arriving("a", mean_outcome("y", alike), [5000], 0.5, treatment="coupon", metrics=METRIC)
    by_home = replay_design(design, PastUnits(alike, cluster=home), splits=640)
    by_mean = replay_design(design, PastUnits(alike.reshape(150, 20).mean(axis=1)), splits=640)
    assert (by_home.rejected, by_home.check.verdict) == (by_mean.rejected, "passed")
    assert by_home.z_spread == pytest.approx(by_mean.z_spread, rel=1e-6)


def test_a_method_that_finds_too_much_is_named():
    rng = np.random.default_rng(1)
    z = rng.normal(0, 1.4, 640)
    found = judge_replay("y", z, 2 * stats.norm.sf(abs(z)), 0.05)
    assert found.rejected > 0.1
    assert found.check.verdict == "broken"
    assert "5.0% are promised: the variance is by the wrong unit" in found.check.reason.english()


def test_known_units_products_regions_and_cells_are_drawn_as_designed():
    category = np.repeat(np.arange(24), 6)
    level = RNG.lognormal(2, 0.4, 144)
    outcome = mean_outcome("y", level)
    names = [f"p{i}" for i in range(144)]
    past = level[:, None]
    common = {"treatment": "price", "unit": "product", "metrics": METRIC}
    two = design_known("t", names, outcome, 1.0, past, categories=[str(c) for c in category], **common)
    few = design_known("f", names, outcome, 1.0, past, **common)
    assert (two.draw, few.draw) == ("two_stage", "rerandomised")
    weekly = level[:, None] + RNG.normal(0, 0.5, (144, 30))
    timed = replace(two, sizing=replace(two.sizing, weeks=4))
    regions = 100 + RNG.normal(0, 3, (6, 140)) + 8 * np.sin(np.arange(140) * 2 * np.pi / 7)
    switched = design_switchback(
        "s", list("abcdef"), regions, steps=56, effect=3.0, felt=[1.0], treatment="price", metrics=METRIC, lengths=[7]
    )
    metric = [{"kind": "profit", "name": "y", "column": "margin", "cost": "coupon_cost"}]
    cells = design_budget_split("b", mean_outcome("y", AFTER), 3000, 0.5, budget=100.0, cells=40, metrics=metric)
    units = PastUnits(level + RNG.normal(0, 0.5, 144), covariate=level, balanced=past)
    for design, history in (
        (two, replace(units, category=category)),
        (few, units),
        (timed, PastPeriods(weekly, category)),
        (switched, PastPeriods(regions)),
        (cells, PastUnits(AFTER, covariate=BEFORE)),
    ):
        found = replay_design(design, history, splits=160)
        assert found.check.verdict == "passed", design.draw
        assert found.rejected < 0.11, design.draw
        assert 0.4 < found.z_spread < 1.35, design.draw


def test_history_that_does_not_fit_is_refused_by_name():
    switched = design_switchback(
        "s",
        list("abcd"),
        RNG.normal(0, 1, (4, 60)),
        steps=28,
        effect=3.0,
        felt=[1.0],
        treatment="price",
        metrics=METRIC,
        lengths=[7],
    )
    with pytest.raises(ProblemError, match="'s' is drawn as a switchback; its replay needs past periods"):
        replay_design(switched, PastUnits(AFTER))
    with pytest.raises(ProblemError, match="14 past steps"):
        replay_design(switched, PastPeriods(RNG.normal(0, 1, (4, 9))))


def test_the_check_is_kept_with_the_design_and_the_same_history_gives_the_same():
    design = arriving()
    found = replay_design(design, PastUnits(AFTER, covariate=BEFORE), splits=64)
    assert found == replay_design(design, PastUnits(AFTER, covariate=BEFORE), splits=64)
    kept = replace(design, checks=(found.check,))
    assert design_from(record_of(kept)) == kept
