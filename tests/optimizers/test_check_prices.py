"""The re-check finds what it is there to find: every rule, broken by hand, is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from price_cases import small_problem

from engine.errors import PlanError
from optimizers.prices import PricePlan, PriceProblem, solve_prices
from optimizers.prices.check import check_price_plan, exact_gain


def problem_and_plan(**rules: Any) -> tuple[PriceProblem, PricePlan]:
    problem = small_problem(11, 4, current_price=np.array([2.0, 4.0, 5.0, 8.0]), unit_cost=np.full(4, 1.0), **rules)
    return problem, solve_prices(problem)


def priced(plan: PricePlan, product: int, price: float) -> PricePlan:
    changed = plan.price.copy()
    changed[product] = price
    return replace(plan, price=changed)


@pytest.mark.parametrize(
    ("rules", "product", "price", "fault"),
    [
        ({}, 1, 4.41, "further than 0.1"),
        ({}, 1, 4.125, "not in whole cents"),
        ({}, 1, float("nan"), "the price is nan"),
        ({}, 1, -4.0, "the price is -4"),
        ({"movable": np.array([True, False, True, True])}, 1, 4.2, "not movable"),
        ({"endings": (0.99,)}, 1, 4.2, "endings"),
        ({"min_margin": 0.5}, 0, 1.9, "margin below 0.5"),
        ({"price_low": np.array([1.0, 4.0, 1.0, 1.0])}, 1, 3.9, "below the seen range"),
        ({"price_high": np.array([9.0, 4.0, 9.0, 9.0])}, 1, 4.1, "above the seen range"),
        ({"max_changed": 0}, 1, 4.2, "1 prices change, at most 0"),
        ({"index_band": 0.0}, 1, 4.2, "price index changes by"),
    ],
)
def test_every_broken_rule_is_named(rules: dict[str, Any], product: int, price: float, fault: str) -> None:
    problem, plan = problem_and_plan(**rules)
    check_price_plan(problem, plan)
    with pytest.raises(PlanError, match=fault):
        check_price_plan(problem, priced(plan, product, price))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"objective": 1e6}, "exact demand gives"),
        ({"bound": -1.0}, "lies below the objective"),
        ({"gap": 0.5}, "the gap is given as 0.5"),
        ({"status": "splendid"}, "status 'splendid'"),
        ({"price": np.array([1.0])}, "prices of shape"),
    ],
)
def test_every_wrong_figure_is_named(changes: dict[str, Any], fault: str) -> None:
    problem, plan = problem_and_plan()
    with pytest.raises(PlanError, match=fault):
        check_price_plan(problem, replace(plan, **changes))


def test_a_plan_that_loses_is_refused() -> None:
    problem, plan = problem_and_plan()
    worst = np.where(plan.price > problem.current_price, 0.9, 1.1) * problem.current_price
    price = np.round(worst, 2)
    value = float(exact_gain(problem, price).mean(axis=0).sum())
    assert value < 0
    with pytest.raises(PlanError, match="loses"):
        check_price_plan(problem, replace(plan, price=price, objective=value, gap=abs(plan.bound - value) / plan.bound))


def test_exact_gain_follows_the_stated_formula() -> None:
    """Two substitutes and a loner, by hand: units = base · scale · r^own · (r of the other)^cross."""
    problem = small_problem(
        1,
        3,
        own=np.array([[-2.0, -1.0, -3.0]]),
        cross=np.array([[0.5, 0.25, 9.0]]),
        base_scale=np.array([[1.0, 2.0, 1.0]]),
        current_price=np.array([1.0, 2.0, 4.0]),
        unit_cost=np.array([0.5, 1.0, 2.0]),
        base_units=np.array([10.0, 20.0, 30.0]),
        family=np.array([0, 0, 1]),
    )
    gain = exact_gain(problem, np.array([1.1, 1.8, 4.4]))[0]
    assert gain[0] == pytest.approx(10 * 1.1**-2 * 0.9**0.5 * 0.6 - 10 * 0.5)
    assert gain[1] == pytest.approx(2 * 20 * 0.9**-1 * 1.1**0.25 * 0.8 - 2 * 20 * 1.0)
    assert gain[2] == pytest.approx(30 * 1.1**-3 * 2.4 - 30 * 2.0), "a product alone has no rest to react to"
