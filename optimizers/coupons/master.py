"""The two small linear programs of the dual method, handed to HiGHS as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizers.coupons.problem import Floats, Ints
from optimizers.coupons.sums import Box, Multipliers, Rules, Sums
from optimizers.solver import CompiledModel, relax, solve

SCALE = 1e4
"""Objective of the scaled programs: HiGHS' absolute tolerance of 1e-7 is then 1e-11 of the profit."""


@dataclass(frozen=True)
class Mixture:
    """The best mixture of answers, and the dual prices of the rules."""

    profit: float
    """Money; what is missing to the floor counts at `penalty`, what is traded at the edge of a box at its price."""
    weights: Floats
    """(K, S)"""
    prices: Multipliers
    missing: float
    """Coupons missing to the floor."""
    at_edge: bool
    """Some price lies at the edge of the box: outside, there may be better ones."""


def solve_master(answers: Sequence[Sums], rules: Rules, penalty: float, box: Box | None = None) -> Mixture | None:
    """Mix K answers of S segments so that the rules hold and profit is largest; None: no mixture keeps the budgets.

    In a box, what a rule allows can be bought at its highest price and sold at its lowest, which keeps the dual prices
    between the two (the boxstep method: Marsten, Hogan and Blankenship 1975).

    Args:
        answers: sums of each answer.
        rules: the coupling rules.
        penalty: money for each coupon missing to the floor; the floor's price is never above it.
        box: neighbourhood in which the prices have to stay.
    """
    profit, cost = (np.concatenate([getattr(a, name) for a in answers]) for name in ("profit", "cost"))
    sent = np.concatenate([a.sent for a in answers])
    k, s = len(answers), len(rules.segment_budget)
    scale = SCALE / (float(np.abs(profit).max()) or penalty)  # where nothing earns anything, what is missing counts
    money, heads = 1 / (float(cost.max()) or 1.0), 1 / max(float(sent.sum(axis=1).max()), 1.0)
    limited = np.flatnonzero(np.isfinite(rules.segment_budget))
    capped = np.flatnonzero(np.isfinite(rules.cap) & (rules.cap > 0))
    dense = np.vstack([cost * money, sent.sum(axis=1) * heads, sent[:, capped].T * heads])
    unit = np.concatenate([[money, heads], np.full(len(capped), heads), np.full(len(limited), money)])
    traded, worth = _trades(box, capped, limited, penalty)
    matrix = _stack(dense, np.tile(np.arange(s), k), cost * money, limited, s, traded)
    low = np.concatenate([[-np.inf, rules.floor * heads], np.full(len(capped) + len(limited), -np.inf), np.ones(s)])
    caps, own = rules.cap[capped] * heads, rules.segment_budget[limited] * money
    high = np.concatenate([[rules.budget * money, rules.ceiling * heads], caps, own, np.ones(s)])
    costs = scale * np.append(-profit, -worth / unit[traded[0]])
    result = relax(_model(matrix, costs, low, high, np.inf), method="simplex")
    if result.values is None or result.row_duals is None:
        return None
    duals = -result.row_duals[: len(unit)] * unit / scale
    segment, offer = np.zeros(s), np.where(rules.cap > 0, 0.0, math.inf)
    offer[capped] = np.maximum(duals[2 : 2 + len(capped)], 0)
    segment[limited] = np.maximum(duals[2 + len(capped) :], 0)
    count = float(duals[1])
    prices = Multipliers(max(float(duals[0]), 0.0), segment, max(0.0, -count), max(0.0, count), offer)
    weights = np.clip(result.values[: k * s], 0, None)
    trades = np.clip(result.values[k * s :], 0, None) / unit[traded[0]]
    value = float((weights * profit).sum() + (trades * worth).sum())
    edge = bool((trades[1:] * unit[traded[0][1:]] > 1e-9).any())
    return Mixture(value, weights.reshape(k, s), prices, float(trades[0]), edge)


def _trades(box: Box | None, capped: Ints, limited: Ints, penalty: float) -> tuple[tuple[Ints, Floats], Floats]:
    """What can be bought and sold: (rule, coefficient) and worth of a unit; first the coupon missing to the floor."""
    rule, coefficient, worth = [np.array([1])], [np.array([1.0])], [np.array([-penalty])]
    if box is not None:
        centre = box.centre
        total = box.money.min() / 2
        count = float(box.toll[1:].min(initial=np.inf)) / 2 if len(box.toll) > 1 else 0.0
        price = np.concatenate(
            [[centre.total, centre.ceiling - centre.floor], centre.offer[capped], centre.segment[limited]]
        )
        reach = np.concatenate([[total, count], box.toll[capped] - count, box.money[limited] - total])
        rules = np.arange(len(price))
        rule += [rules, rules]
        coefficient += [np.full(len(price), -1.0), np.full(len(price), 1.0)]
        lowest = price - reach
        lowest[np.arange(len(price)) != 1] = np.maximum(lowest[np.arange(len(price)) != 1], 0.0)
        worth += [-(price + reach), lowest]
    return (np.concatenate(rule), np.concatenate(coefficient)), np.concatenate(worth)


