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
from optimizers.coupons.problem import Bools, CouponProblem, Floats, Ints
from optimizers.coupons.rows import make_rules
from optimizers.coupons.sums import Rules, Sums, no_sums

ROUNDING = 1e-12
"""Share of what is left of a budget that is kept back, as sums taken in another order differ in their last bits."""


@dataclass(frozen=True)
class Exploration:
    """A random slice of N customers and what was drawn for it."""

    explored: Bools
    """(N,) who belongs to it."""
    choice: Ints
    """(N,) offer drawn; 0 elsewhere."""
    propensity: Floats
    """(N,) chance with which just this offer (or none) was drawn for an explored customer; 1 elsewhere."""


def draw_exploration(problem: CouponProblem, rng: np.random.Generator) -> Exploration:
    """Draw who is explored, and an offer for each of them, within every limit."""
    from optimizers.coupons.kernels import draw_in_turn

    n = problem.n_customers
    explored: Bools = rng.random(n) < problem.explore
    people = np.flatnonzero(explored)
    people = people[rng.permutation(len(people))]
    rules, segment = make_rules(problem), _segment(problem)[people]
    can = _can_be_sent(problem, rules, people)
    cost = problem.cost[people].astype(np.float64)
    chance = _chances(can, cost, segment, rules.scaled(problem.explore))
    drawn, logged = np.zeros(len(people), np.int64), np.ones(len(people))
    limits = (np.append(rules.segment_budget, rules.budget) * (1 - ROUNDING), np.append(rules.cap, rules.ceiling))
    draw_in_turn(chance, cost, segment, *limits, rng.random(len(people)), drawn, logged)
    choice, propensity = np.zeros(n, np.int64), np.ones(n)
    choice[people], propensity[people] = drawn, logged
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


def _chances(can: Bools, cost: Floats, segment: Ints, share: Rules) -> Floats:
    """(M, O) chance of each offer, so that no limit of the share is expected to be passed."""
    chance: Floats = can / (can.sum(axis=1, keepdims=True) + 1.0)
    chance *= np.minimum(1, _ratio(share.cap, chance.sum(axis=0)))
    spend = np.bincount(segment, (chance * cost).sum(axis=1), len(share.segment_budget)).astype(np.float64)
    chance *= np.minimum(1, _ratio(share.segment_budget, spend))[segment, None]
    total = _ratio(np.array([share.budget, share.ceiling]), np.array([(chance * cost).sum(), chance.sum()]))
    return chance * min(1.0, float(total.min()))


def _ratio(limit: Floats, expected: Floats) -> Floats:
    """Limit ÷ expectation; infinite where nothing is expected."""
    ratio: Floats = np.divide(limit, expected, out=np.full(len(limit), np.inf), where=expected > 0)
    return ratio


def without_explored(problem: CouponProblem, drawn: Exploration) -> CouponProblem:
    """The problem of all others, under what the slice leaves of the limits."""
    used = _used(problem, drawn)
    rules, rest = make_rules(problem).left_by(used), ~drawn.explored
    sent = int(used.sent.sum())
    money = np.maximum(rules.segment_budget, 0) * (1 - ROUNDING)
    return replace(
        problem,
        profit=problem.profit[rest],
        cost=problem.cost[rest],
        budget=None if problem.budget is None else max(rules.budget, 0.0) * (1 - ROUNDING),
        segment=None if problem.segment is None else problem.segment[rest],
        segment_budget=None if problem.segment_budget is None else money,
        min_sent=None if problem.min_sent is None else max(problem.min_sent - sent, 0),
        max_sent=None if problem.max_sent is None else problem.max_sent - sent,
        offered=None if problem.offered is None else problem.offered[rest],
        offer_cap=None if problem.offer_cap is None else rules.cap,
        contacts=None if problem.contacts is None else problem.contacts[rest],
        held=None if problem.held is None else problem.held[rest],
        explore=0.0,
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
    return InfeasibleError(f"beside the customers drawn for exploration (explore = {problem.explore:g}): {error}")


def explored_profit(problem: CouponProblem, drawn: Exploration) -> float:
    """Expected profit of what was drawn, money."""
    return math.fsum(_used(problem, drawn).profit)
