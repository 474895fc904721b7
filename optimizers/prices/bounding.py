"""Bound every group at multipliers of the rows between them, in threads that know nothing of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from optimizers.prices.groups import LIST, POOL, Groups
from optimizers.prices.nodes import WORK
from optimizers.prices.system import priced

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

THREADS = 2


@dataclass(frozen=True)
class GroupBound:
    """What is proven of one group."""

    group: int
    bound: float
    """Money at the multipliers: no choice is worth more."""
    listed: bool
    """Whether every choice that was asked for is among those met, or was before."""
    met: list[Ints] = field(default_factory=list)
    """Choices met on the way that keep the group's own rules."""


class Bounds:
    """Bounds of all groups, with those known from lists at the same multipliers."""

    def __init__(self, groups: Groups, check: Callable[[], None]) -> None:
        """Know nothing yet; `check` raises where the work is to end."""
        self.groups, self._check = groups, check
        self._at = np.full(len(groups.system.coupling), np.nan)
        # Group -> depth, bound, and whether all of its columns so far below its best are in the master.
        self._known: dict[int, tuple[float, float, bool]] = {}

    def at(self, price: Floats, start: Ints, margin: float) -> Iterator[GroupBound]:
        """Bound every group at multipliers (R,), in order, from a choice (P,).

        Args:
            price: multipliers of the rows between groups.
            start: what each group is begun with.
            margin: money that a bound may stay above its group's best; below 0, choices so far below are listed.
        """
        if not np.array_equal(price, self._at):
            self._at, self._known = price, {}
        worth, dent = priced(self.groups.system, price)
        parts = self.groups.parts(start, self.groups.everything)
        listing, room = margin < 0, np.array([margin, 0.0])

        def watch(_best: float, _bound: float) -> None:
            self._check()

        def bounded(g: int) -> GroupBound:
            self._check()
            depth, bound, all_listed = self._known.get(g, (-np.inf, 0.0, False))
            if listing and (depth <= margin if all_listed else depth >= margin):
                return GroupBound(g, bound, all_listed)
            pool, pool_value = self.groups.pool(g, LIST if listing else POOL)
            proof = self.groups.prove(g, worth, dent, parts[g].copy(), room, pool, pool_value, WORK, watch)
            return GroupBound(g, proof[1], proof[3], list(pool[pool_value > -np.inf]))

        with ThreadPoolExecutor(THREADS) as threads:
            # The groups know nothing of each other, so that the number of threads changes nothing.
            for found in threads.map(bounded, range(self.groups.system.size)):
                if listing:
                    self._known[found.group] = (margin, found.bound, found.listed)
                yield found
