"""The two small linear programs of the dual method, handed to HiGHS as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizers.coupons import Bools, Floats, Ints
from optimizers.solver import CompiledModel, relax, solve

SCALE = 1e4
"""Objective of the scaled programs: HiGHS' absolute tolerance of 1e-7 is then 1e-11 of the profit."""


@dataclass(frozen=True)
class Mixture:
    """The best mixture of answers, and the dual prices of the rules."""

    profit: float
    weights: Floats
    """(K, S)"""
    total: float
    segment: Floats
    """(S,)"""
    floor: float


def solve_master(totals: Floats, budget: float, segment_budget: Floats, floor: float) -> Mixture | None:
    """Mix K answers of S segments so that the rules hold and profit is largest; None: no mixture keeps the rules.

    Args:
        totals: (K, S, 3) profit, cost, number sent.
        budget: money, infinite where there is no limit.
        segment_budget: (S,) the same by segment.
        floor: least number sent.
    """
    k, s, _ = totals.shape
    profit, cost, sent = (totals[:, :, j].ravel() for j in range(3))
    scale = SCALE / max(float(np.abs(profit).max()), 1e-300)
    money, heads = 1 / max(float(cost.max()), 1e-300), 1 / max(float(sent.max()), 1.0)
    limited = np.flatnonzero(np.isfinite(segment_budget))
    blocks = [np.ones(k * s) * cost * money, sent * heads]
    member = np.tile(np.arange(s), k)
    matrix = _stack(blocks, member, cost * money, limited, s)
    low = np.concatenate([[-np.inf, floor * heads], np.full(len(limited), -np.inf), np.ones(s)])
    high = np.concatenate([[budget * money, np.inf], segment_budget[limited] * money, np.ones(s)])
    result = relax(_model(matrix, -scale * profit, low, high, np.inf), method="simplex")
    if result.values is None or result.row_duals is None:
        return None
    duals = np.maximum(np.concatenate([-result.row_duals[:1], result.row_duals[1:2], -result.row_duals[2:]]), 0)
    segment = np.zeros(s)
    segment[limited] = duals[2 : 2 + len(limited)] * money / scale
    weights = np.clip(result.values, 0, None).reshape(k, s)
    value = float((weights.ravel() * profit).sum())
    return Mixture(value, weights, float(duals[0] * money / scale), segment, float(duals[1] * heads / scale))


def _stack(dense: list[Floats], member: Ints, cost: Floats, limited: Ints, s: int) -> Any:  # noqa: ANN401
    """Rows: total money, number sent, money of each limited segment, weights of each segment add up to one."""
    from scipy import sparse

    n = len(member)
    place = np.full(s, -1)
    place[limited] = np.arange(len(limited))
    mine = np.flatnonzero(place[member] >= 0)
    own = sparse.csc_matrix((cost[mine], (place[member[mine]], mine)), shape=(len(limited), n))
    one = sparse.csc_matrix((np.ones(n), (member, np.arange(n))), shape=(s, n))
    return sparse.vstack([sparse.csc_matrix(np.stack(dense)), own, one], format="csc")


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
    sent: Bools
    """(C,) whether the offer is a coupon."""
    segment: Ints
    """(C,)"""
    count: Ints
    """(R,) customers of each row."""
    budget: float
    segment_budget: Floats
    """(S,)"""
    floor: float


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

    money = 1 / max(float(core.cost.max(initial=0)), 1e-300)
    limited = np.flatnonzero(np.isfinite(core.segment_budget))
    c, r = len(core.row), len(core.count)
    place = np.full(len(core.segment_budget), -1)
    place[limited] = np.arange(len(limited))
    mine = np.flatnonzero(place[core.segment] >= 0)
    own = sparse.csc_matrix((core.cost[mine] * money, (place[core.segment[mine]], mine)), shape=(len(limited), c))
    one = sparse.csc_matrix((np.ones(c), (core.row, np.arange(c))), shape=(r, c))
    dense = sparse.csc_matrix(np.stack([core.cost * money, core.sent.astype(np.float64)]))
    matrix = sparse.vstack([dense, own, one], format="csc")
    low = np.concatenate([[-np.inf, core.floor], np.full(len(limited), -np.inf), core.count])
    high = np.concatenate([[core.budget * money, np.inf], core.segment_budget[limited] * money, core.count])
    return _model(
        matrix, -_core_scale(core) * core.profit, low, high, np.asarray(core.count, dtype=np.float64)[core.row]
    )
