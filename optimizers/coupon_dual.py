"""Coupon allocation by Lagrange multipliers: any size, with a certified bound.

Every coupling rule gets a multiplier: the total budget, each segment's budget, the numbers sent. At given multipliers
each customer decides alone, in one pass over the rows, and the sum is an upper bound whatever the multipliers are
(Geoffrion 1974, "Lagrangean relaxation for integer programming"). The multipliers come from the Dantzig-Wolfe master
over the answers seen so far, disaggregated by segment, which is the dual of cutting planes (Kelley 1960). The driver
(`minimise`) sees sums only: see `optimizers.coupon_sums` for the seam.

In memory the multipliers are found on a sample first. Customers whose choice no multipliers near the sample's can
change are settled in one pass; the cutting planes see the rest, and where they want to leave the neighbourhood it is
drawn anew. The master's mixture of answers differs between few customers; `optimizers.coupon_repair` makes it a plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizers.coupon_gap import relative_gap
from optimizers.coupon_problem import CouponProblem, Floats, Ints
from optimizers.coupon_rows import Parted, Rows, make_rows, part
from optimizers.coupon_sums import (
    Box,
    Evaluate,
    Multipliers,
    Rules,
    Sums,
    evaluate,
    no_prices,
    no_sums,
    respond,
    screen,
)
from optimizers.coupon_watch import StopReason, Watch
from optimizers.coupons import CouponPlan

MAX_PASSES = 80
COARSE_ROWS = 20_000
"""Size of the sample on which the multipliers are found first, when the problem is several times larger."""
REACH = 0.04
"""Half-width of the first neighbourhood, as a share of the prices; a sample of 20,000 errs by about a third of it."""
MAX_NEIGHBOURHOODS = 6
WIDER = 4.0
"""Factor by which the neighbourhood grows each time the multipliers want to leave it."""
MAX_LEAVINGS = 2
"""The master may point outside a neighbourhood so often before a new one is drawn."""
PENALTY = 10.0
"""First price of a coupon missing to the floor, in mean absolute profits; raised a hundredfold while it binds."""
MOST_PENALTY = 1e7
"""Factor beyond which the floor counts as out of reach."""
ENOUGH = 1e-9
"""Relative distance of bound and master at which the multipliers are good enough."""


@dataclass(frozen=True)
class Answer:
    """What the customers answered to one set of multipliers; None: the answer in which nobody is sent anything."""

    prices: Multipliers | None
    sums: Sums


@dataclass(frozen=True)
class Dual:
    """The multipliers found, the bound they certify, and the mixture of answers that supports them."""

    multipliers: Multipliers
    bound: float
    answers: tuple[Answer, ...]
    weights: Floats
    """(K, S) weight of each answer in each segment's mixture."""
    passes: int
    missing: float = 0.0
    """Coupons missing to the floor in the mixture."""
    left_box: bool = False
    """The best multipliers may lie outside the neighbourhood asked for."""
    stopped: StopReason | None = None


def allocate_dual(
    problem: CouponProblem, *, gap: float, safe: Callable[[], Ints], watch: Watch | None = None
) -> CouponPlan:
    """Allocate by multipliers, repair, and certify.

    Args:
        problem: values, costs and limits.
        gap: relative gap at which the search may stop.
        safe: gives a choice (N,) that keeps every rule, or raises; asked only where none is found otherwise.
        watch: time limit, cancelling, listener.

    Returns:
        A plan whose bound and gap hold whatever happened on the way.
    """
    from optimizers.coupon_repair import repair

    watch = watch or Watch()
    rows = make_rows(problem)
    parted, dual = find_multipliers(rows, watch)
    found = repair(parted, rows, dual, safe, gap, watch)
    return finish(problem, found.choice, found.bound, dual.multipliers, gap, found.stopped, "dual")


