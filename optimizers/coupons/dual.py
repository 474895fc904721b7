"""Coupon allocation by Lagrange multipliers: any size, with a certified bound.

Every coupling rule gets a multiplier: the total budget, each segment's budget, the numbers sent. At given multipliers
each customer decides alone, in one pass over the rows, and the sum is an upper bound whatever the multipliers are
(Geoffrion 1974, "Lagrangean relaxation for integer programming"). The multipliers come from the Dantzig-Wolfe master
over the answers seen so far, disaggregated by segment, which is the dual of cutting planes (Kelley 1960). The driver
(`minimise`) sees sums only: see `optimizers.coupons.sums` for the seam.

In memory the multipliers are found on a sample first. Customers whose choice no multipliers near the sample's can
change are settled in one pass; the cutting planes see the rest, and where they want to leave the neighbourhood it is
drawn anew. The master's mixture of answers differs between few customers; `optimizers.coupons.repair` makes it a plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizers.coupons.newton import approach, many_rules
from optimizers.coupons.problem import Floats
from optimizers.coupons.rows import Parted, Rows, part
from optimizers.coupons.sums import (
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
from optimizers.coupons.watch import StopReason, Watch

MAX_PASSES = 80
COARSE_ROWS = 20_000
"""Size of the sample on which the multipliers are found first, when the problem is several times larger."""
FINER = 10
"""Each sample is so many times larger than the one before."""
FEWEST_TIMES = 3
"""A sample is worth its while when there are at least so many times as many rows."""
COARSE_ENOUGH = 1e-7
"""`ENOUGH` on a sample."""
REACH = 0.07
"""Half-width of the first neighbourhood, as a share of the prices; a sample of 20,000 errs by about a third of it."""
MAX_NEIGHBOURHOODS = 6
FINE_REACH = 0.002
"""The same about multipliers that Newton steps found."""
CERTAIN = 1e-10
"""Relative difference of a bound from the one taken over all customers again that is rounding."""
WIDER = 4.0
"""Factor by which the neighbourhood grows each time the multipliers want to leave it."""
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


def find_multipliers(rows: Rows, watch: Watch) -> tuple[Parted, Dual]:
    """Minimise the Lagrangian bound over the multipliers; the rows that are still open, and what was found."""
    free = no_prices(rows.rules)
    if len(rows.partition.count) < 4 * COARSE_ROWS:
        everything = Parted(rows, np.arange(len(rows.member)), np.zeros(len(rows.member), dtype=np.uint16))
        return everything, _minimise_about(rows, free, None, watch, ENOUGH)
    sample = _sample(rows, COARSE_ROWS)
    centre, reach = _approach_coarsely(sample, free, watch), REACH
    size = COARSE_ROWS * FINER
    while size * FEWEST_TIMES <= len(rows.partition.count):
        sample = _sample(rows, size)
        centre = _minimise_near(sample, centre, reach, watch, tolerance=COARSE_ENOUGH)[1].multipliers
        reach /= math.sqrt(FINER)
        size *= FINER
    return _minimise_near(rows, centre, reach, watch, tolerance=ENOUGH)


def _minimise_near(
    rows: Rows, centre: Multipliers, reach: float, watch: Watch, *, tolerance: float
) -> tuple[Parted, Dual]:
    """Settle who cannot change near the centre, minimise over the rest, and again where the way leads further."""
    for attempt in range(MAX_NEIGHBOURHOODS):
        box = box_about(rows, centre, reach)
        screened = screen(rows.partition, box)
        parted = part(rows, screened.open, screened.settled, respond(rows.partition, centre))
        dual = _minimise_about(parted.rows, centre, box, watch, tolerance)
        if not dual.left_box or dual.stopped:
            certified = rows.rules.bound(evaluate(rows.partition, dual.multipliers), dual.multipliers)
            if certified <= dual.bound + CERTAIN * abs(dual.bound) or dual.stopped:
                return parted, replace(dual, bound=certified)
        centre, reach = dual.multipliers, reach * (WIDER if attempt else 1.0)
    everything = Parted(rows, np.arange(len(rows.member)), np.zeros(len(rows.member), dtype=np.uint16))
    return everything, _minimise_about(rows, centre, None, watch, tolerance)


def _approach_coarsely(sample: Rows, start: Multipliers, watch: Watch) -> Multipliers:
    if many_rules(sample.rules):
        return approach(sample, start)
    return minimise_rows(sample, [start], watch, tolerance=1e-6).multipliers


def _minimise_about(rows: Rows, centre: Multipliers, box: Box | None, watch: Watch, tolerance: float) -> Dual:
    """Cutting planes from the centre on; with many rules, from a better place and in ever wider boxes about it."""
    if not many_rules(rows.rules):
        start = [centre] if box is None else nearby(centre)
        return minimise_rows(rows, start, watch, tolerance=tolerance, box=box)
    reach = FINE_REACH
    centre = approach(rows, centre, box)
    while reach < REACH:
        inner = box_about(rows, centre, reach)
        dual = minimise_rows(rows, brackets(centre, reach / 4), watch, tolerance=tolerance, box=inner)
        if not dual.left_box or dual.stopped:
            return dual
        centre, reach = dual.multipliers, reach * WIDER
    return minimise_rows(rows, [centre], watch, tolerance=tolerance, box=box)


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
    """Mean absolute profit of a coupon, over some of the rows; 1 where all are 0."""
    some = rows.profit[:: max(1, len(rows.profit) // COARSE_ROWS), 1:]
    held = np.abs(some[np.isfinite(some)])
    mean = float(held.mean(dtype=np.float64)) if len(held) else 0.0
    return mean if mean > 0 else 1.0


def box_about(sample: Rows, centre: Multipliers, reach: float) -> Box:
    """The neighbourhood within a share `reach` of the prices of money, and as much in worth of the tolls."""
    money = np.maximum(centre.money, 0.1 * centre.money.max())
    counted = sample.rules.floor > 0 or math.isfinite(sample.rules.ceiling) or np.isfinite(sample.rules.cap[1:]).any()
    sums = evaluate(sample.partition, centre)
    worth = abs(sums.value(centre)) / max(float(sums.sent.sum()), 1.0) or mean_profit(sample)
    tolls = np.where(np.isfinite(centre.toll), np.abs(centre.toll), 0.0)
    tolls = np.maximum(tolls, centre.floor) + 0.2 * worth
    return Box(centre, reach * money, reach * tolls if counted else np.zeros(len(tolls)))


def nearby(prices: Multipliers) -> list[Multipliers]:
    """The sample's multipliers and a bracket about them, so that the master has answers on both sides."""
    around = [(1.0, 1.0), (1.01, 1.0), (0.99, 1.0), (1.0, 1.01)]
    return [prices.scaled(money, floor) for money, floor in around[: 4 if prices.floor else 3]]


