"""Whether a price test, a switchback or a budget split may be believed, and what is seen of it before its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from engine.errors import ProblemError
from experiments.budget_design import design_budget_split
from experiments.decide import Guardrail
from experiments.design_reading import read_by_design, schedule_of
from experiments.history import mean_outcome, with_covariates
from experiments.known_units import design_known
from experiments.shared_budget import share_out
from experiments.switchback_design import design_switchback

PROFIT = {"name": "profit", "column": "profit", "covariate": "profit_before"}
START = datetime(2026, 11, 23, tzinfo=UTC)


def verdicts(reading):
    return {check.name: check.verdict for check in reading.checks}


def price_test():
    rng = np.random.default_rng(1)
    level = rng.lognormal(3, 0.4, 240)
    outcome = with_covariates(
        mean_outcome("profit", level + rng.normal(0, 1, 240)), level, level + rng.normal(0, 1, 240)
    )
    return design_known(
        "prices",
        [f"p{i}" for i in range(240)],
        outcome,
        2.0,
        level[:, None],
        treatment="price",
        unit="product",
        metrics=[PROFIT],
        categories=[f"k{i // 8}" for i in range(240)],
    )


def products(design, gain=2.0, seed=2):
    rng = np.random.default_rng(seed)
    level = rng.lognormal(3, 0.4, 240)
    variant = np.array(design.assigned.variant)
    return pd.DataFrame(
        {
            "product": design.assigned.units,
            "profit_before": level,
            "profit": level + gain * variant + rng.normal(0, 0.5, 240),
        }
    )


def test_a_sound_price_test_passes_every_check():
    design = price_test()
    table = products(design)
    reading = read_by_design(design, table.assign(exposed_at=START), unit="product", started=START)
    assert set(verdicts(reading).values()) == {"passed"}
    assert {"present", "outlier:profit", "before:profit:1", "before_assignment"} == set(verdicts(reading))
    assert (reading.trustworthy, reading.final, reading.interval) == (True, True, "fixed")
    assert reading.verdicts[0].action == "ship"


def test_what_spoils_a_price_test_is_marked():
    design = price_test()
    table, treated = products(design), np.array(design.assigned.variant) == 1
    lost = read_by_design(design, table[~treated | (np.arange(240) % 3 > 0)], unit="product")
    assert verdicts(lost)["present"] == "broken"
    assert (lost.trustworthy, lost.verdicts[0].action) == (False, "look into it")
    assert {row.decision for row in lost.effects} == {"untrustworthy"}
    few = read_by_design(design, table.iloc[2:], unit="product")
    assert (verdicts(few)["present"], few.trustworthy) == ("notice", True)
    uneven = table.assign(profit_before=table["profit_before"] + 9.0 * treated)
    assert verdicts(read_by_design(design, uneven, unit="product"))["before:profit:1"] == "broken"
    huge = table.assign(profit=np.where(np.arange(240) == 7, 1e9, table["profit"]))
    assert verdicts(read_by_design(design, huge, unit="product"))["outlier:profit"] == "notice"
    early = table.assign(exposed_at=[(START - timedelta(days=i < 10)).isoformat() for i in range(240)])
    reading = read_by_design(design, early, unit="product", started=START)
    assert (verdicts(reading)["before_assignment"], reading.units) == ("broken", 230)
    with pytest.raises(ProblemError, match=r"1 value.* 'profit' .* 'p3'"):
        missing = table.assign(profit=np.where(table["product"] == "p3", np.nan, table["profit"]))
        read_by_design(design, missing, unit="product")
    with pytest.raises(ProblemError, match="no breakdown"):
        read_by_design(design, table, unit="product", segments=["profit"])
    bare = read_by_design(design, table.drop(columns="profit_before"), unit="product")
    assert "lacks profit_before" in bare.notes[0].english()


def switchback(regions=8, steps=112):
    rng = np.random.default_rng(3)
    names = [f"s{i}" for i in range(regions)]
    return design_switchback(
        "sw",
        names,
        rng.normal(100, 4, (regions, 140)),
        steps=steps,
        effect=3.0,
        felt=[1.0],
        treatment="price",
        metrics=[{"name": "profit", "column": "profit"}, {"name": "units", "column": "units"}],
        guardrails=[Guardrail("units", 0.1)],
        lengths=[7],
    )


def days(design, gain=3.0, carried=0.0, before=28, seed=4):
    """Rows of every region and day; `carried` days after a switch still feel the arm before."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, ran in schedule_of(design).items():
        felt = ran.copy()
        for day in range(1, int(carried) + 1):
            felt[day:] = np.where(np.arange(day, ran.size) % 7 < carried, ran[:-day], felt[day:])
        for step in range(-before, ran.size):
            level = 100 + rng.normal(0, 2)
            on = felt[step] if step >= 0 else 0
            rows.append({"store": name, "step": step, "profit": level + gain * on, "units": 50 + rng.normal(0, 0.5)})
    return pd.DataFrame(rows)


