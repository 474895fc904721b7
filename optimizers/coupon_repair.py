"""From the dual's mixture of answers to a plan: round the few customers it splits, exchange, and prove.

The plan is feasible at every step from the first exchange on, and the bound stays what the multipliers certify; only
the last step, a small integer program over the customers that reduced costs leave open, may lower it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from optimizers.coupon_dual import Dual, Multipliers, lagrangian
from optimizers.coupon_master import Core, solve_core, solve_core_whole
from optimizers.coupon_rows import Rows
from optimizers.coupons import Bools, Floats, Ints, relative_gap

ACTIVE = 1e-9
"""An answer with less weight than this takes no part in a mixture."""
MAX_CORE_ROWS = 20_000
MOVES = 1_200
"""Moves among which pairs are looked for; every pair is tried."""
SEGMENT_MOVES = 120
"""The same inside one segment."""
MAX_SEGMENTS_APART = 2_000
"""With more segments than this they are not gone through one by one."""
TWINS = 3
"""Of identical customers only so many take part: more would offer the same moves again."""
MAX_ROUNDS = 20
MAX_EXCHANGES = 40
"""In one list of moves; what is left comes in the next round, when the lists are made anew."""
CLOSE = 1e-7
"""Relative gap at which exchanging stops: beyond it the certificate is finer than any estimate of profit."""
MAX_PROOF_CELLS = 20_000
MAX_PROOF_MATRIX = 5_000_000
PROOF_SECONDS = 20.0
RESERVE = 1e-12
"""Share of a budget kept back when sums taken in another order would overstep it."""


def repair(rows: Rows, dual: Dual, safe: Ints, gap: float) -> tuple[Ints, float]:
    """A feasible choice (N,) near the bound, and the bound, which the last step may lower."""
    for margin, reserve in ((0.0, 0.0), (0.0, RESERVE), (rows.n_segments + 2.0, RESERVE)):
        choice = exchange(rows, _rounded(rows, dual, margin), dual, reserve=reserve)
        if keeps_rules(rows, choice):
            break
    else:
        choice = exchange(rows, safe, dual, reserve=RESERVE)
    if relative_gap(_profit(rows, choice), dual.bound) <= gap:
        return choice, dual.bound
    return _prove(rows, choice, dual, gap)


def keeps_rules(rows: Rows, choice: Ints) -> bool:
    """Whether no budget is overspent and the floor is reached, whichever way the sums are taken."""
    slack = _slack(rows, choice)
    if slack.min() < 0:
        return False
    if slack[-2] > RESERVE * rows.budget:  # far from the limit compared with any rounding
        return True
    return math.fsum(rows.cost[rows.member, choice].astype(np.float64)) <= rows.budget


def _profit(rows: Rows, choice: Ints) -> float:
    return float(rows.profit[rows.member, choice].sum(dtype=np.float64))


def _slack(rows: Rows, choice: Ints) -> Floats:
    """(S + 2,) money left by segment, money left in total, coupons above the floor."""
    cost = rows.cost[rows.member, choice].astype(np.float64)
    by_segment = np.bincount(rows.segment[rows.member], cost, rows.n_segments)
    rest = [rows.budget - float(cost.sum()), float(np.count_nonzero(choice)) - rows.floor]
    return np.concatenate([rows.segment_budget - by_segment, rest])


# --- from the mixture to whole customers


def _rounded(rows: Rows, dual: Dual, margin: float = 0.0) -> Ints:
    """Solve for the customers on whom the active answers differ, round down, and leave the rest as all agree.

    `margin` coupons are asked for beyond the floor: a vertex splits no more customers than there are rules, and
    rounding takes a coupon from each.
    """
    base, core_rows, options = _disagreement(rows, dual)
    if not len(core_rows):
        return base[rows.member].astype(np.int64)
    row, offer = np.nonzero(options)
    core = _core(rows, core_rows, row, offer, base)
    filled = solve_core(replace(core, floor=core.floor + margin) if rows.floor else core)
    if filled is None:
        return base[rows.member].astype(np.int64)
    return _placed(rows, base, core_rows, row, offer, np.floor(filled + 1e-7).astype(np.int64))


def _disagreement(rows: Rows, dual: Dual) -> tuple[Ints, Ints, Bools]:
    """(T,) choice of each row; rows on which the active answers differ; (R, O) offers that they give those rows."""
    heaviest = dual.weights.argmax(axis=0)[rows.segment]
    base = np.zeros(len(rows.count), dtype=np.int64)
    differ = np.zeros(len(rows.count), dtype=np.bool_)
    active = [k for k in range(len(dual.answers)) if (dual.weights[k] > ACTIVE).any()]
    for k in active:
        base = np.where(heaviest == k, dual.answers[k].choice, base)
    for k in active:
        differ |= (dual.answers[k].choice != base) & (dual.weights[k] > ACTIVE)[rows.segment]
    core = np.flatnonzero(differ)
    if len(core) > MAX_CORE_ROWS:
        loss = _least_losses(rows, np.arange(len(rows.count)), base, dual.multipliers)[core]
        core = np.sort(core[np.argsort(np.abs(loss), kind="stable")[:MAX_CORE_ROWS]])
    options = np.zeros((len(core), rows.profit.shape[1]), dtype=np.bool_)
    options[:, 0] = True
    for k in active:
        mine = (dual.weights[k] > ACTIVE)[rows.segment[core]]
        options[np.flatnonzero(mine), dual.answers[k].choice[core][mine]] = True
    return base, core, options


def _core(rows: Rows, core_rows: Ints, row: Ints, offer: Ints, base: Ints) -> Core:
    """The cells to decide, and what all other rows leave of the budgets at their `base` offer."""
    count = rows.count.astype(np.float64).copy()
    count[core_rows] = 0
    at = np.arange(len(base))
    cost = rows.cost[at, base].astype(np.float64) * count
    cells = core_rows[row]
    return Core(
        row=row,
        profit=rows.profit[cells, offer].astype(np.float64),
        cost=rows.cost[cells, offer].astype(np.float64),
        sent=offer > 0,
        segment=rows.segment[cells],
        count=rows.count[core_rows],
        budget=rows.budget - float(cost.sum()),
        segment_budget=rows.segment_budget - np.bincount(rows.segment, cost, rows.n_segments),
        floor=rows.floor - float(count[base > 0].sum()),
    )


def _placed(rows: Rows, base: Ints, core_rows: Ints, row: Ints, offer: Ints, whole: Ints) -> Ints:
    """Give each customer the offer of his row; within a decided row, in the order of the customers.

    `whole` (C,) customers of each cell; what is missing to the row's count goes without a coupon (cell with offer 0).
    """
    missing = rows.count[core_rows] - np.bincount(row, whole, len(core_rows)).astype(np.int64)
    none = np.flatnonzero(offer == 0)
    whole = whole.copy()
    whole[none] += missing[row[none]]
    choice = base[rows.member].astype(np.int64)
    if not rows.collapsed:
        choice[core_rows] = np.repeat(offer, whole)
        return choice
    decided = np.zeros(len(rows.count), dtype=np.bool_)
    decided[core_rows] = True
    people = np.flatnonzero(decided[rows.member])
    people = people[np.argsort(rows.member[people], kind="stable")]
    choice[people] = np.repeat(offer, whole)
    return choice


# --- exchanges


@dataclass(frozen=True)
class Moves:
    """M changes of one customer's offer each."""

    who: Ints
    to: Ints
    gain: Floats
    money: Floats
    sent: Floats
    group: Ints