def finish(
    problem: CouponProblem,
    choice: Ints,
    bound: float,
    prices: Multipliers,
    gap: float,
    stopped: StopReason | None,
    method: str,
) -> CouponPlan:
    """Write the plan down, with its sums taken in float64."""
    rows = np.arange(problem.n_customers)
    objective = float(problem.profit[rows, choice].sum(dtype=np.float64))
    spend = float(problem.cost[rows, choice].sum(dtype=np.float64))
    reached = relative_gap(objective, bound)
    return CouponPlan(
        choice=choice,
        objective=objective,
        bound=max(bound, objective),
        gap=reached,
        spend=spend,
        shadow_price=prices.total,
        status="optimal" if reached <= gap else stopped or "gap_limit",
        segment_shadow_price=None if problem.segment_budget is None else prices.segment,
        method=method,
        floor_shadow_price=prices.floor,
        ceiling_shadow_price=prices.ceiling,
        offer_shadow_price=None if problem.offer_cap is None else prices.offer,
    )


def find_multipliers(rows: Rows, watch: Watch) -> tuple[Parted, Dual]:
    """Minimise the Lagrangian bound over the multipliers; the rows that are still open, and what was found."""
    free = no_prices(rows.rules)
    everything = Parted(rows, np.arange(len(rows.member)), np.zeros(len(rows.member), dtype=np.uint16))
    if len(rows.partition.count) < 4 * COARSE_ROWS:
        return everything, minimise_rows(rows, [free], watch)
    sample = _sample(rows)
    centre = minimise_rows(sample, [free], watch, tolerance=1e-6).multipliers
    reach = REACH
    for _ in range(MAX_NEIGHBOURHOODS):
        box = box_about(sample, centre, reach)
        screened = screen(rows.partition, box)
        parted = part(rows, screened.open, screened.settled, respond(rows.partition, centre))
        dual = minimise_rows(parted.rows, nearby(centre), watch, box=box)
        if not dual.left_box or dual.stopped:
            return parted, dual
        centre, reach = dual.multipliers, reach * WIDER
    return everything, minimise_rows(rows, nearby(centre), watch)


def minimise_rows(
    rows: Rows, start: Sequence[Multipliers], watch: Watch, *, tolerance: float = ENOUGH, box: Box | None = None
) -> Dual:
    """The same for rows in memory."""

    def ask(prices: Multipliers) -> Sums:
        return evaluate(rows.partition, prices)

    return minimise(
        *(ask, rows.rules, start, watch),
        elsewhere=rows.profit_elsewhere,
        tolerance=tolerance,
        box=box,
        penalty=PENALTY * mean_profit(rows),
    )


