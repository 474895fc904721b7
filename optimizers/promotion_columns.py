"""Promotion calendars by columns: each product's whole calendar is one, slots, categories and budget join them.

Two products of a category that are promoted in the same week take from each other at the promoted margin instead of the
full one. That term belongs to pairs, not to columns. The bound gives each product half of the most that its pairs could
bring; the calendars found are valued exactly, and improved product by product with the others held.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from optimizers.column_selection import Column, Selection, select_columns
from optimizers.promotion_events import CalendarOwner, Events, Limits
from optimizers.promotion_kernels import longest_tails, trace_path
from optimizers.promotions import PromotionPlan, PromotionProblem, evaluate_calendar
from optimizers.solver import relative_gap

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SWEEPS = 10


def plan_by_columns(problem: PromotionProblem, *, gap: float, seconds: float) -> PromotionPlan:
    """Plan a calendar of any size; see `promotions.plan_promotions`."""
    deadline = time.perf_counter() + seconds
    limits, takes = Limits.of(problem), taken_from_others(problem)
    plain = _select(problem, limits, takes, gap, 0.4 * seconds)
    option, proven = _options(problem, plain), plain
    if _has_pairs(problem):
        hopeful = takes + _pair_allowance(problem, _slack(problem, limits, takes, plain.prices))
        proven = _select(problem, limits, hopeful, gap, 0.3 * seconds)
        option = max(option, _options(problem, proven), key=lambda o: evaluate_calendar(problem, o).objective)
        option = _improve(problem, limits, option, proven.prices, deadline)
    return _finish(problem, option, proven, gap, late=time.perf_counter() >= deadline)


def _has_pairs(problem: PromotionProblem) -> bool:
    """Whether two products of one category may be promoted in the same week and take from each other."""
    alone = len(np.unique(problem.category)) == len(problem.category)
    together = max(problem.most_together(w) for w in range(problem.weeks)) > 1
    return not alone and together and bool((problem.takes > 0).any()) and bool((problem.depth > 0).any())


def _select(problem: PromotionProblem, limits: Limits, extra: Floats, gap: float, seconds: float) -> Selection:
    owners = [CalendarOwner(problem, Events.of(problem, i, extra[i]), limits) for i in range(len(problem.product_ids))]
    return select_columns(owners, limits.limit, gap=0.5 * gap, seconds=seconds)


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


def _slack(problem: PromotionProblem, limits: Limits, extra: Floats, prices: Floats) -> Floats:
    """(P, W, O) what each promotion lacks to be in a best calendar of its product, money."""
    shape = (problem.weeks, len(problem.depth))
    owners = (CalendarOwner(problem, Events.of(problem, i, extra[i]), limits) for i in range(len(extra)))
    return np.array([owner.slack(prices).reshape(shape) for owner in owners]).reshape(len(extra), *shape)


def _pair_allowance(problem: PromotionProblem, slack: Floats) -> Floats:
    """(P, W, O) what each promotion is granted of its pairs, so that the grants of two are no less than what both gain.

    Any split is a bound. Of a pair, the promotion that would not be chosen anyway is granted as much as leaves it
    unchosen (its slack), the other the rest, and two that would be chosen half each.
    """
    allowance = np.zeros(slack.shape)
    for code in np.unique(problem.category):
        members = np.flatnonzero(problem.category == code)
        for w in range(problem.weeks):
            others = min(problem.most_together(w), len(members)) - 1
            if others > 0:
                allowance[members, w] = _grants(problem, members, w, others, slack[members, w])
    return allowance


def _grants(problem: PromotionProblem, members: Ints, week: int, others: int, slack: Floats) -> Floats:
    """(n, O) grants of one category and week, where at most `others` more products are promoted beside each."""
    count, kinds = len(members), len(problem.depth)
    given = problem.depth * (problem.price[members] * problem.base_units[week, members])[:, None]
    taken = problem.takes[members]
    pair = given[:, :, None, None] * taken[None, None] + taken[:, :, None, None] * given[None, None]
    room = np.minimum(slack / others, 2 * pair.max(initial=0.0))
    own, other = room[:, :, None, None], room[None, None]
    enough = own + other >= pair
    shared = np.where(own == other, 0.5 * pair, pair * own / np.where(own + other > 0, own + other, 1.0))
    short = np.where(own == other, 0.5 * pair, np.where(own > other, own, pair - other))
    grant = np.where(enough, shared, short)
    partner = grant.max(axis=3)
    partner[np.arange(count), :, np.arange(count)] = 0.0
    top = np.sort(partner, axis=2)[:, :, ::-1][:, :, :others]
    return np.asarray(top.sum(axis=2)).reshape(count, kinds)


def pair_terms(problem: PromotionProblem) -> list[tuple[tuple[tuple[int, int], tuple[int, int]], float]]:
    """List what two promotions of one category and week gain back: ((product, node), (product, node)), money."""
    kinds, terms = len(problem.depth), []
    for i in range(len(problem.product_ids)):
        for j in range(i + 1, len(problem.product_ids)):
            if problem.category[i] != problem.category[j]:
                continue
            for w in range(problem.weeks):
                for o in range(kinds):
                    for p in range(kinds):
                        worth = problem.depth[o] * problem.price[i] * problem.base_units[w, i] * problem.takes[j, p]
                        worth += problem.depth[p] * problem.price[j] * problem.base_units[w, j] * problem.takes[i, o]
                        if worth > 0:
                            terms.append((((i, 1 + w * kinds + o), (j, 1 + w * kinds + p)), float(worth)))
    return terms


def _improve(problem: PromotionProblem, limits: Limits, option: Ints, prices: Floats, deadline: float) -> Ints:
    """Re-plan one product at a time, the others held, until nobody gains."""
    takes = taken_from_others(problem)
    option, value = option.copy(), evaluate_calendar(problem, option).objective
    owners = [CalendarOwner(problem, Events.of(problem, i, takes[i]), limits) for i in range(len(option))]
    used = np.sum([_use(owner, tuple(row)) for owner, row in zip(owners, option.tolist(), strict=True)], axis=0)
    for _ in range(SWEEPS):
        before = value
        for i, owner in enumerate(owners):
            if time.perf_counter() >= deadline:
                return option
            room = limits.limit - used + _use(owner, tuple(option[i].tolist()))
            column = _best_within(problem, owner, option, room, prices)
            trial = option.copy()
            trial[i] = column.label
            gain = evaluate_calendar(problem, trial).objective
            if (
                gain > value + 1e-9 * abs(value)
                and (column.usage <= room + 1e-12 * np.maximum(limits.limit, 1.0)).all()
            ):
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
    bound = max(found.bound, plan.objective)
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
