"""Compiled loops over the rows of a coupon problem. One thread, fixed order of summation: same input, same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.compiled import compiled

Array = Any
"""NumPy arrays; numba compiles for the types it meets."""


@compiled()
def best_offer(profit: Array, cost: Array, i: int, price: float, toll: Array) -> tuple[int, float]:
    """Offer with the best score of row `i`, and the score; 0 wins ties, then the lowest number."""
    best = 0.0
    pick = 0
    for o in range(1, profit.shape[1]):
        score = np.float64(profit[i, o]) - price * np.float64(cost[i, o]) - toll[o]
        if score > best:
            best = score
            pick = o
    return pick, best


@compiled()
def sum_responses(
    profit: Array,
    cost: Array,
    segment: Array,
    count: Array,
    price: Array,
    toll: Array,
    earned: Array,
    spent: Array,
    sent: Array,
) -> None:
    """Add up what the rows earn, spend and send at these prices.

    Args:
        profit: (T, O) float; -inf: not offered.
        cost: (T, O) float.
        segment: (T,).
        count: (T,) customers behind each row.
        price: (S,) of money in each segment.
        toll: (O,) of each offer.
        earned: (S,) is added to, as are the next two.
        spent: (S,).
        sent: (S, O).
    """
    for i in range(profit.shape[0]):
        s = segment[i]
        pick, _ = best_offer(profit, cost, i, price[s], toll)
        if pick > 0:
            n = np.float64(count[i])
            earned[s] += n * np.float64(profit[i, pick])
            spent[s] += n * np.float64(cost[i, pick])
            sent[s, pick] += n


@compiled()
def best_responses(profit: Array, cost: Array, segment: Array, price: Array, toll: Array, choice: Array) -> None:
    """Fill `choice` (T,) with the best offer of each row."""
    for i in range(profit.shape[0]):
        choice[i], _ = best_offer(profit, cost, i, price[segment[i]], toll)


@compiled()
def sum_choices(
    profit: Array,
    cost: Array,
    segment: Array,
    row: Array,
    choice: Array,
    count: Array,
    earned: Array,
    spent: Array,
    sent: Array,
) -> None:
    """Add up a given choice.

    Args:
        profit: (T, O) float.
        cost: (T, O) float.
        segment: (T,).
        row: (M,) row of each chooser.
        choice: (M,) his offer.
        count: (M,) customers he stands for, or (1,) the same for all.
        earned: (S,) is added to, as are the next two.
        spent: (S,).
        sent: (S, O).
    """
    alike = count.shape[0] == 1
    for i in range(row.shape[0]):
        o = choice[i]
        if o > 0:
            t = row[i]
            s = segment[t]
            n = count[0] if alike else count[i]
            earned[s] += n * np.float64(profit[t, o])
            spent[s] += n * np.float64(cost[t, o])
            sent[s, o] += n


@compiled()
def screen_rows(
    profit: Array,
    cost: Array,
    segment: Array,
    count: Array,
    price: Array,
    toll: Array,
    reach: Array,
    toll_reach: Array,
    still_open: Array,
    earned: Array,
    spent: Array,
    sent: Array,
) -> None:
    """Mark the rows whose best offer another may overtake when prices move within their reach; add up the others.

    Args:
        profit: (T, O) float; -inf: not offered.
        cost: (T, O) float.
        segment: (T,).
        count: (T,).
        price: (S,) at the centre.
        toll: (O,) at the centre.
        reach: (S,) how far each price of money may move.
        toll_reach: (O,) how far each toll may move.
        still_open: (T,) is filled.
        earned: (S,) is added to, as are the next two.
        spent: (S,).
        sent: (S, O).
    """
    for i in range(profit.shape[0]):
        s = segment[i]
        pick, best = best_offer(profit, cost, i, price[s], toll)
        held = np.float64(cost[i, pick])
        lead = best - (toll_reach[pick] if pick > 0 else 0.0)
        opened = lead - reach[s] * held <= 0.0 if pick > 0 else False
        for o in range(1, profit.shape[1]):
            if o != pick:
                other = np.float64(cost[i, o])
                score = np.float64(profit[i, o]) - price[s] * other - toll[o]
                opened |= lead - score <= reach[s] * abs(other - held) + toll_reach[o]
        still_open[i] = opened
        if pick > 0 and not opened:
            n = np.float64(count[i])
            earned[s] += n * np.float64(profit[i, pick])
            spent[s] += n * held
            sent[s, pick] += n


@compiled()
def next_best(
    profit: Array, cost: Array, row: Array, segment: Array, price: Array, toll: Array, choice: Array, loss: Array
) -> None:
    """Fill `loss` (N,) with the least Lagrangian value that each customer's best other offer gives up."""
    for i in range(row.shape[0]):
        t = row[i]
        theta = price[segment[t]]
        now = choice[i]
        held = np.float64(profit[t, now]) - theta * np.float64(cost[t, now]) - toll[now]
        best = -np.inf
        for o in range(profit.shape[1]):
            if o != now:
                best = max(best, np.float64(profit[t, o]) - theta * np.float64(cost[t, o]) - toll[o])
        loss[i] = held - best


