"""Sets of moves of one block of customers that fill its budget, from lists of half sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizers.coupons.exchange import Moves
from optimizers.coupons.problem import Floats, Ints

NARROWER = 0.7
"""Factor on what a set may give up while there are too many of them."""
NARROWINGS = 40
"""Times that it is tried."""
WIDER = 2.0
"""Factor on what a set may cost while there are too few of them."""
STEPS = 12
NODES = 4_000_000
"""Pairs of half sets that are looked at for one list."""


@dataclass(frozen=True)
class Block:
    """Customers at their best response, moves away from it, and the price of the budget that they fill."""

    moves: Moves
    coupons: Ints
    """(M,) change of the number sent; 0 where the number has no price."""
    price: float
    """Of the block's budget; 0: money does not count."""


@dataclass(frozen=True)
class HalfSets:
    """Sets of moves of one half of a block's customers, by what they give up."""

    moves: Ints
    """Places of the half's moves in the block."""
    order: Ints
    """Place of each set in `parent` and `last`."""
    parent: Ints
    last: Ints
    sums: Floats
    """(B, 2) loss and money."""
    coupons: Ints
    """(B,)"""

    def members(self, place: int) -> list[int]:
        """Moves of one set, as places in the block."""
        found, place = [], int(self.order[place])
        while self.last[place] >= 0:
            found.append(int(self.moves[self.last[place]]))
            place = int(self.parent[place])
        return found


@dataclass(frozen=True)
class Sets:
    """All sets of a block that give up no more than `complete`, and others, as pairs of half sets."""

    block: Block
    first: HalfSets
    second: HalfSets
    complete: float

    def members(self, first: int, second: int) -> Ints:
        """Moves of the pair, as places in the block."""
        return np.array(self.first.members(first) + self.second.members(second), dtype=np.int64)

    def within(self, slack: float, most: float, many: int) -> Listed:
        """The sets that fit the slack and cost less than `most`, by cost; of more than `many` the cheapest.

        A set costs what it gives up and the priced money that it leaves. Ever dearer sets are asked for, so that no
        long list is made in vain.
        """
        complete, step = 0.0, most / WIDER**STEPS
        cost, first, other = np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        while len(cost) < many and complete < most:
            found = self._join(slack, step)
            if found is None:
                break
            cost, first, other = found
            complete, step = step, min(step * WIDER, most)
        order = np.argsort(cost, kind="stable")
        complete = float(cost[order[many]]) if len(order) > many else complete
        order = order[:many]
        first, other = first[order], other[order]
        return Listed(
            cost=cost[order],
            money=self.first.sums[first, 1] + self.second.sums[other, 1],
            coupons=self.first.coupons[first] + self.second.coupons[other],
            first=first,
            second=other,
            complete=min(complete, self.complete),
        )

    def _join(self, slack: float, most: float) -> tuple[Floats, Ints, Ints] | None:
        """Cost of all pairs that cost less than `most`, and their places in both halves; None: too much to look at."""
        from optimizers.coupons.subset_kernels import join_within

        cheap = np.flatnonzero(self.second.sums[:, 0] < most)  # where money is worth little all of them would be tried
        cheap = cheap[np.argsort(self.second.sums[cheap, 1], kind="stable")]
        size = 1_000
        while True:
            cost, pairs = np.empty(size), np.empty((size, 2), dtype=np.int64)
            found = join_within(
                *(self.first.sums, self.second.sums[cheap], slack, self.block.price, most, NODES, cost, pairs)
            )
            if found == -2:
                return None
            if found >= 0:
                return cost[:found], pairs[:found, 0], cheap[pairs[:found, 1]]
            size *= 8


@dataclass(frozen=True)
class Listed:
    """Sets of one block, (K,) each."""

    cost: Floats
    money: Floats
    coupons: Ints
    first: Ints
    second: Ints
    complete: float
    """Every set that costs less is among them."""

    @property
    def least(self) -> float:
        """No set costs less."""
        return min(float(self.cost.min(initial=np.inf)), self.complete)


def list_halves(block: Block, limit: float, most: int) -> Sets:
    """List the sets that give up no more than `limit`, or than what leaves at most `most` in each half."""
    _, first_seen, number = np.unique(block.moves.who, return_index=True, return_inverse=True)
    rank = np.empty(len(first_seen), dtype=np.int64)
    rank[np.argsort(first_seen)] = np.arange(len(first_seen))
    side = rank[number] % 2
    places = np.flatnonzero(side == 0), np.flatnonzero(side == 1)
    for _ in range(NARROWINGS):
        first, second = _half(block, places[0], limit, most), _half(block, places[1], limit, most)
        if first is not None and second is not None:
            return Sets(block, first, second, limit)
        limit *= NARROWER
    none = np.empty(0, dtype=np.int64)  # too many moves give up nothing: ties are left to the other steps
    nothing = _half(block, none, 0.0, most)
    assert nothing is not None  # noqa: S101 - the empty set always fits
    return Sets(block, nothing, nothing, 0.0)


def _half(block: Block, places: Ints, limit: float, most: int) -> HalfSets | None:
    """The half's sets; None where there are more than `most`."""
    from optimizers.coupons.subset_kernels import list_sets

    parent, last, coupons = (np.empty(most, dtype=np.int64) for _ in range(3))
    sums, moves = np.empty((most, 2)), block.moves
    money = moves.money[places] if block.price > 0 else np.zeros(len(places))
    many = list_sets(
        *(moves.who[places], moves.loss[places], money, block.coupons[places], limit), *(parent, last, sums, coupons)
    )
    if many < 0:
        return None
    order = np.argsort(sums[:many, 0], kind="stable")
    return HalfSets(places, order, parent[:many], last[:many], sums[order], coupons[order])
