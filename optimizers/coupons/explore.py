"""Exploration: a random slice of the customers whose offer is drawn at random, with a chance that is logged.

What the slice brings is what later estimates of the response rest on, so the chance of each draw has to be known
exactly, and nothing about the customer but what he can be sent may move it. Each customer belongs to the slice with the
same chance; one in the slice is sent each offer that he can be sent with chance a_s b_o / (offers he can be sent + 1),
where a_s and b_o (at most 1) are set so that the slice is expected to take no more than its share of any limit. The
slice is drawn one after the other in random order, and an offer that no longer fits into the whole of a limit is left
out (its chance goes to no coupon); the logged chance is that given the draws before, so that estimates weighted by its
inverse stay unbiased (as in adaptive designs: Hadad, Hirshberg, Zhan, Wager and Athey 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from engine.errors import InfeasibleError
from engine.proposal import Reason
from optimizers.coupons.problem import Bools, CouponProblem, Floats, Ints
from optimizers.coupons.rows import make_rules
from optimizers.coupons.sums import Rules, Sums, no_sums

ROUNDING = 1e-12
"""Share of what is left of a budget that is kept back, as sums taken in another order differ in their last bits."""
BESIDE = "beside the customers drawn for exploration (explore = {share:g}): {why}"


@dataclass(frozen=True)
class Exploration:
    """A random slice of N customers and what was drawn for it."""

    explored: Bools
    """(N,) who belongs to it."""
    choice: Ints
    """(N,) offer drawn; 0 elsewhere."""
    propensity: Floats
    """(N,) chance with which just this offer (or none) was drawn for an explored customer; 1 elsewhere."""


@dataclass(frozen=True)
class Use:
    """What a slice is expected to use of the limits, by segment and offer; column 0 stays 0."""

    coupons: Floats
    """(S, O)."""
    money: Floats
    """(S, O)."""


def draw_exploration(problem: CouponProblem, rng: np.random.Generator) -> Exploration:
    """Draw who is explored, and an offer for each of them, within every limit."""
    n = problem.n_customers
    people = draw_people(n, problem.explore, rng)
    rules, segment = make_rules(problem), _segment(problem)[people]
    can = _can_be_sent(problem, rules, people)
    cost = problem.cost[people].astype(np.float64)
    scale = scales(expected_use(can, cost, segment, len(rules.segment_budget)), rules.scaled(problem.explore))
    money, coupons = np.append(rules.segment_budget, rules.budget) * (1 - ROUNDING), np.append(rules.cap, rules.ceiling)
    return draw_offers(n, people, even_chances(can) * scale[segment], cost, segment, (money, coupons), rng)


def draw_people(customers: int, share: float, rng: np.random.Generator) -> Ints:
    """Who is explored, in the order in which offers are drawn for them."""
    people = np.flatnonzero(rng.random(customers) < share)
    found: Ints = people[rng.permutation(len(people))]
    return found


def draw_offers(
    customers: int,
    people: Ints,
    chance: Floats,
    cost: Floats,
    segment: Ints,
    limits: tuple[Floats, Floats],
    rng: np.random.Generator,
) -> Exploration:
    """Draw an offer for each of the people, one after the other, within limits that no draw may pass.

    Args:
        customers: N.
        people: (M,) who is explored.
        chance: (M, O) of each offer; what is missing to 1 is the chance of no coupon.
        cost: (M, O) money.
        segment: (M,).
        limits: (S + 1,) money by segment, then in total; (O + 1,) coupons by offer, then in all.
        rng: of the draws.
    """
    from optimizers.coupons.kernels import draw_in_turn

    drawn, logged = np.zeros(len(people), np.int64), np.ones(len(people))
    money, coupons = (limit.copy() for limit in limits)
    draw_in_turn(chance, cost, segment, money, coupons, rng.random(len(people)), drawn, logged)
    explored, choice, propensity = np.zeros(customers, np.bool_), np.zeros(customers, np.int64), np.ones(customers)
    explored[people], choice[people], propensity[people] = True, drawn, logged
    return Exploration(explored, choice, propensity)


def _segment(problem: CouponProblem) -> Ints:
    if problem.segment is None or problem.segment_budget is None:
        return np.zeros(problem.n_customers, dtype=np.int64)
    return problem.segment


def _can_be_sent(problem: CouponProblem, rules: Rules, people: Ints) -> Bools:
    sendable = problem.sendable()
    can = np.ones((len(people), problem.n_offers), np.bool_) if sendable is None else sendable[people].copy()
    can[:, 0] = False
    can[:, rules.cap < 1] = False
    return can


def even_chances(can: Bools) -> Floats:
    """(M, O) the same chance for each offer that a customer can be sent and for none; column 0 is 0."""
    even: Floats = can / (can.sum(axis=1, keepdims=True) + 1.0)
    return even


def expected_use(can: Bools, cost: Floats, segment: Ints, segments: int) -> Use:
    """What even chances are expected to use: sums, so that those of parts of the customers can be added."""
    even, shape = even_chances(can), (segments, can.shape[1])
    coupons, money = np.zeros(shape), np.zeros(shape)
    for o in range(1, shape[1]):
        coupons[:, o] = np.bincount(segment, even[:, o], segments)
        money[:, o] = np.bincount(segment, even[:, o] * cost[:, o], segments)
    return Use(coupons, money)


def scales(use: Use, share: Rules) -> Floats:
    """(S, O) factors of the even chances at which no limit of the share is expected to be passed, at most 1."""
    scale = np.ones_like(use.coupons) * np.minimum(1, _ratio(share.cap, use.coupons.sum(axis=0)))
    scale *= np.minimum(1, _ratio(share.segment_budget, (scale * use.money).sum(axis=1)))[:, None]
    total = _ratio(
        np.array([share.budget, share.ceiling]), np.array([(scale * use.money).sum(), (scale * use.coupons).sum()])
    )
    found: Floats = scale * min(1.0, float(total.min()))
    return found


def _ratio(limit: Floats, expected: Floats) -> Floats:
    """Limit ÷ expectation; infinite where nothing is expected."""
    ratio: Floats = np.divide(limit, expected, out=np.full(len(limit), np.inf), where=expected > 0)
    return ratio


def without_explored(problem: CouponProblem, drawn: Exploration) -> CouponProblem:
    """The problem of all others, under what the slice leaves of the limits."""
    used = _used(problem, drawn)
    rules, rest = rules_beside(make_rules(problem), used), ~drawn.explored
    return replace(
        problem,
        profit=problem.profit[rest],
        cost=problem.cost[rest],
        budget=None if problem.budget is None else rules.budget,
        segment=None if problem.segment is None else problem.segment[rest],
        segment_budget=None if problem.segment_budget is None else rules.segment_budget,
        min_sent=None if problem.min_sent is None else int(rules.floor),
        max_sent=None if problem.max_sent is None else int(rules.ceiling),
        offered=None if problem.offered is None else problem.offered[rest],
        offer_cap=None if problem.offer_cap is None else rules.cap,
        contacts=None if problem.contacts is None else problem.contacts[rest],
        held=None if problem.held is None else problem.held[rest],
        explore=0.0,
    )


def rules_beside(rules: Rules, used: Sums) -> Rules:
    """What the slice leaves of the rules; a little of the money stays back for sums taken in another order."""
    left = rules.left_by(used)
    return replace(
        left,
        budget=max(left.budget, 0.0) * (1 - ROUNDING),
        segment_budget=np.maximum(left.segment_budget, 0) * (1 - ROUNDING),
        floor=max(left.floor, 0.0),
    )


def _used(problem: CouponProblem, drawn: Exploration) -> Sums:
    used = no_sums(len(make_rules(problem).segment_budget), problem.n_offers)
    people = np.flatnonzero(drawn.choice)
    choice, segment = drawn.choice[people], _segment(problem)[people]
    np.add.at(used.profit, segment, problem.profit[people, choice].astype(np.float64))
    np.add.at(used.cost, segment, problem.cost[people, choice].astype(np.float64))
    np.add.at(used.sent, (segment, choice), 1)
    return used


def infeasible_beside(problem: CouponProblem, error: InfeasibleError) -> InfeasibleError:
    """The same refusal, saying that an exploration share is part of the cause."""
    return InfeasibleError(Reason(BESIDE, {"share": problem.explore, "why": error.sentence}))


def explored_profit(problem: CouponProblem, drawn: Exploration) -> float:
    """Expected profit of what was drawn, money."""
    return math.fsum(_used(problem, drawn).profit)
