"""Families that are listed and joined: the best plan even where plans are needles, and an honest bound where not."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_cases import best_by_force, small_problem, value_of

from engine.errors import InfeasibleError
from optimizers.prices import joining, listed, problem_ladder, solve_prices
from optimizers.prices.check import check_price_plan, price_index_change
from optimizers.prices.incumbent import PriceProgress
from optimizers.prices.resolve import resolve_prices
from optimizers.prices.rows import LinearRow, PriceRows
from optimizers.prices.solve import PriceProblem
from optimizers.prices.system import all_rows, build_system, joint_rows


def cents(seed: int, **rules: object) -> PriceProblem:
    """Products whose moves can cancel exactly, as units and prices are whole numbers of few kinds."""
    rng = np.random.default_rng(seed)
    price = rng.choice([2.0, 3.0, 4.0], 6)
    units = rng.choice([100.0, 150.0, 300.0], 6)
    given = {"family": np.arange(6) // 2, "current_price": price, "base_units": units, "cross": 0.5}
    return small_problem(seed, 6, **(given | {"unit_cost": 0.6 * price} | rules))


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000))
def test_an_index_that_must_not_move_gets_the_best_of_the_plans_that_cancel(seed: int) -> None:
    problem = cents(seed, index_band=0.0)
    plan = solve_prices(problem, gap=1e-6)
    assert abs(price_index_change(problem, plan.price)) <= 5.1e-10
    assert plan.objective == pytest.approx(best_by_force(problem), rel=2e-6, abs=1e-6)
    assert plan.status == "optimal"
    check_price_plan(problem, plan)


def cautious(seed: int, cross: float) -> PriceProblem:
    """Four products, three of them a family, whose lower quantile has kinks."""
    rng = np.random.default_rng(seed)
    draws = cross * (1 + 0.7 * rng.standard_normal((20, 4)))
    own = -2.5 + rng.standard_normal(4) + 0.5 * rng.standard_normal((20, 4))
    rules = {"cross": draws, "own": own, "base_scale": np.ones((20, 4)), "index_band": 0.01, "risk": "lower"}
    return small_problem(seed, 4, family=np.arange(4) // 3, **rules)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.9]))
def test_the_lower_quantile_is_maximised_by_its_exact_value(seed: int, cross: float) -> None:
    problem = cautious(seed, cross)
    plan = solve_prices(problem, gap=1e-6)
    size = float((problem.base_units * problem.current_price).sum())
    assert plan.objective == pytest.approx(value_of(problem, plan.price), abs=1e-9 * size)
    assert plan.objective == pytest.approx(best_by_force(problem), rel=2e-6, abs=1e-9 * size)
    assert plan.bound >= best_by_force(problem) - 1e-9 * size


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000))
def test_between_samples_the_lower_quantile_is_bounded(seed: int) -> None:
    """Where choices are too many to value each, the error between samples is in the bound, and it is small."""
    problem = cautious(seed, 0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listed, "MOST_DRAWN", 0)
        plan = solve_prices(problem, gap=1e-6)
    best = best_by_force(problem)
    size = float((problem.base_units * problem.current_price).sum())
    assert plan.objective == pytest.approx(value_of(problem, plan.price), abs=1e-9 * size)
    assert plan.objective - 1e-9 * size <= best <= plan.bound + 1e-9 * size
    assert plan.bound - plan.objective <= 1e-3 * size


@pytest.mark.parametrize("room", [1, 100])
def test_with_too_little_room_the_plan_stands_within_an_honest_bound(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = small_problem(3, 8, family=np.arange(8) // 2, step=0.01, index_band=0.0)
    best = solve_prices(problem, gap=1e-9).objective
    monkeypatch.setattr(joining, "MOST", room)
    monkeypatch.setattr("optimizers.prices.search.PriceSearch._solve_whole", lambda _: None)
    bounds: list[PriceProgress] = []
    plan = solve_prices(problem, gap=1e-9, progress=bounds.append)
    assert plan.objective <= best + 1e-9
    assert plan.bound >= best - 1e-9
    assert plan.status == "gap_limit"
    assert all(later.bound <= earlier.bound for earlier, later in itertools.pairwise(bounds))
    check_price_plan(problem, plan)


def test_products_that_sell_nothing_do_not_multiply_the_plans() -> None:
    """Every price of theirs is as good as any other: one of them is left, today's."""
    units = np.where(np.arange(30) < 4, 100.0, 0.0)
    problem = small_problem(1, 30, base_units=units, family=np.arange(30), step=0.01, index_band=0.001)
    plan = solve_prices(problem, gap=1e-6)
    assert plan.status == "optimal"
    assert (plan.price[4:] == problem.current_price[4:]).all()


