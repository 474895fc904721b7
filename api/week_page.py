"""How a plan over weeks is shown: its paths drawn, its table, and the page and file of a stored one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api import charts
from api.plan_files import csv_text
from api.plan_page import Section, Words, render_plan_page
from api.week_plans import WeekPlan
from engine.proposal import N_, Reason, Sentence

TITLES = {"markdown": N_("Selling a stock by a date"), "promotions": N_("The promotion calendar")}
PRODUCT_HEADER = (N_("product"), N_("stock"), N_("left at the date"), N_("chance to sell out"), N_("money from sales"))
PRODUCT = N_("product")
WEEK = N_("week")
WEEK_NUMBER = "week {number}"
WHAT_IS_LEFT = N_("What sells, and what is left")
WEEK_BY_WEEK = N_("Prices week by week")
PRICE_SHARE = N_("price, as a share of today's")
PATHS = {
    "markdown": N_("Prices week by week: the mean of all products, and the products with the largest stock"),
    "promotions": N_("Prices week by week: the mean of all products, and the products promoted most"),
}
ALL = N_("all products")
SHOWN = 5
"""Products whose path is drawn."""


@dataclass(frozen=True)
class WeekView:
    """A plan over weeks, fresh or from the store, as it is shown."""

    title: str
    paths: str
    plot: str
    """SVG; empty for a single week."""
    header: tuple[Sentence, ...]
    rows: tuple[tuple[str, ...], ...]
    """Products down, weeks across: the price, and the promotion."""
    product_rows: tuple[tuple[str, ...], ...]


def read_week_plan(record: Mapping[str, Any]) -> WeekPlan:
    """From what a proposal's evidence holds under `weeks`."""
    fields = {name: record[name] for name in WeekPlan.__dataclass_fields__}
    lists = {name: tuple(map(tuple, fields[name])) for name in ("lines", "products")}
    return WeekPlan(**{**fields, **lists})


def view_weeks(plan: WeekPlan, words: Words) -> WeekView:
    """Draw and lay out."""
    return WeekView(
        title=TITLES[plan.kind],
        paths=PATHS[plan.kind],
        plot=plot_weeks(plan, words),
        header=_header(plan),
        rows=_rows(plan),
        product_rows=_product_rows(plan),
    )


def week_page(plan: WeekPlan, notes: Sequence[Sentence], *, language: str) -> str:
    """The plan as a page of its own; `notes` stand above it."""
    sections = [
        Section(sentences=(*notes, PATHS[plan.kind]), draw=lambda words: plot_weeks(plan, words)),
        Section(title=WHAT_IS_LEFT if plan.products else "", header=PRODUCT_HEADER, rows=_product_rows(plan)),
        Section(title=WEEK_BY_WEEK, header=_header(plan), rows=_rows(plan)),
    ]
    return render_plan_page(TITLES[plan.kind], sections, language=language)


def week_table(plan: WeekPlan) -> str:
    """markdown.csv or promotions.csv."""
    return csv_text(plan.columns, plan.lines)


def plot_weeks(plan: WeekPlan, words: Words) -> str:
    """Prices by week as a share of those in force; nothing for a single week."""
    if plan.weeks < 2 or not plan.everyday:
        return ""
    shares = _shares(plan)
    mean = [sum(path[w] for path in shares.values()) / len(shares) for w in range(plan.weeks)]
    edges = [float(edge) for week in _weeks(plan) for edge in (week, week + 1)]
    named = zip(_foremost(plan), charts.DASHES, strict=False)
    lines = [charts.Line(edges, _steps(shares[name]), name, "mute", dash=dash) for name, dash in named]
    drawn = [*lines, charts.Line(edges, _steps(mean), words(ALL))]
    name, share = words(PATHS[plan.kind]), words(PRICE_SHARE)
    return charts.line_chart(drawn, name, x_name=words(WEEK), y_name=share, y_format="{:.0%}", height=300)


def _steps(path: Sequence[float]) -> list[float]:
    """A price holds from the beginning of its week to the next."""
    return [value for value in path for _ in range(2)]


def _header(plan: WeekPlan) -> tuple[Sentence, ...]:
    return (PRODUCT, *(Reason(WEEK_NUMBER, {"number": week}) for week in _weeks(plan)))


def _weeks(plan: WeekPlan) -> range:
    return range(plan.first_week, plan.first_week + plan.weeks)


def _shares(plan: WeekPlan) -> dict[str, list[float]]:
    """Price of each product in each week, as a share of the one in force."""
    shares = {product: [1.0] * plan.weeks for product in plan.everyday}
    place = plan.columns.index("price")
    for line in plan.lines:
        shares[line[0]][line[1] - plan.first_week] = line[place] / plan.everyday[line[0]]
    return shares


def _foremost(plan: WeekPlan) -> list[str]:
    """The products with the largest stock, or with most promotions."""
    if plan.kind == "markdown":
        size = {product: float(stock) for product, stock, *_ in plan.products}
    else:
        size = dict.fromkeys(plan.everyday, 0.0)
        for line in plan.lines:
            size[line[0]] += 1
    return sorted(size, key=lambda product: -size[product])[:SHOWN]


def _rows(plan: WeekPlan) -> tuple[tuple[str, ...], ...]:
    """A row for each product that has a line."""
    cells: dict[str, list[str]] = {}
    price = plan.columns.index("price")
    for line in plan.lines:
        row = cells.setdefault(line[0], [""] * plan.weeks)
        option = f"{line[plan.columns.index('option')]} " if plan.kind == "promotions" else ""
        row[line[1] - plan.first_week] = f"{option}{line[price]:,.2f}"
    return tuple((product, *row) for product, row in cells.items())


def _product_rows(plan: WeekPlan) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (product, f"{stock:,.0f}", f"{left:,.1f}", f"{100 * sold_out:.0f} %", f"{money:,.0f}")
        for product, stock, left, sold_out, money in plan.products
    )
