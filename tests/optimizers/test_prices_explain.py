"""Reasons in words: specific, right, and complete in the catalogue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from price_cases import small_problem

from engine.proposal import Reason
from optimizers.prices import PriceProblem, solve_prices
from optimizers.prices.explain import COSTS, TEMPLATES, explain_line, explain_plan, with_cost


def one_product(elasticity: float, cost: float = 1.5, **rules: Any) -> PriceProblem:
    given = {"current_price": np.array([2.0]), "unit_cost": np.array([cost]), "base_units": np.array([100.0])}
    own = np.full((3, 1), elasticity)
    return small_problem(1, 1, own=own, base_scale=np.ones((3, 1)), **(given | {"step": 0.025} | rules))


def said(problem: PriceProblem, product: int = 0) -> str:
    reason = explain_line(problem, solve_prices(problem), product)
    assert reason.code in TEMPLATES
    return reason.english()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (one_product(-1.0), "raised by 10.0%, as far as ±10.0% permits: at an elasticity of -1.0 and a margin of 25%"),
        (one_product(-3.8), "raised by 2.5%: at an elasticity of -3.8 and a margin of 25%, the dearer units outweigh"),
        (one_product(-4.3), "lowered by 2.5%: at an elasticity of -4.3"),
        (one_product(-9.0), "lowered by 10.0%, as far as ±10.0% permits"),
        (one_product(-4.0), "held at today's price: no move within ±10.0% gains (elasticity -4.0, margin 25%)"),
        (one_product(-1.0, movable=np.array([False])), "held at today's price: this product is not to be moved"),
        (one_product(-1.0, endings=(0.49,)), "no price within ±10.0% has a permitted ending (.49)"),
        (
            one_product(-1.0, min_margin=0.4),
            "every other price within ±10.0% leaves less than the smallest margin of 40%",
        ),
        (one_product(-9.0, min_margin=0.22), "lowered by 2.5%, bound by the smallest margin of 22%"),
        (one_product(-1.0, price_high=np.array([2.11])), "raised by 5.0%, as far as prices were seen (up to 2.11)"),
        (
            one_product(-1.0, price_low=np.array([1.99]), price_high=np.array([2.01])),
            "no other price within ±10.0% was seen often enough (seen: 1.99 to 2.01)",
        ),
        (one_product(-1.0, index_band=0.03), "raised by 2.5%, bound by the index band: without it 2.20"),
        (one_product(-1.0, index_band=0.01), "held at today's price by the index band: without it 2.20"),
        (one_product(-1.0, max_changed=0), "held at today's price: the 0 changes allowed gain more elsewhere"),
        (
            one_product(-1.0, current_price=np.array([0.04]), unit_cost=np.array([0.01])),
            "no other price within ±10.0% is permitted in whole cents",
        ),
    ],
)
def test_the_sentence_names_what_bound(problem: PriceProblem, words: str) -> None:
    assert words in said(problem)


def test_a_price_lowered_for_the_index_says_so() -> None:
    problem = small_problem(
        1,
        2,
        own=np.array([[-0.5, -2.0]]),
        base_scale=np.ones((1, 2)),
        current_price=np.array([2.0, 2.0]),
        unit_cost=np.array([0.4, 1.0]),
        base_units=np.array([100.0, 100.0]),
        index_band=0.0,
    )
    plan = solve_prices(problem)
    assert plan.price[0] > 2.0 > plan.price[1]
    assert explain_line(problem, plan, 1).english().startswith("lowered by 10.0% to make room in the price index")


def test_every_sentence_of_large_plans_is_in_the_catalogue_and_can_be_read() -> None:
    said: list[Reason] = []
    for rules in ({"index_band": 0.002}, {"max_changed": 8}, {"endings": (0.99, 0.49)}, {"min_margin": 0.3}):
        problem = small_problem(3, 40, cross=0.8, step=0.025, **rules)
        said.extend(explain_plan(problem, solve_prices(problem)))
    assert {reason.code for reason in said} <= set(TEMPLATES)
    assert len({reason.code for reason in said}) >= 8
    assert all("{" not in reason.english() and "nan" not in reason.english() for reason in said)


def test_a_move_for_the_familys_sake_says_so() -> None:
    """Raising the cheap brand loses on it and gains more on the dear one beside it."""
    problem = small_problem(
        1,
        2,
        own=np.array([[-9.0, -2.0]]),
        cross=np.array([[0.0, 3.0]]),
        base_scale=np.ones((1, 2)),
        current_price=np.array([1.0, 4.0]),
        unit_cost=np.array([0.85, 2.0]),
        base_units=np.array([10.0, 100.0]),
        family=np.zeros(2, dtype=int),
        movable=np.array([True, False]),
    )
    problem = replace(problem, max_change=0.05, step=0.05)
    assert "what this product loses, others of its family gain" in said(problem)


def test_a_line_says_what_its_rule_costs_and_what_more_of_it_would_bring() -> None:
    """What it costs the line is what the line would gain alone; what more brings is the shadow price."""
    problem = one_product(-1.0, index_band=0.03)
    plan = solve_prices(problem, gap=1e-9)
    free = solve_prices(replace(problem, index_band=None), gap=1e-9)
    said = with_cost(Reason("bound"), problem, plan, 0)
    assert said.code == COSTS["index"]
    assert said.values["cost"] == pytest.approx(free.objective - plan.objective)
    assert said.values["gain"] == pytest.approx(plan.shadow_prices["index_up"])
    step = replace(problem, index_band=0.05)  # the next rung, 2.5 % of the index away
    assert solve_prices(step, gap=1e-9).objective - plan.objective <= 25 * said.values["gain"] + 1e-6
    assert said.english().endswith("of the index would bring {:,.2f} in all".format(said.values["gain"]))


def test_a_rule_of_the_line_alone_has_a_cost_and_no_price_for_others() -> None:
    problem = one_product(-1.0)
    plan = solve_prices(problem)
    said = with_cost(Reason("bound"), problem, plan, 0)
    assert said.code == COSTS[""]
    assert said.values["cost"] > 0
    wider = solve_prices(replace(problem, max_change=0.125))
    assert wider.objective > plan.objective


def test_a_line_that_no_rule_bound_costs_nothing() -> None:
    problem = one_product(-4.0)
    why = Reason("free")
    assert with_cost(why, problem, solve_prices(problem), 0) is why
