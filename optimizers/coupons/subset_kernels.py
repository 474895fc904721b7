"""Compiled search for sets of moves by their halves (Horowitz and Sahni 1974): list the sets of each half, join them.

A set of k moves is found in the time of sets of k/2, so that far more sets are looked at than one after the other. One
thread, fixed order: same input, same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.compiled import compiled

Array = Any
"""NumPy arrays; numba compiles for the types it meets."""


@compiled()
def list_sets(
    who: Array,
    loss: Array,
    money: Array,
    coupons: Array,
    limit: float,
    parent: Array,
    last: Array,
    sums: Array,
    counts: Array,
) -> int:
    """List every set of moves, the empty one first, that gives up no more than `limit`.

    Args:
        who: (M,) customer of each move; one customer moves once.
        loss: (M,) Lagrangian value that it gives up, ascending.
        money: (M,) change of cost.
        coupons: (M,) change of the number sent.
        limit: what a set may give up.
        parent: (most,) is filled with the set that lacks the last move.
        last: (most,) with the last move; -1 of the empty set.
        sums: (most, 2) with loss and money of each set.
        counts: (most,) with its coupons.

    Returns:
        How many there are; -1: more than `most`.
    """
    most = parent.shape[0]
    parent[0], last[0], counts[0] = -1, -1, 0
    sums[0, 0] = sums[0, 1] = 0.0
    many = 1
    at = 0
    while at < many:
        for i in range(last[at] + 1, who.shape[0]):
            given = sums[at, 0] + loss[i]
            if given > limit:
                break
            place = at
            while place > 0 and who[last[place]] != who[i]:
                place = parent[place]
            if place > 0:
                continue
            if many == most:
                return -1
            parent[many], last[many], counts[many] = at, i, counts[at] + coupons[i]
            sums[many, 0], sums[many, 1] = given, sums[at, 1] + money[i]
            many += 1
        at += 1
    return many


@compiled()
def join_within(
    first: Array, second: Array, slack: float, price: float, most: float, nodes: int, cost: Array, pairs: Array
) -> int:
    """List every pair of half sets that fits the budget and costs less than `most`: what it gives up and leaves.

    Args:
        first: (A, 2) loss and money of the first half's sets, by loss.
        second: (B, 2) those of the second half, by money.
        slack: money that may be spent.
        price: of money that is left, above 0.
        most: what a pair may cost.
        nodes: pairs to look at.
        cost: (C,) is filled with loss plus priced money left.
        pairs: (C, 2) with places in both lists.

    Returns:
        How many there are; -1: more than C; -2: more to look at than `nodes`.
    """
    many = 0
    spent = 0
    for a in range(first.shape[0]):
        given = first[a, 0]
        if given >= most:
            break
        if spent > nodes:
            return -2
        room = slack - first[a, 1]
        for b in range(_last_within(second, 0, second.shape[0], room), -1, -1):
            spent += 1
            left = given + price * (room - second[b, 1])
            if left >= most:
                break
            if left + second[b, 0] < most:
                if many == cost.shape[0]:
                    return -1
                cost[many], pairs[many, 0], pairs[many, 1] = left + second[b, 0], a, b
                many += 1
    return many


@compiled()
def join_cheapest(
    spent: Array,
    room: Array,
    missing: Array,
    first: Array,
    coupons: Array,
    second: Array,
    starts: Array,
    fewest: int,
    price: float,
    head_price: float,
    direction: int,
    most: float,
    nodes: int,
    pair: Array,
) -> tuple[float, int, float]:
    """Complete one of several beginnings by the pair of half sets with which it costs least.

    Args:
        spent: (L,) what each beginning costs already, ascending.
        room: (L,) money that it leaves.
        missing: (L,) coupons that it lacks to the number wanted.
        first: (A, 2) loss and money of the first half's sets, by loss.
        coupons: (A,) theirs.
        second: (B, 2) those of the second half, by coupons, then by money, then by falling loss.
        starts: (C + 1,) where the sets with `fewest`, `fewest` + 1 … coupons begin among them.
        fewest: coupons of the first of them.
        price: of money that is left; 0: money does not count.
        head_price: of a coupon beyond the number wanted.
        direction: 1: more coupons than wanted are allowed; -1: fewer.
        most: what the whole may cost.
        nodes: pairs to look at.
        pair: (2,) becomes the best pair's places in both lists.

    Returns:
        What the best costs (`most`: there is none), its beginning (-1: none), and what a beginning costs that was not
        completed in every way, `nodes` being spent.
    """
    best = most
    beginning = -1
    looked = 0
    for k in range(spent.shape[0]):
        if spent[k] >= best:
            break
        for a in range(first.shape[0]):
            given = spent[k] + first[a, 0]
            if given >= best:
                break
            if looked > nodes:
                return best, beginning, spent[k]
            left = room[k] - first[a, 1] if price > 0 else 0.0
            bucket = missing[k] - coupons[a] - fewest
            beyond = 0.0
            while given + beyond < best:
                looked += 1
                if 0 <= bucket < starts.shape[0] - 1:
                    low = starts[bucket]
                    for b in range(_last_within(second, low, starts[bucket + 1], left), low - 1, -1):
                        looked += 1
                        cost = given + beyond + price * (left - second[b, 1])
                        if cost >= best:
                            break
                        if cost + second[b, 0] < best:
                            best = cost + second[b, 0]
                            beginning = k
                            pair[0], pair[1] = a, b
                        if price == 0.0:  # the last of equal money gives up least
                            break
                bucket += direction
                beyond += head_price
                if (bucket < 0 and direction < 0) or (bucket >= starts.shape[0] - 1 and direction > 0):
                    break
    return best, beginning, np.inf


@compiled()
def _last_within(sums: Array, low: int, high: int, room: float) -> int:
    """Place of the last set from `low` to before `high`, by money, that fits the room; `low` - 1: none."""
    while low < high:
        middle = (low + high) // 2
        if sums[middle, 1] <= room:
            low = middle + 1
        else:
            high = middle
    return low - 1
