"""Branch and bound over a group of price families: the best choice of rungs, and a proof of how good it is. Compiled.

For multipliers mu (one for each family's weighted log move S) and nu (one for each row) the Lagrangian

    L(S) = Σ_i max_k [value_ik(S) + mu · share_i · x_ik - Σ_r nu_r · a_rik] - mu · S + Σ_r nu_r · side_r

is no smaller than the best choice whose log move is S. Demand is a mixture of exponentials in S, so value_ik is convex
wherever a price is not below cost, L is convex too, and over an interval of S its larger end is the bound; what is not
convex is paid for by its second derivative times the square of the width, over eight. Nodes are an interval of S for
each family and a set of rungs for each product (`nodes`); their multipliers move by subgradient steps (`multipliers`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.compiled import compiled
from optimizers.prices.branching import branch
from optimizers.prices.kernels import Array, copy_line
from optimizers.prices.listing import choices_left, drop_by_ranges, fill_ranges, row_reach, try_all
from optimizers.prices.moves import improve
from optimizers.prices.multipliers import descend, fixed_part, look_up
from optimizers.prices.nodes import (
    BEST,
    LEFT_OUT,
    LOOKED,
    POOLED,
    USED,
    Desk,
    Ledger,
    Nodes,
    Question,
    appraise,
    note,
    target_of,
)
from optimizers.prices.relaxation import narrow
from optimizers.prices.screening import ask_all, screen

SHRUNK = 0.7
"""A node of which no more than this share is left is bounded again before it is split."""
VISITS = 200
"""Rungs that are tried one by one for the work of one node."""


@compiled(nogil=True)
def begin(question: Question, start: Array, price: Array, slots: int, pool: Array, pool_value: Array) -> Any:  # noqa: ANN401
    """Open the root, with the start as the first incumbent: nodes, desk and ledger for `explore`.

    Args:
        question: what is asked.
        start: (n,) a choice to begin with; is filled with the best one.
        price: (nf + m,) multipliers to begin with; is filled with the root's best ones.
        slots: open nodes that are kept at most.
        pool: (Q, n) is filled with choices met on the way that keep the hard rows.
        pool_value: (Q,) is filled with their values; -inf where there is none.
    """
    tables, rows = question.tables, question.rows
    first, last, family, row_first, row_last = question.place
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
    counted = 0
    for r in range(row_first, row_last):
        counted = max(counted, count * rows.measured[r])
    desk = Desk(
        tables.family[first:last] - family,
        np.zeros(tables.family.shape[0], np.int64),
        np.zeros(tables.first.shape[0]),
        np.zeros(rows.low.shape[0]),
        np.zeros((3, families)),
        np.zeros((3, count, rungs)),
        np.zeros((3, counted, rungs)),
        np.zeros((3, count), np.int64),
        np.zeros((3, families)),
        np.zeros((2, count, rungs)),
        np.zeros((2, count)),
        np.zeros((rows.start[last] - rows.start[first], rungs)),
        np.zeros((rows.start[last] - rows.start[first], rungs)),
        np.zeros(count, np.int64),
        np.zeros(count),
        np.zeros((count, rungs)),
        np.zeros(families),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
    )
    ledger = Ledger(start, price, pool, pool_value, np.full(2, -np.inf), np.zeros(3, np.int64))
    for n in range(count):
        desk.full[first + n] = start[n]
    _polish(question, desk, ledger, np.bool_(False), np.int64(20))
    for n in range(count):
        copy_line(tables.allowed[first + n], nodes.mask[0, n])
    copy_line(price, nodes.price[0])
    nodes.low[0], nodes.high[0], nodes.bound[0] = -1e9, 1e9, 1e300
    ledger.count[USED] = 1
    return nodes, desk, ledger


@compiled()
def _polish(question: Question, desk: Desk, ledger: Ledger, pairs: bool, sweeps: int) -> None:
    """Improve the choice in `desk.full` by moves, and note it where it keeps the hard rows."""
    first, last, _, row_first, row_last = question.place
    improve(
        question.tables,
        question.rows,
        question.worth,
        first,
        last,
        row_first,
        row_last,
        desk.full,
        question.hard,
        pairs,
        sweeps,
    )
    money = appraise(question, desk)
    if money > -np.inf:
        note(question, desk, ledger, money)


@compiled(nogil=True)
def explore(question: Question, nodes: Nodes, desk: Desk, ledger: Ledger, until: int) -> bool:
    """Look at open nodes, the one of the largest bound first, until so many were; True: there are more to look at."""
    while ledger.count[LOOKED] < until:
        slot = int(np.argmax(nodes.bound[: ledger.count[USED]]))
        target = target_of(question.margin, ledger.money[BEST])
        if nodes.bound[slot] <= (target if question.margin[0] < 0 else max(target, ledger.money[LEFT_OUT])):
            return False
        ledger.count[LOOKED] += 1
        if not look_at(question, nodes, desk, ledger, slot):
            return False
    return True


@compiled(inline="always")
def look_at(question: Question, nodes: Nodes, desk: Desk, ledger: Ledger, slot: int) -> bool:
    """Close a node, shrink it, or split it; False: there is no room for what it would be split into."""
    mask, low, high = nodes.mask[slot], nodes.low[slot], nodes.high[slot]
    root = ledger.count[LOOKED] == 1
    above, nodes.bound[slot] = nodes.bound[slot], -np.inf
    if not _reachable(question, desk, mask, low, high):
        return True
    steps = question.work.first if root else question.work.later
    bound = min(above, descend(question, desk, ledger, mask, low, high, nodes.price[slot], steps))
    if root:
        _keep_root(question, desk, ledger)
    target = target_of(question.margin, ledger.money[BEST])
    if bound <= target:
        ledger.money[LEFT_OUT] = max(ledger.money[LEFT_OUT], bound)
        return True
    kept = _shrink(question, desk, ledger, mask, low, high, target)
    if kept == 0.0:
        return True
    nodes.bound[slot] = bound
    copy_line(desk.best_here, nodes.price[slot])
    if kept < SHRUNK:
        return True
    look_up(question, desk, mask, low, high)
    return bool(branch(question, nodes, desk, ledger, slot, bound - target))


@compiled(inline="always")
def _reachable(question: Question, desk: Desk, mask: Array, low: Array, high: Array) -> bool:
    """Drop rungs that no choice of the node can take, and look the others up; False: nothing is left."""
    tables, rows, place = question.tables, question.rows, question.place
    if not narrow(tables, rows, place, mask, low, high):
        return False
    look_up(question, desk, mask, low, high)
    if not desk.units.shape[1]:
        return True  # linear rows only: `narrow` saw them all
    fill_ranges(tables, rows, place, low, high, desk.units, desk.least, desk.most)
    reach = np.zeros((place[4] - place[3], 2))
    row_reach(rows, place, mask, desk.least, desk.most, reach)
    return bool(drop_by_ranges(rows, place, mask, desk.least, desk.most, reach))


@compiled(inline="always")
def _keep_root(question: Question, desk: Desk, ledger: Ledger) -> None:
    """Keep the root's multipliers, and make a choice of its answer."""
    copy_line(desk.best_here, ledger.price)
    first = question.place[0]
    for n in range(desk.answer.shape[0]):
        desk.full[first + n] = desk.answer[n]
    _polish(question, desk, ledger, np.bool_(True), np.int64(40))


