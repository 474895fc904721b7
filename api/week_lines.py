"""The lines of plans over weeks: what each product costs in each week, and what is expected of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from optimizers.markdown import MarkdownPlan, MarkdownProblem
from optimizers.promotions import PromotionProblem
from optimizers.promotions.plan import PromotionPlan

PATH_COLUMNS = ("product_id", "week", "price", "expected_sales")
CALENDAR_COLUMNS = ("product_id", "week", "option", "price", "expected_units", "expected_profit")


def path_lines(
    problem: MarkdownProblem, plan: MarkdownPlan, *, first_week: int
) -> Iterator[tuple[str, int, float, float]]:
    """The price of every product in every week (`PATH_COLUMNS`), money per unit, with the units expected to sell."""
    for i, product in enumerate(problem.product_ids):
        for w in range(problem.weeks):
            yield product, first_week + w, float(plan.price[i, w]), float(plan.sales[i, w])


def calendar_lines(
    problem: PromotionProblem, plan: PromotionPlan, options: Sequence[str], *, first_week: int
) -> Iterator[tuple[str, int, str, float, float, float]]:
    """Every promotion of a calendar (`CALENDAR_COLUMNS`), in the order of weeks; money per unit, profit in money."""
    for w, i in np.argwhere(plan.option.T > 0).tolist():
        option = int(plan.option[i, w]) - 1
        price = round(float(problem.price[i] * (1 - problem.depth[option])), 2)
        units, profit = float(plan.units[i, w]), float(plan.profit[i, w])
        yield problem.product_ids[i], first_week + w, options[option], price, units, profit
