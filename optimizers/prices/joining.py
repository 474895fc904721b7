"""Join listed families into the best plan under the rows between them: two halves of the shop meet in the middle.

At multipliers of the rows every choice of a family loses so much against the family's best one, and a plan is worth the
bound less what its choices and the slack of its rows lose. So every plan that loses less than a depth consists of
choices that lose less. The choices of one half of the families are put together up to the depth, those of the other
half too, and pairs are sought that keep the rows (Horowitz and Sahni, "Computing Partitions with Applications to the
Knapsack Problem", Journal of the ACM, 1974). A pair that loses less than the depth is the optimum; no pair proves that
every plan loses more. An index that must not move at all has plans as rare as needles, which no relaxation tells of:
here they are looked up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.compiled import compiled
from optimizers.prices.kernels import TIGHT, Array, RowArrays
from optimizers.prices.listed import ListedFamilies

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Short = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

MOST = 3_000_000
"""Partial plans of one half that are held at most."""
MOST_NUMBERS = 30_000_000
"""Numbers that a half may keep of what its partial plans are made of, and of what they do to the rows."""
WORKING = 2
"""Copies of the latter while a family is added."""
VISITS = 400_000_000
"""Pairs that are looked at for one depth at most."""
BLOCK = 64
"""Partial plans that are skipped together."""
DEEPER = 2.0
"""How much further the next depth reaches …"""
NEARLY = 1.1
"""… unless partial plans became too many: then depths between are tried, until they lie as close as this."""


@dataclass(frozen=True)
class Joined:
    """What is held and proven."""

    picked: Ints | None
    """(F,) one choice of each family; None: no plan better than the one in hand was found."""
    loss: float
    """Money by which the best plan known stays below the bound of the multipliers."""
    depth: float
    """Money: no plan loses less than the lesser of `loss` and this."""


@dataclass(frozen=True)
class Half:
    """M partial plans over some families, least loss first."""

    families: Ints
    loss: Floats
    """(M,)"""
    activity: Floats
    """(M, R)"""
    parents: list[Short]
    """By family: the partial plan of the families before that each was made of."""
    columns: list[Short]
    """By family: its choice, 0…N-1."""

    def picked(self, number: int) -> Ints:
        """Choice of each family of one partial plan."""
        found = np.zeros(len(self.families), dtype=np.int64)
        for n in range(len(self.families) - 1, -1, -1):
            found[n] = self.columns[n][number]
            number = int(self.parents[n][number])
        return found


def bound_at(listed: ListedFamilies, price: Floats) -> tuple[float, Floats, Floats]:
    """Bound of every plan at multipliers (R,), money; those within their signs, (R,); and what each choice loses, (N,).

    A multiplier presses on a side that the row has, and costs no more than the fine of a soft row.
    """
    rows = listed.rows
    price = np.where(np.isinf(rows.high), np.minimum(price, 0.0), price)
    price = np.where(np.isinf(rows.low), np.maximum(price, 0.0), price)
    price = np.clip(price, -rows.penalty, rows.penalty)
    side = np.where(price > 0, rows.high, np.where(price < 0, rows.low, 0.0))
    priced = listed.value - listed.activity @ price
    best = np.maximum.reduceat(priced, listed.first[:-1])
    loss = np.repeat(best, np.diff(listed.first)) - priced
    return float(best.sum() + price[price != 0] @ side[price != 0]), price, loss


def join(
    listed: ListedFamilies,
    price: Floats,
    loss: Floats,
    *,
    least: float,
    most: float,
    enough: Callable[[Joined], bool],
) -> Joined:
    """Find the plan that loses least, depth by depth, until it is proven or the partial plans become too many.

    Args:
        listed: the families.
        price: (R,) multipliers (`bound_at`).
        loss: (N,) what each choice loses at them.
        least: money: the first depth.
        most: money: what the plan in hand loses; only better ones are sought.
        enough: asked after every depth; True ends the work. What it raises ends it too.
    """
    found = Joined(None, most, 0.0)
    depth, too_deep = least, np.inf
    while found.depth < found.loss:
        depth = min(depth, found.loss)
        halves = _halves(listed, loss, depth)
        if halves is None:
            too_deep = depth
        else:
            picked, reached, all_seen = _meet(listed, price, halves, found.loss)
            found = Joined(found.picked if picked is None else picked, reached, depth if all_seen else found.depth)
            if enough(found) or not all_seen:
                break
        if not found.depth or too_deep <= found.depth * NEARLY:
            break
        depth = min(found.depth * DEEPER, math.sqrt(found.depth * too_deep))
    return found


def _halves(listed: ListedFamilies, loss: Floats, depth: float) -> tuple[Half, Half] | None:
    """Partial plans of two halves of the families that lose no more than the depth; None: they are too many.

    Families that have but one choice left stand in the first half from the start.
    """
    near = [np.flatnonzero(loss[a:b] <= depth) + a for a, b in zip(listed.first[:-1], listed.first[1:], strict=True)]
    near = [columns[np.argsort(loss[columns], kind="stable")] for columns in near]
    least, most = (np.array([end(listed.activity[columns], axis=0) for columns in near]) for end in (np.min, np.max))
    alone = np.array([len(columns) == 1 for columns in near], dtype=np.bool_)
    found = []
    for part, base in zip(_parts(near), (alone, np.zeros_like(alone)), strict=True):
        half = _standing(listed, loss, base, near)
        outside = ~base
        for f in part:
            outside[f] = False
            # What the other families of this half do is still open, as is what the other half does.
            rest = np.stack([least[outside].sum(axis=0), most[outside].sum(axis=0)])
            extended = _extended(listed, half, f, near[f], loss, depth, rest)
            if extended is None:
                return None
            half = extended
        found.append(half)
    return found[0], found[1]


def _parts(near: list[Ints]) -> tuple[list[int], list[int]]:
    """Share families with several choices out, about as many partial plans to either half; few choices first."""
    parts: tuple[list[int], list[int]] = ([], [])
    size = np.log([len(columns) for columns in near])
    weight = [0.0, 0.0]
    for f in np.argsort(-size, kind="stable").tolist():
        if size[f] > 0:
            side = int(weight[1] < weight[0])
            parts[side].insert(0, f)
            weight[side] += float(size[f])
    return parts


def _standing(listed: ListedFamilies, loss: Floats, families: Bools, near: list[Ints]) -> Half:
    """The one partial plan of families that have but one choice left."""
    taken = np.array([columns[0] for columns, mine in zip(near, families, strict=True) if mine], dtype=np.int64)
    activity = listed.activity[taken].sum(axis=0)[None, :]
    parents = [np.zeros(1, dtype=np.int32)] * len(taken)
    return Half(np.flatnonzero(families), loss[taken].sum(keepdims=True), activity, parents, [t[None] for t in taken])


def _extended(
    listed: ListedFamilies, half: Half, family: int, columns: Ints, loss: Floats, depth: float, rest: Floats
) -> Half | None:
    """Add a family to partial plans; `rest` (2, R) is least and most of what all other families can still add."""
    rows = listed.rows
    hard = np.isinf(rows.penalty)
    low = np.where(hard, rows.low - rest[1], -np.inf) - TIGHT
    high = np.where(hard, rows.high - rest[0], np.inf) + TIGHT
    moves = np.ascontiguousarray(listed.activity[columns])
    given = (half.loss, half.activity, loss[columns], moves, depth, low, high)
    held = sum(len(parent) for parent in half.parents)
    room = min(MOST, (MOST_NUMBERS - held) // (WORKING * (1 + len(rows.low))))
    count = _count(*given, room)
    if count > room:
        return None
    parent, column = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int32)
    _fill(*given, parent, column)
    total = half.loss[parent] + loss[columns][column]
    order = np.argsort(total, kind="stable")
    parent, column = parent[order], column[order]
    return Half(
        np.append(half.families, family),
        total[order],
        np.ascontiguousarray(half.activity[parent] + moves[column]),
        [*half.parents, parent],
        [*half.columns, columns[column].astype(np.int32)],
    )


@compiled(inline="always")
def _fits(one: Array, other: Array, low: Array, high: Array) -> bool:
    """Whether the sum of two activities lies within all sides."""
    for r in range(low.shape[0]):
        total = one[r] + other[r]
        if total < low[r] or total > high[r]:
            return False
    return True


@compiled()
def _count(
    loss: Array, activity: Array, more: Array, moves: Array, depth: float, low: Array, high: Array, most: int
) -> int:
    """How many partial plans one more family makes, counted to just beyond `most`."""
    found = 0
    for i in range(loss.shape[0]):
        for j in range(more.shape[0]):
            if loss[i] + more[j] > depth:
                break
            if _fits(activity[i], moves[j], low, high):
                found += 1
        if found > most:
            break
    return found


@compiled()
def _fill(
    loss: Array,
    activity: Array,
    more: Array,
    moves: Array,
    depth: float,
    low: Array,
    high: Array,
    parent: Array,
    column: Array,
) -> None:
    """Fill in of which partial plan and which choice each new one is made."""
    found = 0
    for i in range(loss.shape[0]):
        for j in range(more.shape[0]):
            if loss[i] + more[j] > depth:
                break
            if _fits(activity[i], moves[j], low, high):
                parent[found], column[found] = i, j
                found += 1


def _meet(
    listed: ListedFamilies, price: Floats, halves: tuple[Half, Half], best: float
) -> tuple[Ints | None, float, bool]:
    """Find the pair of partial plans that loses least; what it loses; and whether all that lose less were looked at."""
    one, other = halves
    rows = listed.rows
    key = _key_row(rows, other.activity)
    order = np.argsort(other.activity[:, key], kind="stable") if key >= 0 else np.arange(len(other.loss))
    lead = other.activity[order, key] if key >= 0 else np.zeros(len(order))
    low, high = (float(rows.low[key]), float(rows.high[key])) if key >= 0 else (-np.inf, np.inf)
    loss, activity = other.loss[order], np.ascontiguousarray(other.activity[order])
    blocks = np.minimum.reduceat(loss, np.arange(0, len(loss), BLOCK)) if len(loss) else loss
    mine = one.activity[:, key].copy() if key >= 0 else np.zeros(len(one.loss))
    first, second, reached, all_seen = _pair(
        *(one.loss, one.activity, mine, loss, activity, lead, blocks, low, high),
        *(rows.low, rows.high, rows.penalty, price, best, VISITS),
    )
    if first < 0:
        return None, best, bool(all_seen)
    picked = np.zeros(len(listed.first) - 1, dtype=np.int64)
    picked[one.families] = one.picked(int(first))
    picked[other.families] = other.picked(int(order[second]))
    return picked, float(reached), bool(all_seen)


def _key_row(rows: RowArrays, activity: Floats) -> int:
    """The hard row that leaves the least of the activities (M, R); -1: there is none."""
    spread = np.ptp(activity, axis=0) if len(activity) else np.zeros(len(rows.low))
    open_share = np.where(
        np.isinf(rows.penalty) & (spread > 0), (rows.high - rows.low) / np.maximum(spread, 1e-300), 1e9
    )
    return int(np.argmin(open_share)) if len(open_share) and open_share.min() < 1e9 else -1


@compiled()
def _pair(
    loss: Array,
    activity: Array,
    key: Array,
    others: Array,
    other_activity: Array,
    lead: Array,
    blocks: Array,
    key_low: float,
    key_high: float,
    low: Array,
    high: Array,
    penalty: Array,
    price: Array,
    best: float,
    most: int,
) -> tuple[int, int, float, bool]:
    """The pair that loses least and less than `best`: its numbers (-1, -1: none), what it loses, whether all were seen.

    `loss` ascends; `lead` (the key row's activities of the others) does too, and `blocks` holds the least loss of each
    block of others.
    """
    first, second, visits = -1, -1, 0
    if not others.shape[0]:
        return first, second, best, True
    least = blocks.min()
    for i in range(loss.shape[0]):
        if loss[i] + least >= best:
            break
        begin = np.searchsorted(lead, key_low - TIGHT - key[i])
        end = np.searchsorted(lead, key_high + TIGHT - key[i], side="right")
        j = begin
        while j < end:
            if j % BLOCK == 0 and loss[i] + blocks[j // BLOCK] >= best:
                j += BLOCK
                visits += 1
                continue
            visits += 1
            total = loss[i] + others[j]
            if total < best:
                total += _slack(activity[i], other_activity[j], low, high, penalty, price)
                if total < best:
                    first, second, best = i, j, total
            j += 1
        if visits > most:
            return first, second, best, False
    return first, second, best, True


@compiled(inline="always")
def _slack(one: Array, other: Array, low: Array, high: Array, penalty: Array, price: Array) -> float:
    """What a plan loses by its rows: slack at their multipliers, fines beyond; infinite where a hard one breaks."""
    lost = 0.0
    for r in range(low.shape[0]):
        total = one[r] + other[r]
        off = max(total - high[r], low[r] - total, 0.0)
        if off > 0:
            if penalty[r] == np.inf:
                if off > TIGHT / 10:
                    return np.inf
                continue
            lost += penalty[r] * off
        if price[r] > 0:
            lost += price[r] * (high[r] - total)
        elif price[r] < 0:
            lost += price[r] * (low[r] - total)
    return lost
