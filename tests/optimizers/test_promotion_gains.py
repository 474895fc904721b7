"""The interval of a calendar: every draw is valued as the plain checker values it, and what comes lies in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_promotions import drawn

from engine.errors import ProblemError
from optimizers.promotions import PromotionProblem, evaluate_calendar, plan_promotions
from optimizers.promotions.check import calendar_money
from optimizers.promotions.gains import draw_calendar


def with_draws(problem: PromotionProblem, seed: int, draws: int, *, error: float = 0.1) -> PromotionProblem:
    rng = np.random.default_rng(seed)
    products, options = problem.lift.shape
    level, lift = (
        np.exp(error * rng.standard_normal(shape) - error**2 / 2)
        for shape in ((draws, products), (draws, products, options))
    )
    return replace(problem, level_draws=level, lift_draws=lift)


def as_drawn(problem: PromotionProblem, d: int) -> PromotionProblem:
    """The problem in which a draw is the truth."""
    assert problem.level_draws is not None
    assert problem.lift_draws is not None
    return replace(
        problem,
        base_units=problem.base_units * problem.level_draws[d],
        lift=1 + (problem.lift - 1) * problem.lift_draws[d],
        takes=problem.takes * problem.lift_draws[d],
        level_draws=None,
        lift_draws=None,
    )


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_every_draw_is_valued_as_the_plain_checker_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    past = {"last_week": rng.integers(-3, 1, 4), "last_option": rng.integers(1, 3, 4)}
    problem = with_draws(drawn(seed, products=4, weeks=5, **past), seed, 3)
    option = rng.integers(0, 3, (4, 5))
    found = draw_calendar(problem, option)
    nothing = [[0] * 5 for _ in range(4)]
    for d in range(3):
        truth = as_drawn(problem, d)
        profit, spend = calendar_money(truth, option.tolist())
        assert found.gain[d] == pytest.approx(profit - calendar_money(truth, nothing)[0], rel=1e-9, abs=1e-9)
        assert found.spend[d] == pytest.approx(spend, rel=1e-9)
        by_week = evaluate_calendar(truth, option)
        on = np.argwhere(option.T > 0)[:, ::-1].T
        assert np.allclose(found.units[d], by_week.units[tuple(on)])
        assert np.allclose(found.profit[d], by_week.profit[tuple(on)])


def test_without_errors_every_draw_is_the_plan() -> None:
    problem = with_draws(drawn(5, weeks=6), 5, 2, error=0.0)
    plan = plan_promotions(problem)
    assert plan.option.any()
    assert draw_calendar(problem, plan.option).gain == pytest.approx([plan.objective] * 2)


def test_nine_of_ten_futures_lie_within_the_interval() -> None:
    """Truths are drawn by other numbers than the interval."""
    inside = []
    for seed in range(40):
        problem = with_draws(drawn(seed, products=6, weeks=6), seed, 200)
        option = np.random.default_rng(seed).integers(0, 3, (6, 6))
        low, high = np.quantile(draw_calendar(problem, option).gain, (0.05, 0.95))
        truths = draw_calendar(with_draws(problem, seed + 1000, 25), option).gain
        inside += [low <= gain <= high for gain in truths]
    assert 0.87 <= np.mean(inside) <= 0.93


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"level_draws": None}, "belong together"),
        ({"lift_draws": np.ones((2, 3, 5))}, "lift_draws has shape"),
        ({"level_draws": np.full((2, 3), np.nan)}, "level_draws holds nan"),
        ({"level_draws": -np.ones((2, 3))}, "0 or more"),
    ],
)
def test_draws_that_are_none_are_refused(changes: dict[str, np.ndarray | None], says: str) -> None:
    problem = with_draws(drawn(1), 1, 2)
    with pytest.raises(ProblemError, match=says):
        replace(problem, **changes)
    with pytest.raises(ProblemError, match="no draws"):
        draw_calendar(drawn(1), np.zeros((3, 3), dtype=np.int64))