def exchange(rows: Rows, choice: Ints, dual: Dual, *, reserve: float) -> Ints:
    """Improve a choice by single moves and pairs of moves until none helps; never adds to a violation."""
    choice = choice.copy()
    limits = np.concatenate([rows.segment_budget, [rows.budget, 0.0]])
    kept_back = reserve * np.where(np.isfinite(limits), limits, 0.0)
    for _ in range(MAX_ROUNDS):
        slack = _slack(rows, choice) - kept_back
        # While the floor is not reached, filling up single segments would use the money that the floor needs.
        apart = slack.min() >= 0 and 1 < rows.n_segments <= MAX_SEGMENTS_APART
        made = _exchange_within(rows, choice, dual, slack) if apart else 0
        made += _exchange_among(choice, _moves(rows, choice, dual), dual, slack)
        close = relative_gap(_profit(rows, choice), dual.bound) <= CLOSE and keeps_rules(rows, choice)
        if not made or close:
            break
    return choice


def _exchange_within(rows: Rows, choice: Ints, dual: Dual, slack: Floats) -> int:
    """Exchanges inside one segment after the other: with many segments the common list holds too few of each."""
    people = _candidates(rows, choice, dual, SEGMENT_MOVES * rows.n_segments)
    segment = rows.segment[rows.member[people]]
    by_segment = people[np.argsort(segment, kind="stable")]
    ends = np.cumsum(np.bincount(segment, minlength=rows.n_segments))
    return sum(
        _exchange_among(choice, _moves_of(rows, choice, dual, mine[:SEGMENT_MOVES], SEGMENT_MOVES), dual, slack)
        for mine in np.split(by_segment, ends[:-1])
        if len(mine)
    )


