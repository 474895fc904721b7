"""Try every choice of a small node of the proof, one product after the other. Compiled.

A choice that has been begun is given up where no rest of it keeps the hard rows or the intervals, or where the
Lagrangian, bounded by its chord with the rungs chosen so far, does not reach the target.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from optimizers.compiled import compiled
from optimizers.prices.kernels import TIGHT, Array, RowArrays, Tables, copy_table
from optimizers.prices.nodes import BEST, LEFT_OUT, POOLED, Desk, Ledger, Question, appraise, note, target_of


class Reach(NamedTuple):
    """How far the unfinished choice can still go."""

    rows: Array
    """(m, 2) least and most of each row."""
    moves: Array
    """(nf, 2) least and most log move of each family."""
    parts: Array
    """(2, nf) bound of each family's Lagrangian at the ends."""


@compiled()
def fill_ranges(
    tables: Tables, rows: RowArrays, place: Array, low: Array, high: Array, units: Array, least: Array, most: Array
) -> None:
    """Fill in least and most (B, K) that each rung can add to each row: measured rows by the units between the ends.

    Units are convex in S, so that they are largest at an end, and lie no further below the lesser end than their
    second derivative permits.
    """
    block = rows.start[place[0]]
    for i in range(place[0], place[1]):
        n, f = i - place[0], tables.family[i] - place[2]
        width = (high[f] - low[f]) * tables.inverse[i]
        for b in range(rows.start[i], rows.start[i + 1]):
            for k in range(rows.coefficient.shape[1]):
                factor = rows.coefficient[b, k]
                least[b - block, k] = most[b - block, k] = factor
                if rows.measured[rows.row[b]]:
                    few, many = min(units[0, n, k], units[1, n, k]), max(units[0, n, k], units[1, n, k])
                    few = max(few - tables.curve[i, k] * width * width / 8, 0.0)
                    least[b - block, k] = min(factor * few, factor * many)
                    most[b - block, k] = max(factor * few, factor * many)


@compiled()
def _ends(one: Array, other: Array, left: Array) -> tuple[float, float]:
    """Least of one and most of the other (K,) over the rungs left."""
    small, large = np.inf, -np.inf
    for k in range(left.shape[0]):
        if left[k]:
            small, large = min(small, one[k]), max(large, other[k])
    return small, large


@compiled()
def row_reach(rows: RowArrays, place: Array, mask: Array, least: Array, most: Array, reach: Array) -> None:
    """Fill in least and most of each row (m, 2) over the rungs left."""
    block = rows.start[place[0]]
    reach[:] = 0.0
    for i in range(place[0], place[1]):
        for b in range(rows.start[i], rows.start[i + 1]):
            small, large = _ends(least[b - block], most[b - block], mask[i - place[0]])
            reach[rows.row[b] - place[3], 0] += small
            reach[rows.row[b] - place[3], 1] += large


@compiled()
def drop_by_ranges(rows: RowArrays, place: Array, mask: Array, least: Array, most: Array, reach: Array) -> bool:
    """Drop rungs that break a hard row whatever the others do; False: nothing is left. `reach` is that of the rows."""
    block = rows.start[place[0]]
    for i in range(place[0], place[1]):
        n = i - place[0]
        for b in range(rows.start[i], rows.start[i + 1]):
            r = rows.row[b]
            if rows.penalty[r] < np.inf:
                continue
            small, large = _ends(least[b - block], most[b - block], mask[n])
            over = rows.high[r] + TIGHT - reach[r - place[3], 0] + small
            under = rows.low[r] - TIGHT - reach[r - place[3], 1] + large
            for k in range(mask.shape[1]):
                if mask[n, k] and (least[b - block, k] > over or most[b - block, k] < under):
                    mask[n, k] = 0
            if not mask[n].any():
                return False
    return True


@compiled()
def choices_left(mask: Array) -> float:
    """How many choices a node holds."""
    found = 1.0
    for n in range(mask.shape[0]):
        left = 0
        for k in range(mask.shape[1]):
            left += mask[n, k]
        found *= left
    return found


@compiled()
def _dearest_first(mask: Array, asked: Array, top: Array) -> Array:
    """(n,) products, those first whose rungs give up most on average against their best."""
    loss = np.zeros(mask.shape[0])
    for n in range(mask.shape[0]):
        left = 0
        for k in range(mask.shape[1]):
            if mask[n, k]:
                left += 1
                loss[n] += min(top[0, n] - asked[0, n, k], top[1, n] - asked[1, n, k])
        loss[n] = loss[n] / left if left > 1 else np.inf
    return np.argsort(-loss)


