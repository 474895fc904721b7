"""The plot of a frontier: what each level of a limit, or each budget, would bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from api import charts
from engine.proposal import N_, FrontierPlan
from optimizers.budget.frontier import Frontier
from optimizers.budget.joint import JointPlan

Words = Callable[[str], str]
"""Translates a sentence into the reader's language."""

AXES = {
    "index": N_("change of the price index, at most"),
    "units": N_("change of units, at least"),
    "revenue": N_("change of revenue, at least"),
    "investment": N_("money given away by lower prices, at most"),
}
GAIN = N_("gain over the horizon")
BUDGET = N_("budget")
NAME = N_("What the limit costs: the best gain at each level")


def plot_frontier(frontier: Frontier, words: Words) -> str:
    """Best gain by level, proven bound dashed; nothing for fewer than two points."""
    return _plot_measure(frontier.measure, [(p.level, p.value, p.bound) for p in frontier.points], words)


def plot_stored(measure: str, points: Sequence[FrontierPlan], words: Words) -> str:
    """The same of the points of one measure that a proposal holds; one without a limit has no place on the axis."""
    return _plot_measure(measure, [(p.level, p.gain, p.bound) for p in points if p.level is not None], words)


def _plot_measure(measure: str, points: Sequence[tuple[float, float, float]], words: Words) -> str:
    """Points of level, gain and bound, in any order."""
    if len(points) < 2:
        return ""
    shown = "{:,.0f}" if measure == "investment" else "{:.1%}"
    levels, values, bounds = (list(column) for column in zip(*sorted(points), strict=True))
    return _plot(levels, values, bounds, words(AXES[measure]), shown, words)


def plot_budgets(plans: Sequence[JointPlan], words: Words) -> str:
    """Best value by budget, proven bound dashed; nothing for fewer than two budgets."""
    plans = sorted(plans, key=lambda plan: plan.budget)
    budgets, values = [p.budget for p in plans], [p.objective for p in plans]
    return _plot(budgets, values, [p.bound for p in plans], words(BUDGET), "{:,.0f}", words)


def _plot(
    levels: Sequence[float], values: Sequence[float], bounds: Sequence[float], axis: str, shown: str, words: Words
) -> str:
    if len(levels) < 2:
        return ""
    lines = [
        charts.Line(levels, bounds, words(N_("at most possible")), "second", dash=charts.DASHES[0]),
        charts.Line(levels, values, words(N_("gain"))),
    ]
    return charts.line_chart(
        lines, words(NAME), x_name=axis, y_name=words(GAIN), x_format=shown, y_format="{:,.0f}", points=True
    )
