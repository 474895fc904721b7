"""The files of a split budget: tables to take, and a page to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from api.frontier_chart import plot_budgets
from api.plan_page import Section, Words, render_plan_page
from api.week_lines import CALENDAR_COLUMNS, calendar_lines
from engine.proposal import N_, Reason
from optimizers.budget.joint import JointPlan, Stage, word_shadow_price
from optimizers.promotions import PromotionProblem
from optimizers.promotions.calendar import PromotionPlan

BUDGET_TITLE = N_("One budget for prices, coupons and promotions")
BUDGET_APART = N_("Each way of spending is counted as if the others were not there: give each product to one of them.")
BUDGET_STEP = "with a budget of {budget:,.0f}: {words}"
BUDGET_HEADER = (N_("budget"), N_("spent"), N_("gain"), N_("bound"))


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as text, numbers to ten digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{cell:.10g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue()


def promotion_table(problem: PromotionProblem, plan: PromotionPlan, options: Sequence[str]) -> str:
    """promotions.csv: every promotion of the calendar, in the order of weeks."""
    return csv_text(CALENDAR_COLUMNS, calendar_lines(problem, plan, options, first_week=1))


def budget_table(stages: Sequence[Stage], plans: Sequence[JointPlan]) -> str:
    """budgets.csv: each budget with its split, and the folder of the plan that it buys."""
    names = [stage.name.replace(" ", "_") for stage in stages]
    header = ("point", "budget", "spend", "value", "bound", "gap", "shadow_price")
    rows = (
        (
            number,
            *(float(getattr(plan, name)) for name in ("budget", "spend", "objective", "bound", "gap", "shadow_price")),
            *(float(point.spend) for point in plan.points),
            *(float(point.value) for point in plan.points),
        )
        for number, plan in enumerate(plans, 1)
    )
    return csv_text((*header, *(f"spend_{name}" for name in names), *(f"value_{name}" for name in names)), rows)


def budget_page(stages: Sequence[Stage], plans: Sequence[JointPlan], *, language: str) -> str:
    """The frontier of budgets as a page, with what more of each would bring in words."""
    told = tuple(Reason(BUDGET_STEP, {"budget": plan.budget, "words": word_shadow_price(plan)}) for plan in plans)
    names = [N_(stage.name) for stage in stages]
    rows = [
        tuple(
            f"{value:,.0f}"
            for value in (plan.budget, plan.spend, plan.objective, plan.bound, *(point.spend for point in plan.points))
        )
        for plan in plans
    ]
    sections = [
        Section(sentences=(BUDGET_APART,), draw=_budgets(plans)),
        Section(header=(*BUDGET_HEADER, *names), rows=rows, labels=0),
        Section(sentences=told),
    ]
    return render_plan_page(BUDGET_TITLE, sections, language=language)


def _budgets(plans: Sequence[JointPlan]) -> Callable[[Words], str]:
    return lambda words: plot_budgets(plans, words)
