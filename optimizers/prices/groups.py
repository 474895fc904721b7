"""Price groups one by one: what their columns bring, better columns, and bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.prices import proof
from optimizers.prices.kernels import TIGHT, measure_columns
from optimizers.prices.moves import improve_groups
from optimizers.prices.nodes import Question, Work
from optimizers.prices.system import PriceSystem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Verdict = tuple[float, float, int, bool]
"""Best value, bound, nodes looked at, whether the work was done."""

SLICE = 500
"""Nodes between two looks at the clock."""
MASK_BYTES = 40_000_000
"""What the masks of one group's open nodes may take."""
LIST = 4000
"""Columns that are listed of one group at most."""
POOL = 12
"""Choices that a proof hands back as columns."""
HARD = 100.0
"""A scaled unit of violation of a hard row costs so many times the largest gain of any one product."""


class Groups:
    """The groups of a system, with the multipliers at which each was bounded last."""

    def __init__(self, system: PriceSystem) -> None:
        """Begin with multipliers of 0."""
        self.system = system
        self.everything = np.arange(system.size)
        self.inner_price = np.zeros(len(system.inner))
        """Multipliers of the groups' own rows, scaled."""
        self.family_price = np.zeros(len(system.tables.first) - 1)
        """Multipliers of the families' log moves."""
        self.hard_money = HARD * max(float(_largest(system).max(initial=0.0)), 1e-6)
        """Money per scaled unit by which a hard row is broken."""
        self.hard = np.full(system.size, self.hard_money)

    def by_moves(self, choice: Ints, asked: Ints, worth: Floats) -> tuple[Ints, Floats]:
        """Search some groups for columns by moves of one product."""
        system = self.system
        score = np.full(system.size, -np.inf)
        improve_groups(
            *(system.tables, system.inner.arrays, worth, system.groups, system.inner_first, asked),
            *(choice, self.hard, False, score),
        )
        return choice, score

    def parts(self, choice: Ints, groups: Ints) -> list[Ints]:
        """Cut groups' rungs out of a choice (P,)."""
        bounds = self.system.groups
        return [choice[bounds[g] : bounds[g + 1]] for g in groups]

    def measure(self, groups: Ints, parts: list[Ints]) -> tuple[Floats, Floats, Ints]:
        """Value, activities and whether the own hard rows are kept, of columns (N,)."""
        system = self.system
        count = len(groups)
        value, kept = np.zeros(count), np.zeros(count, dtype=np.int64)
        activity = np.zeros((count, len(system.coupling)))
        sizes = np.diff(system.groups)[groups]
        measure_columns(
            *(system.tables, system.inner.arrays, system.coupling.arrays, system.worth, system.groups),
            *(system.inner_first, groups, np.cumsum(sizes) - sizes, np.concatenate(parts), TIGHT * 10),
            *(value, activity, kept),
        )
        return value, activity, kept

    def pool(self, group: int, most: int = POOL) -> tuple[Ints, Floats]:
        """Room for choices (Q, n) of a group and their values (Q,), none there yet."""
        size = int(self.system.groups[group + 1] - self.system.groups[group])
        return np.zeros((most, size), dtype=np.int64), np.full(most, -np.inf)

    def small(self) -> bool:
        """Whether every group has so few choices that all of them can be listed."""
        choices = np.log(np.maximum(self.system.tables.allowed.sum(axis=1), 1))
        return bool((np.add.reduceat(choices, self.system.groups[:-1]) <= np.log(LIST)).all())

    def prove(
        self,
        group: int,
        worth: Floats,
        dent: Floats,
        choice: Ints,
        margin: Floats,
        pool: Ints,
        pool_value: Floats,
        work: Work,
        watch: Callable[[float, float], None] | None = None,
    ) -> Verdict:
        """Bound a group from the multipliers that it was bounded with last; arguments as those of `proof.begin`.

        `watch` is told best value and bound now and then. What it raises ends the work; `choice`, `pool` and
        `pool_value` hold what was found until then.
        """
        question, price = self._question(group, worth, dent, margin, work), self._price(group)
        slots = self._slots(group, work)
        nodes, desk, ledger = proof.begin(question, choice, price, slots, pool, pool_value)
        until = min(SLICE, work.nodes)
        while proof.explore(question, nodes, desk, ledger, until) and until < work.nodes:
            until = min(until + SLICE, work.nodes)
            if watch is not None:
                watch(*_verdict(proof.verdict(question, nodes, ledger))[:2])
        self._keep(group, price)
        return _verdict(proof.verdict(question, nodes, ledger))

    def _question(self, group: int, worth: Floats, dent: Floats, margin: Floats, work: Work) -> Question:
        system = self.system
        place, hard = system.place(group), float(self.hard[group])
        return Question(system.tables, system.inner.arrays, worth, dent, place, margin, hard, work)

    def _slots(self, group: int, work: Work) -> int:
        """Open nodes that are kept at most."""
        first, last = self.system.groups[group : group + 2]
        rungs = int((last - first) * self.system.tables.log_move.shape[1])
        return min(work.nodes + 1, max(64, MASK_BYTES // max(rungs, 1)))

    def _price(self, group: int) -> Floats:
        """Multipliers of the group's families and rows, (nf + m,)."""
        families, own = self._multipliers(group)
        return np.concatenate([self.family_price[families], self.inner_price[own]])

    def _keep(self, group: int, price: Floats) -> None:
        families, own = self._multipliers(group)
        self.family_price[families], self.inner_price[own] = np.split(price, [families.stop - families.start])

    def _multipliers(self, group: int) -> tuple[slice, slice]:
        """Where a group's multipliers are, among those of all families and of all groups' own rows."""
        _, _, family, row_first, row_last = self.system.place(group).tolist()
        return slice(family, family + self.system.families_of(group)), slice(row_first, row_last)


def _verdict(found: Any) -> Verdict:  # noqa: ANN401 - from compiled code
    best, bound, looked, done = found
    return float(best), float(bound), int(looked), bool(done)


def _largest(system: PriceSystem) -> Floats:
    """(P,) most that a product can gain or lose."""
    worth = system.worth.sum(axis=2)
    return np.asarray(np.abs(np.where(system.tables.allowed > 0, worth, 0.0)).max(axis=1, initial=0.0))
