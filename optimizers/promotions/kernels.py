"""Compiled dynamic programming over the promotions of one product. Same input, same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.compiled import compiled

# numba compiles for the types it meets, so array parameters are not annotated further.
Array = Any


@compiled()
def longest_tails(worth: Array, most: int) -> Array:
    """Most that can still be gained from each promotion on.

    Args:
        worth: (E, E + 1) gain from a promotion (in order of weeks) to the next, the last column to the end.
        most: promotions that a path may have, at most.

    Returns:
        (most + 1, E) with m promotions left.
    """
    count = worth.shape[0]
    tails = np.empty((most + 1, count))
    for m in range(most + 1):
        for a in range(count - 1, -1, -1):
            best = worth[a, count]
            if m > 0:
                for b in range(a + 1, count):
                    best = max(best, worth[a, b] + tails[m - 1, b])
            tails[m, a] = best
    return tails


@compiled()
def trace_path(worth: Array, tails: Array) -> Array:
    """Nodes of a best path from node 0; the shortest, then the earliest, of those that tie."""
    count = worth.shape[0]
    path = np.zeros(tails.shape[0], dtype=np.int64)
    length, node = 1, 0
    for m in range(tails.shape[0] - 1, 0, -1):
        best, step = worth[node, count], -1
        for b in range(node + 1, count):
            reach = worth[node, b] + tails[m - 1, b]
            if reach > best:
                best, step = reach, b
        if step < 0:
            break
        path[length] = step
        length, node = length + 1, step
    return path[:length]


@compiled()
def best_through(worth: Array, tails: Array) -> Array:
    """(E,) gain of the best path that passes each promotion."""
    most, count = tails.shape[0] - 1, worth.shape[0]
    through = np.full(count, -np.inf)
    reach = np.full((most + 1, count), -np.inf)
    reach[0, 0] = 0.0
    for m in range(most + 1):
        for b in range(count):
            if m > 0:
                for a in range(b):
                    reach[m, b] = max(reach[m, b], reach[m - 1, a] + worth[a, b])
            through[b] = max(through[b], reach[m, b] + tails[most - m, b])
    return through
