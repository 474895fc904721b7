"""Bad input is refused by name, value and remedy, or gets a right answer; ended at any moment, a plan is honest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_cases import best_by_force, small_problem

from engine.errors import InfeasibleError, ProblemError
from optimizers.prices import PriceProblem, problem_ladder, solve_prices
from optimizers.prices import listed as price_listed
from optimizers.prices.check import check_price_plan
from optimizers.prices.resolve import resolve_prices
from optimizers.prices.robust import solve_robust_prices
from optimizers.prices.rows import LinearRow, PriceRows

NOTHING = np.empty(0)
NOBODY = NOTHING.astype(np.int64)


def shop(seed: int = 1, products: int = 6, **rules: Any) -> PriceProblem:
    return small_problem(seed, products, family=np.arange(products) // 2, **({"cross": 0.5} | rules))


@pytest.mark.parametrize(
    ("effort", "words"),
    [
        ({"seconds": np.nan}, "seconds is nan; give a number of 0 or more, such as 60"),
        ({"seconds": -1.0}, "seconds is -1"),
        ({"gap": np.nan}, "gap is nan; give a number of 0 or more, such as 0.0001"),
        ({"gap": -1e-9}, "gap is -1e-09"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_every_way_to_solve(effort: dict[str, float], words: str) -> None:
    problem = shop()
    plan = solve_prices(problem)
    for solve in (
        lambda: solve_prices(problem, **effort),
        lambda: resolve_prices(problem, plan, {0: float(plan.price[0])}, **effort),
        lambda: solve_robust_prices(problem, "tail", **effort),
    ):
        with pytest.raises(ProblemError, match=words.replace(".", r"\.")):
            solve()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"product_ids": ("a", "b", "a", "c", "d", "d")}, r"product a \(and 1 more\): listed 2 times"),
        ({"current_price": [1.0] * 6}, "current_price is a list; give a numpy array of numbers"),
        ({"current_price": np.array(["1"] * 6)}, "current_price holds values of type <U1; give numbers"),
        ({"movable": np.full(6, 2)}, "movable holds values of type int64; give True or False"),
        ({"unit_cost": np.full(6, 1e300)}, r"product p0 \(and 5 more\): turnover is"),
        ({"base_units": np.full(6, 1e300)}, "turnover is .*; give units and money up to 1e\\+15"),
        ({"max_changed": np.nan}, "max_changed is nan; give a whole number of 0 or more"),
        ({"max_changed": 1.5}, "max_changed is 1.5; give a whole number"),
    ],
)
def test_a_problem_that_is_none_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        solve_prices(replace(shop(), **change))


def rows_of(problem: PriceProblem, **row: Any) -> PriceRows:
    given = {"name": "r", "product": np.array([0]), "rung": np.array([0]), "coefficient": np.ones(1)}
    return PriceRows(problem_ladder(problem).rungs, (LinearRow(**(given | row)),))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"product": np.array([0.5])}, "the product numbers are of type float64; give whole numbers"),
        ({"low": np.inf}, "low is inf and high inf; give a finite limit"),
        ({"product": np.array([99])}, "a product is numbered 99; they go from 0 to 5"),
    ],
)
def test_a_row_that_is_none_is_refused(row: dict[str, Any], words: str) -> None:
    problem = shop()
    with pytest.raises(ProblemError, match=words):
        solve_prices(problem, rows=rows_of(problem, **row))


def test_a_mask_over_another_ladder_is_refused() -> None:
    with pytest.raises(ProblemError, match=r"allowed has shape \(6, 2\), the ladder \(6, 5\)"):
        solve_prices(shop(), rows=PriceRows(np.ones((6, 2), dtype=np.bool_)))


def test_a_rule_that_no_choice_changes_is_infeasible_where_hard_and_paid_for_where_soft() -> None:
    problem = shop()
    empty = {"product": NOBODY, "rung": NOBODY, "coefficient": NOTHING, "low": 1.0}
    with pytest.raises(InfeasibleError, match="no price that may change counts in 'r'"):
        solve_prices(problem, rows=rows_of(problem, **empty))
    rows = rows_of(problem, **empty, penalty=3.0)
    plan = solve_prices(problem, rows=rows)
    assert plan.objective == pytest.approx(solve_prices(problem).objective - 3.0)
    check_price_plan(problem, plan, rows)


@pytest.mark.parametrize("scale", [{"base_units": np.zeros(6)}, {"base_scale": np.zeros((5, 6))}])
def test_where_nothing_sells_nothing_is_gained(scale: dict[str, Any]) -> None:
    plan = solve_prices(shop(index_band=0.0, max_changed=2, **scale))
    assert (plan.status, plan.objective, plan.gap) == ("optimal", 0.0, 0.0)


def test_prices_without_profit_today_are_raised_as_far_as_that_pays() -> None:
    price = np.array([1.0, 2.0, 4.0])
    problem = small_problem(1, 3, current_price=price, unit_cost=price)
    plan = solve_prices(problem, gap=1e-9)
    assert plan.objective == pytest.approx(best_by_force(problem))


def test_a_floor_over_many_families_holds_under_the_lower_quantile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_listed, "MOST_OF_ALL", 0)
    problem = small_problem(1, 40, risk="lower", cross=0.4, family=np.arange(40) // 10)
    floor = LinearRow("units", np.arange(40), NOBODY, NOTHING, low=0.99 * problem.base_units.sum(), measure="units")
    rows = PriceRows(problem_ladder(problem).rungs, (floor,))
    plan = solve_prices(problem, rows=rows, gap=1e-2)
    check_price_plan(problem, plan, rows)
    assert plan.objective > 0


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 30), st.sampled_from(["listed", "searched"]))
def test_cancelled_at_any_moment_the_plan_keeps_the_rules_within_an_honest_bound(asked: int, road: str) -> None:
    problem = shop(7, 10, index_band=0.002, max_changed=4, step=0.02)
    best = solve_prices(problem, gap=1e-9).objective
    left = iter(range(asked))
    with pytest.MonkeyPatch.context() as patch:
        if road == "searched":
            patch.setattr(price_listed, "MOST_OF_ALL", 0)
        plan = solve_prices(problem, cancelled=lambda: next(left, None) is None)
    check_price_plan(problem, plan)
    assert plan.objective <= best + 1e-6
    assert plan.bound >= best - 1e-6
    assert plan.status in ("cancelled", "optimal", "gap_limit")