def _exchange_among(choice: Ints, moves: Moves, dual: Dual, slack: Floats) -> int:
    """Make exchanges among these moves, changing `choice` and `slack` in place; how many were made."""
    from optimizers.coupon_kernels import best_exchange

    penalty, toll = _penalties(moves, dual.multipliers)
    gain = moves.gain.copy()
    floor = 1e-13 * max(abs(dual.bound), 1e-300)
    for made in range(MAX_EXCHANGES):
        value, *pair = best_exchange(moves.who, gain, moves.money, moves.sent, moves.group, slack, penalty, toll)
        if value <= floor:
            return made
        for move in (m for m in pair if m >= 0):
            choice[moves.who[move]] = moves.to[move]
            slack[moves.group[move]] -= moves.money[move]
            slack[-2] -= moves.money[move]
            slack[-1] += moves.sent[move]
            gain[moves.who == moves.who[move]] = -np.inf
    return MAX_EXCHANGES


def _penalties(moves: Moves, prices: Multipliers) -> tuple[float, float]:
    """More than any exchange can earn per unit of money over a budget, or per coupon below the floor."""
    if not len(moves.who):
        return 1.0, 1.0
    largest = float(np.abs(moves.gain).max())
    least = np.abs(moves.money)[np.abs(moves.money) > 0]
    penalty = 10 * (float(prices.money.max()) + largest / max(float(least.min()) if len(least) else 1.0, 1e-12))
    return penalty, 10 * (prices.floor + largest)


def _moves(rows: Rows, choice: Ints, dual: Dual) -> Moves:
    """The moves that give up least Lagrangian value, at most `MOVES` of them."""
    return _moves_of(rows, choice, dual, _candidates(rows, choice, dual, MOVES), MOVES)


def _candidates(rows: Rows, choice: Ints, dual: Dual, many: int) -> Ints:
    """The customers whose best other offer gives up least, in that order, few of any that are alike."""
    people = _without_twins(rows, choice) if rows.collapsed else np.arange(len(choice))
    loss = _least_losses(rows, rows.member[people], choice[people], dual.multipliers)
    return people[_least(loss, many)]


def _moves_of(rows: Rows, choice: Ints, dual: Dual, people: Ints, many: int) -> Moves:
    prices = dual.multipliers
    row = rows.member[people]
    offers = np.arange(rows.profit.shape[1])
    profit, cost = rows.profit[row].astype(np.float64), rows.cost[row].astype(np.float64)
    score = profit - prices.money[rows.segment[row]][:, None] * cost + prices.floor * (offers > 0)
    at, now = np.arange(len(people)), choice[people]
    given_up = score[at, now][:, None] - score
    given_up[at, now] = np.inf
    order = np.argsort(given_up, axis=None, kind="stable")[:many]
    order = order[np.isfinite(given_up.ravel()[order])]
    i, to = np.unravel_index(order, given_up.shape)
    return Moves(
        who=people[i],
        to=to.astype(np.int64),
        gain=profit[i, to] - profit[i, now[i]],
        money=cost[i, to] - cost[i, now[i]],
        sent=(to > 0).astype(np.float64) - (now[i] > 0),
        group=rows.segment[row[i]],
    )


