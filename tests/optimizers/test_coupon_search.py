"""The compiled search for sets of moves finds what trying every set finds."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.coupons.search_kernels import best_set

OFFERS, SEGMENTS = 3, 2


def drawn(seed: int, moves: int):
    """Moves of few customers, those that give up least first, and what is left of the rules."""
    rng = np.random.default_rng(seed)
    loss = np.sort(rng.exponential(0.1, moves))
    money = np.round(rng.normal(0, 1, moves), 1)
    held, to = rng.integers(0, OFFERS, moves), rng.integers(0, OFFERS, moves)
    group = rng.integers(0, SEGMENTS, moves)
    price = np.array([0.4, 0.0]), 1.1
    gain = (price[0][group] + price[1]) * money - loss
    slack = np.concatenate(
        [rng.uniform(0, 2, SEGMENTS), rng.uniform(0, 2, 1), [math.inf], rng.integers(0, 3, OFFERS - 1), [2.0, 1.0]]
    )
    room = float(price[0] @ slack[:SEGMENTS] + price[1] * slack[SEGMENTS])
    return rng.integers(0, max(2, moves // 2), moves), gain, loss, money, held, to, group, slack, room


def keeps(moves: tuple[int, ...], money, held, to, group, slack) -> bool:
    left = slack.copy()
    for k in moves:
        left[group[k]] -= money[k]
        left[SEGMENTS] -= money[k]
        coupons = int(to[k] > 0) - int(held[k] > 0)
        left[-2] -= coupons
        left[-1] += coupons
        if to[k]:
            left[SEGMENTS + 1 + to[k]] -= 1
        if held[k]:
            left[SEGMENTS + 1 + held[k]] += 1
    touched = [SEGMENTS, -1, -2, *(group[k] for k in moves), *(SEGMENTS + 1 + to[k] for k in moves if to[k])]
    return bool(min(left[place] for place in touched) >= 0)


def best_by_trying(depth: int, who, gain, money, held, to, group, slack) -> float:
    best = 0.0
    for size in range(1, depth + 1):
        for moves in itertools.combinations(range(len(who)), size):
            if len({who[k] for k in moves}) == size and keeps(moves, money, held, to, group, slack):
                best = max(best, float(gain[list(moves)].sum()))
    return best


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), moves=st.integers(1, 11), depth=st.integers(1, 4))
def test_the_best_set_is_that_of_trying_them_all(seed, moves, depth):
    who, gain, loss, money, held, to, group, slack, room = drawn(seed, moves)
    out, before = np.empty(depth, dtype=np.int64), slack.copy()
    value, found = best_set(
        *(who, gain, loss, money, held, to, group, slack, SEGMENTS),
        *(room, 0.0, float(loss[0]) + 1e-9, 10**7, out),
    )
    taken = tuple(out[:found].tolist())
    expected = best_by_trying(depth, who, gain, money, held, to, group, slack)
    assert value == max(expected, 0.0) or math.isclose(value, expected, abs_tol=1e-9)
    assert len({who[k] for k in taken}) == found
    assert not found or keeps(taken, money, held, to, group, slack)
    assert np.array_equal(slack, before)


def test_a_search_of_single_moves_looks_at_each_of_them_a_few_times_only():
    """Two thousand moves are no work for pairs' worth of tries: what is beyond the depth is not waited for."""
    who, gain, loss, money, held, to, group, slack, room = drawn(1, 2_000)
    out = np.empty(1, dtype=np.int64)
    arguments = (who, gain, loss, money, held, to, group, slack, SEGMENTS, room, 0.0, 1e-6)
    few, found_few = best_set(*arguments, 60_000, out)
    first = out[:found_few].tolist()
    many, found_many = best_set(*arguments, 10**9, out)
    assert (few, first) == (many, out[:found_many].tolist())
