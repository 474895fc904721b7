"""Changes of single customers' offers that fill what rounding left of the rules, or remove a violation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from optimizers.coupons.problem import Floats, Ints
from optimizers.coupons.rows import Rows, sums_of
from optimizers.coupons.sums import Multipliers, Rules

MOVES = 400
"""Moves among which pairs are looked for when rules are broken; every pair is tried."""
FIRST = 12
"""The first sets tried give up no more than the move at this place."""
TWINS = 3
"""Of identical customers only so many take part in pairs: more would offer the same moves again."""
MAX_EXCHANGES = 60
RESERVE = 1e-12
"""Share of a budget kept back when sums taken in another order would overstep it."""


@dataclass(frozen=True)
class Effort:
    """How long sets of moves are looked for."""

    moves: int
    """Among how many."""
    depths: tuple[int, ...]
    """Moves in a set at most, one search after the other."""
    sets: int
    """Sets of one size taken at most."""
    nodes: int
    """Sets tried at most in one search."""


QUICK = Effort(moves=1_500, depths=(1, 2, 4, 8), sets=40, nodes=400_000)
LONG = Effort(moves=4_000, depths=(2, 3, 4, 6), sets=10, nodes=20_000_000)


@dataclass(frozen=True)
class Moves:
    """M changes of one customer's offer each, by what they give up, least first."""

    who: Ints
    held: Ints
    to: Ints
    gain: Floats
    loss: Floats
    """Lagrangian value given up."""
    money: Floats
    group: Ints

    def take(self, places: Ints) -> Moves:
        """Only these, in this order."""
        who, held, to, group = (values[places] for values in (self.who, self.held, self.to, self.group))
        gain, loss, money = (values[places] for values in (self.gain, self.loss, self.money))
        return Moves(who, held, to, gain, loss, money, group)


def profit_of(rows: Rows, choice: Ints) -> float:
    """Profit of a choice (N,), money settled elsewhere included."""
    return float(rows.profit[rows.member, choice].sum(dtype=np.float64)) + rows.profit_elsewhere


def slack_of(rows: Rows, choice: Ints, reserve: float = 0.0) -> Floats:
    """What a choice leaves: money by segment, in total, coupons by offer, below the ceiling, above the floor."""
    left = rows.rules.left_by(sums_of(rows, choice))
    money = np.append(left.segment_budget, left.budget)
    limits = np.append(rows.rules.segment_budget, rows.rules.budget)
    money = money - reserve * np.where(np.isfinite(limits), np.abs(limits), 0.0)
    cap = left.cap.copy()
    cap[0] = np.inf
    return np.concatenate([money, cap, [left.ceiling, -left.floor]])


def prices_of(rules: Rules, prices: Multipliers) -> Floats:
    """The multipliers in the order of the slack; 0 for what has no limit."""
    offer = np.where(np.isfinite(prices.offer) & np.isfinite(rules.cap), prices.offer, 0.0)
    return np.concatenate([prices.segment, [prices.total], offer, [prices.ceiling, prices.floor]])


def keeps_rules(rows: Rows, choice: Ints) -> bool:
    """Whether every rule holds, whichever way the sums are taken."""
    slack = slack_of(rows, choice)
    if slack.min() < 0:
        return False
    left = slack[rows.n_segments]
    if not math.isfinite(left) or left > RESERVE * abs(rows.rules.budget):  # far from the limit, against any rounding
        return True
    return math.fsum(rows.cost[rows.member, choice].astype(np.float64)) <= rows.rules.budget


# --- removing violations


def mend(rows: Rows, choice: Ints, prices: Multipliers, *, reserve: float) -> Ints:
    """Remove violations by single moves and pairs of moves, and add profit by what helps on the way."""
    from optimizers.coupons.search_kernels import best_exchange

    choice = choice.copy()
    slack = slack_of(rows, choice, reserve)
    moves = moves_of(rows, choice, prices, _candidates(rows, choice, prices, MOVES), MOVES)
    penalty, gain = _penalties(moves, prices, len(slack)), moves.gain.copy()
    total = rows.n_segments
    for _ in range(MAX_EXCHANGES):
        value, *pair = best_exchange(
            moves.who, gain, moves.money, moves.held, moves.to, moves.group, slack, total, penalty
        )
        if value <= 1e-13 * float(np.abs(gain[np.isfinite(gain)]).max(initial=0)):
            break
        for move in (m for m in pair if m >= 0):
            choice[moves.who[move]] = moves.to[move]
            _take(slack, moves, move, total)
            gain[moves.who == moves.who[move]] = -np.inf
    return choice


def _take(slack: Floats, moves: Moves, move: int, total: int) -> None:
    from optimizers.coupons.search_kernels import take_up

    group, held, to = int(moves.group[move]), int(moves.held[move]), int(moves.to[move])
    take_up(slack, group, total, float(moves.money[move]), held, to, 1)


