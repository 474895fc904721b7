"""The best other price of a line: what it costs, and the elasticity at which the plan would turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_cases import small_problem, value_of

from optimizers.prices import PriceProblem, problem_ladder, solve_prices
from optimizers.prices.alternatives import REACH, TRIED, Alternative, Barred, best_alternatives
from optimizers.prices.check import price_index_change
from optimizers.prices.rows import LinearRow, PriceRows


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_the_alternative_costs_what_it_says_and_is_the_cheapest(seed: int) -> None:
    problem = small_problem(seed, 3, step=0.05)
    plan = solve_prices(problem, gap=1e-7)
    for i, found in enumerate(best_alternatives(problem, plan)):
        assert isinstance(found, Alternative)
        ladder = problem_ladder(problem).price[i]
        costs = {}
        for price in ladder[np.isfinite(ladder)]:
            moved = plan.price.copy()
            moved[i] = price
            costs[float(price)] = plan.objective - value_of(problem, moved)
        del costs[float(plan.price[i])]
        assert found.cost == pytest.approx(costs[found.price], abs=1e-6)
        assert found.cost == pytest.approx(min(costs.values()), abs=1e-6)
        assert found.cost >= -1e-6


def test_at_the_turning_elasticity_another_price_is_best() -> None:
    problem = small_problem(5, 6, step=0.025)
    plan = solve_prices(problem, gap=1e-7)
    turning = 0
    for i, found in enumerate(best_alternatives(problem, plan)):
        if not isinstance(found, Alternative) or found.elasticity is None:
            continue
        turning += 1
        own = problem.own.copy()
        own[:, i] += found.elasticity - own[:, i].mean()
        assert solve_prices(replace(problem, own=own), gap=1e-7).price[i] != plan.price[i]
    assert turning >= 3


def test_the_turning_elasticity_counts_what_a_move_does_to_the_family() -> None:
    """One step of the search before it the planned price is still the best lone move, at it no more."""
    problem = small_problem(8, 6, step=0.025, cross=0.9, family=np.zeros(6, dtype=np.int64))
    plan = solve_prices(problem, gap=1e-7)
    step = 2 * REACH / (TRIED - 1)
    turning = 0
    for i, found in enumerate(best_alternatives(problem, plan)):
        if not isinstance(found, Alternative) or found.elasticity is None:
            continue
        turning += 1
        shift = found.elasticity - float(problem.own[:, i].mean())
        row = problem_ladder(problem).price[i]
        for size, turned in ((shift, True), (shift - np.sign(shift) * step, False)):
            own = problem.own.copy()
            own[:, i] += size
            worth = {}
            for price in row[np.isfinite(row)]:
                moved = plan.price.copy()
                moved[i] = price
                worth[float(price)] = value_of(replace(problem, own=own), moved)
            best = max(worth.values())
            assert (worth[float(plan.price[i])] < best - 1e-9 * abs(best)) == turned
    assert turning >= 3


def test_a_held_product_has_no_alternative() -> None:
    problem = small_problem(1, 2, movable=np.array([True, False]))
    assert best_alternatives(problem, solve_prices(problem))[1] is None


def order(problem: PriceProblem, low: int, high: int) -> LinearRow:
    """Product `low` costs no more than `high`, as large packs per unit cost no more than small ones."""
    ladder = problem_ladder(problem)
    rungs = [np.flatnonzero(ladder.rungs[i]) for i in (low, high)]
    product, rung = np.repeat([low, high], [len(found) for found in rungs]), np.concatenate(rungs)
    ratio = problem.current_price[low] / problem.current_price[high]
    value = ladder.price[product, rung] * np.where(product == low, 1.0, -ratio)
    return LinearRow("order", product, rung, value, high=1e-9)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.8]), st.sampled_from(["mean", "lower"]), st.booleans())
def test_the_alternative_keeps_every_hard_row_or_none_does(seed: int, cross: float, risk: str, soft: bool) -> None:
    """Against each rung of each product tried by hand, under an order, the index band and a limit on changes."""
    problem = small_problem(seed, 4, cross=cross, index_band=0.02, max_changed=2, risk=risk)
    row = replace(order(problem, 0, 1), penalty=0.7 if soft else None)
    rows = PriceRows(problem_ladder(problem).rungs, (row,))
    plan = solve_prices(problem, rows=rows, gap=1e-7)
    ratio = problem.current_price[0] / problem.current_price[1]

    def fine(price: np.ndarray) -> float:
        return max(0.0, float(price[0] - ratio * price[1])) * 0.7 if soft else 0.0

    for i, found in enumerate(best_alternatives(problem, plan, rows)):
        ladder = problem_ladder(problem).price[i]
        costs = {}
        for price in ladder[np.isfinite(ladder)]:
            moved = plan.price.copy()
            moved[i] = price
            keeps = abs(price_index_change(problem, moved)) <= 0.02 + 5e-10
            keeps &= (moved != problem.current_price).sum() <= 2
            keeps &= soft or moved[0] <= ratio * moved[1] + 1e-8
            if price != plan.price[i] and keeps:
                costs[float(price)] = plan.objective - value_of(problem, moved) + fine(moved)
        if costs:
            assert isinstance(found, Alternative)
            assert found.cost == pytest.approx(min(costs.values()), abs=1e-6)
            assert costs[found.price] == pytest.approx(found.cost, abs=1e-6)
        else:
            assert isinstance(found, Barred)
            assert found.row in ("order", "index", "max_changed")


def test_a_price_that_the_mask_rules_out_is_barred_by_no_row() -> None:
    problem = small_problem(3, 2)
    ladder = problem_ladder(problem)
    allowed = ladder.rungs.copy()
    allowed[0] = np.arange(allowed.shape[1]) == ladder.today
    rows = PriceRows(allowed)
    barred, free = best_alternatives(problem, solve_prices(problem, rows=rows), rows)
    assert isinstance(barred, Barred)
    assert barred.row == ""
    assert barred.price != problem.current_price[0]
    assert isinstance(free, Alternative)