@compiled(inline="always")
def _shrink(
    question: Question, desk: Desk, ledger: Ledger, mask: Array, low: Array, high: Array, target: float
) -> float:
    """Leave out of a node what cannot reach the target; return the least share that is left of it, 0: nothing."""
    tables, rows, place, price = question.tables, question.rows, question.place, desk.best_here
    rest, parts = fixed_part(tables, rows, question.dent, place, mask, low, high, price), desk.parts[:2]
    ask_all(tables, rows, place, mask, desk.ends, desk.values, desk.units, price, desk.asked, desk.top, parts)
    kept, left_out = screen(desk.family, mask, low, high, desk.asked, desk.top, parts, rest, target)
    ledger.money[LEFT_OUT] = max(ledger.money[LEFT_OUT], left_out)
    choices = choices_left(mask)
    if choices == 0:
        return 0.0
    if choices <= max(question.work.choices, 1):
        fill_ranges(tables, rows, place, low, high, desk.units, desk.least, desk.most)
        all_tried, visits = try_all(question, desk, ledger, mask, low, high, rest)
        ledger.count[LOOKED] += visits // VISITS
        if all_tried:
            return 0.0
    return float(kept)


@compiled()
def verdict(question: Question, nodes: Nodes, ledger: Ledger) -> Any:  # noqa: ANN401
    """Read off what is held and proven.

    Returns:
        value of the best choice (-inf: none found), bound, nodes looked at, whether the work was done: nothing better
        than the bound, or below it by the margin, was left out.
    """
    best, left_out = ledger.money
    top = -np.inf
    for s in range(ledger.count[USED]):
        top = max(top, nodes.bound[s])
    target = best + question.margin[0] + question.margin[1] * abs(best)
    done = top <= max(target, left_out) and ledger.count[POOLED] <= ledger.pool.shape[0]
    listed = question.margin[0] >= 0 or top <= target
    return best, max(top, left_out, best), ledger.count[LOOKED], done and listed
