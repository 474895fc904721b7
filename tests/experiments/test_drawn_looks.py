"""Price tests, stores, switchbacks and budget splits under every analysis: sized, locked, read, decided."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from engine.errors import ProblemError
from engine.files import to_json
from experiments.budget_design import design_budget_split
from experiments.decide import DecisionRule
from experiments.design import design_from, record_of
from experiments.design_reading import read_by_design, schedule_of
from experiments.few_units import interval_looks
from experiments.history import Outcome, mean_outcome
from experiments.known_units import design_known
from experiments.power import power_watched
from experiments.shared_budget import share_out
from experiments.switchback_design import design_switchback

METHODS = ("fixed", "group_sequential", "always_valid")
PROFIT = {"name": "profit", "column": "profit"}
WEEKS = 8


@cache
def price_test(method, **more):
    return known("product", [f"k{i // 5}" for i in range(150)], method, **more)


@cache
def store_test(method, number=24, **more):
    return known("store", None, method, number=number, **more)


def known(unit, categories, method, *, number=150, weeks=WEEKS, effect=1.0):
    rng = np.random.default_rng(1)
    outcome = Outcome("profit", "mean", 20.0, 1.0, 500, cluster_size=5.0 if categories else 1.0)
    units, past = [f"u{i}" for i in range(number)], rng.normal(0, 1, (number, 1))
    given = {"treatment": "price", "unit": unit, "metrics": [PROFIT], "categories": categories}
    return design_known(f"{unit}s", units, outcome, effect, past, **given, weeks=weeks, method=method, looks=4)


@cache
def switchback(method, lengths=(7,), steps=112, effect=3.0):
    history = np.random.default_rng(3).normal(100, 4, (4, 140))
    given = {"treatment": "price", "metrics": [PROFIT], "lengths": lengths, "method": method}
    return design_switchback(
        "sw", [f"s{i}" for i in range(4)], history, steps=steps, effect=effect, felt=[1.0], **given, looks=4
    )


@cache
def budget_split(method, cells=20, weeks=WEEKS, **more):
    outcome = mean_outcome("profit", np.random.default_rng(5).gamma(2, 5, 1000))
    metrics = [{"kind": "profit", "name": "profit", "column": "margin", "cost": "coupon_cost"}]
    given = {"budget": 500.0, "cells": cells, "metrics": metrics, "weeks": weeks, "method": method}
    return design_budget_split("b", outcome, 1000, 1.5, **given, looks=4, **more)


DESIGNS = (price_test, store_test, switchback, budget_split)


@pytest.mark.parametrize("made", DESIGNS)
def test_every_draw_is_sized_under_every_analysis_and_looking_has_its_price(made):
    fixed, spending, valid = (made(method) for method in METHODS)
    assert fixed.sizing.detectable < spending.sizing.detectable < 1.25 * fixed.sizing.detectable
    assert spending.sizing.detectable < valid.sizing.detectable < 2.2 * fixed.sizing.detectable
    assert fixed.sizing.power > spending.sizing.power > valid.sizing.power
    assert (fixed.plan.looks, spending.plan.looks) == (1, 4)
    for design in (spending, valid):
        assert design.assigned == fixed.assigned, "the analysis moves nobody"
        assert design_from(json.loads(to_json(record_of(design)))) == design
        assert "4 readings at equal distances" in " ".join(note.english() for note in design.notes)


def table_of(design, gain, seed=2):
    rng, drawn = np.random.default_rng(seed), design.assigned
    values = 20.0 + rng.normal(0, 1, len(drawn.units)) + gain * np.array(drawn.variant)
    return pd.DataFrame({"unit": drawn.units, "profit": values})


@pytest.mark.parametrize("made", [price_test, store_test])
@pytest.mark.parametrize("method", METHODS[1:])
def test_a_gain_that_is_clear_early_is_shipped_early(made, method):
    design = made(method)
    table = table_of(design, 4.0)
    first = read_by_design(design, table, unit="unit", elapsed_weeks=4.0)
    assert (first.interval, first.final, first.looks) == (method, True, (4 * 168,))
    assert first.verdicts[0].action == "ship"
    assert first.effects[0].decision == "better"
    again = read_by_design(design, table, unit="unit", elapsed_weeks=4.0, earlier_looks=first.looks)
    assert again.effects == first.effects, "the same look twice is one look"
    half = (first.effects[0].high - first.effects[0].low) / 2
    end = read_by_design(design, table, unit="unit", elapsed_weeks=8.0, earlier_looks=first.looks)
    assert end.looks == (4 * 168, 8 * 168)
    assert (end.effects[0].high - end.effects[0].low) / 2 < half
    early = read_by_design(made("fixed"), table, unit="unit", elapsed_weeks=4.0)
    assert (early.interval, early.final, early.verdicts[0].action) == ("always_valid", False, "go on")


def test_the_interval_is_the_boundary_of_the_looks_so_far():
    design = store_test("group_sequential")
    table = table_of(design, 0.0)
    once = read_by_design(store_test("fixed"), table, unit="unit").effects[0]
    t = interval_looks(design.plan, [0.25, 0.5], [22.0] * 2).critical[-1]
    usual = interval_looks(store_test("fixed").plan, [1.0], [22.0]).critical[-1]
    read = read_by_design(design, table, unit="unit", elapsed_weeks=4, earlier_looks=(2 * 168,)).effects[0]
    assert (read.high - read.low) / (once.high - once.low) == pytest.approx(t / usual, rel=1e-2)
    assert read.estimate == once.estimate
    assert (read.p_value < 0.05) == (not read.low <= 0 <= read.high)


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_switchback_is_as_far_as_its_whole_pairs(method):
    design = switchback(method)
    rng = np.random.default_rng(4)
    rows = [
        {"store": name, "step": step, "profit": 100 + 6.0 * on + rng.normal(0, 2)}
        for name, ran in schedule_of(design).items()
        for step, on in enumerate(ran)
    ]
    table, looks = pd.DataFrame(rows), ()
    for steps, whole in ((30, 28), (56, 56), (112, 112)):
        read = read_by_design(design, table[table["step"] < steps], unit="store", earlier_looks=looks)
        looks = read.looks
        assert (looks[-1], read.units, read.interval) == (whole, 4 * whole // 14, method)
        t = interval_looks(design.plan, [at / 112 for at in looks], [4 * at / 14 - 1 for at in looks]).critical[-1]
        effect = read.effects[0]
        assert effect.low <= 6.0 <= effect.high
        assert (effect.low > 0) == (effect.decision == "better")
        assert t > 1.97
    assert read.verdicts[0].action == "ship"
    with pytest.raises(ProblemError, match="as far as its steps are"):
        read_by_design(design, table, unit="store", elapsed_weeks=3)


def spent(design, gain, share=1.0):
    rng = np.random.default_rng(6)
    ids = np.array([f"c{i}" for i in range(1000)], dtype=object)
    split = share_out(ids, 500.0, variant=design.assigned.variant, seed=design.split.seed)
    margin = share * (10.5 + gain * split.customer_variant + rng.normal(0, 2, 1000))
    return pd.DataFrame({"customer": ids, "coupon_cost": 0.5 * share, "margin": margin})


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_budget_split_is_judged_by_what_was_earned_so_far(method):
    rule = DecisionRule("profit", smallest_gain=1.0, planned_effect=1.5)
    design = budget_split(method, rule=rule)
    clear = read_by_design(design, spent(design, 4.0, 0.5), unit="customer", elapsed_weeks=4)
    assert (clear.verdicts[0].action, clear.looks) == ("ship", (4 * 168,))
    assert "gains more than 0.5" in clear.verdicts[0].reasons[0].english()
    assert "after 50% of the time" in clear.notes[0].english()
    nothing = read_by_design(design, spent(design, 0.0, 0.5), unit="customer", elapsed_weeks=4)
    assert nothing.verdicts[0].action in {"go on", "stop"}
    full = read_by_design(design, spent(design, 4.0), unit="customer", elapsed_weeks=8, earlier_looks=clear.looks)
    assert "gains more than 1," in full.verdicts[0].reasons[0].english()
    assert not any("of the time" in note.english() for note in full.notes)


def test_the_error_of_a_plan_is_not_spent_twice():
    design, table = price_test("group_sequential"), table_of(price_test("group_sequential"), 0.1)
    end = read_by_design(design, table, unit="unit", elapsed_weeks=8)
    with pytest.raises(ProblemError, match="was read there already"):
        read_by_design(design, table, unit="unit", elapsed_weeks=9, earlier_looks=end.looks)
    valid = price_test("always_valid")
    late = read_by_design(valid, table, unit="unit", elapsed_weeks=12, earlier_looks=end.looks)
    assert late.looks == (8 * 168, 12 * 168)


def test_what_several_readings_need_is_named():
    with pytest.raises(ProblemError, match="give the number of weeks that it will run"):
        store_test("group_sequential", weeks=None)
    with pytest.raises(ProblemError, match="how many of its 8 weeks have passed"):
        read_by_design(store_test("always_valid"), table_of(store_test("fixed"), 0.0), unit="unit")
    with pytest.raises(ProblemError, match=r"4 clusters leave 2 degrees .* take 6 or more"):
        budget_split("group_sequential", cells=4)
    assert budget_split("fixed", cells=4).plan.method == "fixed"
    with pytest.raises(ProblemError, match="a single pair of periods of 7"):
        switchback("always_valid", steps=20)


@pytest.mark.parametrize("method", METHODS)
def test_a_switchback_runs_no_longer_than_its_effect_needs(method):
    shortest = switchback(method, steps=None)
    assert shortest.sizing.power >= 0.8
    needed = shortest.switchback.steps
    if needed > 28:
        assert switchback(method, steps=needed - 14).sizing.power < 0.8
    assert needed == switchback(method, steps=needed).switchback.steps
    hopeless = switchback(method, steps=None, effect=0.1)
    assert hopeless.switchback.steps == 140
    assert "Even 140" in hopeless.notes[-1].english()


def test_treatments_share_the_error_once():
    given = {"treatment": "price", "unit": "store", "metrics": [PROFIT], "weeks": WEEKS, "method": "group_sequential"}
    outcome, past = Outcome("profit", "mean", 20.0, 1.0, 500), np.random.default_rng(1).normal(0, 1, (60, 1))
    three = design_known("t", [f"u{i}" for i in range(60)], outcome, 1.0, past, **given, weights=(0.4, 0.3, 0.3))
    assert three.plan.alpha == 0.025
    alone = replace(three.plan, alpha=0.05)
    assert three.sizing.power == power_watched(outcome, 1.0, 60, alone, weights=(0.4, 0.3, 0.3))
