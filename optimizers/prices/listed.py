"""Families that are small enough to list every choice of their rungs, each valued exactly: to be joined, not searched.

A family of up to four products or so has a few thousand choices. Once all of them stand in a table, nothing about the
family is left to prove: the shop is a multiple-choice knapsack over the rows between families, whatever the value of
a choice is. That is how risk settings are counted which no smooth table can hold (a quantile over draws has kinks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optimizers.prices.kernels import TIGHT, RowArrays, Tables, measure_columns
from optimizers.prices.listed_choices import leeway
from optimizers.prices.model import Families, own_move, risk_value
from optimizers.prices.problem import PriceProblem
from optimizers.prices.row_set import RowSet, row_set
from optimizers.prices.system import PriceSystem, lower_values

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_OF_ONE = 600_000
"""Choices of one family that are listed at most …"""
MOST_OF_ALL = 1_000_000
"""… and of all families …"""
MOST_RUNGS = 5_000_000
"""… which have so many rungs together: beyond, searching is quicker."""
MOST_DRAWN = 50_000_000
"""Choices times products times draws that are valued one by one where no smooth table holds the values."""
SAMPLES = 129
"""Positions at which such values are sampled where choices are too many for that, to be joined by straight lines."""
MOST_NUMBERS = 20_000_000
"""Choices times rows, or times draws and products at a time, that are held at most."""
SAME = 12
"""Digits to which choices must agree to be one."""


@dataclass(frozen=True)
class OwnRows:
    """All choices (n) of one family, also those that break its own rules: what these cost is asked of them."""

    value: Floats
    """(n,) money, before fines of the own rows."""
    activity: Floats
    """(n, J) of all joint rows, scaled units."""
    rows: RowArrays
    """Sides and penalties of the own rows."""
    numbers: Ints
    """Their numbers among the joint rows."""


@dataclass(frozen=True)
class ListedFamilies:
    """N choices of F families, those of a family side by side; rows are the R that join families."""

    first: Ints
    """(F + 1,) first choice of each family."""
    place: tuple[Ints, ...]
    """(F) the products of each family, in the order of the system."""
    rungs: tuple[Ints, ...]
    """(F) the rungs (n_f, …) of each family's choices."""
    value: Floats
    """(N,) money, less the fines of the family's own soft rows."""
    activity: Floats
    """(N, R) scaled units."""
    rows: RowArrays
    """Sides and penalties of the R rows; the blocks are those of `joint`."""
    numbers: Ints
    """(R,) number among the joint rows."""
    own: tuple[OwnRows, ...] = ()
    """Of the families that have rows of their own."""
    error: float = 0.0
    """Money by which the values of a plan's choices may understate it, measured between samples."""

    def choice(self, picked: Ints) -> Ints:
        """(P,) rungs in the order of the system, for one choice of each family, (F,) numbers 0…N-1."""
        found = np.zeros(sum(len(products) for products in self.place), dtype=np.int64)
        for f, number in enumerate((picked - self.first[:-1]).tolist()):
            found[self.place[f]] = self.rungs[f][number]
        return found


def list_families(problem: PriceProblem, system: PriceSystem, joint: RowSet) -> ListedFamilies | None:
    """List every choice of every family that keeps the family's own rules; None where there are too many to list.

    A family that is left without any choice has none in the result.
    """
    place = tuple(np.arange(a, b) for a, b in zip(system.tables.first[:-1], system.tables.first[1:], strict=True))
    rungs = _all_choices(system.tables, joint, place)
    if rungs is None:
        return None
    value, activity = _measured(system, joint, rungs)
    error = 0.0
    if problem.risk != "mean" and sum(one.size for one in rungs) * len(problem.own) <= MOST_DRAWN:
        value = np.concatenate([_exact(problem, system, f, rungs[k]) for k, f in enumerate(place)])
    elif problem.risk != "mean":
        value, error = _sampled(problem, system, place, rungs)
    moved = np.concatenate([(one != system.today).sum(axis=1) for one in rungs])
    return replace(_kept(joint, system.tables.family, place, rungs, value, activity, moved), error=error)


