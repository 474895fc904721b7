"""Large groups under a needle: what is listed and joined is the best plan, and stopping early leaves a true bound."""

from __future__ import annotations

import numpy as np
import pytest
from price_cases import small_problem

from optimizers.prices import deep_listing, joining, listed, solve_prices
from optimizers.prices.check import check_price_plan, price_index_change
from optimizers.prices.solve import PriceProblem


def two_families(seed: int) -> PriceProblem:
    """Two families of seven, two groups, whose prices must cancel."""
    rules = {"index_band": 0.0, "cross": 0.4, "family": np.arange(14) // 7}
    return small_problem(seed, 14, draws=3, step=0.05, **rules)


@pytest.mark.parametrize("seed", [1, 2])
def test_groups_that_are_searched_end_at_the_plan_of_the_whole_table(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = two_families(seed)
    best = solve_prices(problem, gap=1e-9)
    assert best.status == "optimal"
    assert best.objective > 0
    monkeypatch.setattr(listed, "MOST_OF_ALL", 0)
    found = solve_prices(problem, gap=1e-6)
    check_price_plan(problem, found)
    assert abs(price_index_change(problem, found.price)) <= 5.1e-10
    assert found.status == "optimal"
    assert found.objective == pytest.approx(best.objective, rel=2e-6)


@pytest.mark.parametrize(("module", "most"), [(deep_listing, 400), (joining, 40)])
def test_lists_that_become_too_long_leave_a_true_bound(
    module: object, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = two_families(3)
    best = solve_prices(problem, gap=1e-9).objective
    monkeypatch.setattr(listed, "MOST_OF_ALL", 0)
    monkeypatch.setattr(module, "MOST", most)
    plan = solve_prices(problem, gap=1e-6)
    check_price_plan(problem, plan)
    assert plan.objective <= best + 1e-9
    assert plan.bound >= best - 1e-9
