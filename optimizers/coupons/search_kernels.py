"""Compiled searches for changes of offers that fill what is left of the rules. One thread, same input, same bits.

What is left stands in one vector, `slack`: money by segment (S), money in total, coupons by offer (O; entry 0 is no
limit), coupons below the ceiling, coupons above the floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.compiled import compiled

Array = Any
"""NumPy arrays; numba compiles for the types it meets."""


@compiled()
def take_up(slack: Array, group: int, total: int, money: float, held: int, to: int, sign: int) -> None:
    """Subtract what one move uses (`sign` 1), or give it back (-1)."""
    slack[group] -= sign * money
    slack[total] -= sign * money
    coupons = (1 if to > 0 else 0) - (1 if held > 0 else 0)
    slack[-2] -= sign * coupons
    slack[-1] += sign * coupons
    if to > 0:
        slack[total + 1 + to] -= sign
    if held > 0:
        slack[total + 1 + held] += sign


@compiled()
def touched(out: Array, total: int, group_a: int, held_a: int, to_a: int, group_b: int, held_b: int, to_b: int) -> int:
    """List the rules that two moves touch, each once."""
    n = 0
    offers = total + 1
    for rule in (group_a, group_b, total, offers + held_a, offers + to_a, offers + held_b, offers + to_b, -2, -1):
        known = False
        for j in range(n):
            known |= out[j] == rule
        if not known:
            out[n] = rule
            n += 1
    return n


@compiled()
def best_exchange(
    who: Array,
    gain: Array,
    money: Array,
    held: Array,
    to: Array,
    group: Array,
    slack: Array,
    total: int,
    penalty: Array,
) -> tuple[float, int, int]:
    """The single move, or the pair of moves, that adds most profit without adding to any violation.

    What removes a violation is rewarded by an exact penalty, so that repair comes before profit.

    Args:
        who: (M,) customer of each move.
        gain: (M,) change of profit.
        money: (M,) change of cost.
        held: (M,) offer before.
        to: (M,) offer after.
        group: (M,) segment.
        slack: what is left of the rules; it is the same afterwards.
        total: place of the total budget in it.
        penalty: (rules,) per unit of violation.

    Returns:
        Gain (0: nothing better), first move, second move (-1: a single one).
    """
    m = who.shape[0]
    best = 0.0
    first = -1
    second = -1
    rules = np.empty(9, dtype=np.int64)
    before = slack.copy()
    for a in range(m):
        if gain[a] == -np.inf:
            continue
        take_up(slack, group[a], total, money[a], held[a], to[a], 1)
        for b in range(a, m):
            pair = b > a
            if pair and (who[a] == who[b] or gain[b] == -np.inf):
                continue
            value = gain[a]
            if pair:
                value += gain[b]
                take_up(slack, group[b], total, money[b], held[b], to[b], 1)
            n = touched(rules, total, group[a], held[a], to[a], group[b], held[b], to[b])
            worse = False
            for j in range(n):
                rule = rules[j]
                over = max(0.0, -before[rule])
                still = max(0.0, -slack[rule])
                worse |= still > over
                value += penalty[rule] * (over - still)
            if pair:
                take_up(slack, group[b], total, money[b], held[b], to[b], -1)
            if not worse and value > best:
                best = value
                first = a
                second = b if pair else -1
        slack[:] = before
    return best, first, second


@compiled()
def best_set(  # noqa: PLR0915 - a call for each set costs more than trying it
    who: Array,
    gain: Array,
    loss: Array,
    money: Array,
    held: Array,
    to: Array,
    group: Array,
    slack: Array,
    total: int,
    room: float,
    least: float,
    step: float,
    nodes: int,
    out: Array,
) -> tuple[float, int]:
    """The set of moves with the largest gain among those that keep the rules, found depth first.

    A set gains what it fills of the rules, priced, less what its moves give up; it cannot fill more than `room`. Sets
    are therefore tried in rising order of what they give up: first all that give up little, then all that give up
    twice as much, until that is more than any gain that is left, or `nodes` are spent.

    Args:
        who: (M,) customer of each move; one customer moves once.
        gain: (M,) what the move adds.
        loss: (M,) Lagrangian value that it gives up, ascending.
        money: (M,) change of cost.
        held: (M,) offer before.
        to: (M,) offer after.
        group: (M,) segment.
        slack: what is left of the rules.
        total: place of the total budget in it.
        room: worth of what is left of the rules at the multipliers.
        least: only more than this is a gain.
        step: what the sets of the first pass give up at most.
        nodes: sets to try at most.
        out: (depth,) is filled with the moves of the best set.

    Returns:
        Its gain, and how many moves it has (0: none found).
    """
    m = who.shape[0]
    depth = out.shape[0]
    stack = np.empty(depth, dtype=np.int64)
    left = slack.copy()
    best = least
    found = 0
    spent = 0
    limit = step
    while True:
        level = 0
        i = 0
        gained = 0.0
        given = 0.0
        more = False
        left[:] = slack
        while True:
            if level == depth - 1:  # nearly all sets end here: what is left is touched only where one gains most
                while i < m and given + loss[i] <= min(limit, room - best) and spent < nodes:
                    spent += 1
                    if gained + gain[i] > best and _new(who, stack, level, i):
                        stack[level] = i
                        take_up(left, group[i], total, money[i], held[i], to[i], 1)
                        if _kept(left, total, stack, depth, group, to):
                            best = gained + gain[i]
                            found = depth
                            out[:] = stack
                        take_up(left, group[i], total, money[i], held[i], to[i], -1)
                    i += 1
            elif i < m and given + loss[i] <= min(limit, room - best) and spent < nodes:
                if _new(who, stack, level, i):
                    spent += 1
                    take_up(left, group[i], total, money[i], held[i], to[i], 1)
                    gained += gain[i]
                    given += loss[i]
                    stack[level] = i
                    level += 1
                    if gained > best and _kept(left, total, stack, level, group, to):
                        best = gained
                        found = level
                        out[:level] = stack[:level]
                i += 1
                continue
            more |= i < m and limit < given + loss[i] <= room - best
            if level == 0:
                break
            level -= 1
            i = stack[level]
            take_up(left, group[i], total, money[i], held[i], to[i], -1)
            gained -= gain[i]
            given -= loss[i]
            i += 1
        if not more or spent >= nodes or room <= best:
            return best, found
        limit *= 2.0


@compiled()
def _new(who: Array, stack: Array, level: int, i: int) -> bool:
    """Whether none of the first `level` moves of the stack is of the same customer as move `i`."""
    new = True
    for j in range(level):
        new &= who[stack[j]] != who[i]
    return new


@compiled()
def _kept(left: Array, total: int, stack: Array, level: int, group: Array, to: Array) -> bool:
    if left[total] < 0 or left[-1] < 0 or left[-2] < 0:
        return False
    for j in range(level):
        if left[group[stack[j]]] < 0 or (to[stack[j]] > 0 and left[total + 1 + to[stack[j]]] < 0):
            return False
    return True
