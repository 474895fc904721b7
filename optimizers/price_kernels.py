"""Compiled loops over the rungs of price families. One thread, fixed order of summation: same input, same bits.

A product's value at a rung depends on the rest of its family through one number only, the family's weighted log move
S: y_i = (S - share_i · x_i) · inverse_i. So a family of any size is a choice of rungs and one scalar, and a move of one
product is evaluated exactly by n polynomials in y.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

# numba compiles for the types it meets, so array parameters are not annotated further.
Array = Any


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


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def polynomial(coefficient: Array, t: float) -> float:
    """Horner's rule."""
    value = coefficient[-1]
    for m in range(coefficient.shape[0] - 2, -1, -1):
        value = value * t + coefficient[m]
    return float(value)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def position(tables: Tables, i: int, rest: float) -> float:
    """Where product i stands on its table, t, when the rest of its family has moved by `rest` = S - share · x."""
    return float((rest * tables.inverse[i] - tables.middle[i]) * tables.stretch[i])


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def violation(low: float, high: float, activity: float) -> float:
    """How far an activity lies outside [low, high]."""
    return max(activity - high, low - activity, 0.0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def spread(tables: Tables, first: int, last: int, choice: Array, moved: Array) -> None:
    """Fill `moved` (F,) with the weighted log move S of the families of products first … last - 1."""
    for i in range(first, last):
        moved[tables.family[i]] = 0.0
    for i in range(first, last):
        moved[tables.family[i]] += tables.share[i] * tables.log_move[i, choice[i]]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
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


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def fines(rows: RowArrays, activity: Array, first: int, last: int, hard: float) -> float:
    """Money that the violations of rows first … last - 1 cost, hard ones at `hard` per scaled unit."""
    total = 0.0
    for r in range(first, last):
        total += min(rows.penalty[r], hard) * violation(rows.low[r], rows.high[r], activity[r])
    return total


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def broken(rows: RowArrays, activity: Array, first: int, last: int, tolerance: float) -> bool:
    """Whether a hard row is violated by more than the tolerance."""
    for r in range(first, last):
        if rows.penalty[r] == np.inf and violation(rows.low[r], rows.high[r], activity[r]) > tolerance:
            return True
    return False


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def slopes(tables: Tables, worth: Array, f: int, choice: Array, moved: Array, slope: Array) -> None:
    """Fill `slope` (P, 2) for family f with first and second derivative of each product's value in S."""
    for j in range(tables.first[f], tables.first[f + 1]):
        k = choice[j]
        t = position(tables, j, moved[f] - tables.share[j] * tables.log_move[j, k])
        rate = tables.inverse[j] * tables.stretch[j]
        one, second = 0.0, 0.0
        for m in range(worth.shape[2] - 1, 0, -1):
            one = one * t + m * worth[j, k, m]
        slope[j, 0] = one * rate
        for m in range(worth.shape[2] - 1, 1, -1):
            second = second * t + m * (m - 1) * worth[j, k, m]
        slope[j, 1] = second * rate * rate


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def shift(
    tables: Tables, rows: RowArrays, worth: Array, i: int, k: int, choice: Array, state: Array, value: Array
) -> float:
    """Move product i to rung k, bring `state` and `value` (P,) of its family in step, and return the gain."""
    moved, activity = state
    f = tables.family[i]
    first, last = tables.first[f], tables.first[f + 1]
    gain = 0.0
    for sign in (-1.0, 1.0):
        if sign > 0:
            moved[f] += tables.share[i] * (tables.log_move[i, k] - tables.log_move[i, choice[i]])
            choice[i] = k
        for j in range(first, last):
            here = choice[j]
            alone = tables.inverse[j] == 0.0
            if alone and j != i:
                continue
            t = position(tables, j, moved[f] - tables.share[j] * tables.log_move[j, here])
            if sign > 0:
                fresh = polynomial(worth[j, here], t)
                gain += fresh - value[j]
                value[j] = fresh
            for b in range(rows.start[j], rows.start[j + 1]):
                r = rows.row[b]
                if rows.measured[r]:
                    activity[r] += sign * rows.coefficient[b, here] * polynomial(tables.units[j, here], t)
                elif j == i:
                    activity[r] += sign * rows.coefficient[b, here]
    return gain


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def foreseen(
    tables: Tables,
    rows: RowArrays,
    worth: Array,
    i: int,
    k: int,
    choice: Array,
    state: Array,
    slope: Array,
    total: Array,
    hard: float,
) -> float:
    """Gain of moving product i to rung k: its own and linear rows exactly, its family's to second order."""
    moved, activity = state
    here = choice[i]
    f = tables.family[i]
    step = tables.share[i] * (tables.log_move[i, k] - tables.log_move[i, here])
    t = position(tables, i, moved[f] - tables.share[i] * tables.log_move[i, here])
    gain = polynomial(worth[i, k], t) - polynomial(worth[i, here], t)
    gain += (total[f, 0] - slope[i, 0]) * step + 0.5 * (total[f, 1] - slope[i, 1]) * step * step
    for b in range(rows.start[i], rows.start[i + 1]):
        r = rows.row[b]
        change = rows.coefficient[b, k] - rows.coefficient[b, here]
        if rows.measured[r]:
            change = rows.coefficient[b, k] * polynomial(tables.units[i, k], t)
            change -= rows.coefficient[b, here] * polynomial(tables.units[i, here], t)
        fine = min(rows.penalty[r], hard)
        before = violation(rows.low[r], rows.high[r], activity[r])
        gain -= fine * (violation(rows.low[r], rows.high[r], activity[r] + change) - before)
    return float(gain)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _sum_slopes(tables: Tables, f: int, slope: Array, total: Array) -> None:
    total[f, 0] = 0.0
    total[f, 1] = 0.0
    for j in range(tables.first[f], tables.first[f + 1]):
        total[f, 0] += slope[j, 0]
        total[f, 1] += slope[j, 1]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def improve(  # noqa: PLR0912 - one loop over moves; calls cost more than they tell
    tables: Tables,
    rows: RowArrays,
    worth: Array,
    first: int,
    last: int,
    row_first: int,
    row_last: int,
    choice: Array,
    hard: float,
    pairs: bool,
    sweeps: int,
) -> float:
    """Improve the choice for products first … last - 1 (whole families) by moves of one product and of two.

    Returns:
        value less fines of rows row_first … row_last - 1.
    """
    moved = np.zeros(tables.first.shape[0])
    activity = np.zeros(rows.low.shape[0])
    state = (moved, activity)
    evaluate(tables, rows, worth, first, last, choice, state)
    value = np.zeros(tables.family.shape[0])
    slope = np.zeros((tables.family.shape[0], 2))
    total = np.zeros((tables.first.shape[0], 2))
    for f in range(tables.family[first], tables.family[last - 1] + 1):
        slopes(tables, worth, f, choice, moved, slope)
        _sum_slopes(tables, f, slope, total)
    money = 0.0
    for i in range(first, last):
        f = tables.family[i]
        t = position(tables, i, moved[f] - tables.share[i] * tables.log_move[i, choice[i]])
        value[i] = polynomial(worth[i, choice[i]], t)
        money += value[i]
    score = money - fines(rows, activity, row_first, row_last, hard)
    rungs = tables.log_move.shape[1]
    for _ in range(sweeps):
        before = score
        for i in range(first, last):
            best, rung = 1e-12 * abs(score), -1
            for k in range(rungs):
                if tables.allowed[i, k] and k != choice[i]:
                    gain = foreseen(tables, rows, worth, i, k, choice, state, slope, total, hard)
                    if gain > best:
                        best, rung = gain, k
            if rung >= 0:
                here, f = choice[i], tables.family[i]
                gain = shift(tables, rows, worth, i, rung, choice, state, value)
                after = money + gain - fines(rows, activity, row_first, row_last, hard)
                if after > score:
                    money, score = money + gain, after
                    slopes(tables, worth, f, choice, moved, slope)
                    _sum_slopes(tables, f, slope, total)
                else:
                    shift(tables, rows, worth, i, here, choice, state, value)
        if score > before:
            continue
        if not pairs:
            break
        money, score = _pairs(
            tables,
            rows,
            worth,
            first,
            last,
            row_first,
            row_last,
            choice,
            hard,
            state,
            value,
            slope,
            total,
            money,
            score,
        )
        if score <= before:
            break
    return float(score)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _pairs(  # noqa: PLR0912
    tables: Tables,
    rows: RowArrays,
    worth: Array,
    first: int,
    last: int,
    row_first: int,
    row_last: int,
    choice: Array,
    hard: float,
    state: Array,
    value: Array,
    slope: Array,
    total: Array,
    money: float,
    score: float,
) -> Any:  # noqa: ANN401
    """Try to move two products at once, each to one of its nearer rungs or back to where log_move is 0."""
    rungs = tables.log_move.shape[1]
    for i in range(first, last):
        f = tables.family[i]
        for k in range(rungs):
            here = choice[i]
            near = abs(k - here) <= 2 or tables.log_move[i, k] == 0.0 or tables.log_move[i, here] == 0.0
            if k == here or not near or not tables.allowed[i, k]:
                continue
            one = shift(tables, rows, worth, i, k, choice, state, value)
            slopes(tables, worth, f, choice, state[0], slope)
            _sum_slopes(tables, f, slope, total)
            middle = money + one - fines(rows, state[1], row_first, row_last, hard)
            best, other, rung = score - middle + 1e-12 * abs(score), -1, -1
            for j in range(first, last):
                if j == i:
                    continue
                for h in range(rungs):
                    if h == choice[j] or not tables.allowed[j, h]:
                        continue
                    if abs(h - choice[j]) > 2 and tables.log_move[j, h] != 0.0:
                        continue
                    gain = foreseen(tables, rows, worth, j, h, choice, state, slope, total, hard)
                    if gain > best:
                        best, other, rung = gain, j, h
            kept = False
            if other >= 0:
                back = choice[other]
                two = shift(tables, rows, worth, other, rung, choice, state, value)
                after = money + one + two - fines(rows, state[1], row_first, row_last, hard)
                if after > score:
                    kept = True
                    money, score = money + one + two, after
                else:
                    shift(tables, rows, worth, other, back, choice, state, value)
            if not kept:
                shift(tables, rows, worth, i, here, choice, state, value)
            slopes(tables, worth, f, choice, state[0], slope)
            _sum_slopes(tables, f, slope, total)
            if kept:
                g = tables.family[other]
                slopes(tables, worth, g, choice, state[0], slope)
                _sum_slopes(tables, g, slope, total)
    return money, score


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def single_moves(tables: Tables, rows: RowArrays, worth: Array, choice: Array, hard: float, gain: Array) -> None:
    """Fill `gain` (P, K) with what moving each product alone would bring (`foreseen`), nan where it may not."""
    moved, activity = np.zeros(tables.first.shape[0]), np.zeros(rows.low.shape[0])
    state = (moved, activity)
    evaluate(tables, rows, worth, 0, choice.shape[0], choice, state)
    slope, total = np.zeros((choice.shape[0], 2)), np.zeros((tables.first.shape[0], 2))
    for f in range(tables.first.shape[0] - 1):
        slopes(tables, worth, f, choice, moved, slope)
        _sum_slopes(tables, f, slope, total)
    for i in range(choice.shape[0]):
        for k in range(tables.log_move.shape[1]):
            gain[i, k] = np.nan
            if tables.allowed[i, k] and k != choice[i]:
                gain[i, k] = foreseen(tables, rows, worth, i, k, choice, state, slope, total, hard)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def improve_groups(
    tables: Tables,
    rows: RowArrays,
    worth: Array,
    groups: Array,
    row_first: Array,
    which: Array,
    choice: Array,
    hard: Array,
    pairs: bool,
    score: Array,
) -> None:
    """Improve some groups (n,) in place; `score` (G,) is their value less fines."""
    for n in range(which.shape[0]):
        g = which[n]
        score[g] = improve(
            tables,
            rows,
            worth,
            groups[g],
            groups[g + 1],
            row_first[g],
            row_first[g + 1],
            choice,
            hard[g],
            pairs,
            60,
        )


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
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