def _stack(dense: Floats, member: Ints, cost: Floats, limited: Ints, s: int, traded: tuple[Ints, Floats]) -> Any:  # noqa: ANN401
    """Rows: total money, number sent, capped offers, money of each limited segment, weights of each add up to one."""
    from scipy import sparse

    place = np.full(s, -1)
    place[limited] = np.arange(len(limited))
    heads, n = len(dense), len(member)
    row = np.empty((n, heads + 2), dtype=np.int32)
    row[:, :heads], row[:, heads], row[:, heads + 1] = np.arange(heads), heads + place[member], member
    row[:, heads + 1] += heads + len(limited)
    value = np.column_stack([dense.T, cost, np.ones(n)])
    value[place[member] < 0, heads] = 0.0
    held = value != 0
    count = np.append(held.sum(axis=1), np.ones(len(traded[0]), dtype=np.int64))
    return sparse.csc_matrix(
        (
            np.append(value[held], traded[1]),
            np.append(row[held], traded[0]),
            np.append(0, np.cumsum(count)),
        ),
        shape=(heads + len(limited) + s, n + len(traded[0])),
    )


def _model(matrix: Any, cost: Floats, low: Floats, high: Floats, top: Floats | float) -> CompiledModel:  # noqa: ANN401
    n = matrix.shape[1]
    return CompiledModel(
        columns=(None,) * n,
        rows=(None,) * matrix.shape[0],
        sense=1,
        cost=cost,
        offset=0.0,
        matrix=matrix,
        row_low=low,
        row_high=high,
        column_low=np.zeros(n),
        column_high=np.full(n, top) if np.isscalar(top) else np.asarray(top, dtype=np.float64),
        integer=np.zeros(n, dtype=np.bool_),
    )


@dataclass(frozen=True)
class Core:
    """The rows still to be decided: C cells (row, offer), and what the others leave of the budgets."""

    row: Ints
    """(C,) 0…R-1, consecutive numbers of the rows to decide."""
    profit: Floats
    """(C,) money for each customer put there."""
    cost: Floats
    offer: Ints
    """(C,)"""
    segment: Ints
    """(C,)"""
    count: Ints
    """(R,) customers of each row."""
    rules: Rules


def solve_core(core: Core) -> Floats | None:
    """Customers of each cell, (C,) fractional, so that profit is largest; None: the rest leaves no feasible way."""
    result = relax(_core_model(core), method="choose")
    return None if result.values is None else np.clip(result.values, 0, None)


def solve_core_whole(core: Core, *, gap: float, seconds: float, start: Floats) -> tuple[Floats | None, float | None]:
    """The same in whole customers, beginning from a known plan.

    Returns:
        Customers of each cell (None: nothing is held), and the most profit that any whole plan of the core makes.
    """
    model = replace(_core_model(core), integer=np.ones(len(core.row), dtype=np.bool_))
    found = solve(model, gap=gap, seconds=seconds, start=start)
    return found.values, None if found.bound is None else -found.bound / _core_scale(core)


def _core_scale(core: Core) -> float:
    return SCALE / max(float(np.abs(core.profit).sum()), 1e-300)


def _core_model(core: Core) -> CompiledModel:
    from scipy import sparse

    rules = core.rules
    money = 1 / max(float(core.cost.max(initial=0)), 1e-300)
    limited = np.flatnonzero(np.isfinite(rules.segment_budget))
    capped = np.flatnonzero(np.isfinite(rules.cap))
    c, r = len(core.row), len(core.count)
    place = np.full(len(rules.segment_budget), -1)
    place[limited] = np.arange(len(limited))
    mine = np.flatnonzero(place[core.segment] >= 0)
    own = sparse.csc_matrix((core.cost[mine] * money, (place[core.segment[mine]], mine)), shape=(len(limited), c))
    one = sparse.csc_matrix((np.ones(c), (core.row, np.arange(c))), shape=(r, c))
    by_offer = (core.offer[None, :] == capped[:, None]).astype(np.float64)
    dense = sparse.csc_matrix(np.vstack([core.cost * money, core.offer > 0, by_offer]))
    matrix = sparse.vstack([dense, own, one], format="csc")
    free = np.full(len(capped) + len(limited), -np.inf)
    low = np.concatenate([[-np.inf, rules.floor], free, core.count])
    own_budget = rules.segment_budget[limited] * money
    high = np.concatenate([[rules.budget * money, rules.ceiling], rules.cap[capped], own_budget, core.count])
    return _model(
        matrix, -_core_scale(core) * core.profit, low, high, np.asarray(core.count, dtype=np.float64)[core.row]
    )
