"""Multipliers of many rules at once: Newton steps on the Lagrangian bound, which many customers make nearly smooth.

Cutting planes need several answers for every rule before they know how the rules pull on each other: with a cap on
each of nine offers, hundreds. The customers who are nearly indifferent say it in one pass: raising prices by d moves
those whose margin d takes away, so that the bound's curvature is, up to a width, the sum of the outer products of what
their two best offers use (a semismooth Newton method with a smoothed Jacobian; Qi and Sun 1993). The result is a good
place for the cutting planes to begin, no more; any multipliers give a valid bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from optimizers.coupons.problem import Floats
from optimizers.coupons.rows import Rows
from optimizers.coupons.sums import Box, Multipliers, Rules, Sums, evaluate

ROUNDS = 25
FIRST_WIDTH = 0.3
"""Margins counted as near at first, as a share of the mean worth of a coupon."""
NARROWER = 0.8
LAST_WIDTH = 0.01
SHORTEST_STEP = 1 / 64
MANY_RULES = 4
"""Caps on more offers than this are worth Newton steps."""


def many_rules(rules: Rules) -> bool:
    """Whether cutting planes alone would need very many answers."""
    return int((np.isfinite(rules.cap) & (rules.cap > 0)).sum()) > MANY_RULES


@dataclass(frozen=True)
class _Point:
    """Multipliers as one vector: total, segments (S), count (ceiling less floor), offers (O)."""

    at: Floats
    bound: float
    slope: Floats
    """What is left of each rule: the direction in which the bound falls is its opposite."""


def approach(rows: Rows, start: Multipliers, box: Box | None = None) -> Multipliers:
    """Multipliers near those of the least bound, from `start` on, in the box; never a worse bound than at `start`."""
    low, high = _limits(rows.rules)
    if box is not None:
        low, high = _within(box, low, high)
    point = _point(rows, np.clip(_vector(start), low, high))
    sums = evaluate(rows.partition, start)
    width = FIRST_WIDTH * abs(sums.value(start)) / max(float(sums.sent.sum()), 1.0)
    last = width * LAST_WIDTH / FIRST_WIDTH
    for _ in range(ROUNDS):
        step = _step(point, _curvature(rows, point, width), *_limits_here(rows, point, low, high))
        share, better = 1.0, None
        while better is None and share >= SHORTEST_STEP:
            there = _point(rows, np.clip(point.at + share * step, low, high))
            better = there if there.bound < point.bound else None
            share /= 2
        if better is None and width <= last:
            break
        point = better or point
        width = max(width * NARROWER, last)
    return _multipliers(point.at, rows)


def _vector(prices: Multipliers) -> Floats:
    offer = np.where(np.isfinite(prices.offer), prices.offer, 0.0)
    return np.concatenate([[prices.total], prices.segment, [prices.ceiling - prices.floor], offer])


def _multipliers(at: Floats, rows: Rows) -> Multipliers:
    s = rows.n_segments
    count = float(at[s + 1])
    offer = np.where(rows.rules.cap > 0, at[s + 2 :], math.inf)
    return Multipliers(float(at[0]), at[1 : s + 1].copy(), max(0.0, -count), max(0.0, count), offer)


def _limits(rules: Rules) -> tuple[Floats, Floats]:
    """Least and greatest value of each multiplier; a rule without a limit has the price 0."""
    finite = np.isfinite(np.concatenate([[rules.budget], rules.segment_budget, [rules.ceiling], rules.cap]))
    finite[len(rules.segment_budget) + 2 :] &= rules.cap > 0
    low, high = np.zeros(len(finite)), np.where(finite, np.inf, 0.0)
    if rules.floor > 0:
        low[len(rules.segment_budget) + 1] = -np.inf
    return low, high


def _within(box: Box, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """The limits, no further from the centre than half the box: money and tolls are sums of two multipliers."""
    at, tolls = _vector(box.centre), np.append(box.toll[1:].min(initial=np.inf), box.toll) / 2
    tolls[1] = 0.0
    reach = np.concatenate([[box.money.min() / 2], box.money - box.money.min() / 2, tolls])
    return np.maximum(low, at - reach), np.minimum(high, at + reach)


def _limits_here(rows: Rows, point: _Point, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """The same for one step: the price of the number sent stops at 0, where floor and ceiling change places."""
    low, high, count = low.copy(), high.copy(), rows.n_segments + 1
    if point.at[count] > 0 or (point.at[count] == 0 and point.slope[count] <= 0):
        low[count] = 0.0
    if point.at[count] < 0 or (point.at[count] == 0 and point.slope[count] >= 0):
        high[count] = 0.0
    return low, high


def _point(rows: Rows, at: Floats) -> _Point:
    prices = _multipliers(at, rows)
    sums = evaluate(rows.partition, prices)
    return _Point(at, rows.rules.bound(sums, prices), _slope(rows.rules, sums, float(at[rows.n_segments + 1])))


def _slope(rules: Rules, sums: Sums, count: float) -> Floats:
    left = rules.left_by(sums)
    counted = left.ceiling if count > 0 or (count == 0 and left.ceiling < 0) else left.floor
    if count == 0 and left.floor <= 0 <= left.ceiling:
        counted = 0.0
    slope = np.concatenate([[left.budget], left.segment_budget, [counted], left.cap])
    return np.where(np.isfinite(slope), slope, 0.0)


def _curvature(rows: Rows, point: _Point, width: float) -> Floats:
    from optimizers.coupons.kernels import add_curvature

    prices = _multipliers(point.at, rows)
    found = np.zeros((len(point.at), len(point.at)))
    whole = rows.partition
    add_curvature(
        whole.profit, whole.cost, whole.segment, whole.count, prices.money, prices.toll, width, rows.n_segments, found
    )
    return found


def _step(point: _Point, curvature: Floats, low: Floats, high: Floats) -> Floats:
    """Least value of the quadratic model within the limits, by coordinate descent."""
    from optimizers.coupons.kernels import descend

    step = np.zeros(len(point.at))
    model = curvature + np.diag(1e-9 * np.diag(curvature).max() * np.ones(len(step)) + 1e-300)
    descend(model, point.slope, low - point.at, high - point.at, 200, step)
    return step
