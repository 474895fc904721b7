"""What it brings, and which rule it breaks, to move one product while all others stay. Compiled, but for quantiles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimizers.compiled import compiled
from optimizers.prices.kernels import TIGHT, Array, RowArrays, Tables, evaluate, polynomial, position, violation
from optimizers.prices.model import own_move, risk_value
from optimizers.prices.problem import PriceProblem
from optimizers.prices.system import PriceSystem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def weigh_by_draws(problem: PriceProblem, system: PriceSystem, choice: Ints) -> Floats:
    """(P, K) what each rung of each product of the system brings by all draws, fines apart, the others at `choice`."""
    tables, rungs = system.tables, system.margin.shape[1]
    found = np.zeros((len(choice), rungs))
    each = np.arange(len(choice))
    held = tables.share * tables.log_move[each, choice]
    moved = np.bincount(tables.family, weights=held)
    for i in range(len(choice)):
        family = tables.family[i]
        members = np.arange(tables.first[family], tables.first[family + 1])
        taken = np.repeat(choice[members][None, :], rungs + 1, axis=0)
        taken[:-1, members == i] = np.arange(rungs)[:, None]
        shift = tables.share[i] * tables.log_move[i, taken[:, members == i]] - held[i]
        others = moved[family] + shift - tables.share[members] * tables.log_move[members, taken]
        rest = others * tables.inverse[members]
        value = _values(problem, system, members, taken, rest).sum(axis=1)
        found[i] = value[:-1] - value[-1]
    return found


def _values(problem: PriceProblem, system: PriceSystem, members: Ints, taken: Ints, rest: Floats) -> Floats:
    """(N, n) values of members' rungs (N, n) where the rest of their family moved by `rest` (N, n)."""
    inside = system.order[members]
    level = problem.base_scale[:, inside] * problem.base_units[inside]
    today = level * (problem.current_price[inside] - problem.unit_cost[inside])
    power = problem.own[:, None, inside] * own_move(problem, system.tables.log_move[members, taken])
    units = level[:, None] * np.exp(power + problem.cross[:, None, inside] * rest)
    return risk_value(units * system.margin[members, taken] - today[:, None], problem.risk)


@compiled()
def weigh_moves(
    tables: Tables, rows: RowArrays, worth: Array, choice: Array, gain: Array, fine: Array, broken: Array
) -> None:
    """Fill in what each move brings and breaks.

    Args:
        tables: the families.
        rows: all rows over them.
        worth: (P, K, M) polynomials of each rung's value.
        choice: (P,) rungs of all products.
        gain: (P, K) is filled with money by the tables; 0 where there is no such rung.
        fine: (P, K) is filled with money by which the fines of soft rows rise.
        broken: (P, K) is filled with the hard row that is broken most, beyond where it stands; -1: none is.
    """
    moved, activity = np.zeros(tables.first.shape[0]), np.zeros(rows.low.shape[0])
    evaluate(tables, rows, worth, np.int64(0), choice.shape[0], choice, (moved, activity))
    change = np.zeros(rows.low.shape[0])
    for i in range(choice.shape[0]):
        here = choice[i]
        for k in range(tables.log_move.shape[1]):
            gain[i, k], fine[i, k], broken[i, k] = 0.0, 0.0, -1
            if not tables.allowed[i, k] or k == here:
                continue
            for sign in (-1.0, 1.0):
                choice[i] = k if sign > 0 else here
                gain[i, k] += sign * _add(tables, rows, worth, choice, i, here, moved, sign, change)
            choice[i] = here
            fine[i, k], broken[i, k] = _settle(tables, rows, i, activity, change)


@compiled()
def _add(
    tables: Tables,
    rows: RowArrays,
    worth: Array,
    choice: Array,
    i: int,
    planned: int,
    moved: Array,
    sign: float,
    change: Array,
) -> float:
    """Value of all that a move of product i concerns, adding what it does to the rows, times `sign`, to `change` (R,).

    `moved` (F,) are the log moves of the families where product i takes the rung `planned`.
    """
    f = tables.family[i]
    total = moved[f] + tables.share[i] * (tables.log_move[i, choice[i]] - tables.log_move[i, planned])
    value = 0.0
    for j in range(tables.first[f], tables.first[f + 1]):
        if j != i and tables.inverse[j] == 0.0:
            continue
        k = choice[j]
        t = position(tables, j, total - tables.share[j] * tables.log_move[j, k])
        value += polynomial(worth[j, k], t)
        for b in range(rows.start[j], rows.start[j + 1]):
            if rows.measured[rows.row[b]]:
                change[rows.row[b]] += sign * rows.coefficient[b, k] * polynomial(tables.units[j, k], t)
            elif j == i:
                change[rows.row[b]] += sign * rows.coefficient[b, k]
    return value


@compiled()
def _settle(tables: Tables, rows: RowArrays, i: int, activity: Array, change: Array) -> tuple[float, int]:
    """Fines by which a change of the rows (R,) is dearer, and the hard row that it breaks most; `change` is cleared."""
    f = tables.family[i]
    fine, worst, most = 0.0, -1, 10 * TIGHT
    for j in range(tables.first[f], tables.first[f + 1]):
        for b in range(rows.start[j], rows.start[j + 1]):
            r = rows.row[b]
            if change[r] == 0.0:
                continue
            before = violation(rows.low[r], rows.high[r], activity[r])
            more = violation(rows.low[r], rows.high[r], activity[r] + change[r]) - before
            change[r] = 0.0
            if rows.penalty[r] < np.inf:
                fine += rows.penalty[r] * more
            elif more > most:
                worst, most = r, more
    return fine, worst
