"""Branch and bound over a group of price families: the best choice of rungs, and a proof of how good it is. Compiled.

For multipliers mu (one for each family's weighted log move S) and nu (one for each row) the Lagrangian

    L(S) = Σ_i max_k [value_ik(S) + mu · share_i · x_ik - Σ_r nu_r · a_rik] - mu · S + Σ_r nu_r · side_r

is no smaller than the best choice whose log move is S. Demand is a mixture of exponentials in S, so value_ik is convex
wherever a price is not below cost, L is convex too, and over an interval of S its larger end is the bound; what is not
convex is paid for by its second derivative times the square of the width, over eight. Nodes are an interval of S for
each family and a set of rungs for each product. Multipliers move by subgradient steps towards the value that would
prune the node (Polyak, USSR Computational Mathematics and Mathematical Physics, 1969; deflected as in Camerini, Fratta
and Maffioli, Mathematical Programming Study 3, 1975).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from optimizers.price_kernels import Array, RowArrays, Tables, broken, evaluate, fines, improve, polynomial, position

TIGHT = 1e-9
"""Scaled units by which a hard row may be off."""


class Work(NamedTuple):
    """How much may be spent on one group; no wall time, so that the answer is always the same."""

    nodes: int
    """Nodes to be looked at."""
    first: int
    """Steps of the multipliers at the root."""
    later: int
    """Steps at the other nodes."""


class Nodes(NamedTuple):
    """Open nodes, one a slot."""

    mask: Array
    """(N, n, K) 1 where the rung is left."""
    low: Array
    """(N, nf) interval of each family's log move."""
    high: Array
    price: Array
    """(N, nf + m) multipliers."""
    bound: Array
    """(N,) no choice of the node is worth more; -inf: the slot is free."""


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _narrow(  # noqa: PLR0912
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
    return True


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _extended(coefficient: Array, t: float) -> float:
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
def _ends(tables: Tables, worth: Array, place: Array, mask: Array, at: Array, value: Array, units: Array) -> None:
    """Values and units of each rung left (n, K) where the log moves of the families are `at`."""
    first, _, family, _, _ = place
    for n in range(mask.shape[0]):
        i = first + n
        s = at[tables.family[i] - family]
        for k in range(mask.shape[1]):
            if mask[n, k]:
                t = position(tables, i, s - tables.share[i] * tables.log_move[i, k])
                value[n, k] = _extended(worth[i, k], t)
                if units.shape[0]:
                    units[n, k] = _extended(tables.units[i, k], t)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _lagrangian(
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
def _unevenness(
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
def _sides(rows: RowArrays, place: Array, families: int, price: Array) -> float:
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
def _slack(
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


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def prove(  # noqa: PLR0912, PLR0915
    tables: Tables,
    rows: RowArrays,
    worth: Array,
    dent: Array,
    place: Array,
    start: Array,
    price: Array,
    margin: Array,
    hard: float,
    work: Work,
    slots: int,
    pool: Array,
    pool_value: Array,
) -> Any:  # noqa: ANN401
    """Find the best choice for a group and bound it.

    Args:
        tables: the families.
        rows: the rows; those of the group are row_first … row_last - 1.
        worth: (P, K, M) polynomials of each rung's value.
        dent: (P, K) largest negative second derivative of the value in y, as a positive number.
        place: (first product, last, first family, row_first, row_last).
        start: (n,) a choice to begin with; is filled with the best one.
        price: (nf + m,) multipliers to begin with; is filled with the root's best ones.
        margin: (2,) money, and share of the best value, by which the bound may stay above it. Below 0: every choice
            that is worse than the best one by no more is listed in the pool.
        hard: money per scaled unit at which broken hard rows are counted by the local search.
        work: limits.
        slots: open nodes that are kept at most.
        pool: (Q, n) is filled with choices met on the way that keep the hard rows.
        pool_value: (Q,) is filled with their values; -inf where there is none.

    Returns:
        value of the best choice (-inf: none found), bound, nodes looked at, whether the work was done: nothing better
        than the bound, or below it by `margin`, was left out.
    """
    first, last, family, row_first, row_last = place
    count, rungs = last - first, tables.log_move.shape[1]
    families = tables.family[last - 1] - family + 1
    size = families + row_last - row_first
    nodes = Nodes(
        np.zeros((slots, count, rungs), np.uint8),
        np.zeros((slots, families)),
        np.zeros((slots, families)),
        np.zeros((slots, size)),
        np.full(slots, -np.inf),
    )
    full = np.zeros(tables.family.shape[0], np.int64)
    state = (np.zeros(tables.first.shape[0]), np.zeros(rows.low.shape[0]))
    measured = 0
    for r in range(row_first, row_last):
        measured = max(measured, rows.measured[r])
    values, units = np.zeros((2, count, rungs)), np.zeros((2, count * measured, rungs))
    answers, parts = np.zeros((2, count), np.int64), np.zeros((2, families))
    answer, sold, taken = np.zeros(count, np.int64), np.zeros(count), np.zeros((count, rungs))
    slope, course, here, best_here = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size)
    ends, middle = np.zeros((2, families)), np.zeros(families)
    pooled = 0
    best = -np.inf
    # The start counts as the first incumbent.
    for n in range(count):
        full[first + n] = start[n]
    improve(tables, rows, worth, first, last, row_first, row_last, full, hard, False, 20)
    state[1][row_first:row_last] = 0.0
    money = evaluate(tables, rows, worth, first, last, full, state)
    if not broken(rows, state[1], row_first, row_last, TIGHT):
        best = money - fines(rows, state[1], row_first, row_last, hard)
        for n in range(count):
            start[n] = full[first + n]
            pool[0, n] = full[first + n]
        pool_value[0] = best
        pooled = 1
    for n in range(count):
        for k in range(rungs):
            nodes.mask[0, n, k] = tables.allowed[first + n, k]
    nodes.low[0], nodes.high[0], nodes.price[0], nodes.bound[0] = -1e9, 1e9, price, 1e300
    proven, looked, root, used = -np.inf, 0, True, 1
    while looked < work.nodes:
        slot = int(np.argmax(nodes.bound[:used]))
        target = best + margin[0] + margin[1] * abs(best) if best > -np.inf else -1e300
        if nodes.bound[slot] <= (target if margin[0] < 0 else max(target, proven)):
            break
        looked += 1
        mask, low, high = nodes.mask[slot], nodes.low[slot], nodes.high[slot]
        if not _narrow(tables, rows, place, mask, low, high):
            nodes.bound[slot] = -np.inf
            root = False
            continue
        single = True
        for n in range(count):
            left = 0
            for k in range(rungs):
                if mask[n, k]:
                    left += 1
                    answer[n] = k
            single = single and left == 1
        if single:
            for n in range(count):
                full[first + n] = answer[n]
            state[1][row_first:row_last] = 0.0
            money = evaluate(tables, rows, worth, first, last, full, state)
            nodes.bound[slot] = -np.inf
            if not broken(rows, state[1], row_first, row_last, TIGHT):
                money -= fines(rows, state[1], row_first, row_last, hard)
                proven = max(proven, money)
                if money >= target or money > best:
                    if money > best:
                        best = money
                        start[:] = answer
                    place_in = pooled % pool.shape[0]
                    pool[place_in], pool_value[place_in] = answer, money
                    pooled += 1
            continue
        for e in range(2):
            ends[e] = low if e == 0 else high
            _ends(tables, worth, place, mask, ends[e], values[e], units[e])
        here[:], best_here[:] = nodes.price[slot], nodes.price[slot]
        bound, stale, pace = nodes.bound[slot], 0, 1.0
        fresh = np.inf
        taken[:], course[:] = 0.0, 0.0
        for _ in range(work.first if root else work.later):
            for e in range(2):
                _lagrangian(tables, rows, place, mask, ends[e], values[e], units[e], here, answers[e], parts[e])
            total = _sides(rows, place, families, here)
            total += _unevenness(tables, rows, dent, place, mask, low, high, here)
            for f in range(families):
                end = 1 if parts[1, f] > parts[0, f] else 0
                total += parts[end, f]
                middle[f] = ends[end, f]
            for n in range(count):
                f = tables.family[first + n] - family
                end = 1 if parts[1, f] > parts[0, f] else 0
                answer[n] = answers[end, n]
                for k in range(rungs):
                    taken[n, k] *= 0.9
                taken[n, answer[n]] += 0.1
                if measured:
                    sold[n] = units[end, n, answer[n]]
            _slack(tables, rows, place, middle, sold, answer, here, slope)
            if total < fresh - 1e-9 * abs(fresh):
                stale = 0
            else:
                stale += 1
            if total < fresh:
                fresh = total
                best_here[:] = here
                for n in range(count):
                    full[first + n] = answer[n]
                state[1][row_first:row_last] = 0.0
                money = evaluate(tables, rows, worth, first, last, full, state)
                if not broken(rows, state[1], row_first, row_last, TIGHT):
                    money -= fines(rows, state[1], row_first, row_last, hard)
                    if money > best:
                        best = money
                        start[:] = answer
                        place_in = pooled % pool.shape[0]
                        pool[place_in], pool_value[place_in] = answer, money
                        pooled += 1
                        target = best + margin[0] + margin[1] * abs(best)
            if fresh <= target:
                break
            norm = 0.0
            for d in range(size):
                course[d] = slope[d] + 0.5 * course[d]
                norm += course[d] * course[d]
            if norm < 1e-24:
                break
            if stale >= 6:
                pace *= 0.5
                stale = 0
                here[:], course[:] = best_here, 0.0
                if pace < 0.05:
                    break
                continue
            aim = target if target > -1e299 else fresh - 0.05 * abs(fresh)
            length = pace * (total - aim) / norm
            for d in range(size):
                fresh_price = here[d] - length * course[d]
                if d >= families:
                    r = row_first + d - families
                    if rows.high[r] == np.inf:
                        fresh_price = min(fresh_price, 0.0)
                    if rows.low[r] == -np.inf:
                        fresh_price = max(fresh_price, 0.0)
                    if (fresh_price > 0) != (here[d] > 0) and here[d] != 0.0:
                        fresh_price = 0.0
                    fresh_price = min(max(fresh_price, -rows.penalty[r]), rows.penalty[r])
                here[d] = fresh_price
        bound = min(bound, fresh)
        if root:
            price[:] = best_here
            for n in range(count):
                full[first + n] = answer[n]
            improve(tables, rows, worth, first, last, row_first, row_last, full, hard, True, 40)
            state[1][row_first:row_last] = 0.0
            money = evaluate(tables, rows, worth, first, last, full, state)
            if not broken(rows, state[1], row_first, row_last, TIGHT):
                money -= fines(rows, state[1], row_first, row_last, hard)
                place_in = pooled % pool.shape[0]
                for n in range(count):
                    pool[place_in, n] = full[first + n]
                pool_value[place_in] = money
                pooled += 1
                if money > best:
                    best = money
                    for n in range(count):
                        start[n] = full[first + n]
            root = False
        target = best + margin[0] + margin[1] * abs(best) if best > -np.inf else -1e300
        if bound <= target:
            proven = max(proven, bound)
            nodes.bound[slot] = -np.inf
            continue
        # Where the width of the intervals makes most of the excess, halve the widest; else split a product's rungs.
        cut = -1
        for f in range(families):
            middle[f] = 0.5 * (low[f] + high[f])
        for e in range(2):
            _lagrangian(tables, rows, place, mask, ends[e], values[e], units[e], best_here, answers[e], parts[e])
        _ends(tables, worth, place, mask, middle, values[0], units[0])
        width = _unevenness(tables, rows, dent, place, mask, low, high, best_here)
        largest = 0.0
        for f in range(families):
            end = max(parts[0, f], parts[1, f])
            parts[1, f] = end
        _lagrangian(tables, rows, place, mask, middle, values[0], units[0], best_here, answers[0], parts[0])
        for f in range(families):
            rise = max(parts[1, f] - parts[0, f], 0.0)
            width += rise
            if rise >= largest and high[f] - low[f] > 1e-12:
                largest, cut = rise, f
        split, most = -1, 1e-6
        for n in range(count):
            left, top = 0, 0.0
            for k in range(rungs):
                left += mask[n, k]
                top = max(top, taken[n, k])
            weight = 0.0
            for k in range(rungs):
                weight += taken[n, k]
            if left > 1 and weight - top > most:
                split, most = n, weight - top
        if cut < 0 or (width < 0.5 * (bound - target) and split >= 0):
            cut = -1
            if split < 0:
                for n in range(count):
                    left = 0
                    for k in range(rungs):
                        left += mask[n, k]
                    if left > 1:
                        split = n
        other = -1
        for s in range(used):
            if nodes.bound[s] == -np.inf:
                other = s
                break
        if other < 0 and used < slots:
            other, used = used, used + 1
        nodes.bound[slot] = bound
        if other < 0:
            break
        nodes.mask[other], nodes.low[other], nodes.high[other] = mask, low, high
        nodes.price[slot], nodes.price[other] = best_here, best_here
        nodes.bound[other] = bound
        if cut >= 0:
            high[cut] = middle[cut]
            nodes.low[other, cut] = middle[cut]
            continue
        # One side: the rung that was taken most, if it is an end or today's; else up to the mean rung and beyond.
        most, rung, mean, weight = -1.0, 0, 0.0, 0.0
        for k in range(rungs):
            if mask[split, k]:
                mean += k * taken[split, k]
                weight += taken[split, k]
                if taken[split, k] > most:
                    most, rung = taken[split, k], k
        still = -1
        for k in range(rungs):
            if mask[split, k] and tables.log_move[first + split, k] == 0.0:
                still = k
        alone = still >= 0 and taken[split, still] > 0.1 * weight
        edge = int(np.floor(mean / weight)) if weight > 0 else rung
        below, above = 0, 0
        for k in range(rungs):
            if mask[split, k]:
                below += k <= edge
                above += k > edge
        if alone:
            rung = still
        for k in range(rungs):
            if not mask[split, k]:
                continue
            left_side = k <= edge
            if alone or below == 0 or above == 0:
                left_side = k == rung
            if left_side:
                nodes.mask[other, split, k] = 0
            else:
                mask[split, k] = 0
    top = -np.inf
    for s in range(used):
        top = max(top, nodes.bound[s])
    target = best + margin[0] + margin[1] * abs(best)
    done = top <= max(target, proven) and pooled <= pool.shape[0] and (margin[0] >= 0 or top <= target)
    return best, max(top, proven, best), looked, done
