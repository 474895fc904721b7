"""Cancel a residual exactly: which few products to move another way so that the index lands within a hair's width.

An index band of 0 asks for hundreds of whole-cent moves whose revenue-weighted sum is 0 to nine decimals. No
branch-and-bound finds that. But among the quadruples of a few hundred nearly free alternatives there are thousands
that cancel any small residual, and sorting the sums of pairs finds them all (meet in the middle: Horowitz and Sahni,
"Computing partitions with applications to the knapsack problem", Journal of the ACM, 1974).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

POOLS = (150, 400, 1200)
"""Alternatives looked at, cheapest first; the next size only where the one before finds nothing."""
MAX_MATCHES = 3_000_000


@dataclass(frozen=True)
class Alternatives:
    """N ways to move one product elsewhere."""

    product: Ints
    """(N,)"""
    shift: Floats
    """(N,) what each does to the sum that must land in the window."""
    loss: Floats
    """(N,) what each costs, money."""


def cancelling_moves(options: Alternatives, low: float, high: float, most: int = 50) -> list[Ints]:
    """Find sets of at most four alternatives of different products whose shifts add up to [low, high].

    Returns:
        up to `most` sets of row numbers, the least loss first; empty where there is none.
    """
    order = np.argsort(options.loss, kind="stable")
    for size in POOLS:
        pool = order[:size]
        found = _meet(Alternatives(options.product[pool], options.shift[pool], options.loss[pool]), low, high, most)
        if found or size >= len(order):
            return [pool[rows] for rows in found]
    return []


def _meet(options: Alternatives, low: float, high: float, most: int) -> list[Ints]:
    first, second = _pairs(options)
    shift = np.append(options.shift, 0.0)
    sums = shift[first] + shift[second]
    order = np.argsort(sums, kind="stable")
    first, second, sums = first[order], second[order], sums[order]
    start = np.searchsorted(sums, low - sums, side="left")
    count = np.maximum(np.searchsorted(sums, high - sums, side="right") - start, 0)
    count = np.where(np.cumsum(count) <= MAX_MATCHES, count, 0)
    left = np.repeat(np.arange(len(sums)), count)
    right = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
    four = np.stack([first[left], second[left], first[right], second[right]], axis=1)
    four = four[_distinct(np.append(options.product, -1)[four])]
    loss = np.append(options.loss, 0.0)[four].sum(axis=1)
    best = np.argsort(loss, kind="stable")[:most]
    nothing = len(options.shift)
    return [np.array(sorted({int(i) for i in four[row] if i != nothing}), dtype=np.int64) for row in best]


def _pairs(options: Alternatives) -> tuple[Ints, Ints]:
    """All pairs of alternatives of different products, each alternative alone, and the pair of nothing."""
    nothing = len(options.shift)
    first, second = np.triu_indices(nothing + 1, 1)
    product = np.append(options.product, -1)
    apart = product[first] != product[second]
    return np.append(first[apart], nothing), np.append(second[apart], nothing)


def _distinct(product: Ints) -> npt.NDArray[np.bool_]:
    """(M,) True where the products of a row (M, 4) differ, -1 (nothing) aside."""
    ordered = np.sort(product, axis=1)
    same = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    return np.asarray(~same.any(axis=1))
