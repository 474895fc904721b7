"""The relaxation of one node of the proof: what is left of it, its Lagrangian, and the Lagrangian's slope. Compiled.

`place` is (first product, last, first family, first row, last row) of the group throughout.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from optimizers.prices.kernels import Array, RowArrays, Tables, polynomial, position

TIGHT = 1e-9
"""Scaled units by which a hard row may be off."""


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def narrow(  # noqa: PLR0912
    tables: Tables, rows: RowArrays, place: Array, mask: Array, low: Array, high: Array
) -> bool:
    """Drop rungs that no choice within the intervals and linear rows can take; False: nothing is left.

    `place` = (first product, last, first family, first row, last row).
    """
    first, _, family, row_first, row_last = place
    count, rungs = mask.shape
    families = low.shape[0]
    for _ in range(3):
        changed = False
        least, most = np.zeros(families), np.zeros(families)
        row_least, row_most = np.zeros(row_last - row_first), np.zeros(row_last - row_first)
        for n in range(count):
            i = first + n
            small, large = np.inf, -np.inf
            for k in range(rungs):
                if mask[n, k]:
                    move = tables.share[i] * tables.log_move[i, k]
                    small, large = min(small, move), max(large, move)
            if small > large:
                return False
            least[tables.family[i] - family] += small
            most[tables.family[i] - family] += large
            for b in range(rows.start[i], rows.start[i + 1]):
                small, large = np.inf, -np.inf
                for k in range(rungs):
                    if mask[n, k]:
                        small, large = min(small, rows.coefficient[b, k]), max(large, rows.coefficient[b, k])
                row_least[rows.row[b] - row_first] += small
                row_most[rows.row[b] - row_first] += large
        for f in range(families):
            low[f], high[f] = max(low[f], least[f] - 1e-15), min(high[f], most[f] + 1e-15)
            if low[f] > high[f] + 1e-12:
                return False
        for n in range(count):
            i = first + n
            f = tables.family[i] - family
            small, large = np.inf, -np.inf
            for k in range(rungs):
                if mask[n, k]:
                    move = tables.share[i] * tables.log_move[i, k]
                    small, large = min(small, move), max(large, move)
            for k in range(rungs):
                if mask[n, k]:
                    move = tables.share[i] * tables.log_move[i, k]
                    if least[f] - small + move > high[f] + 1e-12 or most[f] - large + move < low[f] - 1e-12:
                        mask[n, k] = 0
                        changed = True
            for b in range(rows.start[i], rows.start[i + 1]):
                r = rows.row[b]
                if rows.measured[r] or rows.penalty[r] < np.inf:
                    continue
                small, large = np.inf, -np.inf
                for k in range(rungs):
                    if mask[n, k]:
                        small, large = min(small, rows.coefficient[b, k]), max(large, rows.coefficient[b, k])
                if small > large:
                    return False
                over = rows.high[r] + TIGHT - row_least[r - row_first] + small
                under = rows.low[r] - TIGHT - row_most[r - row_first] + large
                for k in range(rungs):
                    if mask[n, k] and (rows.coefficient[b, k] > over or rows.coefficient[b, k] < under):
                        mask[n, k] = 0
                        changed = True
        if not changed:
            return True
    for n in range(count):  # noqa: SIM110 - numba compiles loops
        if not mask[n].any():  # the last pass may have taken the last rung
            return False
    return True


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def extended(coefficient: Array, t: float) -> float:
    """Polynomial on [-1, 1], continued by its tangents: a rung may be out of reach at an end of the interval."""
    value = polynomial(coefficient, t)
    if -1.0 <= t <= 1.0:
        return float(value)
    edge = -1.0 if t < 0 else 1.0
    rate = 0.0
    for m in range(coefficient.shape[0] - 1, 0, -1):
        rate = rate * edge + m * coefficient[m]
    return float(polynomial(coefficient, edge) + rate * (t - edge))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def rung_values(tables: Tables, worth: Array, place: Array, mask: Array, at: Array, value: Array, units: Array) -> None:
    """Values and units of each rung left (n, K) where the log moves of the families are `at`."""
    first, _, family, _, _ = place
    for n in range(mask.shape[0]):
        i = first + n
        s = at[tables.family[i] - family]
        for k in range(mask.shape[1]):
            if mask[n, k]:
                t = position(tables, i, s - tables.share[i] * tables.log_move[i, k])
                value[n, k] = extended(worth[i, k], t)
                if units.shape[0]:
                    units[n, k] = extended(tables.units[i, k], t)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def lagrangian(
    tables: Tables,
    rows: RowArrays,
    place: Array,
    mask: Array,
    at: Array,
    value: Array,
    units: Array,
    price: Array,
    answer: Array,
    part: Array,
) -> None:
    """Fill `answer` (n,) with the best rungs at the multipliers and `part` (nf,) with each family's Lagrangian."""
    first, _, family, row_first, _ = place
    families = part.shape[0]
    for f in range(families):
        part[f] = -price[f] * at[f]
    asked = np.empty(mask.shape[1])
    for n in range(mask.shape[0]):
        i = first + n
        f = tables.family[i] - family
        pull = price[f] * tables.share[i]
        for k in range(mask.shape[1]):
            asked[k] = value[n, k] + pull * tables.log_move[i, k]
        for b in range(rows.start[i], rows.start[i + 1]):
            toll = price[families + rows.row[b] - row_first]
            if toll == 0.0:
                continue
            if rows.measured[rows.row[b]]:
                for k in range(mask.shape[1]):
                    asked[k] -= toll * rows.coefficient[b, k] * units[n, k]
            else:
                for k in range(mask.shape[1]):
                    asked[k] -= toll * rows.coefficient[b, k]
        best, rung = -np.inf, 0
        for k in range(mask.shape[1]):
            if mask[n, k] and asked[k] > best:
                best, rung = asked[k], k
        answer[n] = rung
        part[f] += best


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def unevenness(
    tables: Tables, rows: RowArrays, dent: Array, place: Array, mask: Array, low: Array, high: Array, price: Array
) -> float:
    """How far the Lagrangian between the ends can rise above them, money."""
    first, _, family, row_first, _ = place
    families = low.shape[0]
    total = 0.0
    for n in range(mask.shape[0]):
        i = first + n
        width = (high[tables.family[i] - family] - low[tables.family[i] - family]) * tables.inverse[i]
        worst = 0.0
        for k in range(mask.shape[1]):
            if mask[n, k]:
                bend = dent[i, k]
                for b in range(rows.start[i], rows.start[i + 1]):
                    if rows.measured[rows.row[b]]:
                        toll = price[families + rows.row[b] - row_first] * rows.coefficient[b, k]
                        bend += max(toll, 0.0) * tables.curve[i, k]
                worst = max(worst, bend)
        total += worst * width * width / 8
    return total


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def row_sides(rows: RowArrays, place: Array, families: int, price: Array) -> float:
    """Σ nu · side of the rows."""
    row_first, row_last = place[3], place[4]
    total = 0.0
    for r in range(row_first, row_last):
        toll = price[families + r - row_first]
        if toll > 0:
            total += toll * rows.high[r]
        elif toll < 0:
            total += toll * rows.low[r]
    return total


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def subgradient(
    tables: Tables, rows: RowArrays, place: Array, at: Array, units: Array, answer: Array, price: Array, found: Array
) -> None:
    """Subgradient of the Lagrangian at the multipliers: fills `found` (nf + m,)."""
    first, last, family, row_first, row_last = place
    families = at.shape[0]
    for f in range(families):
        found[f] = -at[f]
    for r in range(row_first, row_last):
        found[families + r - row_first] = 0.0
    for i in range(first, last):
        k = answer[i - first]
        found[tables.family[i] - family] += tables.share[i] * tables.log_move[i, k]
        for b in range(rows.start[i], rows.start[i + 1]):
            factor = units[i - first] if rows.measured[rows.row[b]] else 1.0
            found[families + rows.row[b] - row_first] += rows.coefficient[b, k] * factor
    for r in range(row_first, row_last):
        n = families + r - row_first
        if price[n] > 0:
            side = rows.high[r]
        elif price[n] < 0:
            side = rows.low[r]
        else:
            side = min(max(found[n], rows.low[r]), rows.high[r])
        found[n] = side - found[n]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def tolled(
    tables: Tables,
    rows: RowArrays,
    place: Array,
    n: int,
    value: Array,
    units: Array,
    price: Array,
    families: int,
    asked: Array,
) -> None:
    """Fill `asked` (K,) with what each rung of the group's product n is worth at the multipliers."""
    i, rungs = place[0] + n, asked.shape[0]
    pull = price[tables.family[i] - place[2]] * tables.share[i]
    for k in range(rungs):
        asked[k] = value[n, k] + pull * tables.log_move[i, k]
    for b in range(rows.start[i], rows.start[i + 1]):
        toll = price[families + rows.row[b] - place[3]]
        if toll == 0.0:
            continue
        if rows.measured[rows.row[b]]:
            for k in range(rungs):
                asked[k] -= toll * rows.coefficient[b, k] * units[n, k]
        else:
            for k in range(rungs):
                asked[k] -= toll * rows.coefficient[b, k]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def screen(  # noqa: PLR0912
    tables: Tables,
    rows: RowArrays,
    place: Array,
    mask: Array,
    low: Array,
    high: Array,
    value: Array,
    units: Array,
    price: Array,
    rest: float,
    target: float,
) -> Any:  # noqa: ANN401
    """Leave out what cannot be worth more than the target: rungs, and the ends of the intervals.

    With one product held at a rung, or S at a point between the ends, the Lagrangian is bounded as it was: by its
    chord. Returns the least share that is left of the rungs or of an interval, and a bound on what was left out.
    """
    count, rungs = mask.shape
    families = low.shape[0]
    asked = np.zeros((2, count, rungs))
    part = np.zeros((2, families))
    top = np.full((2, count), -np.inf)
    for e in range(2):
        for f in range(families):
            part[e, f] = -price[f] * (low[f] if e == 0 else high[f])
        for n in range(count):
            tolled(tables, rows, place, n, value[e], units[e], price, families, asked[e, n])
            for k in range(rungs):
                if mask[n, k]:
                    top[e, n] = max(top[e, n], asked[e, n, k])
            part[e, tables.family[place[0] + n] - place[2]] += top[e, n]
    total = rest
    for f in range(families):
        total += max(part[0, f], part[1, f])
    before, after, left_out = 0, 0, -np.inf
    for n in range(count):
        f = tables.family[place[0] + n] - place[2]
        others = total - max(part[0, f], part[1, f])
        for k in range(rungs):
            if mask[n, k]:
                before += 1
                held = -np.inf
                for e in range(2):
                    held = max(held, part[e, f] - top[e, n] + asked[e, n, k])
                if others + held <= target:
                    mask[n, k] = 0
                    left_out = max(left_out, others + held)
                else:
                    after += 1
    kept = after / max(before, 1)
    for f in range(families):
        others = total - max(part[0, f], part[1, f])
        width = high[f] - low[f]
        down, up = others + part[0, f], others + part[1, f]
        if width < 1e-9 or (down <= target) == (up <= target):
            continue
        cut = width * (target - min(down, up)) / abs(up - down)
        left_out = max(left_out, target)
        kept = min(kept, 1 - cut / width)
        if down <= target:
            low[f] += cut
        else:
            high[f] -= cut
    return kept, left_out
