"""The independent re-check of a price plan: shares no code with the model, the ladder or the solver.

It is written for plainness, product by product, from the statement of the rules; whatever the solver's road got wrong
is found here before anybody sees the plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.errors import PlanError
from optimizers.prices.problem import PricePlan, PriceProblem, problem_ladder
from optimizers.prices.rows import LinearRow, PriceRows

Floats = npt.NDArray[np.float64]

MONEY = 1e-6
"""Relative tolerance on sums of money; prices, moves and the index are held to 1e-9."""
EXACT = 1e-9
CENT = 0.01


def check_price_plan(problem: PriceProblem, plan: PricePlan, rows: PriceRows | None = None) -> None:
    """Make sure that a plan keeps every rule to the cent and that its figures are right.

    Args:
        problem: what the plan answers.
        plan: the plan; its objective is less the fines of soft rows, where rows are given.
        rows: the further rules that it was made under. Without them only what `problem` states itself is checked:
            business rules are then checked as they are written, by `optimizers.rules.check`.

    Raises:
        PlanError: a price that is not permitted, a rule between products that is broken, a gain that is not what exact
            demand gives, a bound below the objective, a gap or a status that does not fit; the message lists all.
    """
    faults = list(_price_faults(problem, plan))
    if not faults:
        gain = exact_gain(problem, plan.price)
        seen = () if rows is None else _activities(problem, rows, plan.price, gain)
        fines = None if rows is None else math.fsum(each.fine for each in seen)
        faults = [*_coupling_faults(problem, plan), *_figure_faults(problem, plan, gain, fines)]
        faults += [] if rows is None else _row_faults(problem, plan.price, rows, seen)
    if faults:
        raise PlanError("the price plan failed its re-check and was not used: " + "; ".join(faults[:20]))


class _Seen(NamedTuple):
    """What one row adds up to."""

    row: LinearRow
    activity: float
    unit: float
    """Money that counts for one unit of its violation: a missing margin is fined in profit."""

    @property
    def off(self) -> float:
        return max(self.row.low - self.activity, self.activity - self.row.high, 0.0)

    @property
    def fine(self) -> float:
        return 0.0 if self.row.penalty is None else self.row.penalty * self.off * self.unit


def _activities(problem: PriceProblem, rows: PriceRows, price: Floats, gain: Floats) -> tuple[_Seen, ...]:
    """Measure every row at prices (P,) with gains (D, P)."""
    ladder = problem_ladder(problem).price
    return tuple(
        _linear(row, ladder, price) if row.measure == "linear" else _measured(problem, row, price, gain)
        for row in rows.rows
    )


def _linear(row: LinearRow, ladder: Floats, price: Floats) -> _Seen:
    taken = np.abs(ladder[row.product, row.rung] - price[row.product]) < CENT / 2
    return _Seen(row, math.fsum(row.coefficient[taken].tolist()), 1.0)


def _measured(problem: PriceProblem, row: LinearRow, price: Floats, gain: Floats) -> _Seen:
    units = revenue = profit = 0.0
    for i in row.product.tolist():
        today = problem.base_units[i] * problem.base_scale[:, i] * (problem.current_price[i] - problem.unit_cost[i])
        sold = _units(problem, price, i)
        units, revenue = units + sold, revenue + sold * float(price[i])
        profit += float((gain[:, i] + today).mean())
    if row.measure == "margin":
        return _Seen(row, profit / revenue if revenue > 0 else 0.0, revenue)
    return _Seen(row, {"units": units, "revenue": revenue, "profit": profit}[row.measure], 1.0)


def _units(problem: PriceProblem, price: Floats, i: int) -> float:
    """Expected units of one product."""
    index = _rest_index(problem, price, np.flatnonzero(problem.family == problem.family[i]), i)
    return float(_units_by_draw(problem, i, float(price[i] / problem.current_price[i]), index).mean())


def _row_faults(problem: PriceProblem, price: Floats, rows: PriceRows, seen: tuple[_Seen, ...]) -> list[str]:
    ladder = problem_ladder(problem).price
    at = np.argmin(np.abs(np.where(np.isfinite(ladder), ladder, np.inf) - price[:, None]), axis=1)
    faults = [
        f"product {problem.product_ids[i]}: the rules forbid {price[i]}"
        for i in np.flatnonzero(~rows.allowed[np.arange(len(price)), at]).tolist()
    ]
    for row, found, _ in seen:
        size = max(abs(found), *(abs(side) for side in (row.low, row.high) if math.isfinite(side)), 1.0)
        if row.penalty is None and max(row.low - found, found - row.high) > MONEY * size:
            faults.append(f"the rule {row.name!r} allows {row.low:g} to {row.high:g}, the plan makes {found:.9g}")
    return faults


def exact_gain(problem: PriceProblem, price: Floats) -> Floats:
    """Compute the gain over today's prices of every product under every draw, (D, P) money, family by family."""
    gain = np.zeros_like(problem.own)
    for code in np.unique(problem.family):
        members = np.flatnonzero(problem.family == code)
        ratios = price[members] / problem.current_price[members]
        for place, i in enumerate(members.tolist()):
            units = _units_by_draw(problem, i, float(ratios[place]), _rest_index(problem, price, members, i))
            today = problem.base_units[i] * problem.base_scale[:, i] * (problem.current_price[i] - problem.unit_cost[i])
            gain[:, i] = units * (price[i] - problem.unit_cost[i]) - today
    return gain


