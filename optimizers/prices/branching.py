"""Split a node of the proof in two: halve the interval of a family's log move, or part a product's rungs. Compiled."""

from __future__ import annotations

import numpy as np

from optimizers.compiled import compiled
from optimizers.prices.kernels import Array, copy_line, copy_table
from optimizers.prices.nodes import MIDDLE, Desk, Ledger, Nodes, Question, free_slot, rungs_left
from optimizers.prices.relaxation import lagrangian, rung_values, unevenness

STILL = 0.1
"""Today's rung is parted from the others where it was taken in more than this share of the answers."""


@compiled()
def branch(question: Question, nodes: Nodes, desk: Desk, ledger: Ledger, slot: int, excess: float) -> bool:
    """Split a node whose bound lies `excess` above the target; False: there is no room for another node.

    Where the width of the intervals makes most of the excess, the widest is halved; else a product's rungs are parted.
    """
    mask, low, high = nodes.mask[slot], nodes.low[slot], nodes.high[slot]
    tables, rows, place = question.tables, question.rows, question.place
    _rises(question, desk, mask, low, high)
    family = _widest(desk.parts[MIDDLE], low, high)
    uneven = unevenness(tables, rows, question.dent, place, mask, low, high, desk.best_here)
    width = uneven + desk.parts[MIDDLE].sum()
    product = _undecided(desk.taken, mask)
    if family >= 0 and width < 0.5 * excess and product >= 0:
        family = -1
    if family < 0 and product < 0:
        product = _last_open(mask)
    other = free_slot(nodes.bound, ledger.count)
    if other < 0:
        return False
    copy_table(mask, nodes.mask[other])
    copy_line(low, nodes.low[other])
    copy_line(high, nodes.high[other])
    copy_line(nodes.price[slot], nodes.price[other])
    nodes.bound[other] = nodes.bound[slot]
    if family >= 0:
        high[family] = desk.ends[MIDDLE, family]
        nodes.low[other, family] = desk.ends[MIDDLE, family]
        return True
    moves = tables.log_move[place[0] + product]
    _part_rungs(moves, desk.taken[product], mask[product], nodes.mask[other, product])
    return True


@compiled()
def _rises(question: Question, desk: Desk, mask: Array, low: Array, high: Array) -> None:
    """Fill `desk.parts[MIDDLE]` with how far each family's Lagrangian at the ends lies above that in the middle."""
    tables, rows, place, price = question.tables, question.rows, question.place, desk.best_here
    ends, values, units, answers, parts = desk.ends, desk.values, desk.units, desk.answers, desk.parts
    for f in range(low.shape[0]):
        ends[MIDDLE, f] = 0.5 * (low[f] + high[f])
    rung_values(tables, question.worth, place, mask, ends[MIDDLE], values[MIDDLE], units[MIDDLE])
    for e in range(3):
        lagrangian(tables, rows, place, mask, ends[e], values[e], units[e], price, answers[e], parts[e])
    for f in range(low.shape[0]):
        parts[MIDDLE, f] = max(max(parts[0, f], parts[1, f]) - parts[MIDDLE, f], 0.0)


@compiled()
def _widest(rise: Array, low: Array, high: Array) -> int:
    """The family whose Lagrangian sags most between the ends of its interval; -1: none has any width."""
    found, largest = -1, 0.0
    for f in range(low.shape[0]):
        if rise[f] >= largest and high[f] - low[f] > 1e-12:
            found, largest = f, rise[f]
    return found


@compiled()
def _undecided(taken: Array, mask: Array) -> int:
    """The product whose answers changed most from step to step; -1: none did."""
    found, most = -1, 1e-6
    for n in range(mask.shape[0]):
        weight, top = 0.0, 0.0
        for k in range(mask.shape[1]):
            weight += taken[n, k]
            top = max(top, taken[n, k])
        if weight - top > most and rungs_left(mask, n) > 1:
            found, most = n, weight - top
    return found


@compiled()
def _last_open(mask: Array) -> int:
    """The last product with more than one rung left; -1: none has."""
    for n in range(mask.shape[0] - 1, -1, -1):
        if rungs_left(mask, n) > 1:
            return n
    return -1


@compiled()
def _part_rungs(log_move: Array, taken: Array, one: Array, other: Array) -> None:
    """Share a product's rungs (K,) out between two nodes.

    Today's rung where it was often taken, else those up to the mean rung, else the one that was taken most.
    """
    rungs = one.shape[0]
    most, rung, still, mean, weight = -1.0, 0, -1, 0.0, 0.0
    for k in range(rungs):
        if one[k]:
            mean += k * taken[k]
            weight += taken[k]
            if taken[k] > most:
                most, rung = taken[k], k
            if log_move[k] == 0.0:
                still = k
    alone = still >= 0 and taken[still] > STILL * weight
    if alone:
        rung = still
    edge = int(np.floor(mean / weight)) if weight > 0 else rung
    below, above = 0, 0
    for k in range(rungs):
        if one[k]:
            below += k <= edge
            above += k > edge
    by_edge = not alone and below > 0 and above > 0
    for k in range(rungs):
        if not one[k]:
            continue
        left_side = k <= edge if by_edge else k == rung
        if left_side:
            other[k] = 0
        else:
            one[k] = 0