def test_a_sound_switchback_passes_every_check_and_its_guardrail_is_read():
    design = switchback()
    reading = read_by_design(design, days(design), unit="store")
    assert set(verdicts(reading).values()) == {"passed"}
    assert {"obeyed", "carry_over:profit", "before:profit:1", "outlier:units"} <= set(verdicts(reading))
    assert [row.metric for row in reading.effects] == ["profit", "units"]
    assert reading.verdicts[0].action == "ship"


def test_what_spoils_a_switchback_is_marked():
    design = switchback()
    table = days(design)
    felt = read_by_design(design, days(design, gain=12.0, carried=4), unit="store")
    assert verdicts(felt)["carry_over:profit"] == "broken"
    assert not felt.trustworthy
    ran = schedule_of(design)
    drawn = np.array(
        [ran[name][step] if step >= 0 else 0 for name, step in zip(table["store"], table["step"], strict=True)]
    )
    other = table.assign(variant=np.where(table["step"].between(0, 2), 1 - drawn, drawn))
    assert verdicts(read_by_design(design, other, unit="store"))["obeyed"] == "broken"
    placebo = np.array([ran[name][step % 112] for name, step in zip(table["store"], table["step"] + 28, strict=True)])
    uneven = table.assign(profit=table["profit"] + 20.0 * placebo * (table["step"] < 0))
    assert verdicts(read_by_design(design, uneven, unit="store"))["before:profit:1"] == "broken"
    huge = table.assign(profit=np.where((table["step"] == 30) & (table["store"] == "s1"), 1e9, table["profit"]))
    assert verdicts(read_by_design(design, huge, unit="store"))["outlier:profit"] == "notice"


def test_a_step_that_is_missing_is_named_and_never_a_zero():
    design = switchback()
    table = days(design)
    with pytest.raises(ProblemError, match="region 2, step 9 is missing"):
        read_by_design(design, table[(table["store"] != "s2") | (table["step"] != 9)], unit="store")
    with pytest.raises(ProblemError, match="region 0, step 9 is missing"):
        read_by_design(design, table[table["step"] != 9], unit="store")
    with pytest.raises(ProblemError, match=r"1 value.* 'profit' .* not finite, the first of 's1'"):
        gone = (table["store"] == "s1") & (table["step"] == 9)
        read_by_design(design, table.assign(profit=np.where(gone, np.nan, table["profit"])), unit="store")
    with pytest.raises(ProblemError, match=r"'step' holds .*1.5"):
        read_by_design(design, table.assign(step=table["step"] + 0.5 * (table["step"] == 1)), unit="store")
    with pytest.raises(ProblemError, match="the first pair of periods has 14"):
        read_by_design(design, table[table["step"] < 9], unit="store")
    cut = read_by_design(design, table[table["step"] < 20], unit="store")
    assert (cut.units, cut.final, cut.interval) == (8, False, "always_valid")
    assert "6 steps of each region make" in " ".join(note.english() for note in cut.notes)


