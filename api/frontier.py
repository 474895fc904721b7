"""The frontier of a shop's prices: what each width of a limit brings, every point a set of prices that can be taken."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from api.frontier_chart import plot_frontier
from api.frontier_plans import UNREACHABLE, level_words, point_reason
from api.outputs import price_lines_table
from api.plan_page import Section, render_plan_page
from api.price_choice import as_solved
from api.price_stage import PosedPrices, price_lines
from engine.errors import ConfigurationError
from engine.progress import Progress
from engine.proposal import N_, PriceLine, Reason
from engine.settings import Settings
from optimizers.budget.frontier import MEASURES, Frontier, FrontierPoint, measure_prices, price_frontier
from optimizers.prices import evaluate_prices, problem_ladder, solve_prices
from optimizers.prices.rows import PriceRows
from optimizers.rules import Basis, compile_rules
from optimizers.rules.check import check_rules

Floats = npt.NDArray[np.float64]

INDEX_LEVELS = (0.0005, 0.002, 0.005, 0.01, 0.02)
"""Where nobody says which levels to look at."""
OF_INVESTMENT = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The same for the investment: shares of what the best prices invest."""
ABOVE_BEST = (0.0, 0.0025, 0.005, 0.01, 0.02)
"""The same for units and revenue: how far beyond those of the best prices."""
SHARED = N_("price of the plan that shares a budget with coupons and promotions")
TITLE = N_("What a limit costs, point by point")
HEADER = (N_("limit"), N_("reached"), N_("gain"), N_("bound"), N_("gap"), N_("prices that change"))
POINTS = N_("The points, money in {currency}")
EVERY_POINT = N_("Every point is a set of prices that keeps all rules; each stands in a file of its own.")


def frontier_of(
    posed: PosedPrices,
    measure: str,
    levels: Sequence[float],
    settings: Settings,
    progress: Progress,
    *,
    take: float | None = None,
) -> Frontier:
    """Choose prices at each level of a limit, under the rules, and check each again.

    Args:
        posed: demand, problem and rules.
        measure: one of `MEASURES`.
        levels: of the limit; none: some around where the best prices stand.
        settings: gap and time limit.
        progress: told the share of points done.
        take: a level that is looked at in any case.

    Raises:
        ConfigurationError: an unknown measure.
        InfeasibleError: no level can be kept under the rules.
        UnsolvedError: time was up before prices were found that keep a level.
        PlanError: a plan failed its re-check.
    """
    if measure not in MEASURES:
        raise ConfigurationError(f"the measure {measure!r} is unknown; choose {', '.join(MEASURES)}")
    problem = replace(as_solved(posed.problem), risk="mean")
    rows = hard_rows(posed)
    wanted = [*(levels or _levels(posed, measure, rows, settings)), *([] if take is None else [take])]
    found = price_frontier(
        problem,
        measure,
        wanted,
        rows=rows,
        gap=settings.pricing.gap,
        seconds=settings.pricing.seconds,
        progress=lambda done, all_points: progress.advance(done / all_points),
    )
    if posed.rules.facts is not None:
        for point in found.points:
            check_rules(problem, posed.rules.facts, posed.rules.rules, point.price)
    return found


def hard_rows(posed: PosedPrices) -> PriceRows | None:
    """The business rules over the problem's ladder; None without rules."""
    if posed.rules.facts is None:
        return None
    basis = Basis(posed.problem, problem_ladder(posed.problem), posed.rules.facts)
    return compile_rules(basis, posed.rules.rules).rows()


def _levels(posed: PosedPrices, measure: str, rows: PriceRows | None, settings: Settings) -> tuple[float, ...]:
    if measure == "index":
        return INDEX_LEVELS
    problem = as_solved(posed.problem)
    best = solve_prices(problem, rows=rows, gap=settings.pricing.gap, seconds=settings.pricing.seconds)
    reached = measure_prices(problem, measure, best.price)
    if measure == "investment":
        return tuple(round(share * reached, 2) for share in OF_INVESTMENT)
    lowest = math.floor(reached * 1e4) / 1e4
    return tuple(round(lowest + more, 4) for more in ABOVE_BEST)


def nearest_point(frontier: Frontier, level: float) -> FrontierPoint:
    """The point at a level.

    Raises:
        ConfigurationError: the frontier has none there.
    """
    for point in frontier.points:
        if abs(point.level - level) <= 1e-9 * max(abs(level), 1.0):
            return point
    known = ", ".join(f"{point.level:g}" for point in frontier.points)
    raise ConfigurationError(f"--take {level:g}: the frontier has no such point; it has {known}")


def render_frontier(posed: PosedPrices, frontier: Frontier, *, language: str, currency: str) -> dict[str, str]:
    """File name → content: frontier.csv, frontier.html, and the prices of every point."""
    files = {
        f"prices_{number}.csv": price_lines_table(
            _lines(posed, point.price, point_reason(frontier.measure, point.level))
        )
        for number, point in enumerate(frontier.points, 1)
    }
    return files | {
        "frontier.csv": _table(frontier),
        "frontier.html": _page(posed, frontier, language, currency),
    }


def _lines(posed: PosedPrices, price: Floats, reason: Reason) -> tuple[PriceLine, ...]:
    problem = as_solved(posed.problem)
    outcome, current = evaluate_prices(problem, price), evaluate_prices(problem, problem.current_price)
    return price_lines(posed.demand, problem, price, [reason] * len(price), outcome, current)


def point_prices(posed: PosedPrices, price: Floats) -> str:
    """Prices (P,) that share a budget, in the form of prices.csv."""
    return price_lines_table(_lines(posed, price, Reason(SHARED)))


def _table(frontier: Frontier) -> str:
    text = io.StringIO()
    names = ("point", "level", "reached", "value", "bound", "gap", "slope", "prices")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for number, row in enumerate(frontier.table(), 1):
        told = {name: f"{value:.10g}" for name, value in row.items()}
        writer.writerow({"point": number, "prices": f"prices_{number}.csv", **told})
    return text.getvalue()


def _page(posed: PosedPrices, frontier: Frontier, language: str, currency: str) -> str:
    steps = tuple(frontier.step_words(number) for number in range(len(frontier.points) - 1))
    rows = [_row(posed, frontier.measure, point) for point in frontier.points]
    unreached = ", ".join(level_words(frontier.measure, level) for level in frontier.unreachable)
    missing = (Reason(UNREACHABLE, {"levels": unreached}),) if unreached else ()
    sections = [
        Section(sentences=(EVERY_POINT, *missing), draw=lambda words: plot_frontier(frontier, words)),
        Section(title=Reason(POINTS, {"currency": currency}), header=HEADER, rows=rows, labels=0),
        Section(sentences=steps),
    ]
    return render_plan_page(TITLE, sections, language=language)


def _row(posed: PosedPrices, measure: str, point: FrontierPoint) -> tuple[str, ...]:
    return (
        level_words(measure, point.level),
        level_words(measure, point.reached),
        f"{point.value:,.0f}",
        f"{point.bound:,.0f}",
        f"{point.gap:.1e}",
        f"{int((point.price != posed.problem.current_price).sum()):,}",
    )
