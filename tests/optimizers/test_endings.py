"""Endings and price points stand on the ladder though no step meets them, and everything made of it sees them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from price_cases import best_by_force, small_problem, value_of
from rule_cases import basis_of, rule

from engine.errors import ProblemError
from optimizers.prices import PriceProblem, problem_ladder, solve_prices
from optimizers.prices.alternatives import Alternative, best_alternatives
from optimizers.prices.check import check_price_plan
from optimizers.prices.explain import explain_plan
from optimizers.prices.ladder import LadderRules, build_ladder
from optimizers.prices.resolve import resolve_prices
from optimizers.rules import Facts, Rule
from optimizers.rules.check import check_rules, fines
from optimizers.rules.conflict import RuleConflictError
from optimizers.rules.ladders import asked_prices
from optimizers.rules.plan import solve_under_rules


def posed(rules: tuple[Rule, ...], seed: int = 0, products: int = 3, **given_: Any) -> tuple[PriceProblem, Facts]:
    """A small problem with the prices that the rules ask for."""
    problem = small_problem(seed, products, draws=4, **given_)
    facts = basis_of(problem, seed).facts
    return replace(problem, further=asked_prices(problem, facts, rules)), facts


def rungs(problem: PriceProblem, product: int = 0) -> list[float]:
    row = problem_ladder(problem).price[product]
    return [float(price) for price in row[np.isfinite(row)]]


def ending_within(today: float, endings: tuple[float, ...], max_change: float) -> set[int]:
    """Every price in cents that ends so and lies within the largest move, by counting cents."""
    reach = range(round(today * 100 * (1 - max_change)) - 2, round(today * 100 * (1 + max_change)) + 3)
    cents = {round(100 * ending) for ending in endings}
    return {c for c in reach if c > 0 and c % 100 in cents and abs(c / 100 - today) <= max_change * today + 1e-9}


@settings(deadline=None, max_examples=60)
@given(
    st.integers(20, 4000),
    st.sampled_from([(0.99,), (0.49, 0.99), (0.0, 0.5), (0.95,)]),
    st.sampled_from([(0.10, 0.025), (0.2, 0.023), (0.05, 0.02)]),
)
@example(3300, (0.6,), (0.05, 0.03))  # 34.60 lies nearer to the largest move than to any step
def test_every_ending_within_reach_is_a_rung(
    cents: int, endings: tuple[float, ...], change: tuple[float, float]
) -> None:
    """By the setting and by a rule alike, while a step is no wider than the money unit."""
    today, (max_change, step) = cents / 100, change
    for further in (False, True):
        given_ = {"current_price": np.array([today]), "unit_cost": np.array([0.01]), "own": np.full((4, 1), -2.0)}
        given_ |= {"max_change": max_change, "step": step}
        one = rule("price_endings", endings=list(endings))
        problem = posed((one,), 0, 1, **given_)[0] if further else small_problem(0, 1, **given_, endings=endings)
        found = {round(price * 100) for price in rungs(problem)}
        assert ending_within(today, endings, max_change) <= found
        if not further:
            assert found - {cents} <= ending_within(today, endings, max_change)


def test_a_dear_product_takes_the_endings_nearest_to_each_step_and_to_today() -> None:
    ladder = build_ladder(np.array([200.0]), np.zeros(1), np.ones(1, bool), LadderRules(0.1, 0.05, endings=(0.99,)))
    assert ladder.price[0].tolist() == [180.99, 189.99, 199.99, 200.0, 200.99, 209.99, 219.99]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.booleans())
def test_with_endings_every_change_ends_so_and_the_plan_is_the_best(seed: int, by_rule: bool) -> None:
    """Brute force is over every ending price within reach, by counting cents, not over the ladder."""
    price = np.round(np.random.default_rng(seed).uniform(5.0, 30.0, 3), 1)
    rules = (rule("price_endings", endings=[0.99]),)
    given_ = {"current_price": price, "unit_cost": 0.7 * price, "max_change": 0.1, "step": 0.03, "cross": 0.2}
    if by_rule:
        problem, facts = posed(rules, seed, **given_)
        ruled = solve_under_rules(problem, facts, rules, gap=1e-6)
        check_rules(problem, facts, rules, ruled.plan.price)
        check_price_plan(problem, ruled.plan, ruled.rules.rows())
        plan = ruled.plan
    else:
        problem = small_problem(seed, 3, **given_, endings=(0.99,))
        plan = solve_prices(problem, gap=1e-6)
        check_price_plan(problem, plan)
    for chosen, today in zip(plan.price.tolist(), price.tolist(), strict=True):
        assert chosen == today or round(chosen * 100) in ending_within(today, (0.99,), 0.1)
    reach = [[today, *(c / 100 for c in sorted(ending_within(today, (0.99,), 0.1)))] for today in price.tolist()]
    best = max(value_of(problem, np.array(one)) for one in itertools.product(*reach))
    assert plan.objective == pytest.approx(best, rel=1e-4, abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([None, 0.5, 1e4]))
def test_price_points_off_the_steps_are_chosen(seed: int, soft: float | None) -> None:
    """Over all points and steps by brute force, the rule hard or soft."""
    price = np.array([2.00, 3.10, 4.00])
    points = [1.87, 2.13, 3.33, 3.77, 4.21, 9.99]
    rules = (rule("price_ladder", prices=points, soft=soft, scope={"products": ["p0", "p2"]}),)
    problem, facts = posed(rules, seed, current_price=price, unit_cost=0.6 * price)
    ruled = solve_under_rules(problem, facts, rules, gap=1e-6)
    check_rules(problem, facts, rules, ruled.plan.price)
    check_price_plan(problem, ruled.plan, ruled.rules.rows())
    steps = [np.round(today * np.array([0.9, 0.95, 1.0, 1.05, 1.1]), 2).tolist() for today in price]
    options = [
        [steps[0][2], 1.87, 2.13, *([] if soft is None else steps[0])],
        steps[1],
        [steps[2][2], 3.77, 4.21, *([] if soft is None else steps[2])],
    ]
    values = [
        value_of(problem, vector) - fines(problem, facts, rules, vector)
        for vector in map(np.array, itertools.product(*options))
    ]
    assert ruled.plan.objective == pytest.approx(max(values), rel=1e-4, abs=1e-6)


def test_the_settings_hold_for_what_rules_ask_for() -> None:
    further = np.array([[1.79, 1.85, 1.99, 2.003, 2.09, 2.15, 2.21, -1.0, np.nan]])
    given_ = {"current_price": np.array([2.0]), "unit_cost": np.array([1.0]), "step": 0.1, "further": further}
    problem = small_problem(0, 1, **given_)
    assert rungs(problem) == [1.80, 1.85, 1.99, 2.0, 2.09, 2.15, 2.20]
    assert rungs(replace(problem, endings=(0.99, 0.09))) == [1.99, 2.0, 2.09]
    assert rungs(replace(problem, min_margin=0.47)) == [1.99, 2.0, 2.09, 2.15, 2.20]
    assert rungs(replace(problem, price_low=np.array([1.9]), price_high=np.array([2.1]))) == [1.99, 2.0, 2.09]
    assert rungs(replace(problem, movable=np.array([False]))) == [2.0]
    with pytest.raises(ProblemError, match=r"further has shape \(2, 1\)"):
        solve_prices(replace(problem, further=np.ones((2, 1))))


def test_rules_ask_for_their_own_products_only() -> None:
    rules = (
        rule("price_ladder", prices=[2.07], scope={"products": "p0"}),
        rule("price_endings", endings=[0.09], scope={"products": "p1"}),
        rule("max_change"),
    )
    problem, _ = posed(rules, current_price=np.full(3, 2.0), unit_cost=np.ones(3), step=0.1)
    assert [rungs(problem, i) for i in range(3)] == [[1.8, 2.0, 2.07, 2.2], [1.8, 2.0, 2.09, 2.2], [1.8, 2.0, 2.2]]


def test_alternatives_explanation_and_a_new_solve_know_the_prices() -> None:
    """Many families, so that only those of the fixed product move, cut out of the problem."""
    products = 12
    price = np.linspace(3.0, 6.3, products).round(2)
    rules = (rule("price_endings", endings=[0.99]),)
    weight = np.linspace(1.0, 9.0, products)
    given_ = {"current_price": price, "unit_cost": 0.7 * price, "family": np.arange(products) // 2, "cross": 0.3}
    problem, facts = posed(rules, 4, products, **given_, max_change=0.2, index_weight=weight)
    ruled = solve_under_rules(problem, facts, rules, gap=1e-6)
    plan, rows = ruled.plan, ruled.rules.rows()
    moved = np.flatnonzero(plan.price != price)
    assert len(moved) >= 3
    for found in best_alternatives(problem, plan, rows):
        if isinstance(found, Alternative):
            assert found.price in price or round(found.price * 100) % 100 == 99
    assert all("permits no" not in reason.english() for reason in explain_plan(problem, plan))
    other = next(i for i in moved.tolist() if len(ending_within(float(price[i]), (0.99,), 0.2)) > 1)
    fixed = next(c / 100 for c in ending_within(float(price[other]), (0.99,), 0.2) if c / 100 != plan.price[other])
    again = resolve_prices(problem, plan, {other: fixed}, rows=rows, gap=1e-6)
    assert again.price[other] == fixed
    check_rules(problem, facts, rules, again.price)
    assert again.objective == pytest.approx(value_of(problem, again.price), rel=1e-9)
    outside = problem.family != problem.family[other]
    assert np.array_equal(again.price[outside], plan.price[outside])


def test_brute_force_over_the_ladder_knows_further_prices() -> None:
    problem = small_problem(8, 3, further=np.array([[np.nan], [np.nan], [np.nan]]), index_band=0.01)
    offered = replace(problem, further=(problem.current_price * 1.03)[:, None])
    plan = solve_prices(offered, gap=1e-7)
    check_price_plan(offered, plan)
    assert plan.objective == pytest.approx(best_by_force(offered), rel=1e-6)
    assert plan.objective >= solve_prices(problem, gap=1e-7).objective - 1e-9


def test_a_price_point_beyond_reach_is_part_of_the_way_out() -> None:
    """35 % of margin ask for 2.31 at least, the points for 2.35, and the settings permit 2.20: 7.5 too little."""
    rules = (
        rule("margin_floor", at_least=0.35, name="healthy", weight=10.0),
        rule("price_ladder", prices=[2.35], name="points", weight=10.0),
    )
    problem, facts = posed(rules, 0, 1, current_price=np.array([2.0]), unit_cost=np.array([1.5]))
    with pytest.raises(RuleConflictError) as refused:
        solve_under_rules(problem, facts, rules)
    (way_out,) = refused.value.conflict.relaxations
    assert way_out.rule == "pricing.max_change"
    assert way_out.amount == pytest.approx(7.5)
    wider, facts = posed(rules, 0, 1, current_price=np.array([2.0]), unit_cost=np.array([1.5]), max_change=0.18)
    assert solve_under_rules(wider, facts, rules).plan.price.tolist() == [2.35]
