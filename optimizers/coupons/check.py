"""Independent re-check of a coupon plan: plain NumPy in float64, sharing nothing with what made the plan."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import OfferwrightError, shown
from optimizers.coupons.plan import CouponPlan
from optimizers.coupons.problem import CouponProblem

TOLERANCE = 1e-9
"""Relative difference at which two sums count as the same."""
BLOCK = 200_000
"""Customers looked at together when the bound is recomputed."""


class CouponPlanError(OfferwrightError):
    """A plan breaks a rule or claims what its choice does not give; it must not be shown to anybody."""


@dataclass(frozen=True)
class CouponCheck:
    """What the re-check found."""

    objective: float
    spend: float
    segment_spend: npt.NDArray[np.float64]
    """(S,) money; empty without segment budgets."""
    sent: int
    lagrangian_bound: float
    """Bound that the plan's shadow prices certify by themselves."""


def check_coupons(problem: CouponProblem, plan: CouponPlan) -> CouponCheck:
    """Recompute everything that the plan says about itself.

    Raises:
        CouponPlanError: naming every rule that is broken and every figure that does not hold.
    """
    choice = np.asarray(plan.choice)
    n, o = problem.profit.shape
    if choice.shape != (n,) or (n and not (choice.min() >= 0 and choice.max() < o)):
        raise CouponPlanError(f"choice has shape {choice.shape} or names an offer outside 0…{o - 1}; {n} customers")
    at = np.arange(n)
    profit = problem.profit[at, choice].astype(np.float64)
    cost = problem.cost[at, choice].astype(np.float64)
    by_segment = _segment_spend(problem, cost)
    found = CouponCheck(
        objective=math.fsum(profit),
        spend=math.fsum(cost),
        segment_spend=by_segment,
        sent=int(np.count_nonzero(choice)),
        lagrangian_bound=_bound(problem, plan),
    )
    faults = _broken_rules(problem, choice, found) + _false_claims(plan, found) + _unlogged(problem, plan)
    if faults:
        raise CouponPlanError("the coupon plan fails its re-check: " + "; ".join(faults))
    return found


