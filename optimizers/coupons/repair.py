"""From the dual's mixture of answers to a plan: round the few customers it splits, fill what is left, and prove.

All of it works on a pool: the customers on whom the mixture's answers differ, and those nearest to indifference. The
others keep the offer on which all answers agree. The bound stays what the multipliers certify; only the last step, a
small integer program over the customers that reduced costs leave open, may lower it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from optimizers.coupons.blocks import solve_blocks
from optimizers.coupons.dual import Dual
from optimizers.coupons.exchange import LONG, RESERVE, fill, keeps_rules, least, least_losses, mend, profit_of, slack_of
from optimizers.coupons.master import Core, solve_core, solve_core_whole
from optimizers.coupons.problem import Bools, Floats, Ints
from optimizers.coupons.rows import Parted, Rows, part_further, sums_of_rows
from optimizers.coupons.sums import Choice, Multipliers, respond
from optimizers.coupons.watch import StopReason, Watch
from optimizers.gap import gap_below

ACTIVE = 1e-9
"""An answer with less weight than this takes no part in a mixture."""
MAX_CORE_ROWS = 20_000
POOL = 4_000
"""Rows nearest to indifference that take part in filling."""
POOL_APART = 100
"""The same of each segment, where there are more than a few segments."""
FEW_SEGMENTS = 20
CLOSE = 3e-6
"""Relative gap up to which filling goes on even where less was asked for: it costs next to nothing."""
SETS = (5_000, 30_000, 200_000)
"""Sets that are listed in each half of a block, the next more where those before leave too wide a gap."""
MAX_PROOF_CELLS = 20_000
PROOF_SECONDS = 20.0


@dataclass(frozen=True)
class Repaired:
    """The plan in hand."""

    choice: Ints
    """(N,)"""
    bound: float
    stopped: StopReason | None


def repair(parted: Parted, whole: Rows, dual: Dual, safe: Callable[[], Ints], gap: float, watch: Watch) -> Repaired:
    """A choice that keeps every rule, near the bound, and the bound, which the last step may lower.

    Args:
        parted: the rows on which the answers were asked, and the choice of all other customers.
        whole: all rows, under all rules.
        dual: what the multipliers found.
        safe: gives a choice (N,) that keeps every rule, or raises.
        gap: relative gap that was asked for.
        watch: time limit, cancelling, listener.
    """
    if dual.stopped:
        return Repaired(fallback(whole, dual.multipliers, safe), dual.bound, dual.stopped)
    choice = _from_pool(whole, _pool(parted, dual), dual, gap)
    if choice is None:
        choice = fill(whole, fallback(whole, dual.multipliers, safe), dual.multipliers, reserve=RESERVE)
    plan = _Held(choice, profit_of(whole, choice), dual.bound)
    watch.tell("repair", plan.objective, plan.bound)
    for step in (_by_blocks, _by_long_search, _by_program):
        stopped = watch.stop()
        if stopped or gap_below(plan.objective, plan.bound) <= gap:
            return Repaired(plan.choice, plan.bound, stopped)
        plan = step(whole, plan, dual, gap, watch)
        watch.tell("proof", plan.objective, plan.bound)
    return Repaired(plan.choice, plan.bound, watch.stop())


@dataclass(frozen=True)
class _Held:
    """A plan that keeps every rule, and what is proven."""

    choice: Ints
    objective: float
    bound: float


def _by_blocks(rows: Rows, plan: _Held, dual: Dual, gap: float, watch: Watch) -> _Held:
    """Fill budgets block by block from ever longer lists of sets."""
    for most in SETS:
        if gap_below(plan.objective, plan.bound) <= gap or watch.stop():
            break
        plan = _by_sets(rows, plan, dual, gap, most)
    return plan


def _by_sets(rows: Rows, plan: _Held, dual: Dual, gap: float, most: int) -> _Held:
    solved = solve_blocks(rows, plan.choice, dual.multipliers, dual.bound, dual.bound - plan.objective, most)
    bound = min(plan.bound, max(solved.bound, plan.objective))
    choice = solved.choice
    if not keeps_rules(rows, choice):
        target = bound - gap * abs(bound)
        choice = fill(rows, choice, dual.multipliers, reserve=RESERVE, target=target)
    if keeps_rules(rows, choice) and profit_of(rows, choice) > plan.objective:
        return _Held(choice, profit_of(rows, choice), max(bound, profit_of(rows, choice)))
    return replace(plan, bound=bound)


def _by_long_search(rows: Rows, plan: _Held, dual: Dual, gap: float, _watch: Watch) -> _Held:
    """Fill once more among more moves: cheaper than a program, and mostly enough where little is missing."""
    if rows.collapsed:  # of customers that are alike, only a few take part in sets
        return plan
    target = plan.bound - gap * abs(plan.bound)
    choice = fill(rows, plan.choice, dual.multipliers, reserve=RESERVE, target=target, effort=LONG)
    if keeps_rules(rows, choice) and profit_of(rows, choice) > plan.objective:
        return _Held(choice, profit_of(rows, choice), max(plan.bound, profit_of(rows, choice)))
    return plan


def _from_pool(whole: Rows, pool: Parted, dual: Dual, gap: float) -> Ints | None:
    """Round and fill within the pool; None: no feasible choice was found."""
    rows, small = pool.rows, len(pool.people) == len(pool.choice)
    for margin, reserve in ((0.0, 0.0), (0.0, RESERVE), (rows.n_segments + rows.n_offers + 2.0, RESERVE)):
        if not reserve and not small:
            continue  # sums in another order differ in their last bits
        choice = rounded(rows, dual, margin)
        if not keeps_rules(rows, choice):
            choice = mend(rows, choice, dual.multipliers, reserve=reserve)
        if not keeps_rules(rows, choice):
            continue
        target = dual.bound - min(gap, CLOSE) * abs(dual.bound)
        choice = fill(rows, choice, dual.multipliers, reserve=reserve, target=target)
        merged = pool.choice.astype(np.int64)
        merged[pool.people] = choice
        if keeps_rules(whole, merged):
            return merged
    return None


def fallback(rows: Rows, prices: Multipliers, safe: Callable[[], Ints]) -> Ints:
    """What the multipliers ask for, less what breaks a rule; where that breaks the floor, the safe choice."""
    choice = trimmed(rows, respond(rows.partition, prices)[rows.member].astype(np.int64))
    if keeps_rules(rows, choice) and profit_of(rows, choice) >= 0:
        return choice
    return safe()


def trimmed(rows: Rows, choice: Ints) -> Ints:
    """Take coupons away until no limit is broken, those that bring least for what is short first."""
    choice = choice.copy()
    profit, cost = (values[rows.member, choice].astype(np.float64) for values in (rows.profit, rows.cost))
    segment = rows.segment[rows.member]
    for s in np.flatnonzero(slack_of(rows, choice)[: rows.n_segments] < 0):
        _cut(choice, (segment == s) & (choice > 0), profit, cost, float(rows.rules.segment_budget[s]))
    if slack_of(rows, choice)[rows.n_segments] < 0:
        _cut(choice, choice > 0, profit, cost, rows.rules.budget)
    one = np.ones(len(choice))
    for o in range(1, rows.n_offers):
        _cut(choice, choice == o, profit, one, float(rows.rules.cap[o]))
    _cut(choice, choice > 0, profit, one, rows.rules.ceiling)
    return choice


def _cut(choice: Ints, mine: Bools, profit: Floats, use: Floats, limit: float) -> None:
    """Keep of these customers those that bring most for what they use, while the limit lasts."""
    people = np.flatnonzero(mine)
    if not len(people) or float(use[people].sum()) <= limit * (1 - RESERVE):
        return
    worth = profit[people] / np.maximum(use[people], 1e-300)
    order = people[np.argsort(-worth, kind="stable")]
    over = np.cumsum(use[order]) > limit * (1 - RESERVE)
    choice[order[over]] = 0


# --- from the mixture to whole customers


def base_of(rows: Rows, dual: Dual) -> tuple[Choice, Bools, list[Choice], Bools]:
    """(T,) choice of each row, whether active answers differ there, the active answers, and where each is active."""
    active = np.flatnonzero((dual.weights > ACTIVE).any(axis=1))
    answers = [_answer(rows, dual, int(k)) for k in active]
    weights = dual.weights[active] > ACTIVE
    heaviest = dual.weights[active].argmax(axis=0)[rows.segment] if len(active) else np.zeros(len(rows.segment), int)
    base = np.zeros(len(rows.segment), dtype=np.uint16)
    differ = np.zeros(len(base), dtype=np.bool_)
    for k, answer in enumerate(answers):
        base = np.where(heaviest == k, answer, base)
    for k, answer in enumerate(answers):
        differ |= (answer != base) & weights[k][rows.segment]
    return base, differ, answers, weights


def _answer(rows: Rows, dual: Dual, k: int) -> Choice:
    prices = dual.answers[k].prices
    return np.zeros(len(rows.segment), dtype=np.uint16) if prices is None else respond(rows.partition, prices)


def _pool(parted: Parted, dual: Dual) -> Parted:
    """Keep the rows on which active answers differ and those nearest to indifference."""
    rows = parted.rows
    if len(rows.segment) <= 2 * POOL:
        return parted
    base, differ, _, _ = base_of(rows, dual)
    loss = least_losses(rows, np.arange(len(base)), base.astype(np.int64), dual.multipliers)
    still_open = np.zeros(len(base), dtype=np.bool_)
    still_open[least(np.where(differ, -np.inf, np.abs(loss)), POOL)] = True
    if rows.n_segments > FEW_SEGMENTS:
        still_open |= _nearest_of_each(np.abs(loss), rows.segment)
    kept = np.flatnonzero(differ)
    still_open[kept[least(np.abs(loss[kept]), MAX_CORE_ROWS)]] = True
    return part_further(parted, still_open, base)


def _nearest_of_each(loss: Floats, segment: Ints) -> Bools:
    """(T,) the `POOL_APART` rows of each segment that are nearest to indifference."""
    order = np.lexsort((loss, segment))
    starts = np.searchsorted(segment[order], segment[order], side="left")
    nearest = np.zeros(len(loss), dtype=np.bool_)
    nearest[order[np.arange(len(order)) - starts < POOL_APART]] = True
    return nearest


def rounded(rows: Rows, dual: Dual, margin: float = 0.0) -> Ints:
    """Solve for the customers on whom the active answers differ, round down, and leave the rest as all agree.

    `margin` coupons are asked for beyond the floor: a vertex splits no more customers than there are rules, and
    rounding takes a coupon from each.
    """
    base, differ, answers, weights = base_of(rows, dual)
    core_rows = np.flatnonzero(differ)
    if not len(core_rows):
        return base[rows.member].astype(np.int64)
    options = np.zeros((len(core_rows), rows.n_offers), dtype=np.bool_)
    options[:, 0] = True
    for k, answer in enumerate(answers):
        mine = weights[k][rows.segment[core_rows]]
        options[np.flatnonzero(mine), answer[core_rows][mine]] = True
    row, offer = np.nonzero(options)
    core = _core(rows, core_rows, row, offer, base)
    if rows.rules.floor > 0:
        core = replace(core, rules=replace(core.rules, floor=core.rules.floor + margin))
    filled = solve_core(core)
    if filled is None:
        return base[rows.member].astype(np.int64)
    return _placed(rows, base, core_rows, row, offer, np.floor(filled + 1e-7).astype(np.int64))


def _core(rows: Rows, core_rows: Ints, row: Ints, offer: Ints, base: Choice) -> Core:
    """The cells to decide, and what all other rows leave of the rules at their `base` offer."""
    count = rows.partition.count.astype(np.float64)
    count[core_rows] = 0
    cells = core_rows[row]
    return Core(
        row=row,
        profit=rows.profit[cells, offer].astype(np.float64),
        cost=rows.cost[cells, offer].astype(np.float64),
        offer=offer,
        segment=rows.segment[cells],
        count=rows.partition.count[core_rows].astype(np.int64),
        rules=rows.rules.left_by(sums_of_rows(rows, base, count)),
    )


def _placed(rows: Rows, base: Choice, core_rows: Ints, row: Ints, offer: Ints, whole: Ints) -> Ints:
    """Give each customer the offer of his row; within a decided row, in the order of the customers.

    `whole` (C,) customers of each cell; what is missing to the row's count goes without a coupon (cell with offer 0).
    """
    missing = rows.partition.count[core_rows] - np.bincount(row, whole, len(core_rows)).astype(np.int64)
    none = np.flatnonzero(offer == 0)
    whole = whole.copy()
    whole[none] += missing[row[none]]
    choice = base[rows.member].astype(np.int64)
    if not rows.collapsed:
        choice[core_rows] = np.repeat(offer, whole)
        return choice
    decided = np.zeros(len(base), dtype=np.bool_)
    decided[core_rows] = True
    people = np.flatnonzero(decided[rows.member])
    people = people[np.argsort(rows.member[people], kind="stable")]
    choice[people] = np.repeat(offer, whole)
    return choice


# --- proof


def _by_program(rows: Rows, plan: _Held, dual: Dual, gap: float, watch: Watch) -> _Held:
    """Close the gap by an integer program over the cells whose reduced cost does not rule them out.

    A cell that gives up more Lagrangian value than the gap in hand can be part of no better plan (Dantzig, Fulkerson
    and Johnson 1954), so that the program's bound, or the plan in hand, bounds every plan.
    """
    base = respond(rows.partition, dual.multipliers)
    core_rows, row, offer = _open_cells(rows, base, dual.multipliers, dual.bound - plan.objective)
    if not len(core_rows):  # nobody can do better than the best response, and no other choice beats the plan in hand
        ideal = base[rows.member].astype(np.int64)
        choice = ideal if keeps_rules(rows, ideal) else plan.choice
        return _Held(choice, profit_of(rows, choice), max(profit_of(rows, choice), plan.objective))
    if len(row) > MAX_PROOF_CELLS:
        return plan
    core = _core(rows, core_rows, row, offer, base)
    count = rows.partition.count.astype(np.float64)
    count[core_rows] = 0
    fixed = math.fsum(sums_of_rows(rows, base, count).profit) + rows.profit_elsewhere
    target = 0.9 * gap * abs(plan.bound) / max(abs(plan.objective - fixed), 1e-300)
    start = _customers_of(rows, plan.choice, core_rows, row, offer)
    seconds = min(PROOF_SECONDS, watch.left)
    whole, most = solve_core_whole(core, gap=min(target, 0.5), seconds=seconds, start=start)
    bound = plan.bound if most is None else min(plan.bound, max(plan.objective, most + fixed))
    if whole is None:
        return replace(plan, bound=bound)
    found = _placed(rows, base, core_rows, row, offer, np.round(whole).astype(np.int64))
    if keeps_rules(rows, found) and profit_of(rows, found) > plan.objective:
        return _Held(found, profit_of(rows, found), bound)
    return replace(plan, bound=bound)


def _customers_of(rows: Rows, choice: Ints, core_rows: Ints, row: Ints, offer: Ints) -> Floats:
    """Customers of each cell in the plan in hand."""
    place = np.full(len(rows.segment), -1)
    place[core_rows] = np.arange(len(core_rows))
    mine = place[rows.member] >= 0
    held = np.zeros((len(core_rows), rows.n_offers))
    np.add.at(held, (place[rows.member[mine]], choice[mine]), 1)
    return held[row, offer]


def _open_cells(rows: Rows, base: Choice, prices: Multipliers, gap: float) -> tuple[Ints, Ints, Ints]:
    """Rows in which another offer gives up no more than `gap`, and their (row, offer) cells that do not."""
    loss = least_losses(rows, np.arange(len(base)), base.astype(np.int64), prices)
    core_rows = np.flatnonzero(loss <= gap * (1 + 1e-6))
    profit = rows.profit[core_rows].astype(np.float64)
    score = profit - prices.money[rows.segment[core_rows]][:, None] * rows.cost[core_rows] - prices.toll
    top = score.max(axis=1, keepdims=True)
    row, offer = np.nonzero(top - score <= gap * (1 + 1e-6) + 1e-12 * np.abs(top))
    return core_rows, row, offer