def budget_split():
    rng = np.random.default_rng(5)
    before = rng.gamma(2, 5, 4000)
    outcome = with_covariates(mean_outcome("profit", before), before, before + rng.normal(0, 4, 4000))
    metrics = [
        {"kind": "profit", "name": "profit", "column": "margin", "cost": "coupon_cost", "covariate": "before"},
        {"name": "visits", "column": "visits"},
    ]
    return design_budget_split("b", outcome, 4000, 0.5, budget=2000.0, cells=40, metrics=metrics)


def spent(design, gain=1.5):
    rng = np.random.default_rng(6)
    ids = np.array([f"c{i}" for i in range(4000)], dtype=object)
    split = share_out(ids, 2000.0, variant=design.assigned.variant, seed=design.split.seed)
    table = pd.DataFrame({"customer": ids, "before": rng.gamma(2, 5, 4000), "coupon_cost": 0.5})
    table["margin"] = 0.5 + table["before"] + gain * split.customer_variant + rng.normal(0, 2, 4000)
    table["visits"] = rng.poisson(3.0, 4000)
    return table, split


def test_cells_that_keep_to_their_money_pass_and_those_that_do_not_are_marked():
    design = budget_split()
    table, split = spent(design)
    sound = read_by_design(design, table, unit="customer")
    assert set(verdicts(sound).values()) == {"passed"}
    assert {"sample_ratio", "purses", "before:profit:1", "outlier:profit"} <= set(verdicts(sound))
    assert [row.metric for row in sound.effects] == ["profit", "visits"]
    assert "would have been read as" in sound.notes[0].english()
    greedy = table.assign(coupon_cost=np.where(split.customer_variant == 1, 0.8, 0.2))
    assert verdicts(read_by_design(design, greedy, unit="customer"))["purses"] == "broken"
    slightly = table.assign(coupon_cost=np.where(split.cell == 3, 0.6, 0.5))
    reading = read_by_design(design, slightly, unit="customer")
    assert (verdicts(reading)["purses"], reading.trustworthy) == ("notice", True)
    lost = table[(split.customer_variant == 0) | (np.arange(4000) % 4 > 0)]
    assert verdicts(read_by_design(design, lost, unit="customer"))["sample_ratio"] == "broken"
    uneven = table.assign(before=table["before"] + 3.0 * split.customer_variant)
    assert verdicts(read_by_design(design, uneven, unit="customer"))["before:profit:1"] == "broken"


def test_metrics_that_the_analysis_would_pass_over_are_refused():
    for design in (price_test(), switchback(), budget_split()):
        with pytest.raises(ProblemError, match="asks for winsorise, kind ratio"):
            ratio = {"name": "r", "column": "a", "denominator": "b", "kind": "ratio", "winsorise": {"high": 0.9}}
            replace(design, metrics=(*design.metrics, ratio))


def test_looking_every_fortnight_at_a_switchback_of_nothing_rejects_no_more_than_promised():
    design = switchback()
    rng = np.random.default_rng(7)
    names, ran = zip(*schedule_of(design).items(), strict=True)
    steps = np.tile(np.arange(112), 8)
    wrong = 0
    for _ in range(60):
        values = rng.normal(100, 2, (8, 112)) + rng.normal(0, 2, (8, 1)) + rng.normal(0, 1, 112)
        table = pd.DataFrame({"store": np.repeat(names, 112), "step": steps, "profit": values.ravel(), "units": 1.0})
        table["units"] += rng.normal(0, 0.1, len(table))
        looks = [read_by_design(design, table[steps < until], unit="store") for until in (14, 28, 56, 84, 112)]
        wrong += any(not one.effects[0].low <= 0 <= one.effects[0].high for one in looks)
    assert len(ran) == 8
    assert wrong <= 8, "5 % of 60 are 3; 9 or more have a chance of one in a hundred"