@compiled()
def group_rows(
    profit_bits: Array, cost_bits: Array, segment: Array, table: Array, first: Array, member: Array, count: Array
) -> int:
    """Number the distinct rows in the order of their first appearance (hashing with open addressing).

    Args:
        profit_bits: (N, O) the values' bits.
        cost_bits: (N, O).
        segment: (N,).
        table: (power of two above 2 N,) filled with -1.
        first: (N,) is filled with the first customer of each distinct row.
        member: (N,) is filled with the number of each customer's row.
        count: (N,) zeros; is filled with the customers of each row.

    Returns:
        How many rows are distinct.
    """
    kinds = 0
    mask = np.uint64(table.shape[0] - 1)
    factor = np.uint64(0x9E3779B97F4A7C15)
    for i in range(profit_bits.shape[0]):
        h = np.uint64(segment[i]) + np.uint64(0x2545F4914F6CDD1D)
        for o in range(profit_bits.shape[1]):
            h = (h ^ np.uint64(profit_bits[i, o])) * factor
            h ^= h >> np.uint64(29)
            h = (h ^ np.uint64(cost_bits[i, o])) * factor
            h ^= h >> np.uint64(32)
        place = h & mask
        while True:
            kind = table[place]
            if kind < 0:
                kind = kinds
                table[place] = kind
                first[kind] = i
                kinds += 1
                break
            if _same_row(profit_bits, cost_bits, segment, i, first[kind]):
                break
            place = (place + np.uint64(1)) & mask
        member[i] = kind
        count[kind] += 1
    return kinds


@compiled()
def _same_row(profit_bits: Array, cost_bits: Array, segment: Array, i: int, j: int) -> bool:
    if segment[i] != segment[j]:
        return False
    for o in range(profit_bits.shape[1]):
        if profit_bits[i, o] != profit_bits[j, o] or cost_bits[i, o] != cost_bits[j, o]:
            return False
    return True


@compiled()
def first_of_kind(member: Array, choice: Array, n_offers: int, most: int, seen: Array, out: Array) -> int:
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


@compiled()
def draw_in_turn(
    chance: Array,
    cost: Array,
    segment: Array,
    money: Array,
    coupons: Array,
    uniform: Array,
    drawn: Array,
    logged: Array,
) -> None:
    """Draw an offer for one customer after the other; an offer that no longer fits has no chance.

    Args:
        chance: (M, O) of each offer; what is missing to 1 is the chance of no coupon.
        cost: (M, O).
        segment: (M,).
        money: (S + 1,) what may be spent by segment, then in total; what is left afterwards.
        coupons: (O + 1,) what may be sent of each offer, then in all; what is left afterwards.
        uniform: (M,) in [0, 1).
        drawn: (M,) zeros; is filled with offers.
        logged: (M,) is filled with the chance of what was drawn.
    """
    for i in range(chance.shape[0]):
        s = segment[i]
        u = uniform[i]
        passed = 0.0
        for o in range(1, chance.shape[1]):
            c = cost[i, o]
            fits = coupons[o] >= 1 and coupons[-1] >= 1 and money[s] >= c and money[-1] >= c
            if chance[i, o] <= 0 or not fits:
                continue
            if passed <= u < passed + chance[i, o]:
                drawn[i] = o
                logged[i] = chance[i, o]
            passed += chance[i, o]
        o = drawn[i]
        if o == 0:
            logged[i] = 1.0 - passed
        else:
            money[s] -= cost[i, o]
            money[-1] -= cost[i, o]
            coupons[o] -= 1
            coupons[-1] -= 1


@compiled()
def add_curvature(
    profit: Array,
    cost: Array,
    segment: Array,
    count: Array,
    price: Array,
    toll: Array,
    width: float,
    segments: int,
    out: Array,
) -> None:
    """Add up outer products of what the two best offers of each nearly indifferent row use differently.

    Args:
        profit: (T, O) float; -inf: not offered.
        cost: (T, O) float.
        segment: (T,).
        count: (T,).
        price: (S,) of money in each segment.
        toll: (O,) of each offer.
        width: margin below which a row is nearly indifferent, money.
        segments: S.
        out: (S + O + 2, S + O + 2) is added to: total, segments, count, offers.
    """
    rules = np.empty(5, dtype=np.int64)
    use = np.empty(5)
    for i in range(profit.shape[0]):
        s = segment[i]
        pick, best = best_offer(profit, cost, i, price[s], toll)
        second = 0
        next_score = 0.0 if pick > 0 else -np.inf
        for o in range(1, profit.shape[1]):
            if o != pick:
                score = np.float64(profit[i, o]) - price[s] * np.float64(cost[i, o]) - toll[o]
                if score > next_score:
                    next_score = score
                    second = o
        if best - next_score >= width:
            continue
        money = np.float64(cost[i, pick]) - np.float64(cost[i, second])
        rules[0], use[0] = 0, money
        rules[1], use[1] = 1 + s, money
        rules[2], use[2] = 1 + segments, (1.0 if pick > 0 else 0.0) - (1.0 if second > 0 else 0.0)
        rules[3], use[3] = 2 + segments + pick, 1.0 if pick > 0 else 0.0
        rules[4], use[4] = 2 + segments + second, -1.0 if second > 0 else 0.0
        weight = np.float64(count[i]) / (2.0 * width)
        for a in range(5):
            for b in range(5):
                out[rules[a], rules[b]] += weight * use[a] * use[b]


@compiled()
def descend(model: Array, slope: Array, low: Array, high: Array, sweeps: int, step: Array) -> None:
    """Fill `step` (R,) with the least of slope·x + x·model·x / 2 between `low` and `high`, by coordinate descent."""
    for _ in range(sweeps):
        largest = 0.0
        for r in range(step.shape[0]):
            if high[r] <= low[r]:
                continue
            pull = slope[r]
            for q in range(step.shape[0]):
                pull += model[r, q] * step[q]
            there = min(max(step[r] - pull / model[r, r], low[r]), high[r])
            largest = max(largest, abs(there - step[r]) * model[r, r])
            step[r] = there
        if largest <= 1e-12:
            break
