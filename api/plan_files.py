"""The files of a markdown plan, a promotion calendar and a split budget: tables to take, and a page to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from api import charts
from api.frontier_chart import plot_budgets
from api.plan_page import Section, Words, render_plan_page
from engine.proposal import N_, Reason
from optimizers.budget.joint import JointPlan, Stage, word_shadow_price
from optimizers.markdown import MarkdownPlan, MarkdownProblem
from optimizers.promotions import PromotionProblem
from optimizers.promotions.plan import PromotionPlan, word_budget_price

MARKDOWN_TITLE = N_("Selling a stock by a date")
MARKDOWN_WORTH = (
    "the path brings {objective:,.0f}, {more:,.0f} more than keeping today's prices; no path brings more than "
    "{bound:,.0f}, and watching sales and planning again each week could add {adaptive:,.0f} at most"
)
PRODUCT_HEADER = (N_("product"), N_("stock"), N_("left at the date"), N_("chance to sell out"), N_("money from sales"))
WEEK = N_("week")
PRICE_SHARE = N_("price, as a share of today's")
PATHS = N_("Prices week by week: the mean of all products, and the products with the largest stock")
ALL = N_("all products")
PROMOTION_TITLE = N_("The promotion calendar")
PROMOTION_WORTH = (
    "the calendar gains {objective:,.0f} over no promotion and costs {spend:,.0f} in discounts and fixed costs; no "
    "calendar under the same rules gains more than {bound:,.0f}"
)
BUDGET_TITLE = N_("One budget for prices, coupons and promotions")
BUDGET_APART = N_("Each way of spending is counted as if the others were not there: give each product to one of them.")
BUDGET_STEP = "with a budget of {budget:,.0f}: {words}"
BUDGET_HEADER = (N_("budget"), N_("spent"), N_("gain"), N_("bound"))
SHOWN = 5
"""Products whose path is drawn."""


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as text, numbers to ten digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{cell:.10g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue()


def markdown_table(problem: MarkdownProblem, plan: MarkdownPlan, first_week: int = 1) -> str:
    """markdown.csv: the price of every product in every week, with the sales that are expected."""
    rows = (
        (product, first_week + w, float(plan.price[i, w]), float(plan.sales[i, w]))
        for i, product in enumerate(problem.product_ids)
        for w in range(problem.weeks)
    )
    return csv_text(("product_id", "week", "price", "expected_sales"), rows)


def markdown_page(problem: MarkdownProblem, plan: MarkdownPlan, *, first_week: int, language: str) -> str:
    """The plan as a page."""
    adaptive = max(plan.adaptive_bound - plan.objective, 0.0)
    values = {"objective": plan.objective, "more": plan.objective - plan.kept, "bound": plan.bound}
    rows = [
        (
            product,
            f"{problem.stock[i]:,.0f}",
            f"{plan.leftover[i]:,.1f}",
            f"{100 * plan.sold_out[i]:.0f} %",
            f"{plan.revenue[i]:,.0f}",
        )
        for i, product in enumerate(problem.product_ids)
    ]
    sections = [
        Section(
            sentences=(Reason(MARKDOWN_WORTH, values | {"adaptive": adaptive}), PATHS),
            draw=lambda words: _paths(problem, plan, first_week, words),
        ),
        Section(header=PRODUCT_HEADER, rows=rows),
    ]
    return render_plan_page(MARKDOWN_TITLE, sections, language=language)


def _paths(problem: MarkdownProblem, plan: MarkdownPlan, first_week: int, words: Words) -> str:
    share = plan.price / problem.reference_price[:, None]
    weeks = [float(first_week + w) for w in range(problem.weeks)]
    if len(weeks) < 2:
        return ""
    largest = np.argsort(-problem.stock, kind="stable")[:SHOWN]
    lines = [charts.Line(weeks, share[i].tolist(), problem.product_ids[i], "second", dashed=True) for i in largest]
    drawn = [*lines, charts.Line(weeks, share.mean(axis=0).tolist(), words(ALL))]
    return charts.line_chart(
        drawn, words(PATHS), x_name=words(WEEK), y_name=words(PRICE_SHARE), y_format="{:.0%}", height=300
    )


def promotion_table(problem: PromotionProblem, plan: PromotionPlan, options: Sequence[str]) -> str:
    """promotions.csv: every promotion of the calendar, in the order of weeks."""
    rows = (
        (
            problem.product_ids[i],
            int(w) + 1,
            options[plan.option[i, w] - 1],
            round(float(problem.price[i] * (1 - problem.depth[plan.option[i, w] - 1])), 2),
            float(plan.units[i, w]),
            float(plan.profit[i, w]),
        )
        for w, i in np.argwhere(plan.option.T > 0)
    )
    return csv_text(("product_id", "week", "option", "price", "expected_units", "expected_profit"), rows)


def promotion_page(problem: PromotionProblem, plan: PromotionPlan, options: Sequence[str], *, language: str) -> str:
    """The calendar as a page: products down, weeks across."""
    values = {"objective": plan.objective, "spend": plan.spend, "bound": plan.bound}
    told: list[Reason] = [Reason(PROMOTION_WORTH, values)]
    if problem.budget is not None:
        told.append(word_budget_price(plan))
    weeks = tuple(str(week) for week in range(1, problem.weeks + 1))
    rows = [
        (product, *(options[o - 1] if o else "" for o in plan.option[i]))
        for i, product in enumerate(problem.product_ids)
        if plan.option[i].any()
    ]
    table = Section(header=(N_("product"), *weeks), rows=rows, labels=1 + problem.weeks)
    return render_plan_page(PROMOTION_TITLE, [Section(sentences=tuple(told)), table], language=language)


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
    told = tuple(
        Reason(BUDGET_STEP, {"budget": plan.budget, "words": word_shadow_price(plan, _round_amount(plan.budget))})
        for plan in plans
    )
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


def _round_amount(budget: float) -> float:
    """An amount to speak of: the power of ten below a budget, at least 1."""
    return float(10.0 ** max(np.floor(np.log10(max(budget, 1.0))), 0.0))
