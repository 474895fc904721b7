"""Coupon allocation by Lagrange multipliers: any size, with a certified bound.

Every coupling rule gets a multiplier: the total budget, each segment's budget, the floor on the number sent. At given
multipliers each customer decides alone, in one pass over the rows, and the sum is an upper bound whatever the
multipliers are (Geoffrion 1974, "Lagrangean relaxation for integer programming"). The multipliers come from the
Dantzig-Wolfe master over the answers seen so far, disaggregated by segment, which is the dual of cutting planes
(Kelley 1960). The master's mixture of answers differs between few customers; a small linear program over those, rounded
and repaired by exchanges, is the plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.coupon_rows import Rows, make_rows
from optimizers.coupons import CouponPlan, CouponProblem, Floats, Ints, relative_gap

MAX_PASSES = 80
COARSE_ROWS = 20_000
"""Size of the sample on which the multipliers are found first, when the problem is several times larger."""


@dataclass(frozen=True)
class Multipliers:
    """Prices of the coupling rules, none negative."""

    total: float
    segment: Floats
    """(S,) beside the total's."""
    floor: float

    @property
    def money(self) -> Floats:
        """(S,) what a unit of money costs in each segment."""
        return self.total + self.segment


@dataclass(frozen=True)
class Answers:
    """What each segment answers to one set of multipliers."""

    choice: npt.NDArray[np.uint16]
    """(T,) offers."""
    totals: Floats
    """(S, 3) profit, cost and number sent."""


@dataclass(frozen=True)
class Dual:
    """The multipliers found, the bound they certify, and the mixture of answers that supports them."""

    multipliers: Multipliers
    bound: float
    answers: tuple[Answers, ...]
    weights: Floats
    """(K, S) weight of each answer in each segment's mixture."""
    passes: int


def allocate_dual(problem: CouponProblem, *, gap: float, safe: Ints) -> CouponPlan:
    """Allocate by multipliers, repair, and certify.

    Args:
        problem: values, costs and limits.
        gap: relative gap at which the search may stop.
        safe: (N,) a choice that keeps every rule, from `check_reachable`.

    Returns:
        A plan whose bound and gap hold whatever happened on the way.
    """
    from optimizers.coupon_repair import repair

    rows = make_rows(problem)
    dual = find_multipliers(rows, safe)
    choice, bound = repair(rows, dual, safe, gap)
    return finish(problem, choice, bound, dual.multipliers, gap)


def finish(problem: CouponProblem, choice: Ints, bound: float, prices: Multipliers, gap: float) -> CouponPlan:
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
        status="optimal" if reached <= gap else "gap_limit",
        segment_shadow_price=None if problem.segment_budget is None else prices.segment,
        method="dual",
        floor_shadow_price=prices.floor,
    )


def lagrangian(rows: Rows, prices: Multipliers) -> tuple[float, Answers]:
    """The bound that the multipliers certify, and what the customers choose under them."""
    from optimizers.coupon_kernels import respond

    choice = np.empty(len(rows.profit), dtype=np.uint16)
    totals = np.empty((rows.n_segments, 3))
    value = respond(rows.profit, rows.cost, rows.count, rows.segment, prices.money, prices.floor, choice, totals)
    constant = _worth(prices.total, rows.budget) - prices.floor * rows.floor
    constant += sum(_worth(float(p), float(b)) for p, b in zip(prices.segment, rows.segment_budget, strict=True))
    return float(value + constant), Answers(choice, totals)


def _worth(price: float, budget: float) -> float:
    return price * budget if price > 0 else 0.0


def find_multipliers(rows: Rows, safe: Ints) -> Dual:
    """Minimise the Lagrangian bound over the multipliers, first on a sample where there are many rows."""
    start = [Multipliers(0.0, np.zeros(rows.n_segments), 0.0)]
    if len(rows.count) >= 4 * COARSE_ROWS:
        start += _nearby(_minimise(_sample(rows), start, None, tolerance=1e-6).multipliers)
    return _minimise(rows, start, safe if rows.floor else None, tolerance=1e-9)


