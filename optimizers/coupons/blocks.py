"""Segments with a tight budget, solved one by one to the last coin: better plans, and a bound below the Lagrangian's.

With the total's money and the coupons priced, the segments fall apart, and the problem of one segment under its own
budget is small enough to be searched to the end: from the best response only few customers are near enough to
indifference. The sum of the segments' optima is a bound too, and never above that of the linear relaxation, because
the segments' problems do not have the integrality property (Geoffrion 1974). With one budget only, it is the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizers.coupons.exchange import FIRST, RESERVE, Moves, least_losses, moves_of, without_twins
from optimizers.coupons.problem import Floats, Ints
from optimizers.coupons.rows import Rows
from optimizers.coupons.sums import Multipliers, respond

MOVES = 2_000
"""Moves of one block at most."""
DEPTH = 12
"""Moves in a set at most."""
NODES = 1_000_000
"""Sets tried in one block at most."""
ALL_NODES = 20_000_000
"""The same in all blocks together."""
MAX_NEAR = 300_000
"""With more customers than this within the gap, it is too wide for any search."""
TIE = 1e-12
"""Relative difference of scores that counts as none."""


@dataclass(frozen=True)
class Solved:
    """What the blocks came to."""

    choice: Ints
    """(N,) keeps every segment's budget, but perhaps not the rules that were priced."""
    bound: float


@dataclass(frozen=True)
class Block:
    """One block as a problem of its own: customers at their best response, and moves away from it."""

    moves: Moves
    gain: Floats
    """(M,) what each move adds, all but the block's own budget priced."""
    price: float
    """Of the block's budget."""
    slack: float
    """Money that the best response leaves of it; negative where it overspends."""
    held: float
    """What the plan in hand brings more than the best response (mostly less), all else priced, money."""


def solve_blocks(rows: Rows, choice: Ints, prices: Multipliers, bound: float, gap: float, enough: float) -> Solved:
    """Find the best choice of each tight segment while all other rules are priced.

    Args:
        rows: all customers.
        choice: (N,) a plan in hand that keeps every rule.
        prices: the multipliers.
        bound: what they certify, money.
        gap: the bound less the plan in hand, money; sets that give up more need no search.
        enough: money that may be left open in all blocks together.
    """
    base, loss = _ideal(rows, choice, prices)
    near = np.flatnonzero(loss <= gap)
    if rows.collapsed:
        near = near[without_twins(rows.member[near], base[near])]
    if len(near) > MAX_NEAR:
        return Solved(choice, bound)
    moves = moves_of(rows, base, prices, near, len(near) * rows.n_offers)
    moves = moves.take(np.flatnonzero(moves.loss <= gap))
    choice = choice.copy()
    member, blocks = _blocks(rows, base, choice, prices, moves)
    for number, block in blocks:
        brought, taken, complete = _search(block, gap, enough / len(blocks), ALL_NODES // len(blocks))
        worth = block.price * block.slack
        if not rows.collapsed:  # of customers that are alike, not all were looked at
            bound -= max(0.0, worth - max(brought, worth - complete))
        if len(taken):
            mine = member == number
            choice[mine] = base[mine]
            choice[block.moves.who[taken]] = block.moves.to[taken]
    return Solved(choice, bound)


def _blocks(
    rows: Rows, base: Ints, choice: Ints, prices: Multipliers, moves: Moves
) -> tuple[Ints, list[tuple[int, Block]]]:
    """Block of each customer (N,), and the blocks by number: tight segments, or else everybody under the total."""
    member, group = rows.segment[rows.member], moves.group
    own, rest, limit = prices.segment, prices.total, rows.rules.segment_budget
    if not (own > 0).any():
        member, group = np.zeros_like(member), np.zeros_like(group)
        own, rest, limit = np.array([prices.total]), 0.0, np.array([rows.rules.budget])
    many = len(own)
    money = np.full(rows.n_segments, rest)
    spent = np.bincount(member, rows.cost[rows.member, base].astype(np.float64), many)
    held = np.bincount(member, _scores(rows, choice, money, prices) - _scores(rows, base, money, prices), many)
    tolls = np.where(np.isfinite(prices.toll), prices.toll, 0.0)
    gain = moves.gain - rest * moves.money - (tolls[moves.to] - tolls[moves.held])
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=many))
    blocks = []
    for s in np.flatnonzero(own > 0).tolist():
        mine = order[ends[s - 1] if s else 0 : ends[s]]
        left = float(limit[s] - spent[s]) + RESERVE * float(limit[s])  # what fits by a hair must not be missed
        blocks.append((s, Block(moves.take(mine), gain[mine], float(own[s]), left, float(held[s]))))
    return member, blocks


def _search(block: Block, gap: float, enough: float, nodes: int) -> tuple[float, Ints, float]:
    """What the best set brings more than the best response, its moves (none: the plan in hand), what was left out."""
    from optimizers.coupons.search_kernels import best_set

    moves = block.moves.take(np.arange(min(len(block.moves.who), MOVES)))
    if not len(moves.who):
        return block.held, np.empty(0, dtype=np.int64), gap
    most = gap if len(moves.who) == len(block.moves.who) else float(moves.loss[-1])
    slack = np.full(5 + int(moves.to.max()) + int(moves.held.max()), np.inf)
    slack[0] = block.slack
    step = max(float(moves.loss[min(FIRST, len(moves.loss) - 1)]), 1e-9 * gap)
    out = np.empty(DEPTH, dtype=np.int64)
    brought, found, complete = best_set(
        *(moves.who, block.gain[: len(moves.who)], moves.loss, moves.money, moves.held, moves.to),
        *(np.zeros(len(moves.who), np.int64), slack, 1, True, block.price * block.slack, block.held),
        *(step, most, enough, min(nodes, NODES), out),
    )
    return brought, out[:found], complete


def _ideal(rows: Rows, choice: Ints, prices: Multipliers) -> tuple[Ints, Floats]:
    """(N,) best response, ties as in `choice`, and what each customer's next best offer gives up."""
    best = respond(rows.partition, prices)[rows.member].astype(np.int64)
    lead = _scores(rows, best, prices.money, prices) - _scores(rows, choice, prices.money, prices)
    scale = np.abs(rows.profit[rows.member, best].astype(np.float64)) + 1e-300
    base = np.where(lead <= TIE * scale, choice, best)
    return base, least_losses(rows, rows.member, base, prices)


def _scores(rows: Rows, choice: Ints, money: Floats, prices: Multipliers) -> Floats:
    """(N,) profit less what money and coupons cost; `money` (S,) is its price by segment."""
    profit, cost = (m[rows.member, choice].astype(np.float64) for m in (rows.profit, rows.cost))
    tolls = np.where(np.isfinite(prices.toll), prices.toll, 0.0)
    scores: Floats = profit - money[rows.segment[rows.member]] * cost - tolls[choice]
    return scores
