"""The plot of a frontier shows every point, in the reader's language, and nothing where there is nothing to compare."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from api.frontier_chart import AXES, plot_budgets, plot_frontier
from optimizers.budget.frontier import MEASURES, Frontier, FrontierPoint
from optimizers.budget.joint import JointPlan, StagePoint


def frontier(measure: str, levels: list[float]) -> Frontier:
    points = [FrontierPoint(v, v, 100 * n, 110 * n, 0.1, np.ones(1), 1.0) for n, v in enumerate(levels)]
    return Frontier(measure, tuple(points), ())


def test_every_measure_has_an_axis_and_every_point_a_mark() -> None:
    assert set(AXES) == set(MEASURES)
    for measure in MEASURES:
        picture = plot_frontier(frontier(measure, [0.05, 0.0, 0.02]), str.upper)
        root = ET.fromstring(picture)
        assert len([e for e in root.iter() if e.tag.endswith("circle")]) == 6
        assert AXES[measure].upper() in picture


def test_budgets_are_drawn_from_the_smallest_to_the_largest() -> None:
    plans = [
        JointPlan(
            budget, (StagePoint(budget, 2 * budget),), budget, 2 * budget, 2.1 * budget, 0.05, 1.5, "optimal", 3, 0.1
        )
        for budget in (300.0, 100.0, 200.0)
    ]
    picture = plot_budgets(plans, str)
    assert picture.index("100: 200") < picture.index("200: 400") < picture.index("300: 600")


def test_one_point_is_no_frontier() -> None:
    assert plot_frontier(frontier("index", [0.01]), str) == ""
    assert plot_budgets([], str) == ""