def _all_choices(tables: Tables, joint: RowSet, place: tuple[Ints, ...]) -> list[Ints] | None:
    """(F) the choices (N_f, n_f) of every family that the shop's rows leave; None: they are too many."""
    options = np.maximum(tables.allowed.sum(axis=1), 1).astype(np.float64)
    rows = leeway(tables, joint)
    counts = np.array([rows.count(products, options[products]) for products in place])
    total = counts.sum()
    if counts.max() > MOST_OF_ONE + 0.5 or total > MOST_OF_ALL + 0.5 or total * (1 + len(joint)) > MOST_NUMBERS:
        return None
    if counts @ [len(products) for products in place] > MOST_RUNGS:
        return None
    found = [rows.choices(tables, products, MOST_OF_ONE) for products in place]
    whole = [one for one in found if one is not None]
    return whole if len(whole) == len(found) else None


def _measured(system: PriceSystem, joint: RowSet, rungs: list[Ints]) -> tuple[Floats, Floats]:
    """Values (N,) by the tables, less fines of single products, and activities (N, R) of all rows."""
    tables, sizes = system.tables, np.array([len(one) for one in rungs])
    count, widths = int(sizes.sum()), np.repeat([one.shape[1] for one in rungs], sizes)
    value, activity, kept = np.zeros(count), np.zeros((count, len(joint))), np.zeros(count, dtype=np.int64)
    measure_columns(
        *(tables, row_set([], tables, np.empty(0, dtype=np.int64)).arrays, joint.arrays, system.worth, tables.first),
        *(np.zeros(len(tables.first), dtype=np.int64), np.repeat(np.arange(len(rungs)), sizes)),
        *(np.cumsum(widths) - widths, np.concatenate([one.ravel() for one in rungs]), TIGHT),
        *(value, activity, kept),
    )
    return value, activity


