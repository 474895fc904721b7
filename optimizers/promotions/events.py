"""One product's calendar as a path through its promotions, and the exact answers of one product.

A node is a promotion (week, option), besides what was before the calendar; an arc from one promotion to the next knows
everything that the two decide: the quiet weeks between them with their dip, and the second promotion's own week under
what is left of the first one's dip. A calendar is a path, its worth the sum of its arcs.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optimizers.prices.column_selection import Answer, Column
from optimizers.promotions.kernels import best_through, longest_tails, trace_path
from optimizers.promotions.problem import PromotionProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_NEAR = 20_000
"""Calendars of one product that are listed, at most."""


@dataclass(frozen=True)
class Limits:
    """The rows that couple products: slots by kind and week, categories by week, the budget."""

    limit: Floats
    """(R,)"""
    slot_rows: int
    """S · W rows come first: kind · W + week."""
    weeks: int

    @staticmethod
    def of(problem: PromotionProblem) -> Limits:
        """Gather the limits; those that a problem does not have are infinite."""
        categories = int(problem.category.max(initial=-1)) + 1
        together = np.inf if problem.max_per_category is None else float(problem.max_per_category)
        budget = np.inf if problem.budget is None else problem.budget
        parts = (problem.slots.ravel(), np.full(categories * problem.weeks, together), [budget])
        return Limits(np.concatenate(parts), problem.slots.size, problem.weeks)

    def rows(self, category: int, week: int, slot: int) -> list[int]:
        """Rows that a promotion takes one of."""
        own = [self.slot_rows + category * self.weeks + week]
        return own if slot < 0 else [slot * self.weeks + week, *own]


@dataclass(frozen=True)
class Events:
    """The promotions that one product may have: E nodes, node 0 what was before, node 1 + week · O + option - 1."""

    product: int
    week: Ints
    """(E,)"""
    option: Ints
    """(E,)"""
    worth: Floats
    """(E, E + 1) gain of going from a promotion to the next, the last column to the end; -inf: not permitted. Over a
    calendar without promotions it adds up to 0."""
    spend: Floats
    """(E, E + 1) what it takes of the budget."""
    most: int
    """Promotions, at most."""

    @staticmethod
    def of(problem: PromotionProblem, product: int, extra: Floats) -> Events:
        """Value all arcs of a product.

        Args:
            problem: as planned.
            product: row of the product.
            extra: (W, O) what each promotion brings beyond the product's own profit: what it takes from others.
        """
        weeks, options = problem.weeks, len(problem.depth)
        week = np.concatenate([[_before(problem, product)], np.repeat(np.arange(weeks), options)])
        option = np.concatenate([[_kind_before(problem, product)], np.tile(np.arange(1, options + 1), weeks)])
        limit = weeks if problem.max_promotions is None else int(problem.max_promotions[product])
        quiet = _quiet_profit(problem, product, week, option)
        worth, spend = _arcs(problem, product, (week, option), quiet, extra)
        return Events(product, week, option, worth, spend, min(limit, weeks))

    def path_worth(self, path: tuple[int, ...]) -> float:
        """Gain of a path of nodes, beginning with 0."""
        ends = (*path[1:], len(self.week))
        return float(sum(self.worth[a, b] for a, b in zip(path, ends, strict=True)))

    def path_spend(self, path: tuple[int, ...]) -> float:
        """What a path takes of the budget."""
        return float(sum(self.spend[a, b] for a, b in zip(path, (*path[1:], len(self.week)), strict=True)))

    def options(self, path: tuple[int, ...], weeks: int) -> tuple[int, ...]:
        """(W,) options of a path of nodes."""
        row = [0] * weeks
        for node in path[1:]:
            row[int(self.week[node])] = int(self.option[node])
        return tuple(row)


def _before(problem: PromotionProblem, i: int) -> int:
    """Week of the latest promotion before the calendar; far back where there is none."""
    far = -max(problem.min_gap, problem.dip.shape[1] + 1)
    return int(problem.last_week[i]) if problem.last_week is not None and problem.last_week[i] < 0 else far


def _kind_before(problem: PromotionProblem, i: int) -> int:
    known = problem.last_week is not None and problem.last_option is not None and problem.last_week[i] < 0
    return int(problem.last_option[i]) if known and problem.last_option is not None else 0


def _dips(problem: PromotionProblem, i: int, week: Ints, option: Ints) -> Floats:
    """(E, W + 1) share of base units missing in each week after each promotion; 0 in its own week and before."""
    lift = np.append(1.0, problem.lift[i])
    dip = np.append(problem.dip[i], 0.0)
    lag = np.arange(problem.weeks + 1)[None, :] - week[:, None]
    share = dip[np.clip(lag, 1, len(dip)) - 1] * (lift[option] - 1)[:, None]
    return np.asarray(np.where(lag > 0, share, 0.0))


def _quiet_profit(problem: PromotionProblem, i: int, week: Ints, option: Ints) -> Floats:
    """(E, W + 1) profit lost to the dip of each promotion in the weeks after it and before week w."""
    margin = problem.price[i] - problem.unit_cost[i]
    missing = _dips(problem, i, week, option)[:, :-1] * problem.base_units[:, i] * margin
    return np.concatenate([np.zeros((len(week), 1)), np.cumsum(missing, axis=1)], axis=1)


def _arcs(
    problem: PromotionProblem, i: int, events: tuple[Ints, Ints], quiet: Floats, extra: Floats
) -> tuple[Floats, Floats]:
    week, option = events
    count, weeks = len(week), problem.weeks
    to_week, to_option = week[1:], option[1:]
    depth, fixed = problem.depth[to_option - 1], problem.fixed_cost[to_option - 1]
    base, price, cost = problem.base_units[to_week, i], problem.price[i], problem.unit_cost[i]
    multiple = problem.lift[i, to_option - 1][None, :] - _dips(problem, i, week, option)[:, to_week]
    own = base * multiple * (price * (1 - depth) - cost) - base * (price - cost) - fixed
    worth, spend = np.full((count, count + 1), -np.inf), np.zeros((count, count + 1))
    apart = to_week[None, :] - week[:, None] >= problem.min_gap
    reached = own - quiet[:, to_week] + extra[to_week, to_option - 1]
    worth[:, 1:count] = np.where(apart, reached, -np.inf)
    spend[:, 1:count] = depth * price * base * multiple + fixed
    worth -= problem.money_price * spend
    worth[:, count] = -quiet[:, weeks]
    worth[0] += quiet[0, weeks]
    return worth, spend


class CalendarOwner:
    """A product that takes one calendar."""

    def __init__(self, problem: PromotionProblem, events: Events, limits: Limits) -> None:
        self.events, self.limits, self.weeks = events, limits, problem.weeks
        rows = [
            limits.rows(int(problem.category[events.product]), int(w), int(problem.slot[o - 1]))
            for w, o in zip(events.week[1:], events.option[1:], strict=True)
        ]
        self.rows = rows

    def with_extra(self, extra: Floats) -> CalendarOwner:
        """Return the same product where each promotion brings (W, O) more, money."""
        other = copy(self)
        worth = self.events.worth.copy()
        worth[:, 1:-1] += extra[self.events.week[1:], self.events.option[1:] - 1]
        other.events = replace(self.events, worth=worth)
        return other

    def rest(self) -> Column:
        """Return the calendar without promotions."""
        return self.column((0,))

    def answer(self, prices: Floats) -> Answer:
        """Return the best calendar, by dynamic programming over the promotions."""
        worth = self._priced(prices)
        tails = longest_tails(worth, self.events.most)
        path = trace_path(worth, tails)
        most = float(tails[self.events.most, 0])
        return Answer((self.column(tuple(int(n) for n in path)),), most)

    def near(self, prices: Floats, least: float) -> tuple[Column, ...] | None:
        """Every calendar worth at least `least`, by going down all paths that can still reach it."""
        worth = self._priced(prices)
        tails = longest_tails(worth, self.events.most)
        end = len(worth)
        found: list[Column] = []
        stack: list[tuple[tuple[int, ...], float]] = [((0,), 0.0)]
        while stack:
            path, sofar = stack.pop()
            if sofar + worth[path[-1], end] >= least:
                found.append(self.column(path))
            left = self.events.most - len(path) + 1
            if len(found) + len(stack) > MAX_NEAR:
                return None
            if left > 0:
                reach = sofar + worth[path[-1], :end] + tails[left - 1]
                stack += [((*path, int(n)), sofar + float(worth[path[-1], n])) for n in np.flatnonzero(reach >= least)]
        return tuple(found)

    def slack(self, prices: Floats) -> Floats:
        """(E - 1,) money that each promotion lacks to be in a best calendar at these prices; infinite: may not be."""
        worth = self._priced(prices)
        tails = longest_tails(worth, self.events.most)
        through = best_through(worth, tails)
        return np.asarray(through[0] - through[1:])

    def _priced(self, prices: Floats) -> Floats:
        toll = np.array([0.0] + [float(prices[rows].sum()) for rows in self.rows] + [0.0])
        return np.asarray(self.events.worth - prices[-1] * self.events.spend - toll[None, :])

    def column(self, path: tuple[int, ...]) -> Column:
        """Make the column of a path of nodes."""
        usage = np.zeros(len(self.limits.limit))
        for node in path[1:]:
            usage[self.rows[node - 1]] += 1
        usage[-1] = self.events.path_spend(path)
        return Column(self.events.options(path, self.weeks), self.events.path_worth(path), usage)