def brackets(prices: Multipliers, share: float) -> list[Multipliers]:
    """The multipliers, and each one that is not 0 a share above and below, so that the master knows every direction."""
    found = [prices]
    for factor in (1 + share, 1 - share):
        found.append(replace(prices, total=prices.total * factor))
        found.append(replace(prices, floor=prices.floor * factor, ceiling=prices.ceiling * factor))
        for place in np.flatnonzero(prices.segment > 0):
            found.append(replace(prices, segment=_moved(prices.segment, place, factor)))
        for place in np.flatnonzero((prices.offer > 0) & np.isfinite(prices.offer)):
            found.append(replace(prices, offer=_moved(prices.offer, place, factor)))
    return found


def _moved(values: Floats, place: np.int64, factor: float) -> Floats:
    moved = values.copy()
    moved[place] *= factor
    return moved


def _sample(rows: Rows, size: int) -> Rows:
    step = len(rows.partition.count) // size
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
    planes = _Planes(rules, elsewhere, tolerance, box, penalty, start[0])
    queue, stopped = list(start), None
    while True:
        asked = queue.pop(0) if queue else planes.next_question()
        stopped = watch.stop() if planes.answers else None
        if asked is None or stopped or len(planes.answers) > MAX_PASSES + len(start):
            break
        if not planes.learn(asked, ask(asked)) and not planes.raise_penalty():
            break
        watch.tell("multipliers", None, planes.bound)
    return planes.dual(stopped)


class _Planes:
    """What the answers so far say about the bound as a function of the multipliers."""

    def __init__(
        self, rules: Rules, elsewhere: float, tolerance: float, box: Box | None, penalty: float, start: Multipliers
    ) -> None:
        self.rules, self.elsewhere, self.tolerance, self.box = rules, elsewhere, tolerance, box
        self.penalty, self.most_penalty = penalty, MOST_PENALTY * penalty
        self.answers: list[Answer] = []
        self.best, self.bound = start, math.inf
        self.weights = np.zeros((0, len(rules.segment_budget)))
        self.missing, self.left_box = 0.0, False

    def next_question(self) -> Multipliers | None:
        """Where to ask next; None: bound and master have met, or no mixture keeps the rules."""
        from optimizers.coupons.master import solve_master

        mixed = solve_master([a.sums for a in self.answers], self.rules, self.penalty, self.box)
        if mixed is None:
            self.left_box = True
            return None
        self.weights, self.missing, self.left_box = mixed.weights, mixed.missing, mixed.at_edge
        if self.bound - self.elsewhere - mixed.profit <= self.tolerance * max(abs(self.bound), 1e-300):
            return self.next_question() if self.raise_penalty() else None
        return mixed.prices

    def raise_penalty(self) -> bool:
        """Make what is missing to the floor dearer; False where nothing is missing, or it is out of reach."""
        if self.missing <= 1e-9 * max(self.rules.floor, 1.0) or self.penalty > self.most_penalty:
            return False
        self.penalty *= 100
        return True

    def learn(self, asked: Multipliers, sums: Sums) -> bool:
        """Take an answer in; False where it says nothing new, so that the master would ask the same again."""
        if not self.answers:
            self.answers.append(Answer(None, no_sums(*sums.sent.shape)))
        known = len(self.weights) > 0 and _known(sums, self.answers)
        self.answers.append(Answer(asked, sums))
        found = self.rules.bound(sums, asked) + self.elsewhere
        if found < self.bound:
            self.best, self.bound = asked, found
        return not known

    def dual(self, stopped: StopReason | None) -> Dual:
        """What was found."""
        rest = np.zeros((len(self.answers) - len(self.weights), self.weights.shape[1]))
        weights = np.vstack([self.weights, rest])
        answers, left = tuple(self.answers), self.left_box
        return Dual(self.best, self.bound, answers, weights, len(answers), self.missing, left, stopped)


def _known(sums: Sums, answers: Sequence[Answer]) -> bool:
    """True when no segment answered anything new: the master cannot change, by rounding it can still miss its bound."""
    asked = np.column_stack([sums.profit, sums.cost, sums.sent])
    seen = np.stack([np.column_stack([a.sums.profit, a.sums.cost, a.sums.sent]) for a in answers])
    return bool((np.abs(seen - asked) <= 1e-12 * np.abs(asked)).all(axis=2).any(axis=0).all())
