"""Designs: lawful, sized on the promise, kept as data, read as they say."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from store_examples import make_proposal, price_line

from engine.errors import ProblemError
from engine.files import to_json
from engine.proposal import CouponLine
from experiments.assign import Holdout, Slice, Split, assign
from experiments.decide import Guardrail
from experiments.design import (
    Assigned,
    design_arriving,
    design_from,
    record_of,
    require_lawful,
    require_nobody_moves,
)
from experiments.design_reading import read_by_design, schedule_of, variants_of
from experiments.history import Outcome, mean_outcome
from experiments.power import required_units
from experiments.proposal_design import WeeklyHistory, design_of_coupons, design_of_prices
from experiments.sequential import AnalysisPlan
from experiments.switchback import draw_switchback, plan_switchback

PROFIT = Outcome("profit", "mean", 10.0, 400.0, 5000, explained=0.3)
METRICS = ({"name": "profit", "column": "profit"}, {"name": "returns", "column": "returns", "higher_is_better": False})


def customers(effect=2.0, **more):
    given = {"treatment": "coupon", "metrics": METRICS, "guardrails": (Guardrail("returns", 0.1, False),)} | more
    return design_arriving("spring", PROFIT, [2000, 4000, 6000], effect, **given)


def outcomes(design, number, effect, seed=1):
    rng = np.random.default_rng(seed)
    ids = [f"c{i}" for i in range(number)]
    variant = variants_of(design, ids)
    profit = rng.normal(10, 20, number) + effect * (variant == 1)
    return pd.DataFrame({"customer": ids, "profit": profit, "returns": rng.poisson(2.0, number)})


def test_prices_are_never_randomised_over_customers():
    with pytest.raises(ProblemError, match="two people would see two prices"):
        customers(treatment="price")
    for unit in ("product", "store", "time"):
        require_lawful("price", unit)
    with pytest.raises(ProblemError, match="units customer, product, store, time"):
        require_lawful("price", "household")


def test_a_design_is_sized_on_what_history_says():
    design = customers()
    assert design.sizing.units == required_units(PROFIT, 2.0, AnalysisPlan())
    assert (design.sizing.weeks, design.plan.planned_units) == (2, design.sizing.units)
    assert "30%" in " ".join(note.english() for note in design.notes)
    short = customers(0.5)
    assert short.sizing.weeks is None
    assert short.sizing.power < 0.8 < short.sizing.detectable / 0.5
    assert "Even 3 weeks" in " ".join(note.english() for note in short.notes)


def test_a_design_survives_the_store_word_for_word():
    split = Split("spring", (0.2, 0.8), 0.5, layer=Slice("a", 0.1, 0.4), holdouts=(Holdout("h", 0.1),), target={"x": 1})
    for design in (
        customers(),
        customers(split=split, method="group_sequential", looks=4, promise_scale=3.0),
        design_of_prices(many_prices(), history(), name="p"),
        switchback(),
    ):
        record = json.loads(to_json(record_of(design)))
        assert record_of(design_from(record)) == record
        assert design_from(record).plan == design.plan
    with pytest.raises(ProblemError, match="was not made by"):
        design_from({"weights": [0.5, 0.5]})


def test_a_running_design_may_take_in_more_units_and_move_none():
    half = Split("spring", coverage=0.5, layer=Slice("a", 0.1, 0.4))
    before = customers(split=half)
    require_nobody_moves(before, customers(split=replace(half, coverage=0.8, layer=Slice("a", 0.0, 0.5)), power=0.9))
    for split, says in (
        (replace(half, weights=(0.2, 0.8)), "weights"),
        (replace(half, coverage=0.4), "coverage"),
        (replace(half, seed="other"), "seed"),
        (replace(half, layer=Slice("a", 0.2, 0.5)), "layer"),
        (replace(half, layer=None), None),
        (replace(half, holdouts=(Holdout("h", 0.1),)), "holdouts"),
    ):
        if says is None:
            require_nobody_moves(before, customers(split=split))
            continue
        with pytest.raises(ProblemError, match=f"would move units .*{says}"):
            require_nobody_moves(before, customers(split=split))


def test_the_rule_of_the_design_decides_on_its_own_split():
    design = customers()
    table = outcomes(design, design.sizing.units + 200, 4.0)
    assert variants_of(design, table["customer"]).tolist() == assign(table["customer"], "spring").tolist()
    reading = read_by_design(design, table, unit="customer")
    assert [verdict.action for verdict in reading.verdicts] == ["ship"]
    assert {row.metric for row in reading.effects} == {"profit", "returns"}
    early = read_by_design(design, table.head(400), unit="customer")
    assert early.verdicts[0].action == "go on"
    with pytest.raises(ProblemError, match="leave the weeks out"):
        read_by_design(customers(method="always_valid"), table, unit="customer", elapsed_weeks=1)
    harmed = read_by_design(design, outcomes(design, 4000, -4.0), unit="customer")
    assert harmed.verdicts[0].action == "roll back"


def test_a_split_that_went_wrong_decides_nothing():
    design = customers()
    table = outcomes(design, 6000, 4.0)
    kept = (variants_of(design, table["customer"]) == 0) | (np.arange(6000) % 5 > 0)
    reading = read_by_design(design, table[kept], unit="customer")
    assert not reading.trustworthy
    assert reading.verdicts[0].action == "look into it"
    assert {row.decision for row in reading.effects} == {"untrustworthy"}
    moved = table.assign(variant=1 - variants_of(design, table["customer"]))
    with pytest.raises(ProblemError, match="units were moved"):
        read_by_design(design, moved, unit="customer")


def many_prices(products=240, categories=24, gain=8.0):
    """A proposal that raises the profit of each product by `gain` over eight weeks."""
    line = price_line()
    lines = [
        replace(
            line,
            product_id=f"p{i}",
            category=f"k{i % categories}",
            proposed_price=2.1 if i % 4 else 2.0,
            profit_proposed=60.0 + (gain if i % 4 else 0.0),
        )
        for i in range(products)
    ]
    return make_proposal(prices=lines)


def history(products=240, noise=1.0, weeks=60):
    rng = np.random.default_rng(8)
    profit = rng.lognormal(2, 0.6, (products, 1)) + rng.normal(0, noise, (products, weeks))
    return WeeklyHistory(tuple(f"p{i}" for i in range(products)), profit)


def test_a_price_plan_is_tested_over_its_products_in_two_stages():
    design = design_of_prices(many_prices(), history(), name="prices")
    assert (design.unit, design.draw, len(design.assigned.units)) == ("product", "two_stage", 180)
    assert design.sizing.effect == pytest.approx(1.0)
    assert design.promise_scale == 180 * 8
    assert design.sizing.power >= 0.8
    noisier = design_of_prices(many_prices(), history(noise=2.5), name="prices")
    assert noisier.sizing.weeks > design.sizing.weeks
    assert noisier.assigned == design.assigned, "the name alone seeds the draw"
    assert [guardrail.metric for guardrail in design.rule.guardrails] == ["units"]


def test_what_was_measured_stands_beside_what_was_promised():
    proposal, past = many_prices(gain=16.0), history()
    design = design_of_prices(proposal, past, name="prices")
    rng = np.random.default_rng(9)
    row = {name: place for place, name in enumerate(past.products)}
    level = past.profit[[row[name] for name in design.assigned.units]].mean(axis=1)
    table = pd.DataFrame(
        {
            "product_id": design.assigned.units,
            "profit_before": level,
            "profit": level + rng.normal(0, 0.5, 180) + 2.0 * np.array(design.assigned.variant),
            "units": 100.0 + rng.normal(0, 1, 180),
        }
    )
    stray = pd.concat([table, table.head(1).assign(product_id="p0")])
    reading = read_by_design(design, stray, unit="product_id")
    assert reading.measured.low <= 2.0 * 180 * 8 <= reading.measured.high
    assert reading.verdicts[0].action == "ship"
    assert "1 units of the table" in " ".join(note.english() for note in reading.notes)
    early = read_by_design(design, table, unit="product_id", elapsed_weeks=design.sizing.weeks / 2)
    assert early.verdicts[0].action == "go on"
    assert early.effects[0].high - early.effects[0].low > 1.3 * (reading.effects[0].high - reading.effects[0].low)
    with pytest.raises(ProblemError, match="positive number"):
        read_by_design(design, table, unit="product_id", elapsed_weeks=0)


def test_with_few_categories_products_are_drawn_in_balance():
    design = design_of_prices(many_prices(categories=3), history(), name="prices")
    assert design.draw == "rerandomised"
    treated = pd.Series(design.assigned.variant).groupby(list(design.assigned.cluster)).agg(["sum", "size"])
    assert (abs(treated["sum"] - treated["size"] / 2) <= 0.5).all()
    assert "upper limit" in " ".join(note.english() for note in design.notes)
    table = pd.DataFrame({"product_id": design.assigned.units, "profit": 1.0, "units": 2.0})
    table["profit"] += 0.1 * np.random.default_rng(1).standard_normal(len(table)) + np.array(design.assigned.variant)
    table["units"] += 0.01 * np.random.default_rng(2).standard_normal(len(table))
    reading = read_by_design(design, table, unit="product_id")
    assert reading.effects[0].decision == "better"
    assert "lacks profit_before" in reading.notes[0].english()


def test_a_coupon_plan_is_tested_by_holding_some_back():
    proposal = make_proposal(coupons=[CouponLine(f"c{i}", "A", 1.5, 0.5) for i in range(20_000)])
    design = design_of_coupons(proposal, mean_outcome("profit", np.random.default_rng(1).gamma(2, 9, 4000)), name="c")
    assert (design.treatment, design.unit, design.split.weights) == ("coupon", "customer", (0.2, 0.8))
    assert design.sizing.effect == pytest.approx(1.5)
    assert (design.sizing.units, design.sizing.weeks) == (20_000, 8)
    assert design.sizing.power > 0.99
    assert "20% of the 20000" in design.notes[0].english()
    with pytest.raises(ProblemError, match="nothing to show"):
        design_of_coupons(make_proposal(coupons=[]), PROFIT, name="c")


def test_a_proposal_that_changes_little_is_sent_elsewhere():
    with pytest.raises(ProblemError, match="test it over stores"):
        design_of_prices(make_proposal(), history(), name="p")
    with pytest.raises(ProblemError, match="promises"):
        design_of_prices(many_prices(gain=-1.0), history(), name="p")


def switchback():
    rng = np.random.default_rng(3)
    plan = plan_switchback(rng.normal(100, 5, (4, 200)), steps=56, effect=4.0, felt=(1.0,), lengths=(7,))
    ran = draw_switchback(plan, rng)[:, :: plan.length]
    regions = [f"r{i}" for i in range(4)]
    units = tuple(f"{region}:{period}" for region in regions for period in range(ran.shape[1]))
    cluster = tuple(region for region in regions for _ in range(ran.shape[1]))
    given = {"treatment": "price", "unit": "time", "metrics": [METRICS[0]]}
    design = design_arriving("sw", PROFIT, [1000, 2000], 4.0, **given)
    assigned = Assigned(units, tuple(ran.ravel().tolist()), cluster)
    return replace(design, draw="switchback", switchback=plan, assigned=assigned)


def test_a_switchback_is_read_by_its_schedule():
    design = switchback()
    rng = np.random.default_rng(4)
    rows = [
        {"store": region, "step": step, "profit": 100 + 6 * on + rng.normal(0, 2)}
        for region, ran in schedule_of(design).items()
        for step, on in enumerate(ran)
    ]
    reading = read_by_design(design, pd.DataFrame(rows), unit="store")
    assert reading.effects[0].low < 6 < reading.effects[0].high
    assert reading.verdicts[0].action == "ship"
    half = [row for row in rows if row["step"] < 28]
    assert read_by_design(design, pd.DataFrame(half), unit="store").verdicts[0].action == "go on"
    with pytest.raises(ProblemError, match="not part of the design"):
        read_by_design(design, pd.DataFrame(rows).replace("r0", "r9"), unit="store")
    with pytest.raises(ProblemError, match="assigns periods"):
        variants_of(design, ["r0"])


def test_two_treatments_share_the_error_and_need_more_units():
    both = customers(split=Split("three", (1 / 3, 1 / 3, 1 / 3)))
    assert both.plan.alpha == pytest.approx(customers().plan.alpha / 2)
    assert "2 treatments share the error" in both.notes[0].english()
    alone = customers(split=Split("two of three", (1 / 2, 1 / 2)), alpha=0.025)
    assert both.sizing.units == pytest.approx(1.5 * alone.sizing.units, rel=0.01), "the error is shared once"
    table = outcomes(both, both.sizing.units + 200, 4.0)
    reading = read_by_design(both, table, unit="customer")
    actions = [verdict.action for verdict in reading.verdicts]
    assert (actions[0], len(actions)) == ("ship", 2)
    assert actions[1] != "ship", "the second treatment does nothing"
