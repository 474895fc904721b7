"""What rounding the master's relaxation begins from: whole choices near it, and columns as small change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optimizers.prices.groups import Groups
from optimizers.prices.master import Master, Mixture
from optimizers.prices.moves import single_moves
from optimizers.prices.system import priced

Ints = npt.NDArray[np.int64]

NEIGHBOURS = 1500
"""Columns one move away that are added when rounding."""
ROUNDINGS = 6
"""Ways to round the relaxation that are tried."""


def roundings(groups: Groups, master: Master, mixture: Mixture, columns: Sequence[Ints]) -> list[Ints]:
    """The relaxation with every split group at its heaviest column, and with one of them at another; (P,) each.

    `columns` are the rungs of the master's columns.
    """
    best = master.heaviest(mixture)
    found = [np.concatenate([columns[n] for n in best])]
    bounds = groups.system.groups
    for n in np.flatnonzero(master.weight(mixture) > 1e-7).tolist():
        group = int(master.columns.group[n])
        if n != best[group] and len(found) < ROUNDINGS:
            other = found[0].copy()
            other[bounds[group] : bounds[group + 1]] = columns[n]
            found.append(other)
    return found


def neighbours(groups: Groups, master: Master, mixture: Mixture, choice: Ints) -> tuple[Ints, list[Ints]]:
    """Groups (N,) and columns one move away from a choice (P,) that lose little: whoever rounds needs small change."""
    system = groups.system
    worth, _ = priced(system, mixture.price)
    gain = np.empty_like(system.margin)
    single_moves(system.tables, system.inner.arrays, worth, choice, groups.hard_money, gain)
    gain = np.where(np.isfinite(gain), gain, -np.inf)
    open_groups = master.nearly_tied(mixture)
    each = max(8, NEIGHBOURS // max(len(open_groups), 1))
    found: list[int] = []
    parts: list[Ints] = []
    for g in open_groups.tolist():
        first, last = system.groups[g], system.groups[g + 1]
        flat = gain[first:last].ravel()
        for place in np.argsort(-flat, kind="stable")[:each]:
            if flat[place] > -np.inf:
                found.append(g)
                parts.append(choice[first:last].copy())
                parts[-1][place // gain.shape[1]] = place % gain.shape[1]
    return np.array(found, dtype=np.int64), parts