def _least(loss: Floats, many: int) -> Ints:
    """Places of the `many` least losses, in order, ties by place."""
    some = np.argpartition(loss, many)[:many] if len(loss) > many else np.arange(len(loss))
    found: Ints = some[np.lexsort((some, loss[some]))].astype(np.int64)
    return found


def _least_losses(rows: Rows, member: Ints, choice: Ints, prices: Multipliers) -> Floats:
    from optimizers.coupon_kernels import nearest_move

    loss = np.empty(len(member))
    nearest_move(
        rows.profit, rows.cost, member, rows.segment, prices.money, prices.floor, choice.astype(np.int64), loss
    )
    return loss


def _without_twins(rows: Rows, choice: Ints) -> Ints:
    """The first few customers with the same row and the same offer, for each such kind."""
    from optimizers.coupon_kernels import first_of_kind

    n_offers = rows.profit.shape[1]
    out = np.empty(len(choice), dtype=np.int64)
    seen = np.zeros(len(rows.count) * n_offers, dtype=np.int64)
    return out[: first_of_kind(rows.member, choice, n_offers, TWINS, seen, out)]


# --- proof


def _prove(rows: Rows, choice: Ints, dual: Dual, gap: float) -> tuple[Ints, float]:
    """Close the gap by an integer program over the cells whose reduced cost does not rule them out.

    A cell that gives up more Lagrangian value than the gap in hand can be part of no better plan (Dantzig, Fulkerson
    and Johnson 1954), so that the program's bound, or the plan in hand, bounds every plan.
    """
    objective = _profit(rows, choice)
    if rows.profit.size > MAX_PROOF_MATRIX:
        return choice, dual.bound
    open_cells, base = _open_cells(rows, dual, dual.bound - objective)
    core_rows = np.flatnonzero(open_cells.sum(axis=1) > 1)
    row, offer = np.nonzero(open_cells[core_rows])
    if not len(core_rows) or len(row) > MAX_PROOF_CELLS:
        return choice, dual.bound
    core = _core(rows, core_rows, row, offer, base)
    fixed = _fixed_profit(rows, core_rows, base)
    held = np.zeros(open_cells.shape)
    np.add.at(held, (rows.member, choice), 1)
    target = 0.9 * gap * abs(dual.bound) / max(abs(objective - fixed), 1e-300)
    whole, most = solve_core_whole(core, gap=min(target, 0.5), seconds=PROOF_SECONDS, start=held[core_rows[row], offer])
    bound = dual.bound if most is None else min(dual.bound, max(objective, most + fixed))
    if whole is None:
        return choice, bound
    found = _placed(rows, base, core_rows, row, offer, np.round(whole).astype(np.int64))
    better = keeps_rules(rows, found) and _profit(rows, found) > objective
    return (found if better else choice), bound


def _open_cells(rows: Rows, dual: Dual, gap: float) -> tuple[Bools, Ints]:
    """(T, O) cells that give up no more than `gap`, and the (T,) offers with the best score."""
    prices = dual.multipliers
    best = lagrangian(rows, prices)[1].choice.astype(np.int64)
    score = rows.profit.astype(np.float64) - prices.money[rows.segment][:, None] * rows.cost
    score[:, 1:] += prices.floor
    top = score.max(axis=1, keepdims=True)
    return top - score <= gap * (1 + 1e-9) + 1e-12 * np.abs(top), best


def _fixed_profit(rows: Rows, core_rows: Ints, base: Ints) -> float:
    count = rows.count.astype(np.float64).copy()
    count[core_rows] = 0
    profit = rows.profit[np.arange(len(base)), base].astype(np.float64)
    return float((profit * count).sum())