def test_a_rule_inside_one_family_has_a_shadow_price() -> None:
    """Two products want to rise as far as they can; a rule holds their prices together at today's sum."""
    problem = small_problem(2, 6, own=np.full((1, 6), -0.4), family=np.repeat([0, 1, 2], 2), index_band=0.03)
    ladder = problem_ladder(problem)
    product, rung = np.nonzero(ladder.rungs[:2])
    together = LinearRow("together", product, rung, ladder.price[product, rung], high=problem.current_price[:2].sum())
    tight = solve_prices(problem, rows=PriceRows(ladder.rungs, (together,)), gap=1e-6)
    assert tight.shadow_prices["together"] > 0
    loose = replace(together, high=1e6)
    free = solve_prices(problem, rows=PriceRows(ladder.rungs, (loose,)), gap=1e-6)
    assert free.shadow_prices.get("together", 0.0) == 0
    assert free.objective > tight.objective


def test_no_price_within_a_family_is_told() -> None:
    problem = small_problem(2, 4, family=np.arange(4) // 2)
    ladder = problem_ladder(problem)
    product, rung = np.nonzero(ladder.rungs[:2])
    never = LinearRow("never", product, rung, np.ones(len(product)), high=1.0)
    with pytest.raises(InfeasibleError, match=r"no prices satisfy the rules.*never"):
        solve_prices(problem, rows=PriceRows(ladder.rungs, (never,)))


def test_a_fixed_price_is_made_good_at_exact_value_under_the_lower_quantile() -> None:
    rng = np.random.default_rng(4)
    draws = 0.9 * (1 + 0.7 * rng.standard_normal((20, 8)))
    problem = small_problem(4, 8, draws=20, cross=0.0, family=np.arange(8) // 4, index_band=0.02, risk="lower")
    problem = replace(problem, cross=draws)
    plan = solve_prices(problem, gap=1e-6)
    ladder = problem_ladder(problem)
    other = next(float(price) for price in ladder.price[0] if price != plan.price[0])
    again = resolve_prices(problem, plan, {0: other})
    assert again.price[0] == other
    assert again.objective == pytest.approx(value_of(problem, again.price), abs=1e-9)


def test_two_needles_at_once_are_found() -> None:
    """An index that must not move, by a few changes: no move alone, and few pairs, keep both."""
    problem = cents(11, index_band=0.0, max_changed=3)
    plan = solve_prices(problem, gap=1e-6)
    assert plan.objective == pytest.approx(best_by_force(problem), rel=2e-6, abs=1e-6)
    assert 0 < (plan.price != problem.current_price).sum() <= 3


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10_000), st.sampled_from([None, 0.02]), st.integers(0, 2))
def test_few_changes_leave_few_choices_to_a_large_family(seed: int, band: float | None, changes: int) -> None:
    """2,187 choices, of which at most 99 hold two changes: only those are listed, and no plan is missed."""
    family = np.array([0] * 7 + [1])
    problem = small_problem(seed, 8, family=family, step=0.1, cross=0.6, index_band=band, max_changed=changes)
    ladder = problem_ladder(problem)
    rules = all_rows(problem, ladder, None)
    system = build_system(problem, ladder, rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listed, "MOST_OF_ONE", 99)
        found = listed.list_families(problem, system, joint_rows(problem, ladder, rules, system))
        assert found is not None
        plan = solve_prices(problem, gap=1e-6)
    assert plan.status == "optimal"
    assert plan.objective == pytest.approx(best_by_force(problem), rel=2e-6, abs=1e-6)
