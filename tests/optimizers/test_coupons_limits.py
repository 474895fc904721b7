"""Hard cases: ties, degenerate money, extreme figures, many tight rules, and searches that are stopped."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coupon_agreement import random_problem
from benchmarks.coupons import shop_problem
from engine.errors import InfeasibleError, ProblemError
from optimizers.coupons import CouponProblem, Standing, allocate_coupons
from optimizers.coupons.check import CouponPlanError, check_coupons
from optimizers.coupons.newton import approach
from optimizers.coupons.rows import make_rows
from optimizers.coupons.sums import Box, evaluate, no_prices, respond, screen

# --- the seam


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), customers=st.integers(1, 40), offers=st.integers(2, 6), cut=st.floats(0, 1))
def test_sums_of_partitions_add_up_and_bound_every_plan(seed, customers, offers, cut):
    problem = random_problem(seed, customers, offers)
    rows, rng = make_rows(problem), np.random.default_rng(seed)
    prices = replace(
        no_prices(rows.rules),
        total=float(rng.random()) if problem.budget is not None else 0.0,
        floor=float(rng.random()) if problem.min_sent else 0.0,
    )
    whole, at = evaluate(rows.partition, prices), int(cut * len(rows.segment))
    parts = [evaluate(rows.partition.take(part), prices) for part in (slice(0, at), slice(at, None))]
    assert (parts[0] + parts[1]).value(prices) == pytest.approx(whole.value(prices), rel=1e-12, abs=1e-12)
    try:
        plan = allocate_coupons(problem, "exact", gap=1e-6)
    except InfeasibleError:
        return
    assert rows.rules.bound(whole, prices) >= plan.objective - 1e-9


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), reach=st.floats(0, 0.5))
def test_who_is_settled_in_a_box_answers_the_same_all_over_it(seed, reach):
    rng = np.random.default_rng(seed)
    rows = make_rows(shop_problem(400, seed=seed))
    centre = replace(no_prices(rows.rules), total=4.0, segment=rng.random(5), floor=1.0)
    box = Box(centre, reach * centre.money, np.full(10, reach))
    screened = screen(rows.partition, box)
    inside = replace(
        centre,
        total=centre.total + reach * 4.0 * rng.uniform(-1, 1),
        floor=centre.floor + reach * rng.uniform(-1, 1),
    )
    moved = respond(rows.partition, inside) != respond(rows.partition, centre)
    assert not (moved & ~screened.open).any()


def test_newton_steps_reach_the_least_bound_of_many_caps():
    problem = replace(shop_problem(5_000, seed=1), offer_cap=np.append(np.inf, np.full(9, 150.0)))
    rows = make_rows(problem)
    prices = approach(rows, no_prices(rows.rules))
    plan = allocate_coupons(problem, "dual", gap=1e-4)
    reached = rows.rules.bound(evaluate(rows.partition, prices), prices)
    assert plan.objective <= reached <= plan.objective * (1 + 2e-4)


# --- many tight rules


def test_a_hundred_tight_segments_are_proven():
    problem, segments = shop_problem(10_000, seed=1), 100
    segment = np.random.default_rng(3).integers(0, segments, problem.n_customers)
    tight = CouponProblem(
        problem.profit, problem.cost, None, segment, np.full(segments, 0.8 * problem.budget / segments)
    )
    plan = allocate_coupons(tight, "dual", gap=1e-5)
    check_coupons(tight, plan)
    assert plan.gap <= 1e-5


@pytest.mark.parametrize("limits", [{}, {"max_sent": 20_000}, {"max_sent": 20_000, "min_sent": 20_000}])
def test_a_cap_on_every_offer_is_kept_and_certified(limits):
    problem = replace(shop_problem(100_000, seed=1), offer_cap=np.append(np.inf, np.full(9, 3_000.0)), **limits)
    plan = allocate_coupons(problem, "dual", gap=1e-5)
    check_coupons(problem, plan)
    assert plan.gap <= 1e-5
    assert (plan.offer_shadow_price[1:] > 0).any()


def test_the_price_of_a_cap_is_what_it_costs():
    problem = replace(shop_problem(20_000, seed=2), offer_cap=np.append(np.inf, np.full(9, 600.0)))
    plan = allocate_coupons(problem, "dual", gap=1e-4)
    offer = int(plan.offer_shadow_price[1:].argmax()) + 1
    caps = problem.offer_cap.copy()
    caps[offer] += 150
    more = allocate_coupons(replace(problem, offer_cap=caps), "dual", gap=1e-4)
    assert (more.objective - plan.objective) / 150 == pytest.approx(plan.offer_shadow_price[offer], rel=0.15)


def test_a_floor_beyond_the_caps_is_refused_with_the_most_they_allow():
    problem = replace(shop_problem(500, seed=2), offer_cap=np.append(np.inf, np.full(9, 10.0)), min_sent=200)
    with pytest.raises(InfeasibleError, match=r"min_sent = 200 .* at most 90 coupons \(45.0 %"):
        allocate_coupons(problem)


# --- ties, degenerate money, extreme figures


def alike(customers: int, **limits: object) -> CouponProblem:
    profit = np.tile(np.array([0, 1, 1.5, 2.2], np.float32), (customers, 1))
    return CouponProblem(profit, np.tile(np.array([0, 1, 2, 3.3], np.float32), (customers, 1)), **limits)


def test_a_million_identical_customers():
    problem = alike(1_000_000, budget=123_456.7, min_sent=100_000)
    plan = allocate_coupons(problem)
    check_coupons(problem, plan)
    assert plan.objective >= 123_456
    assert plan.gap <= 1e-5


@pytest.mark.parametrize("method", ["dual", "exact"])
@pytest.mark.parametrize(
    ("limits", "objective"),
    [
        ({"budget": 0.0}, 0.0),
        ({"budget": 0.999}, 0.0),
        ({"budget": 1.0}, 1.0),
        ({"budget": 7.0, "max_sent": 0}, 0.0),
        ({"budget": 7.0, "max_sent": 2}, 4.4),
        ({"budget": 7.0, "offer_cap": np.array([np.inf, 0, 1, 0])}, 1.5),
        ({"budget": None, "offer_cap": np.array([np.inf, 1, 1, 1])}, 4.7),
    ],
)
def test_degenerate_limits(method, limits, objective):
    problem = alike(50, **limits)
    plan = allocate_coupons(problem, method, gap=1e-6)
    check_coupons(problem, plan)
    assert plan.objective == pytest.approx(objective, rel=1e-6)
    assert plan.status == "optimal"


def test_figures_at_the_ends_of_single_precision():
    rng = np.random.default_rng(0)
    tiny, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    for scale in (float(tiny) * 100, float(huge) / 100):
        cost = np.hstack([np.zeros((300, 1)), rng.uniform(0.1, 1, (300, 3))]).astype(np.float32)
        problem = CouponProblem((cost * rng.uniform(0, 2, cost.shape) * scale).astype(np.float32), cost, 20.0)
        plan = allocate_coupons(problem)
        check_coupons(problem, plan)
        assert 0 < plan.objective <= plan.bound < np.inf
        assert plan.gap <= 1e-3


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.uint64])
def test_segments_and_contacts_of_any_whole_type(kind):
    problem = shop_problem(60, seed=1)
    narrow = replace(
        problem, segment=problem.segment.astype(kind), contacts=np.full(60, 100, dtype=kind), contact_limit=101
    )
    assert allocate_coupons(narrow).objective == allocate_coupons(problem).objective


def test_numbers_beyond_the_range_are_refused():
    problem = shop_problem(5, seed=1)
    with pytest.raises(ProblemError, match="segment"):
        replace(problem, segment=np.array([0, 1, 2, 3, 2**63], dtype=np.uint64))
    with pytest.raises(ProblemError, match="contacts"):
        replace(problem, contacts=np.array([0.5] * 5), contact_limit=2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_sent": -1}, "max_sent"),
        ({"min_sent": 3, "max_sent": 2}, "above max_sent"),
        ({"offer_cap": np.ones(3)}, "one number per offer"),
        ({"offer_cap": np.array([1.0] + [np.inf] * 9)}, "no coupon and has no cap"),
        ({"offer_cap": np.array([np.inf] * 9 + [0.5])}, r"offer_cap\[9\]"),
        ({"offer_cap": np.array([np.inf] * 9 + [-1])}, r"offer_cap\[9\]"),
        ({"contact_limit": 2}, "belong together"),
        ({"contacts": np.full(5, -1), "contact_limit": 2}, "negative"),
        ({"exclusive": ((1, 2),)}, "without held"),
        ({"exclusive": ((0, 2),), "held": np.zeros((5, 10), bool)}, "offer 0"),
        ({"held": np.zeros((5, 3), bool)}, "held has"),
    ],
)
def test_limits_that_are_none_are_refused_by_name(changes, says):
    with pytest.raises(ProblemError, match=says):
        replace(shop_problem(5, seed=1), **changes)


def test_the_check_catches_each_limit():
    problem = alike(4, budget=None)
    plan = allocate_coupons(problem)
    for limits, says in (
        ({"max_sent": 3}, "more than max_sent"),
        ({"offer_cap": np.array([np.inf, np.inf, np.inf, 3])}, "cap of 3"),
        ({"contacts": np.array([0, 2, 0, 0]), "contact_limit": 2}, "customer 1 is contacted 3 times"),
        ({"exclusive": ((1, 3),), "held": np.eye(4, dtype=bool)}, "customer 1 is sent offer 3 and holds offer 1"),
    ):
        with pytest.raises(CouponPlanError, match=says):
            check_coupons(replace(problem, **limits), plan)


# --- stopping


@pytest.mark.parametrize("method", ["dual", "exact", "auto"])
@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_no_time_gives_a_plan_with_an_honest_gap(method, floor):
    problem = shop_problem(800, seed=2, floor=floor)
    plan = allocate_coupons(problem, method, seconds=0.0)
    check_coupons(problem, plan)
    assert plan.status == "time_limit"
    assert allocate_coupons(problem, "dual", gap=1e-4).objective <= plan.bound


@settings(deadline=None, max_examples=8)
@given(after=st.integers(0, 40), floor=st.sampled_from([0.0, 0.15, 0.6]))
def test_cancelled_anywhere_there_is_a_plan(after, floor):
    problem, asked = shop_problem(2_000, seed=2, floor=floor), iter(range(10**6))
    plan = allocate_coupons(problem, "dual", gap=1e-4, cancelled=lambda: next(asked) >= after)
    check_coupons(problem, plan)
    assert plan.status in {"cancelled", "gap_limit", "optimal"}


def test_an_event_cancels():
    event = threading.Event()
    event.set()
    assert allocate_coupons(shop_problem(3_000, seed=2), "dual", cancelled=event.is_set).status == "cancelled"


def test_bound_and_gap_are_told_while_it_runs():
    told: list[Standing] = []
    problem = shop_problem(3_000, seed=2)
    plan = allocate_coupons(problem, "dual", gap=1e-5, seconds=2, progress=told.append)
    stages = [standing.stage for standing in told]
    assert stages == sorted(stages, key=["multipliers", "repair", "proof"].index)
    assert {"multipliers", "repair"} <= set(stages)
    bounds = [standing.bound for standing in told]
    assert bounds == sorted(bounds, reverse=True)
    assert (told[-1].objective, told[-1].gap) == pytest.approx((plan.objective, plan.gap))


@pytest.mark.parametrize("seconds", [-1, float("nan"), "long"])
def test_a_time_limit_that_is_none_is_refused(seconds):
    with pytest.raises(ProblemError, match="seconds"):
        allocate_coupons(alike(3, budget=None), seconds=seconds)


def test_many_customers_are_decided_from_ever_larger_samples():
    problem = shop_problem(650_000, seed=4)
    plan = allocate_coupons(problem, "dual", gap=1e-5)
    check_coupons(problem, plan)
    assert plan.gap <= 1e-5
