"""The frontier of profit: what each width of a limit brings, every point a set of prices that can be taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError, ProblemError
from engine.proposal import N_, Reason
from optimizers.budget.stages import investment_row, price_investment
from optimizers.gap import relative_gap
from optimizers.prices.problem import PriceProblem, problem_ladder
from optimizers.prices.rows import LinearRow, Measure, PriceRows
from optimizers.prices.solve import evaluate_prices, solve_prices

Floats = npt.NDArray[np.float64]

MEASURES = ("index", "units", "revenue", "investment")
"""What may be limited: the price index (at most this change, up or down), units or revenue (at least this change), the
money given away by lower prices (at most this amount)."""
STEP = {
    "index": N_("widening the index band from {low:.2%} to {high:.2%} would bring {gain:,.0f}"),
    "units": N_("letting units change by {high:+.1%} instead of {low:+.1%} would bring {gain:,.0f}"),
    "revenue": N_("letting revenue change by {high:+.1%} instead of {low:+.1%} would bring {gain:,.0f}"),
    "investment": N_("giving away {high:,.0f} by lower prices instead of {low:,.0f} would bring {gain:,.0f}"),
}


@dataclass(frozen=True)
class FrontierPoint:
    """The best prices at one level of the limit."""

    level: float
    """The limit: share for index, units and revenue; money for investment."""
    reached: float
    """Where these prices stand on the same measure."""
    value: float
    """Expected gain over today's prices, money."""
    bound: float
    """No prices at this level gain more, money."""
    gap: float
    price: Floats
    """(P,) money per unit: the plan of this point."""
    slope: float
    """Gain per unit of level on the way to the next wider level; 0 for the widest."""


@dataclass(frozen=True)
class Frontier:
    """Points from the tightest level to the widest; the value never falls."""

    measure: str
    points: tuple[FrontierPoint, ...]
    unreachable: tuple[float, ...]
    """Levels that no prices under the rules keep."""

    def table(self) -> list[dict[str, float]]:
        """Rows for a page or a file: level, reached, value, bound, gap, slope."""
        names = ("level", "reached", "value", "bound", "gap", "slope")
        return [{name: float(getattr(point, name)) for name in names} for point in self.points]

    def step_words(self, number: int) -> Reason:
        """Say what going on from point `number` to the next wider one would bring."""
        here, there = self.points[number], self.points[number + 1]
        values = {"low": here.level, "high": there.level, "gain": there.value - here.value}
        template = STEP[self.measure]
        return Reason(template, values)


def price_frontier(
    problem: PriceProblem,
    measure: str,
    levels: Sequence[float],
    *,
    rows: PriceRows | None = None,
    gap: float = 1e-3,
    seconds: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> Frontier:
    """Choose prices at each level of a limit.

    Levels are solved from the tightest to the widest. Prices that keep a tighter level keep a wider one, so each point
    holds at least what the one before it held; and no point is worth more than the bound of any wider one.

    Args:
        problem: as `solve_prices` takes it; its index band is replaced where `measure` is the index, its risk by mean.
        measure: one of `MEASURES`.
        levels: of the limit, in any order.
        rows: further rules.
        gap: relative gap of each point.
        seconds: time limit of all points together.
        progress: told (points done, points) after each.

    Raises:
        ProblemError: an unknown measure or a level that is none.
        InfeasibleError: no level can be kept.
        UnsolvedError: time was up before prices were found that keep a level.
    """
    _check_levels(measure, levels)
    problem = replace(problem, risk="mean")
    widening = sorted({float(level) for level in levels}, reverse=measure in ("units", "revenue"))
    found: list[tuple[float, float, float, Floats]] = []
    unreachable = []
    for number, level in enumerate(widening):
        posed, ruled = limited(problem, measure, level, rows)
        try:
            plan = solve_prices(posed, rows=ruled, gap=gap, seconds=seconds / len(widening))
        except InfeasibleError:
            unreachable.append(level)
        else:
            before = found[-1] if found else None
            kept = before is not None and before[1] > plan.objective
            value, price = (before[1], before[3]) if before is not None and kept else (plan.objective, plan.price)
            found.append((level, value, plan.bound, price))
        if progress is not None:
            progress(number + 1, len(widening))
    if not found:
        raise InfeasibleError(f"no level of {measure} from {widening[0]:g} to {widening[-1]:g} can be kept; widen them")
    return Frontier(measure, _points(problem, measure, found), tuple(unreachable))


def _check_levels(measure: str, levels: Sequence[float]) -> None:
    if measure not in MEASURES:
        raise ProblemError(f"measure is {measure!r}; allowed: {', '.join(MEASURES)}")
    if not len(levels) or not np.isfinite(levels).all() or (measure in ("index", "investment") and min(levels) < 0):
        raise ProblemError(f"levels are {list(levels)}; give finite numbers, 0 or more for the index and investment")


def limited(
    problem: PriceProblem, measure: str, level: float, rows: PriceRows | None
) -> tuple[PriceProblem, PriceRows | None]:
    """State the problem and its rules under one level of a limit; see `price_frontier`."""
    if measure == "index":
        return replace(problem, index_band=level), rows
    if measure == "investment":
        return problem, investment_row(problem, rows, level)
    today = evaluate_prices(problem, problem.current_price).units
    total = float((today if measure == "units" else today * problem.current_price).sum())
    everybody, none = np.arange(len(problem.product_ids)), np.empty(0, dtype=np.int64)
    kind: Measure = "units" if measure == "units" else "revenue"
    row = LinearRow(f"{measure} floor", everybody, none, np.empty(0), low=(1 + level) * total, measure=kind)
    base = rows if rows is not None else PriceRows(np.ones(problem_ladder(problem).price.shape, dtype=np.bool_))
    return problem, replace(base, rows=(*base.rows, row))


def measure_prices(problem: PriceProblem, measure: str, price: Floats) -> float:
    """Say where prices stand on a measure: share for index, units and revenue, money for investment."""
    if measure == "investment":
        return price_investment(problem, price)
    if measure == "index":
        weight = problem.current_price * problem.base_units
        total = float(weight.sum())
        return float((weight * (price / problem.current_price - 1)).sum() / total) if total > 0 else 0.0
    today, then = (evaluate_prices(problem, p).units for p in (problem.current_price, price))
    if measure == "revenue":
        today, then = today * problem.current_price, then * price
    return float(then.sum() / today.sum() - 1) if today.sum() > 0 else 0.0


def _points(
    problem: PriceProblem, measure: str, found: list[tuple[float, float, float, Floats]]
) -> tuple[FrontierPoint, ...]:
    ceiling = np.minimum.accumulate([bound for _, _, bound, _ in found][::-1])[::-1]
    points = []
    for number, (level, value, _, price) in enumerate(found):
        wider = found[number + 1] if number + 1 < len(found) else None
        slope = (wider[1] - value) / abs(wider[0] - level) if wider else 0.0
        bound = max(float(ceiling[number]), value)
        reached = measure_prices(problem, measure, price)
        points.append(FrontierPoint(level, reached, value, bound, relative_gap(value, bound), price, slope))
    return tuple(points)