def _exact(problem: PriceProblem, system: PriceSystem, products: Ints, rungs: Ints) -> Floats:
    """(N,) values of a family's choices (N, n) over all draws, as the risk setting counts them, less single fines."""
    inside = system.order[products]
    families, price = Families.of(problem), problem.current_price[inside]
    today = problem.base_scale[:, inside] * problem.base_units[inside] * (price - problem.unit_cost[inside])
    found = -system.fine[products[None, :], rungs].sum(axis=1)
    step = max(1, MOST_NUMBERS // 4 // max(today.size, 1))
    for begin in range(0, len(rungs), step):
        part = slice(begin, begin + step)
        move = system.tables.log_move[products[None, :], rungs[part]]
        weighted = families.weight[inside] * move
        rest = (weighted.sum(axis=1, keepdims=True) - weighted) / families.rest[inside]
        rest = np.where(system.tables.inverse[products] > 0, rest, 0.0)
        margin = system.margin[products[None, :], rungs[part]]
        power = problem.own[:, None, inside] * own_move(problem, move) + problem.cross[:, None, inside] * rest
        units = (problem.base_scale[:, inside] * problem.base_units[inside])[:, None] * np.exp(power)
        found[part] += risk_value(units * margin - today[:, None], problem.risk).sum(axis=1)
    return np.asarray(found)


def _sampled(
    problem: PriceProblem, system: PriceSystem, place: tuple[Ints, ...], rungs: list[Ints]
) -> tuple[Floats, float]:
    """Values (N,) between samples of each rung's value, and money by which those of a plan may be too low altogether.

    The error is measured halfway between every other sample, where straight lines over twice the distance are off most.
    """
    at = np.linspace(-1.0, 1.0, SAMPLES)
    value = lower_values(problem, system.order, system.tables, system.margin, at) - system.fine[:, :, None]
    halfway = (value[:, :, :-2:2] + value[:, :, 2::2]) / 2
    off = np.maximum(value[:, :, 1::2] - halfway, 0.0).max(axis=2, initial=0.0) * (system.tables.allowed > 0)
    found = [_between(system, products, mine, value) for products, mine in zip(place, rungs, strict=True)]
    return np.concatenate(found), float(off.max(axis=1, initial=0.0).sum())


def _between(system: PriceSystem, products: Ints, rungs: Ints, value: Floats) -> Floats:
    """(N,) values of a family's choices (N, n), along straight lines between samples (P, K, SAMPLES)."""
    tables = system.tables
    parts = tables.share[products] * tables.log_move[products, rungs]
    rest = (parts.sum(axis=1, keepdims=True) - parts) * tables.inverse[products]
    position = ((rest - tables.middle[products]) * tables.stretch[products] + 1) / 2 * (SAMPLES - 1)
    left = np.clip(position.astype(np.int64), 0, SAMPLES - 2)
    share = position - left
    low, high = value[products, rungs, left], value[products, rungs, left + 1]
    return np.asarray((low + share * (high - low)).sum(axis=1))


def _kept(
    joint: RowSet,
    family: Ints,
    place: tuple[Ints, ...],
    rungs: list[Ints],
    value: Floats,
    activity: Floats,
    moved: Ints,
) -> ListedFamilies:
    """Settle the rows over one family each, and leave the rest to be joined; `moved` (N,) counts changed prices."""
    rows, sizes = joint.arrays, np.array([len(one) for one in rungs])
    owner = np.repeat(np.arange(len(rungs)), sizes)
    block_family = family[np.searchsorted(rows.start, np.arange(len(rows.row)), side="right") - 1]
    touched = [np.unique(block_family[rows.row == r]) for r in range(len(joint))]
    joining = np.array([r for r, families in enumerate(touched) if len(families) > 1], dtype=np.int64)
    alone = {r: int(families[0]) for r, families in enumerate(touched) if len(families) == 1}
    own = tuple(_own_rows(rows, owner == f, value, activity, alone, f) for f in sorted(set(alone.values())))
    fits = np.ones(len(value), dtype=np.bool_)
    for r, f in alone.items():
        off = np.maximum(np.maximum(activity[:, r] - rows.high[r], rows.low[r] - activity[:, r]), 0.0) * (owner == f)
        if np.isinf(rows.penalty[r]):
            fits &= off <= TIGHT
        else:
            value = value - rows.penalty[r] * off
    activity, between = activity[:, joining], _rows_of(rows, joining)
    left = np.flatnonzero(fits)
    left = left[_undominated(owner[left], value[left], activity[left], between, moved[left])]
    cut = np.searchsorted(owner[left], np.arange(len(rungs) + 1)).astype(np.int64)
    offset = np.cumsum(sizes) - sizes
    listed = tuple(rungs[f][left[cut[f] : cut[f + 1]] - offset[f]] for f in range(len(rungs)))
    return ListedFamilies(cut, place, listed, value[left], activity[left], between, joining, own)


def _own_rows(
    rows: RowArrays, mine: Bools, value: Floats, activity: Floats, alone: Mapping[int, int], family: int
) -> OwnRows:
    numbers = np.array([r for r, f in alone.items() if f == family], dtype=np.int64)
    return OwnRows(value[mine], activity[mine], _rows_of(rows, numbers), numbers)


def _rows_of(rows: RowArrays, numbers: Ints) -> RowArrays:
    """Sides and penalties of some rows; their blocks are left as they are."""
    return rows._replace(
        low=rows.low[numbers], high=rows.high[numbers], penalty=rows.penalty[numbers], measured=rows.measured[numbers]
    )


def _undominated(owner: Ints, value: Floats, activity: Floats, rows: RowArrays, moved: Ints) -> Ints:
    """Choices that no other of the family beats or equals under every row; of equal ones the least moved is left.

    A choice is held against the most valuable one that does the same to every row with two sides or a fine.
    """
    upper = np.isinf(rows.low) & np.isinf(rows.penalty)
    lower = np.isinf(rows.high) & np.isinf(rows.penalty) & ~upper
    same = np.round(activity[:, ~(upper | lower)], SAME)
    use = np.concatenate([activity[:, upper], -activity[:, lower]], axis=1)
    order = np.lexsort((moved, use.sum(axis=1), -np.round(value, SAME), *same.T, owner))
    key = np.concatenate([owner[order, None].astype(np.float64), same[order]], axis=1)
    head = np.append(True, (np.diff(key, axis=0) != 0).any(axis=1)) if len(order) else np.zeros(0, dtype=np.bool_)
    leader = order[np.flatnonzero(head)][np.cumsum(head) - 1] if len(order) else order
    beaten = (use[order] >= use[leader] - 1e-15).all(axis=1) & ~head
    return np.sort(order[~beaten])
