"""The interval of a markdown: nine of ten true gains lie in it; a week's sales are quantiles of what can happen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_markdown import drawn

from optimizers.markdown import MarkdownProblem, expect_path, plan_markdown
from optimizers.markdown.gains import draw_gains, sales_quantiles


def truths(problem: MarkdownProblem, count: int, seed: int) -> list[MarkdownProblem]:
    """Worlds of one draw each, by the law that made the problem's draws but by other numbers."""
    rng = np.random.default_rng(seed)
    shape = (1, len(problem.product_ids))
    return [
        replace(problem, own=rng.normal(-2.0, 0.6, shape), base_scale=np.exp(0.3 * rng.standard_normal(shape)))
        for _ in range(count)
    ]


def test_nine_of_ten_true_gains_lie_within_the_interval() -> None:
    inside = []
    for seed in range(12):
        problem = drawn(seed, products=8, weeks=5, rungs=4, draws=200)
        plan = plan_markdown(problem)
        low, high = np.quantile(draw_gains(problem, plan.rung, np.random.default_rng(seed)), (0.05, 0.95))
        kept = np.repeat(problem.current_rung[:, None], problem.weeks, axis=1)
        for truth in truths(problem, 25, seed + 100):
            gain = expect_path(truth, plan.rung).objective - expect_path(truth, kept).objective
            inside.append(low - 1e-9 <= gain <= high + 1e-9)
    assert 0.85 <= np.mean(inside) <= 0.95


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.5, 0.95]))
@settings(max_examples=25, deadline=None)
def test_a_weeks_sales_pass_their_quantile_as_seldom_as_it_says(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.dirichlet(np.ones(40), 3).T
    problem = drawn(seed, products=3, weeks=3, draws=40, weight=weight)
    rung = np.repeat(problem.current_rung[:, None], 3, axis=1)
    found = sales_quantiles(problem, rung, share)
    for i in range(3):
        left = np.full(40, problem.stock[i])
        for w in range(3):
            sales = np.minimum(problem.demand(i)[:, w, rung[i, w]], left)
            left = left - sales
            assert weight[sales <= found[i, w] + 1e-12, i].sum() >= share - 1e-9
            assert weight[sales < found[i, w] - 1e-12, i].sum() <= share + 1e-9


def test_what_is_sold_out_for_sure_has_no_width() -> None:
    problem = drawn(3, products=2, weeks=3, draws=50, stock=np.array([1e-6, 5.0]), week_units=np.full((3, 2), 50.0))
    rung = np.repeat(problem.current_rung[:, None], 3, axis=1)
    low, high = sales_quantiles(problem, rung, 0.05), sales_quantiles(problem, rung, 0.95)
    assert low[:, 0] == pytest.approx(problem.stock)
    assert high[:, 1:] == pytest.approx(np.zeros((2, 2)))
