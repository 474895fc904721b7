"""The lines of plans over weeks: what each product costs in each week, and what is expected of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from optimizers.markdown import MarkdownPlan, MarkdownProblem
from optimizers.markdown.gains import sales_quantiles
from optimizers.promotions import PromotionProblem
from optimizers.promotions.calendar import PromotionPlan
from optimizers.promotions.gains import CalendarDraws, draw_calendar

Floats = npt.NDArray[np.float64]

LOW, HIGH = 0.05, 0.95
"""Quantiles of every interval of a plan over weeks."""
PATH_COLUMNS = ("product_id", "week", "price", "expected_sales", "sales_low", "sales_high")
CALENDAR_COLUMNS = (
    *("product_id", "week", "option", "price", "expected_units", "expected_profit"),
    *("units_low", "units_high", "profit_low", "profit_high"),
)


def path_lines(
    problem: MarkdownProblem, plan: MarkdownPlan, *, first_week: int
) -> Iterator[tuple[str, int, float, float, float, float]]:
    """The price of every product in every week (`PATH_COLUMNS`), money per unit, with the units expected to sell."""
    low, high = (sales_quantiles(problem, plan.rung, share) for share in (LOW, HIGH))
    for i, product in enumerate(problem.product_ids):
        for w in range(problem.weeks):
            sales = float(plan.sales[i, w]), float(low[i, w]), float(high[i, w])
            yield product, first_week + w, float(plan.price[i, w]), *sales


def calendar_lines(
    problem: PromotionProblem,
    plan: PromotionPlan,
    options: Sequence[str],
    *,
    first_week: int,
    draws: CalendarDraws | None = None,
) -> Iterator[tuple[str | int | float, ...]]:
    """Every promotion of a calendar (`CALENDAR_COLUMNS`), in the order of weeks; money per unit, profit in money.

    Args:
        problem: with its draws.
        plan: of it.
        options: (O,) names.
        first_week: number of the plan's first week.
        draws: of the plan, where they are known already.
    """
    drawn = draw_calendar(problem, plan.option) if draws is None else draws
    between = [
        quantile for values in (drawn.units, drawn.profit) for quantile in np.quantile(values, (LOW, HIGH), axis=0)
    ]
    for number, (w, i) in enumerate(np.argwhere(plan.option.T > 0).tolist()):
        option = int(plan.option[i, w]) - 1
        price = round(float(problem.price[i] * (1 - problem.depth[option])), 2)
        expected = float(plan.units[i, w]), float(plan.profit[i, w])
        head = (problem.product_ids[i], first_week + w, options[option], price, *expected)
        yield *head, *(float(edge[number]) for edge in between)
