"""What a line says of the next best price is true of the demand that it speaks of, and no rule is spoken away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.line_words import NEXT_BEST, with_barring, with_next_best
from engine.proposal import Reason
from optimizers.prices import PriceProblem, problem_ladder, solve_prices
from optimizers.prices.alternatives import Alternative, Barred, best_alternatives
from optimizers.prices.rows import PriceRows

WHY = Reason("held at today's price: this product is not to be moved")


def lone(elasticity: float, margin: float) -> PriceProblem:
    return PriceProblem(
        product_ids=("P",),
        current_price=np.array([4.0]),
        unit_cost=np.array([4.0 * (1 - margin)]),
        base_units=np.array([100.0]),
        own=np.array([[elasticity]]),
        cross=np.zeros((1, 1)),
        base_scale=np.ones((1, 1)),
        family=np.zeros(1, dtype=np.int64),
        movable=np.ones(1, dtype=np.bool_),
        max_change=0.1,
        step=0.025,
        index_band=None,
        min_margin=None,
        max_changed=None,
        endings=None,
    )


def gain(problem: PriceProblem, price: float) -> float:
    ratio = price / problem.current_price[0]
    units = problem.base_units[0] * ratio ** problem.own[0, 0]
    return float(units * (price - problem.unit_cost[0]))


@given(elasticity=st.floats(-4, -0.5), margin=st.floats(0.2, 0.6))
@settings(deadline=None, max_examples=25)
def test_the_next_best_price_and_its_cost_are_those_of_the_demand(elasticity: float, margin: float) -> None:
    problem = lone(elasticity, margin)
    plan = solve_prices(problem, gap=1e-6)
    (other,) = best_alternatives(problem, plan)
    assert isinstance(other, Alternative)
    row = problem_ladder(problem).price[0]
    values = sorted((gain(problem, price) for price in row[np.isfinite(row)]), reverse=True)
    assert gain(problem, other.price) == pytest.approx(values[1])
    assert other.cost == pytest.approx(values[0] - values[1], abs=1e-6)
    said = with_next_best(WHY, other, elasticity).english()
    assert f"next best: {other.price:.2f}" in said
    if other.elasticity is not None:
        assert ("more strongly" in said) == (other.elasticity < elasticity)


def test_a_rung_that_a_rule_forbids_is_no_alternative() -> None:
    problem = lone(-1.2, 0.4)
    plan = solve_prices(problem)
    allowed = problem_ladder(problem).rungs.copy()
    (free,) = best_alternatives(problem, plan)
    assert isinstance(free, Alternative)
    allowed &= problem_ladder(problem).price != free.price
    (ruled,) = best_alternatives(problem, plan, PriceRows(allowed))
    assert isinstance(ruled, Alternative)
    assert ruled.price != free.price
    assert ruled.cost > free.cost


@pytest.mark.parametrize(
    ("other", "elasticity"),
    [(None, -2.0), (Alternative(3.9, -1.0, None), -2.0), (Alternative(3.9, 1.0, -1.5), None)],
    ids=["no other price", "a plan far from its bound", "not identified"],
)
def test_nothing_is_added_where_nothing_is_known(other: Alternative | None, elasticity: float | None) -> None:
    assert with_next_best(WHY, other, elasticity) is WHY


def test_every_form_of_the_sentence_can_be_said() -> None:
    said = {with_next_best(WHY, Alternative(3.9, 1.25, e), -2.0).code for e in (None, -2.5, -1.5)}
    assert said == set(NEXT_BEST.values())


def test_where_no_other_price_is_permitted_the_rule_is_named() -> None:
    said = with_barring(WHY, Barred(3.9, "index"), ("pricing.index_band", "packs")).english()
    assert said.endswith("3.90 would break “pricing.index_band” and “packs”")
    assert with_barring(WHY, Barred(3.9, ""), ()) is WHY
