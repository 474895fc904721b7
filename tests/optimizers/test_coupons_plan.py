"""A coupon plan keeps its rules, is certified, and is the best there is on problems small enough to try everything."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coupon_agreement import best_by_trying, random_problem
from engine.errors import InfeasibleError, ProblemError
from optimizers.coupons import CouponPlan, CouponProblem, allocate_coupons
from optimizers.coupons.check import CouponPlanError, check_coupons

METHODS = ("dual", "exact", "auto")


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), customers=st.integers(1, 5), offers=st.integers(1, 3))
def test_every_method_finds_the_best_of_all_plans(seed, customers, offers):
    problem = random_problem(seed, customers, offers)
    best = best_by_trying(problem)
    for method in METHODS:
        if best is None:
            with pytest.raises(InfeasibleError, match=r"at most|no coupon plan"):
                allocate_coupons(problem, method)
        else:
            plan = allocate_coupons(problem, method, gap=1e-6)
            check_coupons(problem, plan)
            assert plan.objective == pytest.approx(best, rel=1e-5, abs=1e-6)
            assert plan.bound >= best - 1e-6


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), customers=st.integers(20, 120), offers=st.integers(2, 7))
def test_exact_and_dual_agree_within_the_gap(seed, customers, offers):
    problem = random_problem(seed, customers, offers)
    plans = []
    for method in ("dual", "exact"):
        try:
            plans.append(allocate_coupons(problem, method, gap=1e-4))
        except InfeasibleError:
            plans.append(None)
    dual, exact = plans
    assert (dual is None) == (exact is None)
    if dual is not None and exact is not None:
        for plan in plans:
            check_coupons(problem, plan)
            assert plan.gap <= 1e-4
        assert abs(dual.objective - exact.objective) <= 2.1e-4 * max(abs(dual.bound), abs(exact.bound)) + 1e-6


def shop(customers: int, seed: int = 0, offers: int = 10, segments: int = 5) -> CouponProblem:
    """A problem as a shop has it: redemption and profit of one customer hang together over the offers."""
    rng = np.random.default_rng(seed)
    face = np.linspace(1, 5, offers - 1)
    redeems = np.clip(rng.beta(2, 6, (customers, 1)) * np.exp(0.2 * rng.normal(size=(customers, offers - 1))), 0, 1)
    cost = redeems * face
    worth = rng.gamma(2, 1, (customers, 1)) * np.sqrt(face) * 0.6 * np.exp(0.4 * rng.normal(size=cost.shape))
    none = np.zeros((customers, 1))
    costs = np.hstack([none, cost]).astype(np.float32)
    budget = 0.2 * float(costs[:, 1:].max(axis=1).sum(dtype=float))
    return CouponProblem(
        profit=np.hstack([none, worth - cost - 0.3]).astype(np.float32),
        cost=costs,
        budget=budget,
        segment=rng.integers(0, segments, customers),
        segment_budget=budget / segments * np.linspace(0.5, 2, segments),
        min_sent=int(0.15 * customers),
    )


def test_a_hundred_thousand_customers_are_certified_to_a_hundred_thousandth():
    problem = shop(100_000)
    plan = allocate_coupons(problem, "dual")
    check_coupons(problem, plan)
    assert plan.status == "optimal"
    assert plan.gap <= 1e-5
    assert plan.sent >= problem.min_sent


@pytest.mark.parametrize("floor", [0.15, 0.6])
def test_identical_customers_do_not_hold_the_repair_up(floor):
    kinds, rng = shop(200, seed=5), np.random.default_rng(3)
    pick = rng.integers(0, 200, 50_000)
    problem = CouponProblem(
        profit=kinds.profit[pick],
        cost=kinds.cost[pick],
        budget=kinds.budget * 250,
        segment=rng.integers(0, 5, len(pick)),
        segment_budget=kinds.budget * 50 * np.linspace(0.5, 2, 5),
        min_sent=int(floor * len(pick)),
    )
    plan = allocate_coupons(problem, "dual")
    check_coupons(problem, plan)
    assert plan.gap <= 1e-4


def test_the_same_problem_gives_the_same_plan():
    first, second = allocate_coupons(shop(5_000), "dual"), allocate_coupons(shop(5_000), "dual")
    assert first.choice.tobytes() == second.choice.tobytes()
    assert (first.objective, first.bound, first.shadow_price) == (second.objective, second.bound, second.shadow_price)


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 1000), more=st.floats(1.05, 3))
def test_more_money_never_earns_less(seed, more):
    problem = shop(2_000, seed=seed)
    richer = CouponProblem(
        problem.profit,
        problem.cost,
        problem.budget * more,
        problem.segment,
        problem.segment_budget * more,
        problem.min_sent,
    )
    assert allocate_coupons(richer).bound >= allocate_coupons(problem).objective


def test_the_shadow_price_is_what_a_little_more_money_brings():
    problem = shop(3_000)
    alone = CouponProblem(problem.profit, problem.cost, problem.budget)
    plan = allocate_coupons(alone, "dual", gap=1e-5)
    step = 0.01 * problem.budget
    richer = allocate_coupons(CouponProblem(problem.profit, problem.cost, problem.budget + step), "dual", gap=1e-5)
    assert (richer.objective - plan.objective) / step == pytest.approx(plan.shadow_price, rel=0.05)


def test_no_limits_send_everybody_the_offer_that_pays_most():
    problem = shop(1_000)
    plan = allocate_coupons(CouponProblem(problem.profit, problem.cost, None))
    assert (plan.choice == problem.profit.argmax(axis=1)).all()
    assert plan.gap == 0
    assert plan.shadow_price == 0


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_gain_sends_nothing(method):
    none = np.zeros((50, 3), np.float32)
    cost = np.tile(np.array([0, 1, 2], np.float32), (50, 1))
    worthless = allocate_coupons(CouponProblem(none, cost, 10.0), method)
    assert worthless.sent == 0
    assert (worthless.objective, worthless.gap, worthless.status) == (0, 0, "optimal")
    losing = allocate_coupons(CouponProblem(none - cost, cost, 10.0), method)
    assert losing.sent == 0
    broke = allocate_coupons(CouponProblem(none + cost, cost, 0.0), method)
    assert (broke.sent, broke.spend) == (0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_a_floor_sends_the_least_bad_coupons(method):
    profit = np.array([[0, -1], [0, -2], [0, -3], [0, 4]], np.float32)
    cost = np.array([[0, 1]] * 4, np.float32)
    plan = allocate_coupons(CouponProblem(profit, cost, 3.0, min_sent=3), method)
    assert plan.choice.tolist() == [1, 1, 0, 1]
    assert plan.objective == 1


def test_an_unreachable_floor_says_what_the_budget_buys():
    profit = np.array([[0, 1]] * 10, np.float32)
    cost = np.array([[0, 1]] * 10, np.float32)
    with pytest.raises(InfeasibleError, match=r"min_sent = 8 .* at most 5 coupons \(62\.5 %"):
        allocate_coupons(CouponProblem(profit, cost, 5.5, min_sent=8))


def test_nobody_and_no_offers_are_plans_too():
    empty = allocate_coupons(CouponProblem(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32), 5.0))
    assert empty.choice.shape == (0,)
    bare = allocate_coupons(CouponProblem(np.zeros((7, 1), np.float32), np.zeros((7, 1), np.float32), 5.0))
    assert bare.choice.tolist() == [0] * 7


GOOD = np.array([[0, 1.0], [0, 2.0]], np.float32)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"profit": np.array([[0, np.nan], [0, 1]])}, r"profit\[0, 1\]"),
        ({"profit": np.array([[0, 1], [0, np.inf]])}, r"profit\[1, 1\]"),
        ({"cost": np.array([[0, 1], [0, -1]])}, r"cost\[1, 1\].*never costs less"),
        ({"profit": np.array([[0, 1], [2, 1]])}, r"profit\[1, 0\].*offer 0"),
        ({"cost": np.zeros((3, 2))}, "shape"),
        ({"profit": np.zeros(4), "cost": np.zeros(4)}, "shape"),
        ({"profit": "no numbers"}, "cannot be read|shape"),
        ({"budget": -1.0}, "negative"),
        ({"budget": math.nan}, "budget"),
        ({"budget": math.inf}, "None for no limit"),
        ({"segment_budget": np.array([1.0])}, "without segment"),
        ({"segment": np.array([0, 2]), "segment_budget": np.array([1.0, 2.0])}, "no entry"),
        ({"segment": np.array([0, -1]), "segment_budget": np.array([1.0])}, "negative"),
        ({"segment": np.array([0.5, 1]), "segment_budget": np.array([1.0])}, "whole numbers"),
        ({"segment": np.array([0]), "segment_budget": np.array([1.0])}, "per customer"),
        ({"segment": np.array([0, 0]), "segment_budget": np.array([math.nan])}, r"segment_budget\[0\]"),
        ({"min_sent": -1}, "min_sent"),
        ({"min_sent": 1.5}, "min_sent"),
        ({"offered": np.array([[True, True]])}, "offered"),
        ({"offered": np.array([[False, True], [True, True]])}, "left without"),
    ],
)
def test_what_is_not_well_posed_is_refused_by_name(changes, says):
    with pytest.raises(ProblemError, match=says):
        CouponProblem(**({"profit": GOOD, "cost": GOOD, "budget": 1.0} | changes))


@pytest.mark.parametrize(("method", "gap"), [("guess", 1e-4), ("dual", 0.0), ("dual", math.nan)])
def test_unknown_methods_and_gaps_are_refused(method, gap):
    with pytest.raises(ProblemError):
        allocate_coupons(CouponProblem(GOOD, GOOD, 1.0), method, gap)


def tampered(plan: CouponPlan, **changes: object) -> CouponPlan:
    return CouponPlan(**{**plan.__dict__, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"choice": np.array([1, 1])}, "over the budget"),
        ({"choice": np.array([0, 5])}, "outside"),
        ({"choice": np.array([0])}, "shape"),
        ({"objective": 3.0}, "objective"),
        ({"spend": 1.0}, "spend"),
        ({"bound": 1.0}, "below the objective"),
        ({"gap": 0.5}, "gap"),
    ],
)
def test_the_check_catches_a_plan_that_lies(changes, says):
    problem = CouponProblem(GOOD, GOOD, 2.0)
    plan = allocate_coupons(problem)
    assert check_coupons(problem, plan).objective == 2
    with pytest.raises(CouponPlanError, match=says):
        check_coupons(problem, tampered(plan, **changes))


@pytest.mark.parametrize("over", [1e-9, 1e-3])
def test_the_check_lets_nothing_over_the_budget_however_little(over):
    plan = allocate_coupons(CouponProblem(GOOD, GOOD, 9.0))
    check_coupons(CouponProblem(GOOD, GOOD, plan.spend), plan)
    with pytest.raises(CouponPlanError, match="over the budget"):
        check_coupons(CouponProblem(GOOD, GOOD, plan.spend * (1 - over)), plan)


def test_the_check_catches_a_floor_a_segment_and_an_offer_that_is_not_made():
    offered = np.array([[True, False], [True, True]])
    base = {"profit": GOOD, "cost": GOOD, "budget": 9.0}
    both = tampered(
        allocate_coupons(CouponProblem(**base)), choice=np.array([1, 1]), objective=3.0, spend=3.0, bound=3.0
    )
    with pytest.raises(CouponPlanError, match="not offered"):
        check_coupons(CouponProblem(**base, offered=offered), both)
    with pytest.raises(CouponPlanError, match="segment 0 spends"):
        check_coupons(CouponProblem(**base, segment=np.array([0, 0]), segment_budget=np.array([2.0])), both)
    with pytest.raises(CouponPlanError, match="fewer than min_sent"):
        check_coupons(CouponProblem(**base, min_sent=3), both)
