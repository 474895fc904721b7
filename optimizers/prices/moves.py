"""Local search over the rungs of price families: moves of one product and of two. Compiled.

`state` is (weighted log move of each family (F,), activity of each row (R,)) throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.compiled import compiled
from optimizers.prices.kernels import Array, RowArrays, Tables, evaluate, fines, polynomial, position, violation


@compiled()
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


@compiled()
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


@compiled()
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


@compiled()
def _sum_slopes(tables: Tables, f: int, slope: Array, total: Array) -> None:
    total[f, 0] = 0.0
    total[f, 1] = 0.0
    for j in range(tables.first[f], tables.first[f + 1]):
        total[f, 0] += slope[j, 0]
        total[f, 1] += slope[j, 1]


@compiled()
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
            best, here = 1e-12 * abs(score), choice[i]
            rung = here
            for k in range(rungs):
                if tables.allowed[i, k] and k != here:
                    gain = foreseen(tables, rows, worth, i, k, choice, state, slope, total, hard)
                    if gain > best:
                        best, rung = gain, k
            if rung != here:
                f = tables.family[i]
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


@compiled()
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
            best, other, rung = score - middle + 1e-12 * abs(score), i, k
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
            if other != i:
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


@compiled()
def single_moves(tables: Tables, rows: RowArrays, worth: Array, choice: Array, hard: float, gain: Array) -> None:
    """Fill `gain` (P, K) with what moving each product alone would bring (`foreseen`), nan where it may not."""
    moved, activity = np.zeros(tables.first.shape[0]), np.zeros(rows.low.shape[0])
    state = (moved, activity)
    evaluate(tables, rows, worth, np.int64(0), choice.shape[0], choice, state)
    slope, total = np.zeros((choice.shape[0], 2)), np.zeros((tables.first.shape[0], 2))
    for f in range(tables.first.shape[0] - 1):
        slopes(tables, worth, f, choice, moved, slope)
        _sum_slopes(tables, f, slope, total)
    for i in range(choice.shape[0]):
        for k in range(tables.log_move.shape[1]):
            gain[i, k] = np.nan
            if tables.allowed[i, k] and k != choice[i]:
                gain[i, k] = foreseen(tables, rows, worth, i, k, choice, state, slope, total, hard)


@compiled(nogil=True)
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
            np.int64(60),
        )
