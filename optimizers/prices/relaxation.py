"""The relaxation of one node of the proof: what is left of it, its Lagrangian, and the Lagrangian's slope. Compiled.

`place` is (first product, last, first family, first row, last row) of the group throughout.
"""

from __future__ import annotations

import numpy as np

from optimizers.compiled import compiled
from optimizers.prices.kernels import TIGHT, Array, RowArrays, Tables, polynomial, position

SWEEPS = 3
"""How often dropped rungs are let drop others."""


@compiled()
def narrow(tables: Tables, rows: RowArrays, place: Array, mask: Array, low: Array, high: Array) -> bool:
    """Drop rungs that no choice within the intervals and linear rows can take; False: nothing is left."""
    families = low.shape[0]
    own_rows = place[4] - place[3]
    least, most = np.zeros(families), np.zeros(families)
    row_least, row_most = np.zeros(own_rows), np.zeros(own_rows)
    for _ in range(SWEEPS):
        if not _reaches(tables, rows, place, mask, least, most, row_least, row_most):
            return False
        for f in range(families):
            low[f], high[f] = max(low[f], least[f] - 1e-15), min(high[f], most[f] + 1e-15)
            if low[f] > high[f] + 1e-12:
                return False
        changed = False
        for n in range(mask.shape[0]):
            changed |= _drop_by_move(tables, place, mask, n, low, high, least, most)
            if not mask[n].any():
                return False
            changed |= _drop_by_rows(rows, place, mask, n, row_least, row_most)
        if not changed:
            return True
    for n in range(mask.shape[0]):  # noqa: SIM110 - numba compiles loops
        if not mask[n].any():  # the last sweep may have taken the last rung
            return False
    return True


@compiled()
def _reaches(
    tables: Tables,
    rows: RowArrays,
    place: Array,
    mask: Array,
    least: Array,
    most: Array,
    row_least: Array,
    row_most: Array,
) -> bool:
    """Fill in how far log moves (nf,) and rows (m,) can go; False: a product has no rung left."""
    first, _, family, row_first, _ = place
    least[:], most[:], row_least[:], row_most[:] = 0.0, 0.0, 0.0, 0.0
    for n in range(mask.shape[0]):
        i = first + n
        small, large = _span(tables.log_move[i], mask[n])
        if small > large:
            return False
        least[tables.family[i] - family] += tables.share[i] * small
        most[tables.family[i] - family] += tables.share[i] * large
        for b in range(rows.start[i], rows.start[i + 1]):
            small, large = _span(rows.coefficient[b], mask[n])
            row_least[rows.row[b] - row_first] += small
            row_most[rows.row[b] - row_first] += large
    return True


@compiled(inline="always")
def _span(coefficient: Array, left: Array) -> tuple[float, float]:
    """Least and largest coefficient of the rungs left."""
    small, large = np.inf, -np.inf
    for k in range(left.shape[0]):
        if left[k]:
            small, large = min(small, coefficient[k]), max(large, coefficient[k])
    return small, large


@compiled()
def _drop_by_move(
    tables: Tables, place: Array, mask: Array, n: int, low: Array, high: Array, least: Array, most: Array
) -> bool:
    """Drop a product's rungs that take the family's log move out of its interval whatever the others do."""
    i = place[0] + n
    f = tables.family[i] - place[2]
    small, large = _span(tables.log_move[i], mask[n])
    small, large = tables.share[i] * small, tables.share[i] * large
    changed = False
    for k in range(mask.shape[1]):
        if mask[n, k]:
            move = tables.share[i] * tables.log_move[i, k]
            if least[f] - small + move > high[f] + 1e-12 or most[f] - large + move < low[f] - 1e-12:
                mask[n, k] = 0
                changed = True
    return changed


@compiled()
def _drop_by_rows(rows: RowArrays, place: Array, mask: Array, n: int, row_least: Array, row_most: Array) -> bool:
    """Drop a product's rungs that break a hard linear row whatever the others do."""
    i, row_first = place[0] + n, place[3]
    changed = False
    for b in range(rows.start[i], rows.start[i + 1]):
        r = rows.row[b]
        if rows.measured[r] or rows.penalty[r] < np.inf:
            continue
        small, large = _span(rows.coefficient[b], mask[n])
        over = rows.high[r] + TIGHT - row_least[r - row_first] + small
        under = rows.low[r] - TIGHT - row_most[r - row_first] + large
        for k in range(mask.shape[1]):
            if mask[n, k] and (rows.coefficient[b, k] > over or rows.coefficient[b, k] < under):
                mask[n, k] = 0
                changed = True
    return changed


@compiled()
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


@compiled()
def rung_values(tables: Tables, worth: Array, place: Array, mask: Array, at: Array, value: Array, units: Array) -> None:
    """Fill in `value` and `units` (n, K) of each rung left where the log moves of the families are `at` (nf,)."""
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


@compiled(inline="always")
def tolled(
    tables: Tables, rows: RowArrays, place: Array, n: int, value: Array, units: Array, price: Array, asked: Array
) -> None:
    """Fill `asked` (K,) with what each rung of the group's product n is worth at multipliers."""
    i, rungs = place[0] + n, asked.shape[0]
    pull = price[tables.family[i] - place[2]] * tables.share[i]
    first_toll = price.shape[0] - place[4]
    for k in range(rungs):
        asked[k] = value[n, k] + pull * tables.log_move[i, k]
    for b in range(rows.start[i], rows.start[i + 1]):
        toll = price[first_toll + rows.row[b]]
        if toll == 0.0:
            continue
        if rows.measured[rows.row[b]]:
            for k in range(rungs):
                asked[k] -= toll * rows.coefficient[b, k] * units[n, k]
        else:
            for k in range(rungs):
                asked[k] -= toll * rows.coefficient[b, k]


@compiled()
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
    """Fill `answer` (n,) with the best rungs at multipliers and `part` (nf,) with each family's Lagrangian."""
    first, _, family, _, _ = place
    for f in range(part.shape[0]):
        part[f] = -price[f] * at[f]
    asked = np.empty(mask.shape[1])
    for n in range(mask.shape[0]):
        tolled(tables, rows, place, n, value, units, price, asked)
        best, rung = -np.inf, 0
        for k in range(mask.shape[1]):
            if mask[n, k] and asked[k] > best:
                best, rung = asked[k], k
        answer[n] = rung
        part[tables.family[first + n] - family] += best


@compiled()
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


@compiled(inline="always")
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


@compiled()
def subgradient(
    tables: Tables, rows: RowArrays, place: Array, at: Array, units: Array, answer: Array, price: Array, found: Array
) -> None:
    """Fill `found` (nf + m,) with a subgradient of the Lagrangian at the multipliers."""
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
        found[n] = _side(rows.low[r], rows.high[r], price[n], found[n]) - found[n]


@compiled(inline="always")
def _side(low: float, high: float, toll: float, activity: float) -> float:
    """The side of a row that its multiplier presses on; at 0 the activity itself, or the side that it breaks."""
    if toll > 0:
        return high
    if toll < 0:
        return low
    return min(max(activity, low), high)


@compiled(inline="always")
def larger_ends(parts: Array) -> float:
    """Σ over families of the larger of the Lagrangians `parts` (2, nf) at the ends."""
    total = 0.0
    for f in range(parts.shape[1]):
        total += max(parts[0, f], parts[1, f])
    return total
