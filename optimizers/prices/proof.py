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

from optimizers.prices.kernels import Array, RowArrays, Tables, broken, evaluate, fines
from optimizers.prices.moves import improve
from optimizers.prices.relaxation import (
    TIGHT,
    lagrangian,
    narrow,
    row_sides,
    rung_values,
    screen,
    subgradient,
    unevenness,
)


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
        if not narrow(tables, rows, place, mask, low, high):
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
            rung_values(tables, worth, place, mask, ends[e], values[e], units[e])
        here[:], best_here[:] = nodes.price[slot], nodes.price[slot]
        bound, stale, pace = nodes.bound[slot], 0, 1.0
        fresh = np.inf
        taken[:], course[:] = 0.0, 0.0
        for _ in range(work.first if root else work.later):
            for e in range(2):
                lagrangian(tables, rows, place, mask, ends[e], values[e], units[e], here, answers[e], parts[e])
            total = row_sides(rows, place, families, here)
            total += unevenness(tables, rows, dent, place, mask, low, high, here)
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
            subgradient(tables, rows, place, middle, sold, answer, here, slope)
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
        if target > -1e299:
            rest = row_sides(rows, place, families, best_here)
            rest += unevenness(tables, rows, dent, place, mask, low, high, best_here)
            kept, left_out = screen(tables, rows, place, mask, low, high, values, units, best_here, rest, target)
            proven = max(proven, left_out)
            if kept < 0.7:
                nodes.bound[slot] = bound
                nodes.price[slot] = best_here
                continue
            ends[0], ends[1] = low, high
            for e in range(2):
                rung_values(tables, worth, place, mask, ends[e], values[e], units[e])
        # Where the width of the intervals makes most of the excess, halve the widest; else split a product's rungs.
        cut = -1
        for f in range(families):
            middle[f] = 0.5 * (low[f] + high[f])
        for e in range(2):
            lagrangian(tables, rows, place, mask, ends[e], values[e], units[e], best_here, answers[e], parts[e])
        rung_values(tables, worth, place, mask, middle, values[0], units[0])
        width = unevenness(tables, rows, dent, place, mask, low, high, best_here)
        largest = 0.0
        for f in range(families):
            end = max(parts[0, f], parts[1, f])
            parts[1, f] = end
        lagrangian(tables, rows, place, mask, middle, values[0], units[0], best_here, answers[0], parts[0])
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
