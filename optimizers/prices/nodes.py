"""What the proof of a group works on: the question, the open nodes, the desk that it calculates on, and what it holds.

Compiled code reads and fills these; shapes: n products, K rungs, nf families and m rows of the group.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from optimizers.compiled import compiled
from optimizers.prices.kernels import TIGHT, Array, RowArrays, Tables, broken, evaluate, fines


class Work(NamedTuple):
    """How much may be spent on one group; no wall time, so that the answer is always the same."""

    nodes: int
    """Nodes to be looked at."""
    first: int
    """Steps of the multipliers at the root."""
    later: int
    """Steps at the other nodes."""
    choices: int
    """Nodes with no more choices are tried choice by choice …"""
    visits: int
    """… as long as no more rungs than this are tried on the way."""


SHORT_WORK = Work(nodes=25, first=60, later=12, choices=100_000, visits=5_000)
WORK = Work(nodes=25_000, first=150, later=12, choices=100_000, visits=5_000)
WHOLE_WORK = Work(nodes=60_000, first=400, later=40, choices=1_000_000, visits=20_000)
"""For columns; for bounds; for a shop in one piece."""


class Question(NamedTuple):
    """What is asked of a group."""

    tables: Tables
    rows: RowArrays
    """Those of the group are place[3] … place[4] - 1."""
    worth: Array
    """(P, K, M) polynomials of each rung's value."""
    dent: Array
    """(P, K) largest negative second derivative of the value in y, as a positive number."""
    place: Array
    """(first product, last, first family, first row, last row)."""
    margin: Array
    """(2,) money, and share of the best value, by which the bound may stay above it; below 0: how far below the best
    choices are listed."""
    hard: float
    """Money per scaled unit at which broken hard rows are counted by the local search."""
    work: Work


class Nodes(NamedTuple):
    """Open nodes, one a slot: an interval of each family's log move and a set of rungs for each product."""

    mask: Array
    """(N, n, K) 1 where the rung is left."""
    low: Array
    """(N, nf)"""
    high: Array
    price: Array
    """(N, nf + m) multipliers."""
    bound: Array
    """(N,) no choice of the node is worth more; -inf: the slot is free."""


class Desk(NamedTuple):
    """Room to calculate in. Index e: 0 lower end of the intervals, 1 upper end, `MIDDLE` between them."""

    family: Array
    """(n,) family of each product, the group's first being 0."""
    full: Array
    """(P,) a choice of rungs, of which the group's part is filled."""
    moved: Array
    """(F,)"""
    activity: Array
    """(R,)"""
    ends: Array
    """(3, nf)"""
    values: Array
    """(3, n, K)"""
    units: Array
    """(3, n, K), or (3, 0, K) where no row measures any."""
    answers: Array
    """(3, n)"""
    parts: Array
    """(3, nf) the Lagrangian of each family."""
    asked: Array
    """(2, n, K) what each rung is worth at the multipliers."""
    top: Array
    """(2, n) the best of them."""
    least: Array
    """(B, K) least that each rung can add to each row of its product; B blocks of the group's rows."""
    most: Array
    answer: Array
    """(n,) the answer at the larger end of each family."""
    sold: Array
    """(n,) units of the answer."""
    taken: Array
    """(n, K) how often each rung was the answer, lately."""
    larger: Array
    """(nf,) the larger end of each family."""
    slope: Array
    """(nf + m,) subgradient."""
    course: Array
    here: Array
    """(nf + m,) multipliers."""
    best_here: Array


class Ledger(NamedTuple):
    """What is held and known."""

    choice: Array
    """(n,) the best choice."""
    price: Array
    """(nf + m,) the root's best multipliers."""
    pool: Array
    """(Q, n) choices met on the way that keep the hard rows."""
    pool_value: Array
    """(Q,) their values; -inf where there is none."""
    money: Array
    """(2,) value of the best choice, and what nothing that was left out can exceed."""
    count: Array
    """(3,) nodes looked at, slots used, choices put into the pool."""


MIDDLE = 2
BEST, LEFT_OUT = 0, 1
"""Places in `Ledger.money`."""
LOOKED, USED, POOLED = 0, 1, 2
"""Places in `Ledger.count`."""


@compiled(inline="always")
def target_of(margin: Array, best: float) -> float:
    """Money below which nothing is looked for, given the value of the best choice."""
    return float(best + margin[0] + margin[1] * abs(best)) if best > -np.inf else -1e300


@compiled(inline="always")
def appraise(question: Question, desk: Desk) -> float:
    """Value of the choice in `desk.full`, fines of soft rows taken off; -inf: it breaks a hard row."""
    first, last, _, row_first, row_last = question.place
    desk.activity[row_first:row_last] = 0.0
    rows, state = question.rows, (desk.moved, desk.activity)
    money = evaluate(question.tables, rows, question.worth, first, last, desk.full, state)
    if broken(rows, desk.activity, row_first, row_last, TIGHT):
        return -np.inf
    return float(money - fines(rows, desk.activity, row_first, row_last, question.hard))


@compiled()
def note(question: Question, desk: Desk, ledger: Ledger, money: float) -> None:
    """Put the choice in `desk.full` into the pool, and hold it if it is the best."""
    first, count = question.place[0], ledger.choice.shape[0]
    place = ledger.count[POOLED] % ledger.pool.shape[0]
    for n in range(count):
        ledger.pool[place, n] = desk.full[first + n]
    ledger.pool_value[place] = money
    ledger.count[POOLED] += 1
    if money > ledger.money[BEST]:
        ledger.money[BEST] = money
        for n in range(count):
            ledger.choice[n] = desk.full[first + n]


@compiled()
def offer(question: Question, desk: Desk, ledger: Ledger, answer: Array) -> None:
    """Hold the choice `answer` (n,) if it keeps the hard rows and is better than the best one."""
    first = question.place[0]
    for n in range(answer.shape[0]):
        desk.full[first + n] = answer[n]
    money = appraise(question, desk)
    if money > ledger.money[BEST]:
        note(question, desk, ledger, money)


@compiled()
def free_slot(bound: Array, count: Array) -> int:
    """A slot for one more node, given `Nodes.bound` and `Ledger.count`; -1: there is none."""
    for s in range(count[USED]):
        if bound[s] == -np.inf:
            return s
    if count[USED] < bound.shape[0]:
        count[USED] += 1
        return int(count[USED] - 1)
    return -1


@compiled()
def rungs_left(mask: Array, n: int) -> int:
    """How many rungs product n of a node has left."""
    left = 0
    for k in range(mask.shape[1]):
        left += mask[n, k]
    return left
