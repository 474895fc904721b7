"""Selling a stock by a date: price paths over weeks, and again each week with what sold."""

from optimizers.markdown.plan import (
    MarkdownPlan,
    advance_week,
    draw_noise,
    expect_path,
    plan_markdown,
    replan,
)
from optimizers.markdown.problem import MarkdownProblem

__all__ = ["MarkdownPlan", "MarkdownProblem", "advance_week", "draw_noise", "expect_path", "plan_markdown", "replan"]