@compiled()
def _hold(
    tables: Tables,
    rows: RowArrays,
    place: Array,
    left: Array,
    n: int,
    rung: int,
    least: Array,
    most: Array,
    before: Reach,
    after: Reach,
) -> None:
    """Fill `after` with the reach once product n, which has the rungs `left` (K,), is held at one of them."""
    i, block = place[0] + n, rows.start[place[0]]
    copy_table(before.rows, after.rows)
    copy_table(before.moves, after.moves)
    copy_table(before.parts, after.parts)
    for b in range(rows.start[i], rows.start[i + 1]):
        r = rows.row[b] - place[3]
        small, large = _ends(least[b - block], most[b - block], left)
        after.rows[r, 0] += least[b - block, rung] - small
        after.rows[r, 1] += most[b - block, rung] - large
    f, share = tables.family[i] - place[2], tables.share[i]
    small, large = _ends(tables.log_move[i], tables.log_move[i], left)
    after.moves[f, 0] += share * (tables.log_move[i, rung] - small)
    after.moves[f, 1] += share * (tables.log_move[i, rung] - large)


@compiled()
def _possible(rows: RowArrays, place: Array, low: Array, high: Array, reach: Reach) -> bool:
    """Whether the intervals and hard rows can still be kept."""
    for f in range(low.shape[0]):
        if reach.moves[f, 0] > high[f] + 1e-12 or reach.moves[f, 1] < low[f] - 1e-12:
            return False
    for r in range(place[3], place[4]):
        if rows.penalty[r] == np.inf:
            least, most = reach.rows[r - place[3]]
            if least > rows.high[r] + TIGHT or most < rows.low[r] - TIGHT:
                return False
    return True


@compiled()
def _reach_of(question: Question, desk: Desk, mask: Array) -> Any:  # noqa: ANN401
    """Reach of every depth, (n + 1, …); that of depth 0, where nothing is held, is filled."""
    tables, rows, place = question.tables, question.rows, question.place
    count, families, own_rows = mask.shape[0], desk.larger.shape[0], place[4] - place[3]
    by_row = np.zeros((count + 1, own_rows, 2))
    moves, parts = np.zeros((count + 1, families, 2)), np.zeros((count + 1, 2, families))
    row_reach(rows, place, mask, desk.least, desk.most, by_row[0])
    copy_table(desk.parts, parts[0])
    for n in range(count):
        i = place[0] + n
        small, large = _ends(tables.log_move[i], tables.log_move[i], mask[n])
        moves[0, desk.family[n], 0] += tables.share[i] * small
        moves[0, desk.family[n], 1] += tables.share[i] * large
    return by_row, moves, parts


@compiled()
def try_all(question: Question, desk: Desk, ledger: Ledger, mask: Array, low: Array, high: Array, rest: float) -> Any:  # noqa: ANN401
    """Try the choices of a node, whose `desk.asked`, `top` and `parts` are those of `ask_all`.

    Better choices are held, those above the target listed. `rest` is what the bound holds besides the families'
    Lagrangians. Returns whether all choices were tried, and how many rungs were.
    """
    tables, rows, place, asked, top = question.tables, question.rows, question.place, desk.asked, desk.top
    by_row, moves, parts = _reach_of(question, desk, mask)
    order = _dearest_first(mask, asked, top)
    rung = np.full(mask.shape[0], -1)
    pooled, left_out = ledger.count[POOLED], -np.inf
    target = target_of(question.margin, ledger.money[BEST])
    depth, visits = 0, 0
    while depth >= 0:
        n = order[depth]
        rung[depth] += 1
        k = rung[depth]
        if k == mask.shape[1]:
            rung[depth] = -1
            depth -= 1
            continue
        if not mask[n, k]:
            continue
        visits += 1
        if visits > max(question.work.visits, mask.shape[0]):
            if question.margin[0] < 0:
                _forget(ledger.pool_value, ledger.count, pooled)
            return False, visits
        after = Reach(by_row[depth + 1], moves[depth + 1], parts[depth + 1])
        before = Reach(by_row[depth], moves[depth], parts[depth])
        _hold(tables, rows, place, mask[n], n, k, desk.least, desk.most, before, after)
        bound = rest
        for f in range(low.shape[0]):
            if f == desk.family[n]:
                after.parts[0, f] += asked[0, n, k] - top[0, n]
                after.parts[1, f] += asked[1, n, k] - top[1, n]
            bound += max(after.parts[0, f], after.parts[1, f])
        if bound <= target:
            left_out = max(left_out, bound)
            continue
        if not _possible(rows, place, low, high, after):
            continue
        desk.full[place[0] + n] = k
        if depth + 1 < mask.shape[0]:
            depth += 1
            continue
        money = appraise(question, desk)
        if money > ledger.money[BEST] or (money >= target and money > -np.inf):
            note(question, desk, ledger, money)
            target = target_of(question.margin, ledger.money[BEST])
    ledger.money[LEFT_OUT] = max(ledger.money[LEFT_OUT], left_out)
    return True, visits


@compiled()
def _forget(pool_value: Array, count: Array, before: int) -> None:
    """Take choices out of the pool that were put in since it held so many: they will be met again."""
    for place in range(before, min(count[POOLED], pool_value.shape[0])):
        pool_value[place] = -np.inf
    count[POOLED] = before
