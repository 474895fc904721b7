"""Promotion calendars by columns: each product's whole calendar is one, slots, categories and budget join them.

Two products of a category that are promoted in the same week take from each other at the promoted margin instead of the
full one. That term belongs to pairs, not to columns. The bound grants it to the two in shares (`promotion_pairs`); the
calendars found are valued exactly, and improved product by product with the others held.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from optimizers.gap import relative_gap
from optimizers.prices.column_selection import Column, Selection, select_columns
from optimizers.promotions.calendar import PromotionPlan, evaluate_calendar, proven_bound
from optimizers.promotions.events import CalendarOwner, Events, Limits
from optimizers.promotions.kernels import longest_tails, trace_path
from optimizers.promotions.pairs import PairGrants
from optimizers.promotions.problem import PromotionProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SWEEPS = 10
TURNS = 8
"""Selections between which grants are tightened, at most."""
STEPS = 15
"""Subgradient steps between two selections."""


def plan_by_columns(problem: PromotionProblem, *, gap: float, seconds: float) -> PromotionPlan:
    """Plan a calendar of any size; see `promotions.plan_promotions`."""
    deadline = time.perf_counter() + seconds
    limits, takes = Limits.of(problem), taken_from_others(problem)
    owners = [CalendarOwner(problem, Events.of(problem, i, takes[i]), limits) for i in range(len(problem.product_ids))]
    plain = select_columns(owners, limits.limit, gap=0.5 * gap, seconds=0.4 * seconds)
    option, proven = _options(problem, plain), plain
    grants = PairGrants(problem)
    if grants.blocks:
        search = _PairSearch(problem, owners, limits, grants, gap, deadline)
        option, proven = search.run(option, plain.prices)
    return _finish(problem, option, proven, gap, late=time.perf_counter() >= deadline)


class _PairSearch:
    """Tighten the grants of pairs and improve the calendar by turns."""

    def __init__(
        self,
        problem: PromotionProblem,
        owners: list[CalendarOwner],
        limits: Limits,
        grants: PairGrants,
        gap: float,
        deadline: float,
    ) -> None:
        self.problem, self.owners, self.limits = problem, owners, limits
        self.grants, self.gap, self.deadline = grants, gap, deadline
        self.option = np.zeros((len(owners), problem.weeks), dtype=np.int64)
        self.value = 0.0

    def run(self, option: Ints, prices: Floats) -> tuple[Ints, Selection]:
        """Return the best calendar and the selection whose bound is least."""
        shape = self.grants.shape[1:]
        self.grants.share_by_slack(np.array([owner.slack(prices).reshape(shape) for owner in self.owners]))
        self._hold(option, prices)
        best = self._select()
        for _ in range(TURNS):
            if relative_gap(self.value, max(best.bound, self.value)) <= self.gap or self._late():
                break
            self._tighten(best.prices)
            found = self._select()
            best = found if found.bound < best.bound else best
        return self.option, best

    def _late(self) -> bool:
        return time.perf_counter() >= self.deadline

    def _select(self) -> Selection:
        """Select with the grants as they are; hold what that finds."""
        granted = self._granted()
        left = max(self.deadline - time.perf_counter(), 0.0)
        found = select_columns(granted, self.limits.limit, gap=0.5 * self.gap, seconds=left / (TURNS + 1))
        self._hold(_options(self.problem, found), found.prices)
        return found

    def _granted(self) -> list[CalendarOwner]:
        allowance = self.grants.allowance()
        return [owner.with_extra(allowance[i]) for i, owner in enumerate(self.owners)]

    def _tighten(self, prices: Floats) -> None:
        """Take subgradient steps on the grants at given prices of the limits."""
        finite = np.isfinite(self.limits.limit)
        paid = float((prices[finite] * self.limits.limit[finite]).sum())
        least, pace = np.inf, 1.0
        for _ in range(STEPS):
            if self._late():
                return
            answers = [owner.answer(prices) for owner in self._granted()]
            bound = sum(answer.most for answer in answers) + paid
            pace, least = (pace, bound) if bound < least else (0.7 * pace, least)
            chosen = np.array([answer.columns[0].label for answer in answers], dtype=np.int64)
            self.grants.step(chosen, pace * max(bound - self.value, 0.0))

    def _hold(self, option: Ints, prices: Floats) -> None:
        """Improve a calendar and hold it if it is worth more."""
        improved = _improve(self.problem, self.owners, option, prices, self.deadline)
        value = evaluate_calendar(self.problem, improved).objective
        if value > self.value:
            self.option, self.value = improved, value


def _options(problem: PromotionProblem, found: Selection) -> Ints:
    shape = (len(problem.product_ids), problem.weeks)
    return np.array([column.label for column in found.columns], dtype=np.int64).reshape(shape)


def taken_from_others(problem: PromotionProblem) -> Floats:
    """(P, W, O) what a promotion takes from the others of its category, at their full margins; negative money."""
    at_stake = problem.base_units * (problem.price - problem.unit_cost)
    by_category = np.zeros((problem.weeks, int(problem.category.max(initial=-1)) + 1))
    np.add.at(by_category.T, problem.category, at_stake.T)
    others = by_category[:, problem.category] - at_stake
    return -others.T[:, :, None] * problem.takes[:, None, :]


def _improve(
    problem: PromotionProblem, owners: list[CalendarOwner], option: Ints, prices: Floats, deadline: float
) -> Ints:
    """Re-plan one product at a time, the others held, until nobody gains."""
    option, value = option.copy(), evaluate_calendar(problem, option).objective
    limit = owners[0].limits.limit
    used = np.sum([_use(owner, tuple(row)) for owner, row in zip(owners, option.tolist(), strict=True)], axis=0)
    for _ in range(SWEEPS):
        before = value
        for i, owner in enumerate(owners):
            if time.perf_counter() >= deadline:
                return option
            room = limit - used + _use(owner, tuple(option[i].tolist()))
            column = _best_within(problem, owner, option, room, prices)
            trial = option.copy()
            trial[i] = column.label
            gain = evaluate_calendar(problem, trial).objective
            if gain > value + 1e-9 * abs(value) and (column.usage <= room + 1e-12 * np.maximum(limit, 1.0)).all():
                used = used - _use(owner, tuple(option[i].tolist())) + column.usage
                option, value = trial, gain
        if value <= before:
            break
    return option


def _use(owner: CalendarOwner, options: tuple[int, ...]) -> Floats:
    kinds = int(owner.events.option[1:].max(initial=0))
    path = (0, *(1 + w * kinds + o - 1 for w, o in enumerate(options) if o > 0))
    return owner.column(path).usage


def _best_within(problem: PromotionProblem, owner: CalendarOwner, option: Ints, room: Floats, prices: Floats) -> Column:
    """The best calendar of one product with the others held, where slots and category have room; the budget is paid."""
    i, events = owner.events.product, owner.events
    mates = np.flatnonzero((problem.category == problem.category[i]) & (np.arange(len(option)) != i))
    kinds = option[mates]
    taken = np.column_stack([np.zeros(len(mates)), problem.takes[mates]])[np.arange(len(mates))[:, None], kinds]
    depth = np.append(0.0, problem.depth)[kinds]
    given = (depth * problem.price[mates][:, None] * problem.base_units[:, mates].T).sum(axis=0)
    week, kind = events.week[1:], events.option[1:] - 1
    own = problem.depth[kind] * problem.price[i] * problem.base_units[week, i] * taken.sum(axis=0)[week]
    back = own + problem.takes[i, kind] * given[week]
    closed = np.array([(room[rows] < 1).any() for rows in owner.rows], dtype=np.bool_)
    worth = events.worth - prices[-1] * events.spend
    worth[:, 1:-1] += np.where(closed, -np.inf, back)[None, :]
    path = trace_path(worth, longest_tails(worth, events.most))
    return owner.column(tuple(int(n) for n in path))


def _finish(problem: PromotionProblem, option: Ints, found: Selection, gap: float, *, late: bool) -> PromotionPlan:
    plan = evaluate_calendar(problem, option)
    if plan.objective < 0:
        plan = evaluate_calendar(problem, np.zeros_like(option))
    bound = proven_bound(problem, plan.objective, found.bound)
    reached = relative_gap(plan.objective, bound)
    slots = problem.slots.size
    return replace(
        plan,
        status="optimal" if reached <= gap else "time_limit" if late else "gap_limit",
        bound=bound,
        gap=reached,
        budget_price=float(found.prices[-1]),
        slot_price=found.prices[:slots].reshape(problem.slots.shape),
        priced_bound=found.priced_bound,
        method="columns",
    )