def _penalties(moves: Moves, prices: Multipliers, rules: int) -> Floats:
    """More than any exchange can earn for each unit of violation."""
    penalty = np.ones(rules)
    if not len(moves.who):
        return penalty
    largest = float(np.abs(moves.gain).max())
    least = np.abs(moves.money)[np.abs(moves.money) > 0]
    tolls = prices.toll[np.isfinite(prices.toll)]
    penalty[:] = 10 * (float(np.abs(tolls).max()) + largest)
    money = len(prices.segment) + 1
    penalty[:money] = 10 * (float(prices.money.max()) + largest / max(float(least.min(initial=1.0)), 1e-12))
    return penalty


# --- filling what is left


def fill(
    rows: Rows,
    choice: Ints,
    prices: Multipliers,
    *,
    reserve: float,
    target: float = math.inf,
    effort: Effort = QUICK,
) -> Ints:
    """Fill what a choice leaves by sets of moves, small ones first, until none helps or the profit is at the target.

    Where the total is overspent, the least costly set that brings it back is taken first; every other rule has to hold.
    """
    for depth in effort.depths:
        for _ in range(effort.sets):
            slack = slack_of(rows, choice, reserve)
            if slack[rows.n_segments] >= 0 and profit_of(rows, choice) >= target:
                return choice
            moves = moves_of(rows, choice, prices, _candidates(rows, choice, prices, effort.moves), effort.moves)
            taken = _search(moves, slack, rows, prices, depth, effort.nodes)
            if not len(taken):
                break
            choice = choice.copy()
            choice[moves.who[taken]] = moves.to[taken]
    return choice


def _search(moves: Moves, slack: Floats, rows: Rows, prices: Multipliers, depth: int, nodes: int) -> Ints:
    """Places of the best set of at most `depth` moves."""
    from optimizers.coupons.search_kernels import best_set

    if not len(moves.who):
        return np.empty(0, dtype=np.int64)
    total, price = rows.n_segments, prices_of(rows.rules, prices)
    room = float((price[price > 0] * slack[price > 0]).sum())
    tiny = 1e-12 * float(np.abs(moves.gain).max()) + 1e-300
    least = -np.inf if slack[total] < 0 else tiny
    step = max(float(moves.loss[min(FIRST, len(moves.loss) - 1)]), tiny)
    out = np.empty(depth, dtype=np.int64)
    _, found = best_set(
        *(moves.who, moves.gain, moves.loss, moves.money, moves.held, moves.to, moves.group),
        *(slack, total, room, least, step, nodes, out),
    )
    return out[:found]


# --- the customers nearest to indifference


def _candidates(rows: Rows, choice: Ints, prices: Multipliers, many: int) -> Ints:
    """The customers whose best other offer gives up least, in that order, few of any that are alike."""
    people = without_twins(rows.member, choice) if rows.collapsed else np.arange(len(choice))
    loss = least_losses(rows, rows.member[people], choice[people], prices)
    return people[least(loss, many)]


def moves_of(rows: Rows, choice: Ints, prices: Multipliers, people: Ints, many: int) -> Moves:
    """The moves of these customers that give up least, at most `many`."""
    row, now = rows.member[people], choice[people].astype(np.int64)
    profit, cost = rows.profit[row].astype(np.float64), rows.cost[row].astype(np.float64)
    score = profit - prices.money[rows.segment[row]][:, None] * cost - prices.toll
    at = np.arange(len(people))
    given_up = score[at, now][:, None] - score
    given_up[at, now] = np.inf
    order = least(given_up.ravel(), many)
    order = order[np.isfinite(given_up.ravel()[order])]
    i, to = np.unravel_index(order, given_up.shape)
    return Moves(
        who=people[i],
        held=now[i],
        to=to.astype(np.int64),
        gain=profit[i, to] - profit[i, now[i]],
        loss=given_up[i, to],
        money=cost[i, to] - cost[i, now[i]],
        group=rows.segment[row[i]],
    )


def least(loss: Floats, many: int) -> Ints:
    """Places of the `many` least losses, in order, ties by place."""
    some = np.argpartition(loss, many)[:many] if len(loss) > many else np.arange(len(loss))
    found: Ints = some[np.lexsort((some, loss[some]))].astype(np.int64)
    return found


def least_losses(rows: Rows, member: Ints, choice: Ints, prices: Multipliers) -> Floats:
    """Lagrangian value that each customer's best other offer gives up, (len(member),)."""
    from optimizers.coupons.kernels import next_best

    loss = np.empty(len(member))
    next_best(rows.profit, rows.cost, member, rows.segment, prices.money, prices.toll, choice.astype(np.int64), loss)
    return loss


def without_twins(member: Ints, choice: Ints) -> Ints:
    """Places of the first few customers with the same row and the same offer, for each such kind."""
    from optimizers.coupons.kernels import first_of_kind

    offers = int(choice.max(initial=0)) + 1
    out = np.empty(len(choice), dtype=np.int64)
    seen = np.zeros((int(member.max(initial=-1)) + 1) * offers, dtype=np.int64)
    return out[: first_of_kind(member, choice.astype(np.int64), offers, TWINS, seen, out)]
