"""Compiled loops over the rows of a coupon problem. One thread, fixed order of summation: same input, same bits."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def respond(
    profit: Any,  # noqa: ANN401 - NumPy arrays; numba compiles for the types it meets
    cost: Any,  # noqa: ANN401
    count: Any,  # noqa: ANN401
    segment: Any,  # noqa: ANN401
    price: Any,  # noqa: ANN401
    bonus: float,
    choice: Any,  # noqa: ANN401
    total: Any,  # noqa: ANN401
) -> float:
    """Best offer of each row when money costs `price` and each coupon sent earns `bonus`.

    Args:
        profit: (T, O) float; -inf: not offered.
        cost: (T, O) float.
        count: (T,) customers behind each row.
        segment: (T,).
        price: (S,) multiplier of money in each segment.
        bonus: multiplier of the floor.
        choice: (T,) is filled with the offer taken; offer 0 wins ties.
        total: (S, 3) is filled with profit, cost and number sent by segment.

    Returns:
        Sum over the rows of count x the best score, in float64.
    """
    total[:] = 0.0
    value = 0.0
    for i in range(profit.shape[0]):
        s = segment[i]
        theta = price[s]
        best = 0.0
        pick = 0
        for o in range(1, profit.shape[1]):
            score = np.float64(profit[i, o]) - theta * np.float64(cost[i, o]) + bonus
            if score > best:
                best = score
                pick = o
        choice[i] = pick
        if pick > 0:
            n = np.float64(count[i])
            value += n * best
            total[s, 0] += n * np.float64(profit[i, pick])
            total[s, 1] += n * np.float64(cost[i, pick])
            total[s, 2] += n
    return value


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def nearest_move(
    profit: Any,  # noqa: ANN401
    cost: Any,  # noqa: ANN401
    row: Any,  # noqa: ANN401
    segment: Any,  # noqa: ANN401
    price: Any,  # noqa: ANN401
    bonus: float,
    choice: Any,  # noqa: ANN401
    loss: Any,  # noqa: ANN401
) -> None:
    """Fill `loss` (N,) with the least Lagrangian value that each customer's best other offer gives up."""
    for i in range(row.shape[0]):
        t = row[i]
        theta = price[segment[t]]
        now = choice[i]
        held = np.float64(profit[t, now]) - theta * np.float64(cost[t, now]) + (bonus if now > 0 else 0.0)
        best = -np.inf
        for o in range(profit.shape[1]):
            if o == now:
                continue
            score = np.float64(profit[t, o]) - theta * np.float64(cost[t, o]) + (bonus if o > 0 else 0.0)
            best = max(best, score)
        loss[i] = held - best


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def best_exchange(
    who: Any,  # noqa: ANN401
    gain: Any,  # noqa: ANN401
    money: Any,  # noqa: ANN401
    sent: Any,  # noqa: ANN401
    group: Any,  # noqa: ANN401
    slack: Any,  # noqa: ANN401
    penalty: float,
    toll: float,
) -> tuple[float, int, int]:
    """The single move, or the pair of moves, that adds most profit without adding to any violation.

    What removes a violation is rewarded by an exact penalty, so that repair comes before profit.

    Args:
        who: (M,) customer of each move.
        gain: (M,) change of profit.
        money: (M,) change of cost.
        sent: (M,) change of the number sent.
        group: (M,) segment.
        slack: (S + 2,) money left by segment, then in total, then coupons above the floor.
        penalty: per unit of money over a budget.
        toll: per coupon below the floor.

    Returns:
        Gain (0: nothing better), first move, second move (-1: a single one).
    """
    m = who.shape[0]
    s_total = slack.shape[0] - 2
    left, floor = slack[s_total], slack[s_total + 1]
    best = 0.0
    first = -1
    second = -1
    over = max(0.0, -left)
    under = max(0.0, -floor)
    for a in range(m):
        ga = group[a]
        room_a = slack[ga]
        over_a = max(0.0, -room_a)
        for b in range(a, m):
            pair = b > a
            if pair and who[a] == who[b]:
                continue
            dc = money[a] + (money[b] if pair else 0.0)
            value = gain[a] + (gain[b] if pair else 0.0)
            short = max(0.0, -(floor + sent[a] + (sent[b] if pair else 0.0)))
            if short > under:
                continue
            value += toll * (under - short)
            total_over = max(0.0, dc - left)
            if total_over > over:
                continue
            value += penalty * (over - total_over)
            if pair and group[b] != ga:
                gb = group[b]
                over_b = max(0.0, -slack[gb])
                new_a = max(0.0, money[a] - room_a)
                new_b = max(0.0, money[b] - slack[gb])
                if new_a > over_a or new_b > over_b:
                    continue
                value += penalty * (over_a - new_a + over_b - new_b)
            else:
                new_a = max(0.0, dc - room_a)
                if new_a > over_a:
                    continue
                value += penalty * (over_a - new_a)
            if value > best:
                best = value
                first = a
                second = b if pair else -1
    return best, first, second


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def fingerprint_rows(profit_bits: Any, cost_bits: Any, segment: Any, out: Any) -> None:  # noqa: ANN401
    """Fill `out` (N,) uint64 with a hash of each row's bits and segment (multiply and rotate)."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    for i in range(profit_bits.shape[0]):
        h = np.uint64(segment[i]) + np.uint64(0x2545F4914F6CDD1D)
        for o in range(profit_bits.shape[1]):
            h = (h ^ np.uint64(profit_bits[i, o])) * factor
            h ^= h >> np.uint64(29)
            h = (h ^ np.uint64(cost_bits[i, o])) * factor
            h ^= h >> np.uint64(32)
        out[i] = h


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def first_of_kind(member: Any, choice: Any, n_offers: int, most: int, seen: Any, out: Any) -> int:  # noqa: ANN401
    """List the first `most` customers of each kind (row and offer held).

    Args:
        member: (N,) row of each customer.
        choice: (N,) offer held.
        n_offers: O.
        most: customers of one kind to list.
        seen: (T * O,) zeros; counts afterwards.
        out: (at least most * kinds,) is filled with customers.

    Returns:
        How many are listed.
    """
    found = 0
    for i in range(member.shape[0]):
        kind = member[i] * n_offers + choice[i]
        if seen[kind] < most:
            out[found] = i
            found += 1
        seen[kind] += 1
    return found