def mean_profit(rows: Rows) -> float:
    """Mean absolute profit of a coupon, over some of the rows."""
    some = rows.profit[:: max(1, len(rows.profit) // COARSE_ROWS), 1:]
    held = np.abs(some[np.isfinite(some)])
    return max(float(held.mean(dtype=np.float64)), 1e-300) if len(held) else 1.0


def box_about(sample: Rows, centre: Multipliers, reach: float) -> Box:
    """The neighbourhood of `centre` in which prices move by about `reach`, a share of themselves."""
    money = np.maximum(centre.money, 0.1 * centre.money.max())
    counted = sample.rules.floor > 0 or math.isfinite(sample.rules.ceiling) or np.isfinite(sample.rules.cap[1:]).any()
    sums = evaluate(sample.partition, centre)
    worth = sums.value(centre) / max(float(sums.sent.sum()), 1.0)
    tolls = np.where(np.isfinite(centre.toll), np.abs(centre.toll), 0.0) + 0.2 * abs(worth)
    return Box(centre, reach * money, reach * tolls if counted else np.zeros(len(tolls)))


def nearby(prices: Multipliers) -> list[Multipliers]:
    """The sample's multipliers and a bracket about them, so that the master has answers on both sides."""
    around = [(1.0, 1.0), (1.01, 1.0), (0.99, 1.0), (1.0, 1.01)]
    return [prices.scaled(money, floor) for money, floor in around[: 4 if prices.floor else 3]]


def _sample(rows: Rows) -> Rows:
    step = len(rows.partition.count) // COARSE_ROWS
    some = rows.partition.take(slice(step // 2, None, step))
    share = some.count.sum() / max(rows.partition.count.sum(), 1)
    return Rows(some, np.arange(len(some.count), dtype=np.int64), rows.rules.scaled(float(share)))


def minimise(
    ask: Evaluate,
    rules: Rules,
    start: Sequence[Multipliers],
    watch: Watch,
    *,
    elsewhere: float = 0.0,
    tolerance: float = ENOUGH,
    box: Box | None = None,
    penalty: float,
) -> Dual:
    """Cutting planes: ask at the master's multipliers, add the answers, until bound and master meet.

    Args:
        ask: sums of all customers at given multipliers, wherever the customers are.
        rules: the coupling rules.
        start: multipliers to ask at first.
        watch: time limit, cancelling, listener.
        elsewhere: profit settled elsewhere, part of the bound.
        tolerance: relative distance of bound and master at which to stop.
        box: the answers hold in this neighbourhood only.
        penalty: money for a coupon missing to the floor, to begin with.
    """
    from optimizers.coupon_master import solve_master

    answers: list[Answer] = []
    first_penalty = penalty
    best, bound, leavings, missing = start[0], math.inf, 0, 0.0
    queue, weights, stopped = list(start), np.zeros((0, len(rules.segment_budget))), None
    while True:
        if not queue:
            mixed = solve_master([a.sums for a in answers], rules, penalty)
            if mixed is None:
                leavings = MAX_LEAVINGS + 1
                break
            weights, missing = mixed.weights, mixed.missing
            if bound - elsewhere - mixed.profit <= tolerance * max(abs(bound), 1e-300):
                if missing <= 1e-9 * max(rules.floor, 1.0) or penalty > MOST_PENALTY * first_penalty:
                    break
                penalty *= 100
                continue
            asked, inside = (mixed.prices, True) if box is None else _into(box, mixed.prices)
            leavings += not inside
            if leavings > MAX_LEAVINGS:
                break
            queue = [asked]
        stopped = watch.stop() if answers else None
        if stopped or len(answers) > MAX_PASSES:
            break
        asked = queue.pop(0)
        sums = ask(asked)
        if not answers:
            answers.append(Answer(None, no_sums(*sums.sent.shape)))
        stalled = not queue and len(weights) > 0 and _known(sums, answers)
        answers.append(Answer(asked, sums))
        found = rules.bound(sums, asked) + elsewhere
        if found < bound:
            best, bound = asked, found
        if stalled:
            break
        watch.tell("multipliers", None, bound)
    weights = np.vstack([weights, np.zeros((len(answers) - len(weights), weights.shape[1]))])
    left = leavings > MAX_LEAVINGS
    return Dual(best, bound, tuple(answers), weights, len(answers), missing, left, stopped)


def _into(box: Box, prices: Multipliers) -> tuple[Multipliers, bool]:
    """The multipliers, or where the way to them from the centre leaves the box; whether they lie inside."""
    centre = box.centre
    finite = np.isfinite(centre.toll)
    moves = np.concatenate([prices.money - centre.money, (prices.toll - centre.toll)[finite]])
    room = np.concatenate([box.money, box.toll[finite]])
    outside = np.abs(moves) > room
    if not outside.any():
        return prices, True
    share = float((room[outside] / np.abs(moves[outside])).min())
    return _between(centre, prices, share * (1 - 1e-9)), False


def _between(start: Multipliers, end: Multipliers, share: float) -> Multipliers:
    rest = 1 - share
    closed = ~np.isfinite(start.offer)
    offer = rest * np.where(closed, 0, start.offer) + share * np.where(closed, 0, end.offer)
    return replace(
        start,
        total=rest * start.total + share * end.total,
        segment=rest * start.segment + share * end.segment,
        floor=rest * start.floor + share * end.floor,
        ceiling=rest * start.ceiling + share * end.ceiling,
        offer=np.where(closed, math.inf, offer),
    )


def _known(sums: Sums, answers: Sequence[Answer]) -> bool:
    """True when no segment answered anything new: the master cannot change, by rounding it can still miss its bound."""
    asked = np.column_stack([sums.profit, sums.cost, sums.sent])
    seen = np.stack([np.column_stack([a.sums.profit, a.sums.cost, a.sums.sent]) for a in answers])
    return bool((np.abs(seen - asked) <= 1e-12 * np.abs(asked)).all(axis=2).any(axis=0).all())
