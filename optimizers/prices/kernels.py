"""Compiled loops over the rungs of price families. One thread, fixed order of summation: same input, same bits.

A product's value at a rung depends on the rest of its family through one number only, the family's weighted log move
S: y_i = (S - share_i · x_i) · inverse_i. So a family of any size is a choice of rungs and one scalar, and a move of one
product is evaluated exactly by n polynomials in y.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from optimizers.compiled import compiled

# numba compiles for the types it meets, so array parameters are not annotated further. It takes a constant for a type
# of its own and compiles once more for each: `np.int64(1)` stands where an argument would be one.
Array = Any

TIGHT = 1e-9
"""Scaled units by which a hard row may be off."""


class Tables(NamedTuple):
    """P products in the order of their families, K rungs, polynomials of M coefficients in t, -1 <= t <= 1."""

    family: Array
    """(P,) family."""
    first: Array
    """(F + 1,) first product of each family."""
    share: Array
    """(P,) share of the family's revenue today."""
    inverse: Array
    """(P,) 1 / (1 - share); 0 where there is no rest."""
    log_move: Array
    """(P, K) log(price / today's price)."""
    allowed: Array
    """(P, K) 1 where the rung may be taken."""
    middle: Array
    """(P,) y at t = 0."""
    stretch: Array
    """(P,) t per unit of y."""
    units: Array
    """(P, K, M) expected units."""
    curve: Array
    """(P, K) largest second derivative of the units in y."""


class RowArrays(NamedTuple):
    """R rows in scaled units, coefficients by product in blocks of K."""

    start: Array
    """(P + 1,) first block of each product."""
    row: Array
    """(B,) row of each block."""
    coefficient: Array
    """(B, K)"""
    low: Array
    high: Array
    penalty: Array
    """(R,) money per scaled unit of violation; infinite where the row is hard."""
    measured: Array
    """(R,) 1: coefficients multiply expected units, 0: they are added."""


@compiled()
def copy_line(found: Array, into: Array) -> None:
    """Copy (n,) numbers.

    Loops, as an assignment of slices makes room for a copy and checks shapes, with a sentence for the refusal, in
    every caller: a fifth of the time that compiling takes.
    """
    for n in range(into.shape[0]):
        into[n] = found[n]


@compiled()
def copy_table(found: Array, into: Array) -> None:
    """Copy (n, m) numbers."""
    for n in range(into.shape[0]):
        for m in range(into.shape[1]):
            into[n, m] = found[n, m]


@compiled()
def polynomial(coefficient: Array, t: float) -> float:
    """Horner's rule."""
    value = coefficient[-1]
    for m in range(coefficient.shape[0] - 2, -1, -1):
        value = value * t + coefficient[m]
    return float(value)


@compiled()
def position(tables: Tables, i: int, rest: float) -> float:
    """Where product i stands on its table, t, when the rest of its family has moved by `rest` = S - share · x."""
    return float((rest * tables.inverse[i] - tables.middle[i]) * tables.stretch[i])


@compiled()
def violation(low: float, high: float, activity: float) -> float:
    """How far an activity lies outside [low, high]."""
    return max(activity - high, low - activity, 0.0)


@compiled()
def spread(tables: Tables, first: int, last: int, choice: Array, moved: Array) -> None:
    """Fill `moved` (F,) with the weighted log move S of the families of products first … last - 1."""
    for i in range(first, last):
        moved[tables.family[i]] = 0.0
    for i in range(first, last):
        moved[tables.family[i]] += tables.share[i] * tables.log_move[i, choice[i]]


@compiled()
def evaluate(
    tables: Tables, rows: RowArrays, worth: Array, first: int, last: int, choice: Array, state: Array
) -> float:
    """Value of the choice for products first … last - 1, filling `state` = (moved (F,), activity (R,)).

    Activities of the rows that occur are added up over these products only; the caller zeroes them.
    """
    moved, activity = state
    spread(tables, first, last, choice, moved)
    value = 0.0
    for i in range(first, last):
        k = choice[i]
        t = position(tables, i, moved[tables.family[i]] - tables.share[i] * tables.log_move[i, k])
        value += polynomial(worth[i, k], t)
        for b in range(rows.start[i], rows.start[i + 1]):
            r = rows.row[b]
            factor = polynomial(tables.units[i, k], t) if rows.measured[r] else 1.0
            activity[r] += rows.coefficient[b, k] * factor
    return value


@compiled()
def fines(rows: RowArrays, activity: Array, first: int, last: int, hard: float) -> float:
    """Money that the violations of rows first … last - 1 cost, hard ones at `hard` per scaled unit."""
    total = 0.0
    for r in range(first, last):
        total += min(rows.penalty[r], hard) * violation(rows.low[r], rows.high[r], activity[r])
    return total


@compiled()
def broken(rows: RowArrays, activity: Array, first: int, last: int, tolerance: float) -> bool:
    """Whether a hard row is violated by more than the tolerance."""
    for r in range(first, last):
        if rows.penalty[r] == np.inf and violation(rows.low[r], rows.high[r], activity[r]) > tolerance:
            return True
    return False


@compiled()
def measure_columns(
    tables: Tables,
    rows: RowArrays,
    coupling: RowArrays,
    worth: Array,
    groups: Array,
    row_first: Array,
    which: Array,
    start: Array,
    rungs: Array,
    tolerance: float,
    value: Array,
    activity: Array,
    kept: Array,
) -> None:
    """What columns bring: choices of rungs for one group each.

    Args:
        tables: the families.
        rows: the groups' own rows.
        coupling: the rows between groups.
        worth: (P, K, M) values, unpriced.
        groups: (G + 1,) first product.
        row_first: (G + 1,) first own row.
        which: (N,) group of each column.
        start: (N,) where each column's rungs begin in `rungs`.
        rungs: the columns' rungs, one after the other.
        tolerance: scaled units by which a hard row may be off.
        value: (N,) is filled with value less fines of the own soft rows.
        activity: (N, R) is filled with the activities of the coupling rows.
        kept: (N,) is filled with 1 where the own hard rows are kept.
    """
    moved, own = np.zeros(tables.first.shape[0]), np.zeros(rows.low.shape[0])
    choice = np.zeros(worth.shape[0], np.int64)
    nothing = np.zeros((worth.shape[0], worth.shape[1], 1))
    for c in range(which.shape[0]):
        g = which[c]
        first, last = groups[g], groups[g + 1]
        for i in range(first, last):
            choice[i] = rungs[start[c] + i - first]
        activity[c] = 0.0
        own[row_first[g] : row_first[g + 1]] = 0.0
        value[c] = evaluate(tables, rows, worth, first, last, choice, (moved, own))
        evaluate(tables, coupling, nothing, first, last, choice, (moved, activity[c]))
        for r in range(row_first[g], row_first[g + 1]):
            if rows.penalty[r] < np.inf:
                value[c] -= rows.penalty[r] * violation(rows.low[r], rows.high[r], own[r])
        kept[c] = 0 if broken(rows, own, row_first[g], row_first[g + 1], tolerance) else 1
