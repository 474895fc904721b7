"""What a promotion calendar gains over no promotion, draw by draw of the level and of the lifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import ProblemError
from optimizers.promotions.problem import Floats, Ints, PromotionProblem


@dataclass(frozen=True)
class CalendarDraws:
    """D draws of what a calendar with N promotions brings; promotions in the order of weeks, then of products."""

    gain: Floats
    """(D,) over no promotion, money."""
    spend: Floats
    """(D,) discounts and fixed costs, money."""
    units: Floats
    """(D, N) sold of the promoted product in its week."""
    profit: Floats
    """(D, N) of the promoted product in its week, fixed cost taken off; money."""


@dataclass(frozen=True)
class _Marks:
    """What a calendar (P, W) says of each product and week, whatever the draw."""

    option: Ints
    latest: Ints
    """Option of the promotion before, 0: none."""
    dip: Floats
    """Share of its extra units that is missing."""
    depth: Floats
    fixed: Floats


def draw_calendar(problem: PromotionProblem, option: Ints) -> CalendarDraws:
    """Value a calendar under every draw of the problem.

    A draw scales the base units of each product (`level_draws`) and the extra units of each product and option
    (`lift_draws`), the dip and what is taken from others with them, as both are shares of what a promotion moves. Units
    do not fall below 0. The chance of single weeks is not in it.

    Args:
        problem: with draws.
        option: (P, W) 0…O.

    Raises:
        ProblemError: the problem has no draws.
    """
    if problem.level_draws is None or problem.lift_draws is None:
        raise ProblemError("the problem has no draws: give level_draws and lift_draws")
    marks = _mark(problem, option)
    on = np.nonzero(option.T > 0)[::-1]
    figures = [
        _value(problem, marks, level, lift, on)
        for level, lift in zip(problem.level_draws, problem.lift_draws, strict=True)
    ]
    gain, spend, units, profit = zip(*figures, strict=True)
    return CalendarDraws(np.array(gain), np.array(spend), np.array(units), np.array(profit))


def _mark(problem: PromotionProblem, option: Ints) -> _Marks:
    products, weeks = option.shape
    length = problem.dip.shape[1]
    latest, dip = np.zeros((products, weeks), dtype=np.int64), np.zeros((products, weeks))
    before, kind = np.full(products, -length - 1), np.zeros(products, dtype=np.int64)
    if problem.last_week is not None and problem.last_option is not None:
        known = problem.last_week < 0
        before, kind = np.where(known, problem.last_week, before), np.where(known, problem.last_option, 0)
    for w in range(weeks):
        lag = w - before
        felt = np.flatnonzero((lag <= length) & (kind > 0))
        latest[felt, w], dip[felt, w] = kind[felt], problem.dip[felt, lag[felt] - 1]
        on = option[:, w] > 0
        before, kind = np.where(on, w, before), np.where(on, option[:, w], kind)
    depth, fixed = np.append(0.0, problem.depth), np.append(0.0, problem.fixed_cost)
    return _Marks(option, latest, dip, depth[option], fixed[option])


def _value(
    problem: PromotionProblem, marks: _Marks, level: Floats, lift: Floats, on: tuple[Ints, ...]
) -> tuple[float, float, Floats, Floats]:
    """Gain, spend, and units and profit of each promotion, under one draw: level (P,), lift (P, O)."""
    rows = np.arange(len(level))[:, None]
    nothing = np.zeros((len(level), 1))
    extra = np.hstack([nothing, (problem.lift - 1) * lift])
    takes = np.hstack([nothing, problem.takes * lift])[rows, marks.option]
    base = problem.base_units.T * level[:, None]
    own = 1 + extra[rows, marks.option] - marks.dip * extra[rows, marks.latest]
    units = base * np.maximum(own - _others(problem, takes), 0.0)
    price, cost = problem.price[:, None], problem.unit_cost[:, None]
    profit = units * (price * (1 - marks.depth) - cost) - marks.fixed
    # Without promotions, what ran before the calendar is still felt, until it would have ended.
    quiet = base * np.maximum(1 - _old_dip(problem, extra), 0.0) * (price - cost)
    spend = float((marks.depth * price * base * np.maximum(own, 0.0) + marks.fixed).sum())
    gain = float(profit.sum() - quiet.sum()) - problem.money_price * spend
    return gain, spend, units[on], profit[on]


def _others(problem: PromotionProblem, takes: Floats) -> Floats:
    """(P, W) share of base units that the promoted others of the category take."""
    by_category = np.zeros((int(problem.category.max(initial=-1)) + 1, takes.shape[1]))
    np.add.at(by_category, problem.category, takes)
    return np.asarray(by_category[problem.category] - takes)


def _old_dip(problem: PromotionProblem, extra: Floats) -> Floats:
    """(P, W) share of base units that promotions before the calendar take from its weeks, if nothing else ran."""
    none = np.zeros((len(extra), problem.weeks), dtype=np.int64)
    marks = _mark(problem, none)
    return np.asarray(marks.dip * extra[np.arange(len(extra))[:, None], marks.latest])
