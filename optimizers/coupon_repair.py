"""From the dual's mixture of answers to a plan: round the few customers it splits, exchange, and prove.

The plan is feasible at every step from the first exchange on, and the bound stays what the multipliers certify; only
the last step, a small integer program over the customers that reduced costs leave open, may lower it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from optimizers.coupon_dual import Dual, Multipliers, lagrangian
from optimizers.coupon_limits import widest_choice
from optimizers.coupon_master import Core, solve_core, solve_core_whole
from optimizers.coupon_rows import Rows
from optimizers.coupons import Bools, CouponProblem, Floats, Ints, relative_gap

ACTIVE = 1e-9
"""An answer with less weight than this takes no part in a mixture."""
MAX_CORE_ROWS = 20_000
MOVES = 1_200
"""Moves among which pairs are looked for; every pair is tried."""
TWINS = 3
"""Of identical customers only so many take part: more would offer the same moves again."""
MAX_EXCHANGES = 200
MAX_PROOF_CELLS = 20_000
MAX_PROOF_MATRIX = 5_000_000
PROOF_SECONDS = 20.0
RESERVE = 1e-12
"""Share of a budget kept back when sums taken in another order would overstep it."""


def repair(rows: Rows, dual: Dual, problem: CouponProblem, gap: float) -> tuple[Ints, float]:
    """A feasible choice (N,) near the bound, and the bound, which the last step may lower."""
    choice = exchange(rows, _rounded(rows, dual), dual, reserve=0.0)
    if not keeps_rules(rows, choice):
        choice = exchange(rows, choice, dual, reserve=RESERVE)
    if not keeps_rules(rows, choice):
        choice = exchange(rows, _safe(rows, problem), dual, reserve=RESERVE)
    if relative_gap(_profit(rows, choice), dual.bound) <= gap:
        return choice, dual.bound
    return _prove(rows, choice, dual, gap)


def keeps_rules(rows: Rows, choice: Ints) -> bool:
    """Whether no budget is overspent and the floor is reached, whichever way the sums are taken."""
    if _slack(rows, choice).min() < 0:
        return False
    return math.isinf(rows.budget) or math.fsum(rows.cost[rows.member, choice].astype(np.float64)) <= rows.budget


def _safe(rows: Rows, problem: CouponProblem) -> Ints:
    """A choice that keeps every rule for certain."""
    return widest_choice(problem) if rows.floor else np.zeros(problem.n_customers, dtype=np.int64)


def _profit(rows: Rows, choice: Ints) -> float:
    return float(rows.profit[rows.member, choice].sum(dtype=np.float64))


def _slack(rows: Rows, choice: Ints) -> Floats:
    """(S + 2,) money left by segment, money left in total, coupons above the floor."""
    cost = rows.cost[rows.member, choice].astype(np.float64)
    by_segment = np.bincount(rows.segment[rows.member], cost, rows.n_segments)
    rest = [rows.budget - float(cost.sum()), float(np.count_nonzero(choice)) - rows.floor]
    return np.concatenate([rows.segment_budget - by_segment, rest])


# --- from the mixture to whole customers


def _rounded(rows: Rows, dual: Dual) -> Ints:
    """Solve for the customers on whom the active answers differ, round down, and leave the rest as all agree."""
    base, core_rows, options = _disagreement(rows, dual)
    if not len(core_rows):
        return base[rows.member].astype(np.int64)
    row, offer = np.nonzero(options)
    core = _core(rows, core_rows, row, offer, base)
    filled = solve_core(core)
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
    done = 0
    while done < MAX_EXCHANGES:
        moves = _moves(rows, choice, dual)
        made = _exchange_among(rows, choice, moves, dual, reserve, MAX_EXCHANGES - done)
        done += made
        if not made:
            break
    return choice


def _exchange_among(rows: Rows, choice: Ints, moves: Moves, dual: Dual, reserve: float, most: int) -> int:
    """Make exchanges among these moves, changing `choice` in place; how many were made."""
    from optimizers.coupon_kernels import best_exchange

    slack = _slack(rows, choice)
    held_back = np.concatenate([rows.segment_budget, [rows.budget, 0.0]]) * reserve
    slack -= np.where(np.isfinite(held_back), held_back, 0.0)
    penalty, toll = _penalties(moves, dual.multipliers)
    gain = moves.gain.copy()
    floor = 1e-13 * max(abs(dual.bound), 1e-300)
    for made in range(most):
        value, *pair = best_exchange(moves.who, gain, moves.money, moves.sent, moves.group, slack, penalty, toll)
        if value <= floor:
            return made
        for move in (m for m in pair if m >= 0):
            choice[moves.who[move]] = moves.to[move]
            slack[moves.group[move]] -= moves.money[move]
            slack[-2] -= moves.money[move]
            slack[-1] += moves.sent[move]
            gain[moves.who == moves.who[move]] = -np.inf
    return most


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
    prices = dual.multipliers
    loss = _least_losses(rows, rows.member, choice, prices)
    people = _without_twins(rows, choice, np.argsort(loss, kind="stable") if len(loss) <= 4 * MOVES else _least(loss))
    row = rows.member[people]
    offers = np.arange(rows.profit.shape[1])
    profit, cost = rows.profit[row].astype(np.float64), rows.cost[row].astype(np.float64)
    score = profit - prices.money[rows.segment[row]][:, None] * cost + prices.floor * (offers > 0)
    at, now = np.arange(len(people)), choice[people]
    given_up = score[at, now][:, None] - score
    given_up[at, now] = np.inf
    order = np.argsort(given_up, axis=None, kind="stable")[:MOVES]
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


def _least(loss: Floats) -> Ints:
    """The customers with the least losses, in order, ties by their number."""
    some = np.argpartition(loss, 4 * MOVES)[: 4 * MOVES]
    order: Ints = some[np.lexsort((some, loss[some]))]
    return order


def _least_losses(rows: Rows, member: Ints, choice: Ints, prices: Multipliers) -> Floats:
    from optimizers.coupon_kernels import nearest_move

    loss = np.empty(len(member))
    nearest_move(
        rows.profit, rows.cost, member, rows.segment, prices.money, prices.floor, choice.astype(np.int64), loss
    )
    return loss


def _without_twins(rows: Rows, choice: Ints, people: Ints) -> Ints:
    """Keep the first few of customers with the same row and the same offer."""
    if not rows.collapsed:
        return people[:MOVES]
    kind = rows.member[people] * rows.profit.shape[1] + choice[people]
    order = np.argsort(kind, kind="stable")
    grouped = kind[order]
    start = np.searchsorted(grouped, grouped, side="left")
    keep = np.sort(order[np.arange(len(order)) - start < TWINS])
    return people[keep][:MOVES]


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
    target = gap * abs(dual.bound) / max(abs(objective - fixed), 1e-300)
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