def _rest_index(problem: PriceProblem, price: Floats, members: npt.NDArray[np.int64], i: int) -> float:
    """Price index of the family's members other than product i."""
    weight = problem.current_price[members] * problem.base_units[members]
    if problem.index_weight is not None:
        weight = problem.index_weight[members].copy()
    weight[members == i] = 0.0
    ratios = price[members] / problem.current_price[members]
    return float(np.prod(ratios ** (weight / weight.sum()))) if weight.sum() > 0 else 1.0


def _units_by_draw(problem: PriceProblem, i: int, ratio: float, index: float) -> Floats:
    """Units of a product (D,) at a ratio to today's price and an index of the rest of its family."""
    base = problem.base_units[i] * problem.base_scale[:, i]
    moved = np.exp(problem.own[:, i] * bent(ratio, problem.curvature))
    return np.asarray(base * moved * index ** problem.cross[:, i])


def bent(ratio: float, curvature: float) -> float:
    """Return the integral of r^(curvature - 1) from 1 to the price ratio: its log at curvature 0."""
    return (ratio**curvature - 1) / curvature if abs(curvature) > 1e-9 else math.log(ratio)


def _price_faults(problem: PriceProblem, plan: PricePlan) -> Iterator[str]:
    if plan.price.shape != (len(problem.product_ids),):
        yield f"{len(problem.product_ids)} products, but prices of shape {plan.price.shape}"
        return
    for i, (price, today) in enumerate(zip(plan.price.tolist(), problem.current_price.tolist(), strict=True)):
        if price != today:
            for fault in _moved_price_faults(problem, i, price, today):
                yield f"product {problem.product_ids[i]}: {fault}"


def _moved_price_faults(problem: PriceProblem, i: int, price: float, today: float) -> Iterator[str]:
    if not (math.isfinite(price) and price > 0):
        yield f"the price is {price}"
        return
    if not problem.movable[i]:
        yield f"the price {price} differs from today's {today}, but the product is not movable"
    cents = round(price * 100)
    if abs(price * 100 - cents) > 1e-6:
        yield f"the price {price!r} is not in whole cents"
    if problem.endings is not None and all(cents % 100 != round(e * 100) for e in problem.endings):
        yield f"the price {price} has none of the endings {problem.endings}"
    if abs(price - today) > problem.max_change * today * (1 + EXACT):
        yield f"the price {price} is further than {problem.max_change:g} from today's {today}"
    if problem.min_margin is not None and (price - problem.unit_cost[i]) / price < problem.min_margin - EXACT:
        yield f"the price {price} leaves a margin below {problem.min_margin:g} at a cost of {problem.unit_cost[i]}"
    if problem.price_low is not None and price < problem.price_low[i] * (1 - EXACT):
        yield f"the price {price} lies below the seen range, which begins at {problem.price_low[i]}"
    if problem.price_high is not None and price > problem.price_high[i] * (1 + EXACT):
        yield f"the price {price} lies above the seen range, which ends at {problem.price_high[i]}"


def _coupling_faults(problem: PriceProblem, plan: PricePlan) -> Iterator[str]:
    changed = sum(p != q for p, q in zip(plan.price.tolist(), problem.current_price.tolist(), strict=True))
    if problem.max_changed is not None and changed > problem.max_changed:
        yield f"{changed} prices change, at most {problem.max_changed} may"
    index = price_index_change(problem, plan.price)
    if problem.index_band is not None and abs(index) > problem.index_band + EXACT:
        yield f"the price index changes by {index:.9f}, the band is {problem.index_band:g}"


def price_index_change(problem: PriceProblem, price: Floats) -> float:
    """Compute Σ w_i (p_i / p0_i - 1), w_i the revenue shares at today's prices: the index that `index_band` bounds."""
    revenue = [float(q) for q in problem.current_price * problem.base_units]
    total = math.fsum(revenue)
    moves = [float(p / q) - 1 for p, q in zip(price, problem.current_price, strict=True)]
    return math.fsum(r / total * m for r, m in zip(revenue, moves, strict=True)) if total > 0 else 0.0


def _figure_faults(problem: PriceProblem, plan: PricePlan, gain: Floats, fines: float | None) -> Iterator[str]:
    """`fines` is None where there are no further rules: then nothing can force a loss."""
    value = float((gain.mean(axis=0) if problem.risk == "mean" else np.quantile(gain, 0.10, axis=0)).sum())
    value -= fines or 0.0
    scale = max(float(np.abs(gain).mean(axis=0).sum()), abs(plan.bound))
    if abs(value - plan.objective) > MONEY * scale:
        yield f"the objective is given as {plan.objective}, exact demand gives {value}"
    if value < -MONEY * scale and fines is None:
        yield f"the plan loses {-value} against today's prices, which were allowed"
    if plan.bound < plan.objective - MONEY * scale:
        yield f"the bound {plan.bound} lies below the objective {plan.objective}"
    gap = 0.0 if plan.bound == plan.objective else abs(plan.bound - plan.objective) / max(abs(plan.bound), 1e-300)
    if abs(gap - plan.gap) > MONEY * max(1.0, gap):
        yield f"the gap is given as {plan.gap}, bound and objective give {gap}"
    if plan.status not in ("optimal", "time_limit", "gap_limit", "nothing_to_move", "cancelled"):
        yield f"the status {plan.status!r} is unknown"
