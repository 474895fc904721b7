"""Price groups one by one: what their columns bring, better columns, and bounds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimizers.prices.kernels import measure_columns
from optimizers.prices.moves import improve_groups
from optimizers.prices.proof import Work
from optimizers.prices.proof import prove as bound_group
from optimizers.prices.relaxation import TIGHT
from optimizers.prices.system import PriceSystem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

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
    ) -> tuple[float, float, int, bool]:
        """Bound a group from the multipliers that it was bounded with last; arguments and result as `proof.prove`."""
        system = self.system
        own = slice(system.inner_first[group], system.inner_first[group + 1])
        families = slice(system.place(group)[2], system.place(group)[2] + system.families_of(group))
        price = np.concatenate([self.family_price[families], self.inner_price[own]])
        slots = min(work.nodes + 1, max(64, MASK_BYTES // max(len(choice) * system.tables.log_move.shape[1], 1)))
        found = bound_group(
            *(system.tables, system.inner.arrays, worth, dent, system.place(group), choice, price, margin),
            *(float(self.hard[group]), work, slots, pool, pool_value),
        )
        self.family_price[families] = price[: system.families_of(group)]
        self.inner_price[own] = price[system.families_of(group) :]
        return float(found[0]), float(found[1]), int(found[2]), bool(found[3])


def _largest(system: PriceSystem) -> Floats:
    """(P,) most that a product can gain or lose."""
    worth = system.worth.sum(axis=2)
    return np.asarray(np.abs(np.where(system.tables.allowed > 0, worth, 0.0)).max(axis=1, initial=0.0))