def _segment_spend(problem: CouponProblem, cost: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if problem.segment is None or problem.segment_budget is None:
        return np.zeros(0)
    return np.array([math.fsum(cost[problem.segment == s]) for s in range(len(problem.segment_budget))])


def _broken_rules(problem: CouponProblem, choice: npt.NDArray[np.int64], found: CouponCheck) -> list[str]:
    faults = []
    if problem.budget is not None and found.spend > problem.budget:
        faults.append(f"spend {shown(found.spend)} is over the budget {shown(problem.budget)}")
    for number, spent in enumerate(found.segment_spend):
        assert problem.segment_budget is not None  # noqa: S101 - segment_spend is empty otherwise
        if spent > problem.segment_budget[number] * (1 + 1e-15):
            faults.append(f"segment {number} spends {shown(spent)} of {shown(problem.segment_budget[number])}")
    if problem.min_sent and found.sent < problem.min_sent:
        faults.append(f"{found.sent} customers are sent a coupon, fewer than min_sent = {problem.min_sent}")
    if problem.max_sent is not None and found.sent > problem.max_sent:
        faults.append(f"{found.sent} customers are sent a coupon, more than max_sent = {problem.max_sent}")
    for offer, cap in enumerate([] if problem.offer_cap is None else problem.offer_cap.tolist()):
        many = int((choice == offer).sum())
        if many > cap:
            faults.append(f"offer {offer} is sent to {many} customers, more than its cap of {cap:.0f}")
    return faults + _forbidden(problem, choice)


def _forbidden(problem: CouponProblem, choice: npt.NDArray[np.int64]) -> list[str]:
    faults = []
    if problem.offered is not None and not problem.offered[np.arange(len(choice)), choice].all():
        faults.append("a customer is sent an offer that is not offered to him")
    if problem.contacts is not None and problem.contact_limit is not None:
        over = np.flatnonzero((choice > 0) & (problem.contacts + 1 > problem.contact_limit))
        if len(over):
            faults.append(
                f"customer {over[0]} is contacted {problem.contacts[over[0]] + 1} times in the period, more than "
                f"contact_limit = {problem.contact_limit} ({len(over):,} customers)"
            )
    if problem.held is None:
        return faults
    for group in problem.exclusive:
        for mine, other in itertools.product(group, repeat=2):
            twice = np.flatnonzero((choice == mine) & problem.held[:, other])
            if len(twice):
                faults.append(f"customer {twice[0]} is sent offer {mine} and holds offer {other}, which excludes it")
    return faults


def _unlogged(problem: CouponProblem, plan: CouponPlan) -> list[str]:
    """What is missing to a log of the random slice from which its draws can be weighted."""
    if problem.explore == 0:
        return [] if plan.explored is None else ["customers are explored although explore = 0"]
    if plan.explored is None or plan.propensity is None:
        return [f"explore = {problem.explore} was asked for, and no draw is logged"]
    shape = problem.profit.shape[:1]
    if plan.explored.shape != shape or plan.propensity.shape != shape:
        return [f"explored and propensity have shapes {plan.explored.shape} and {plan.propensity.shape}, not {shape}"]
    faults = []
    if not ((plan.propensity > 0) & (plan.propensity <= 1)).all():
        faults.append("a propensity lies outside (0, 1]")
    if (plan.propensity[~plan.explored] != 1).any():
        faults.append("a customer who was not explored has a propensity below 1")
    if (plan.propensity[plan.explored & (plan.choice > 0)] > 0.5).any():
        faults.append("an explored customer had no real chance of being sent nothing")
    return faults


def _false_claims(plan: CouponPlan, found: CouponCheck) -> list[str]:
    faults = [
        f"{name} is stated as {shown(stated)} and is {shown(recomputed)}"
        for name, stated, recomputed in (
            ("objective", plan.objective, found.objective),
            ("spend", plan.spend, found.spend),
        )
        if not math.isclose(stated, recomputed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]
    slack = TOLERANCE * max(abs(plan.bound), abs(found.objective), 1.0)
    if plan.bound < found.objective - slack:
        faults.append(f"bound {shown(plan.bound)} lies below the objective {shown(found.objective)}")
    stated = (plan.bound - found.objective) / abs(plan.bound) if plan.bound else 0.0
    if math.isfinite(plan.gap) and abs(plan.gap - stated) > 1e-6 * max(stated, 1e-3):
        faults.append(f"gap is stated as {shown(plan.gap)} and is {shown(stated)}")
    if plan.method == "dual" and plan.bound > found.lagrangian_bound + slack:
        certified = shown(found.lagrangian_bound)
        faults.append(f"bound {shown(plan.bound)} is weaker than what the shadow prices certify, {certified}")
    return faults


def _bound(problem: CouponProblem, plan: CouponPlan) -> float:
    """Lagrangian bound at the plan's shadow prices: valid for any that are not negative.

    Explored customers were drawn, not chosen: they bring what they bring, and leave the others the rest of the limits.
    """
    prices = np.zeros(0) if plan.segment_shadow_price is None else np.maximum(plan.segment_shadow_price, 0)
    total, floor = max(plan.shadow_price, 0.0), max(plan.floor_shadow_price, 0.0)
    ceiling = max(plan.ceiling_shadow_price, 0.0)
    offer = np.zeros(problem.profit.shape[1])
    if plan.offer_shadow_price is not None:
        offer = np.maximum(plan.offer_shadow_price, 0.0)
    drawn = np.zeros(len(problem.profit), dtype=np.bool_) if plan.explored is None else plan.explored
    parts = [float(problem.profit[drawn, plan.choice[drawn]].sum(dtype=np.float64))]
    for start in range(0, len(problem.profit), BLOCK):
        block = slice(start, start + BLOCK)
        money = np.full(len(problem.profit[block]), total)
        if len(prices) and problem.segment is not None:
            money += prices[problem.segment[block]]
        score = problem.profit[block].astype(np.float64) - money[:, None] * problem.cost[block]
        score[:, 1:] += floor - ceiling - offer[1:]
        score[_closed(problem, block)] = -np.inf
        parts.append(float(score[~drawn[block]].max(axis=1).sum()))
    priced = [(total, _left(problem.budget, problem.cost[drawn, plan.choice[drawn]].sum(dtype=np.float64)))]
    priced.append((ceiling, _left(problem.max_sent, int(np.count_nonzero(plan.choice[drawn])))))
    priced.append((floor, -_left(problem.min_sent or 0, int(np.count_nonzero(plan.choice[drawn])))))
    for number, price in enumerate(prices if problem.segment_budget is not None else ()):
        assert problem.segment is not None  # noqa: S101 - budgets by segment come with segments
        mine = np.flatnonzero(drawn & (problem.segment == number))
        spent = problem.cost[mine, plan.choice[mine]].sum(dtype=np.float64)
        priced.append((float(price), _left(problem.segment_budget[number], spent)))  # type: ignore[index]
    for number, price in enumerate(offer if problem.offer_cap is not None else ()):
        used = int(np.count_nonzero(plan.choice[drawn] == number)) if number else 0
        priced.append((float(price), _left(problem.offer_cap[number], used)))  # type: ignore[index]
    # an infinite price on what is used up costs nothing
    return math.fsum([*parts, *(price * limit for price, limit in priced if price != 0 and limit != 0)])


def _left(limit: float | None, used: float) -> float:
    return math.inf if limit is None else float(limit) - float(used)


def _closed(problem: CouponProblem, block: slice) -> npt.NDArray[np.bool_]:
    """Cells of these customers that cannot be sent."""
    closed = np.zeros(problem.profit[block].shape, dtype=np.bool_)
    if problem.offered is not None:
        closed |= ~problem.offered[block]
    if problem.contacts is not None and problem.contact_limit is not None:
        closed[problem.contacts[block] >= problem.contact_limit] = True
    if problem.held is not None:
        for group in problem.exclusive:
            members = np.array(group)
            closed[np.ix_(problem.held[block][:, members].any(axis=1), members)] = True
    closed[:, 0] = False
    return closed
