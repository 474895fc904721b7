"""The best other price of a line: what it costs, and the elasticity at which the plan would turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_cases import small_problem, value_of

from optimizers.prices import problem_ladder, solve_prices
from optimizers.prices.alternatives import best_alternatives


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_the_alternative_costs_what_it_says_and_is_the_cheapest(seed: int) -> None:
    problem = small_problem(seed, 3, step=0.05)
    plan = solve_prices(problem, gap=1e-7)
    for i, found in enumerate(best_alternatives(problem, plan)):
        assert found is not None
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
        if found is None or found.elasticity is None:
            continue
        turning += 1
        own = problem.own.copy()
        own[:, i] += found.elasticity - own[:, i].mean()
        assert solve_prices(replace(problem, own=own), gap=1e-7).price[i] != plan.price[i]
    assert turning >= 3


def test_a_held_product_has_no_alternative() -> None:
    problem = small_problem(1, 2, movable=np.array([True, False]))
    assert best_alternatives(problem, solve_prices(problem))[1] is None