def _nearby(prices: Multipliers) -> list[Multipliers]:
    """The sample's multipliers and a bracket about them, so that the master has answers on both sides."""
    return [
        Multipliers(prices.total * f, prices.segment * f, prices.floor * g)
        for f, g in ((1.0, 1.0), (1.01, 1.0), (0.99, 1.0), (1.0, 1.01))[: 4 if prices.floor else 3]
    ]


def _sample(rows: Rows) -> Rows:
    step = len(rows.count) // COARSE_ROWS
    some = slice(step // 2, None, step)
    count = rows.count[some]
    share = count.sum() / max(rows.count.sum(), 1)
    return Rows(
        np.ascontiguousarray(rows.profit[some]),
        np.ascontiguousarray(rows.cost[some]),
        count,
        np.ascontiguousarray(rows.segment[some]),
        np.arange(len(count), dtype=np.int64),
        rows.budget * share,
        rows.segment_budget * share,
        rows.floor * share,
    )


def _minimise(rows: Rows, start: list[Multipliers], widest: Ints | None, tolerance: float) -> Dual:
    """Cutting planes: ask at the master's multipliers, add the answers, until bound and master meet."""
    answers = _first_answers(rows, widest)
    best, bound = start[0], math.inf
    queue = list(start)
    weights = np.zeros((len(answers), rows.n_segments))
    value = -math.inf
    for passes in range(MAX_PASSES):
        if not queue:
            mixed = _master(rows, answers)
            if mixed is None:
                break
            value, weights, asked = mixed
            queue = [asked]
            if bound - value <= tolerance * max(abs(bound), 1e-300):
                break
        asked = queue.pop(0)
        found, answer = lagrangian(rows, asked)
        stalled = bool(answers) and not queue and _known(answer, answers)
        answers.append(answer)
        if found < bound:
            best, bound = asked, found
        if stalled and passes > len(start):
            break
    if len(weights) < len(answers):
        mixed = _master(rows, answers)
        weights = mixed[1] if mixed else np.zeros((len(answers), rows.n_segments))
    return Dual(best, bound, tuple(answers), weights, passes + 1)


def _known(answer: Answers, answers: list[Answers]) -> bool:
    """True when no segment answered anything new: the master cannot change, by rounding it can still miss its bound."""
    seen = np.stack([a.totals for a in answers])
    return bool((np.abs(seen - answer.totals) <= 1e-12 * np.abs(answer.totals)).all(axis=2).any(axis=0).all())


def _first_answers(rows: Rows, widest: Ints | None) -> list[Answers]:
    """Answers with which the master is feasible from the start: nobody is sent anything; the widest choice."""
    nobody = np.zeros(len(rows.count), dtype=np.uint16)
    answers = [Answers(nobody, np.zeros((rows.n_segments, 3)))]
    if widest is not None:
        by_row = np.zeros(len(rows.count), dtype=np.uint16)
        sent = widest > 0
        by_row[rows.member[sent]] = widest[sent]
        answers.append(Answers(by_row, _totals(rows, widest)))
    return answers


def _totals(rows: Rows, choice: Ints) -> Floats:
    """(S, 3) profit, cost and number sent of a choice of one offer per customer."""
    at = rows.member
    columns = (rows.profit[at, choice], rows.cost[at, choice], choice > 0)
    return np.stack(
        [np.bincount(rows.segment[at], np.asarray(c, dtype=np.float64), rows.n_segments) for c in columns], axis=1
    )


def _master(rows: Rows, answers: list[Answers]) -> tuple[float, Floats, Multipliers] | None:
    """Mix the answers of each segment so that all rules hold and profit is largest.

    Returns:
        Profit of the mixture, (K, S) weights, and the multipliers, which are its dual prices; None where no mixture
        of these answers keeps the rules.
    """
    from optimizers.coupon_master import solve_master

    totals = np.stack([a.totals for a in answers])
    mixed = solve_master(totals, rows.budget, rows.segment_budget, rows.floor)
    if mixed is None:
        return None
    return mixed.profit, mixed.weights, Multipliers(mixed.total, mixed.segment, mixed.floor)
