"""Sets of moves that fill budgets to the last coin, segment by segment; and a bound below the Lagrangian's.

What a plan misses of the Lagrangian bound is what it gives up against the best response, plus the priced money and
coupons that it leaves. With everything else priced, customers fall apart into blocks: each segment with a tight budget,
and all others, who share what is left of the total. Each tight segment's sets of moves that may be part of a better
plan are listed (`optimizers.coupons.halves`), the lists are joined, the cheapest first, and the others complete each
join: they fill the total and bring the number sent to the floor.

Where the lists are complete the cheapest is the best plan there is. Where they are not, what was left out costs at
least what the lists end at, which is a bound too, and below that of the linear relaxation, because the blocks' problems
do not have the integrality property (Geoffrion 1974).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizers.coupons.exchange import RESERVE, Moves, least, least_losses, moves_of, slack_of, without_twins
from optimizers.coupons.halves import NARROWER, Block, Listed, Sets, list_halves
from optimizers.coupons.problem import Floats, Ints
from optimizers.coupons.rows import Rows
from optimizers.coupons.sums import Multipliers, respond

MOVES = 6_000
"""Moves nearest to indifference that are looked at."""
HALVES_FOR_SET = 8
"""Of a tight segment's sets so many fewer are joined with others', at most, than half sets are listed."""
JOINS_FOR_SET = 4
"""Joins of the tight segments' sets that are held, for each of a segment's."""
LOOKS_FOR_SET = 100
"""Pairs of half sets of the others that are looked at, for each that is listed."""
TIE = 1e-12
"""Relative difference of scores that counts as none."""


@dataclass(frozen=True)
class Solved:
    """What the blocks came to."""

    choice: Ints
    """(N,) may break rules that were priced."""
    bound: float


@dataclass(frozen=True)
class _Blocks:
    """The problem about the best response."""

    base: Ints
    """(N,)"""
    tight: tuple[Sets, ...]
    slack: tuple[float, ...]
    """Money that each leaves of its own budget."""
    rest: Sets
    left: float
    """Money that the best response leaves of the total."""
    missing: int
    """Coupons that the best response lacks to the floor, or leaves of the ceiling; 0: neither has a price."""
    head_price: float
    """Of a coupon beyond the floor, or left of the ceiling."""
    direction: int
    """1: more coupons than the floor are allowed; -1: fewer than the ceiling."""


@dataclass(frozen=True)
class _Joined:
    """Sets of the first few tight segments together, (L,) each, by cost."""

    cost: Floats
    money: Floats
    coupons: Ints
    sets: Ints
    """(L, blocks) place of the set in each block's list."""
    complete: float
    """What a join that is not among them costs at least, with the cheapest sets of the other tight segments."""


def solve_blocks(rows: Rows, choice: Ints, prices: Multipliers, bound: float, gap: float, most: int) -> Solved:
    """Find the sets of moves that bring the best response to the limits and cost least.

    Args:
        rows: all customers.
        choice: (N,) a plan in hand that keeps every rule.
        prices: the multipliers.
        bound: what they certify, money.
        gap: the bound less the plan in hand, money; sets that cost more are of no use.
        most: sets listed in each half of a block.
    """
    blocks = _about_best_response(rows, choice, prices, gap, most)
    many = most // HALVES_FOR_SET
    lists = _lists(blocks, gap, many)
    joined = _join(lists, gap, JOINS_FOR_SET * many)
    cost, taken = _complete(blocks, lists, joined, gap, LOOKS_FOR_SET * most)
    missed = min(cost, joined.complete, sum(listed.least for listed in lists) + blocks.rest.complete)
    if not rows.collapsed:  # of customers that are alike, not all were looked at
        bound -= max(missed, 0.0)
    if not taken:
        return Solved(choice, bound)
    choice = blocks.base.copy()
    for moves, places in taken:
        choice[moves.who[places]] = moves.to[places]
    return Solved(choice, bound)


# --- the blocks


def _about_best_response(rows: Rows, choice: Ints, prices: Multipliers, gap: float, most: int) -> _Blocks:
    base, loss = _ideal(rows, choice, prices)
    moves, limit = _moves(rows, base, loss, prices, gap)
    counted = prices.floor > 0 or prices.ceiling > 0
    slack = slack_of(rows, base)
    segments = np.flatnonzero((prices.segment > 0) & np.isfinite(rows.rules.segment_budget))
    own, rest = _apart(moves, segments)
    slack[: rows.n_segments + 1] += RESERVE * np.abs(np.append(rows.rules.segment_budget, rows.rules.budget))  # a hair
    missing = -slack[-1] if prices.floor > 0 else slack[-2]
    return _Blocks(
        base=base,
        tight=tuple(
            list_halves(_block(moves.take(places), float(prices.segment[s]), counted=counted), limit, most)
            for s, places in zip(segments.tolist(), own, strict=True)
        ),
        slack=tuple(slack[segments].tolist()),
        rest=list_halves(_block(moves.take(rest), prices.total, counted=counted), limit, most),
        left=float(slack[rows.n_segments]) if prices.total > 0 else 0.0,
        missing=round(missing) if counted else 0,
        head_price=prices.floor + prices.ceiling,
        direction=1 if prices.floor > 0 else -1,
    )


def _moves(rows: Rows, base: Ints, loss: Floats, prices: Multipliers, gap: float) -> tuple[Moves, float]:
    """Moves away from the best response, and what they give up at most: all that give up less are among them."""
    people = without_twins(rows.member, base) if rows.collapsed else np.arange(len(base))
    people = people[least(loss[people], MOVES)]
    moves = moves_of(rows, base, prices, people[loss[people] <= gap], MOVES)
    limit = gap if len(moves.who) < MOVES else min(gap, float(moves.loss[-1]))
    return moves.take(np.flatnonzero(moves.loss <= limit)), limit


