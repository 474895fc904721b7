"""What a frontier promises: every point can be taken, none is beaten by a tighter one, and each bound holds."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf_cases import make_shelf

from engine.errors import InfeasibleError, ProblemError
from optimizers.budget.frontier import MEASURES, measure_prices, price_frontier
from optimizers.prices import PriceProblem, evaluate_prices, problem_ladder, solve_prices


def shelf(seed: int, products: int = 3, **rules: Any) -> PriceProblem:
    return make_shelf(seed, products, slope=(-2.2, 0.8), draws=8, family_size=products, **rules)


LEVELS = {
    "index": [0.005, 0.01, 0.03, 0.2],
    "units": [0.05, 0.0, -0.05, -0.5],
    "revenue": [0.02, 0.0, -0.05, -0.5],
    "investment": [0.0, 10.0, 50.0, 1e6],
}


def keeps(measure: str, reached: float, level: float) -> bool:
    if measure == "index":
        return abs(reached) <= level + 1e-9
    return reached <= level + 1e-6 if measure == "investment" else reached >= level - 1e-9


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.sampled_from(MEASURES))
def test_each_point_equals_brute_force(seed: int, measure: str) -> None:
    problem = shelf(seed)
    rungs = [row[np.isfinite(row)] for row in problem_ladder(problem).price]
    plans = []
    for prices in itertools.product(*rungs):
        price = np.array(prices)
        gain = float(evaluate_prices(problem, price).gain.sum())
        plans.append((measure_prices(problem, measure, price), gain))
    try:
        frontier = price_frontier(problem, measure, LEVELS[measure], gap=1e-6)
    except InfeasibleError:
        assert not any(keeps(measure, reached, level) for reached, _ in plans for level in LEVELS[measure])
        return
    for point in frontier.points:
        best = max(gain for reached, gain in plans if keeps(measure, reached, point.level))
        near = 1e-5 * max(abs(best), 1.0)
        assert best - near <= point.value <= best + near
        assert point.bound >= best - near
        assert keeps(measure, point.reached, point.level)
        assert point.value == pytest.approx(evaluate_prices(problem, point.price).gain.sum())
    for level in frontier.unreachable:
        assert not any(keeps(measure, reached, level) for reached, _ in plans)


@pytest.mark.parametrize("measure", MEASURES)
def test_wider_levels_bring_no_less_and_the_widest_brings_what_no_limit_brings(measure: str) -> None:
    problem = shelf(3, 16, step=0.025, family=np.arange(16) // 4)
    frontier = price_frontier(problem, measure, LEVELS[measure])
    values = [point.value for point in frontier.points]
    assert values == sorted(values)
    free = solve_prices(problem, gap=1e-3)
    assert values[-1] == pytest.approx(free.objective, rel=2e-3)
    assert all(point.slope >= 0 for point in frontier.points)
    assert frontier.points[-1].slope == 0
    assert all(set(row) == {"level", "reached", "value", "bound", "gap", "slope"} for row in frontier.table())


def test_the_steps_are_put_into_words() -> None:
    frontier = price_frontier(shelf(4, 10, step=0.025), "index", [0.005, 0.01])
    gain = frontier.points[1].value - frontier.points[0].value
    assert frontier.step_words(0).english() == (f"widening the index band from 0.50% to 1.00% would bring {gain:,.0f}")


def test_progress_is_told_and_the_same_twice() -> None:
    told: list[tuple[int, int]] = []
    one = price_frontier(shelf(5, 8), "units", [0.0, -0.1], progress=lambda done, all_: told.append((done, all_)))
    two = price_frontier(shelf(5, 8), "units", [-0.1, 0.0])
    assert told == [(1, 2), (2, 2)]
    assert [p.level for p in one.points] == [0.0, -0.1]
    assert all(np.array_equal(a.price, b.price) for a, b in zip(one.points, two.points, strict=True))


@pytest.mark.parametrize(
    ("measure", "levels", "words"),
    [
        ("margin", [0.1], "measure is 'margin'"),
        ("index", [], "levels are"),
        ("index", [-0.1], "levels are"),
        ("units", [np.nan], "levels are"),
    ],
)
def test_bad_levels_are_refused(measure: str, levels: list[float], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        price_frontier(shelf(1), measure, levels)


def test_levels_that_cannot_be_kept_are_named() -> None:
    frontier = price_frontier(shelf(6), "units", [5.0, 0.0])
    assert frontier.unreachable == (5.0,)
    with pytest.raises(InfeasibleError, match="no level of units"):
        price_frontier(shelf(6), "units", [5.0, 6.0])


def test_a_tighter_level_borrows_the_bound_and_a_wider_one_the_prices_of_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What keeps a tight limit keeps a wide one; no prices gain more under a tight limit than under a wide one."""
    problem = shelf(3)
    found = {0.01: (5.0, 10.0), 0.02: (4.0, 8.0), 0.05: (7.0, 9.0)}

    def solve(posed: PriceProblem, **_: object) -> SimpleNamespace:
        value, bound = found[posed.index_band]
        return SimpleNamespace(objective=value, bound=bound, price=posed.current_price * (1 + posed.index_band))

    monkeypatch.setattr("optimizers.budget.frontier.solve_prices", solve)
    tight, middle, wide = price_frontier(problem, "index", [0.05, 0.01, 0.02]).points
    assert [point.bound for point in (tight, middle, wide)] == [8.0, 8.0, 9.0]
    assert [point.value for point in (tight, middle, wide)] == [5.0, 5.0, 7.0]
    assert np.array_equal(middle.price, tight.price)
