"""What a line says of rules in words stands in its JSON in numbers, and the numbers are those of the plan."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from store_examples import make_proposal, price_line
from test_price_choice import PRODUCTS, problem

from api.line_figures import LineFigures, NextBest, Relief, line_figures
from api.line_words import BARRED, with_barring, with_next_best
from engine.files import plain
from engine.proposal import Reason
from optimizers.prices import solve_prices
from optimizers.prices.alternatives import Alternative, Barred
from optimizers.prices.explain import HELD, LOWERED, RAISED, explain_line, with_cost
from optimizers.rules.binding import Bound
from optimizers.rules.binding import Relief as RuleRelief
from optimizers.rules.conflict import listed_rules
from optimizers.rules.plan import BOUND, _with_cost

PLAIN = Reason("held at today's price: this product is not to be moved")
NOTHING = LineFigures((), None, None, (), None, ())


@pytest.mark.parametrize(
    ("limits", "setting", "row", "more"),
    [
        ({"index_band": 0.002}, "pricing.index_band", ("index_up", "index_down"), 0.001),
        ({"index_band": None, "max_changed": 3}, "pricing.max_changed", ("max_changed",), 1.0),
    ],
)
def test_the_figures_of_a_bound_line_are_those_of_the_plan(limits, setting, row, more) -> None:
    posed = replace(problem(), **limits)
    plan = solve_prices(posed, gap=1e-6)
    shadow = sum(plan.shadow_prices.get(name, 0.0) for name in row)
    rule = setting.removeprefix("pricing.").removesuffix("_band")
    told = 0
    for product in range(PRODUCTS):
        figures = line_figures(with_cost(explain_line(posed, plan, product), posed, plan, product))
        if rule not in plan.binding[product] or not figures.relief:
            continue
        told += 1
        assert figures.bound_by == (setting,)
        assert figures.free_price == plan.free_price[product]
        assert figures.rule_cost == plan.binding_cost[product][plan.binding[product].index(rule)]
        assert figures.relief == (Relief(setting, more, shadow),)
    assert told > 0, "the rule binds nothing, so that the test shows nothing"


def test_every_sentence_in_which_a_rule_binds_names_the_setting() -> None:
    free = {"", "not_movable", "no_gain", "family"}
    for templates in (HELD, RAISED, LOWERED):
        for name, template in templates.items():
            assert len(line_figures(Reason(template)).bound_by) == (name not in free), template


def test_business_rules_are_named_with_what_each_would_bring() -> None:
    bound = Bound(("a", "b, c"), 3.49, 12.5, (RuleRelief("a", True, 4.0), RuleRelief("b, c", False, 2.5)))
    said = Reason(BOUND["held"], {"rules": listed_rules(bound.rules), "price": bound.price})
    said = with_next_best(_with_cost(said, bound), Alternative(3.2, 5.0, -2.5), -2.0)
    assert line_figures(said) == LineFigures(
        ("a", "b, c"), 3.49, 12.5, (Relief("a", 1.0, 4.0), Relief("b, c", 0.01, 2.5)), NextBest(3.2, 5.0, -2.5), ()
    )


def test_rules_that_leave_no_other_price_are_listed() -> None:
    said = with_barring(PLAIN, Barred(3.9, "index"), ("pricing.index_band", "packs", "halves"))
    assert said.code == BARRED
    assert line_figures(said) == replace(NOTHING, barred_by=("pricing.index_band", "packs", "halves"))
    assert line_figures(PLAIN) == NOTHING


@pytest.fixture
def nested() -> Reason:
    bound = Reason("raised by {move:.1%}, bound by the index band: without it {free_price:.2f}")
    bound = replace(bound, values={"move": 0.05, "free_price": 3.49})
    return with_next_best(bound, Alternative(3.3, 1.25, None), -2.0)


def test_a_stored_line_reads_as_it_was_written(store, bearer, people, nested) -> None:
    line = replace(price_line("1"), reason=nested)
    store.save_proposal(make_proposal(prices=[line]))
    (read,) = store.price_lines("P1").items
    assert read.reason == nested
    (sent,) = bearer["viewer"].get("/api/v1/proposals/P1/lines").json["items"]
    assert sent["why"] == nested.english()
    assert sent["reason"] == plain(nested)
    assert sent["figures"]["bound_by"] == ["pricing.index_band"]
    assert sent["figures"]["next_best"] == {"price": 3.3, "cost": 1.25, "elasticity": None}
    (row,) = csv.DictReader(io.StringIO(people["viewer"].get("/proposals/P1/prices.csv").text))
    assert row["why"] == nested.english()


def test_the_description_of_the_api_names_the_figures(bearer) -> None:
    schemas = bearer["viewer"].get("/api/v1/openapi.json").json["components"]["schemas"]
    assert {"ReasonOut", "LineFiguresOut", "ReliefOut", "NextBestOut"} <= schemas.keys()
    assert {"reason", "figures"} <= schemas["PriceLineOut"]["properties"].keys()


def test_a_figure_that_is_not_finite_is_null_in_the_reason(store, bearer) -> None:
    seen = Reason(RAISED["seen_range"], {"move": 0.05, "high": np.inf})
    store.save_proposal(make_proposal(prices=[replace(price_line("1"), reason=seen)]))
    (sent,) = bearer["viewer"].get("/api/v1/proposals/P1/lines").json["items"]
    assert sent["reason"]["values"]["high"] is None