def _apart(moves: Moves, segments: Ints) -> tuple[list[Ints], Ints]:
    """Places of each of these segments' moves, and of all others."""
    order = np.argsort(moves.group, kind="stable")
    low, high = (np.searchsorted(moves.group[order], segments, side=side) for side in ("left", "right"))
    own = [order[a:b] for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    return own, np.flatnonzero(~np.isin(moves.group, segments))


def _block(moves: Moves, price: float, *, counted: bool) -> Block:
    coupons = (moves.to > 0).astype(np.int64) - (moves.held > 0)
    return Block(moves, coupons if counted else np.zeros_like(coupons), price)


def _ideal(rows: Rows, choice: Ints, prices: Multipliers) -> tuple[Ints, Floats]:
    """(N,) best response, ties as in `choice`, and what each customer's next best offer gives up."""
    best = respond(rows.partition, prices)[rows.member].astype(np.int64)
    lead = _scores(rows, best, prices) - _scores(rows, choice, prices)
    scale = np.abs(rows.profit[rows.member, best].astype(np.float64)) + 1e-300
    base = np.where(lead <= TIE * scale, choice, best)
    return base, least_losses(rows, rows.member, base, prices)


def _scores(rows: Rows, choice: Ints, prices: Multipliers) -> Floats:
    """(N,) profit less what money and coupons cost."""
    profit, cost = (m[rows.member, choice].astype(np.float64) for m in (rows.profit, rows.cost))
    tolls = np.where(np.isfinite(prices.toll), prices.toll, 0.0)
    scores: Floats = profit - prices.money[rows.segment[rows.member]] * cost - tolls[choice]
    return scores


# --- joined


def _lists(blocks: _Blocks, gap: float, many: int) -> list[Listed]:
    """The sets of each tight segment that are cheap enough where all others take their cheapest."""
    tight = list(zip(blocks.tight, blocks.slack, strict=True))
    least_costs = [sets.within(slack, gap, 1).least for sets, slack in tight]
    total = sum(least_costs)
    return [
        sets.within(slack, max(gap - (total - own), 0.0), many)
        for (sets, slack), own in zip(tight, least_costs, strict=True)
    ]


def _join(lists: list[Listed], gap: float, many: int) -> _Joined:
    """Sets of all tight segments that together cost less than `gap`."""
    total = ahead = sum(listed.least for listed in lists)
    joined = _Joined(np.zeros(1), np.zeros(1), np.zeros(1, np.int64), np.empty((1, 0), np.int64), np.inf)
    for listed in lists:
        complete = min(joined.complete, total - listed.least + listed.complete)
        ahead -= listed.least
        before, place, most = _cheap_pairs(joined.cost, listed.cost, gap - ahead, many)
        cost = joined.cost[before] + listed.cost[place]
        order = np.argsort(cost, kind="stable")
        before, place = before[order], place[order]
        joined = _Joined(
            cost[order],
            joined.money[before] + listed.money[place],
            joined.coupons[before] + listed.coupons[place],
            np.column_stack([joined.sets[before], place]),
            min(complete, ahead + most),
        )
    return joined


def _cheap_pairs(first: Floats, second: Floats, most: float, many: int) -> tuple[Ints, Ints, float]:
    """Places of pairs, of two ascending lists of costs, that cost less than `most`, or than leaves `many`."""
    if not len(first) or not len(second):
        return np.empty(0, np.int64), np.empty(0, np.int64), most
    low = float(first[0] + second[0])
    while (fit := np.searchsorted(second, most - first, side="left")).sum() > many:
        most = low + NARROWER * (most - low)
    before = np.repeat(np.arange(len(first)), fit)
    place = np.arange(len(before)) - np.repeat(np.cumsum(fit) - fit, fit)
    return before, place, most


def _complete(
    blocks: _Blocks, lists: list[Listed], joined: _Joined, gap: float, nodes: int
) -> tuple[float, list[tuple[Moves, Ints]]]:
    """What all sets of all blocks cost at least, and the cheapest's moves; none where none costs less than `gap`."""
    from optimizers.coupons.subset_kernels import join_cheapest

    rest = blocks.rest
    cheap = np.flatnonzero(rest.second.sums[:, 0] < gap - float(joined.cost.min(initial=np.inf)))
    if not len(cheap):
        return gap, []
    order = cheap[np.lexsort((-rest.second.sums[cheap, 0], rest.second.sums[cheap, 1], rest.second.coupons[cheap]))]
    fewest = int(rest.second.coupons[cheap].min())
    numbers = fewest + np.arange(int(rest.second.coupons[cheap].max()) - fewest + 2)
    starts = np.searchsorted(rest.second.coupons[order], numbers).astype(np.int64)
    pair = np.empty(2, dtype=np.int64)
    cost, beginning, open_at = join_cheapest(
        *(joined.cost, blocks.left - joined.money, blocks.missing - joined.coupons),
        *(rest.first.sums, rest.first.coupons, rest.second.sums[order], starts, fewest),
        *(rest.block.price, blocks.head_price, blocks.direction, gap, nodes, pair),
    )
    cost = min(cost, open_at)
    if beginning < 0:
        return cost, []
    taken = [(rest.block.moves, rest.members(int(pair[0]), int(order[pair[1]])))]
    for sets, listed, place in zip(blocks.tight, lists, joined.sets[beginning].tolist(), strict=True):
        taken.append((sets.block.moves, sets.members(int(listed.first[place]), int(listed.second[place]))))
    return cost, taken
