"""The explored slice is random, logged with the chance it was drawn by, and never breaks a limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coupon_agreement import random_problem
from benchmarks.coupons import shop_problem
from engine.errors import InfeasibleError, ProblemError
from optimizers.coupons import CouponProblem, allocate_coupons
from optimizers.coupons.check import CouponPlanError, check_coupons
from optimizers.coupons.explore import draw_exploration

SHOP = shop_problem(20_000, seed=4)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), customers=st.integers(1, 60), offers=st.integers(2, 5), share=st.floats(0.01, 1))
def test_a_plan_with_exploration_keeps_every_rule(seed, customers, offers, share):
    problem = replace(random_problem(seed, customers, offers), min_sent=None, explore=share)
    for method in ("dual", "exact"):
        plan = allocate_coupons(problem, method, seed=seed)
        check_coupons(problem, plan)


def test_the_slice_is_a_random_share_of_customers_with_their_profit_left_out_of_it():
    plan = allocate_coupons(replace(SHOP, explore=0.1), seed=3)
    check_coupons(replace(SHOP, explore=0.1), plan)
    assert plan.explored.mean() == pytest.approx(0.1, abs=0.01)
    best = SHOP.profit.max(axis=1)
    apart = best[plan.explored].mean() - best[~plan.explored].mean()
    assert abs(apart) < 4 * best.std() / np.sqrt(plan.explored.sum())


def test_the_slice_takes_its_share_of_the_budget_and_no_more():
    plan = allocate_coupons(replace(SHOP, explore=0.2), seed=3)
    spent = SHOP.cost[np.arange(SHOP.n_customers), plan.choice][plan.explored].sum()
    assert 0.1 * SHOP.budget < spent < 1.05 * 0.2 * SHOP.budget


def test_draws_weighted_by_their_logged_chance_give_what_each_offer_brings_everybody():
    """Horvitz and Thompson (1952): the weighted mean of those drawn is the mean of all, for each offer and for none."""
    rng = np.random.default_rng(1)
    cost = np.hstack([np.zeros((4_000, 1)), rng.uniform(1, 3, (4_000, 3))])
    worth = rng.normal(5, 2, cost.shape)
    problem = CouponProblem(np.zeros_like(cost), cost, 2_500.0, max_sent=1_500, explore=1.0)
    estimates = np.zeros((40, 4))
    for seed in range(len(estimates)):
        drawn = draw_exploration(problem, np.random.default_rng(seed))
        for offer in range(4):
            mine = drawn.choice == offer
            estimates[seed, offer] = (worth[mine, offer] / drawn.propensity[mine]).sum() / len(worth)
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(estimates.mean(axis=0) - worth.mean(axis=0)) < 4 * error).all()


def test_where_money_runs_out_on_the_way_the_logged_chance_says_so():
    cost = np.tile([0.0, 1.0], (50, 1))
    drawn = draw_exploration(CouponProblem(cost * 0, cost, 3.0, explore=1.0), np.random.default_rng(0))
    assert drawn.choice.sum() <= 3
    chances = set(np.round(drawn.propensity, 12))
    assert chances <= {round(3 / 50, 12), round(47 / 50, 12), 1.0}


def test_one_seed_one_plan():
    problem = replace(SHOP, explore=0.05)
    first, again, other = (allocate_coupons(problem, seed=seed) for seed in (1, 1, 2))
    assert first.choice.tobytes() == again.choice.tobytes()
    assert first.propensity.tobytes() == again.propensity.tobytes()
    assert (first.explored != other.explored).any()


def test_exploring_everybody_and_nobody():
    everybody = allocate_coupons(replace(SHOP, min_sent=None, explore=1.0))
    assert everybody.explored.all()
    assert everybody.gap == 0
    assert allocate_coupons(SHOP).explored is None


def test_a_floor_out_of_reach_beside_the_slice_names_the_slice():
    cost = np.tile([0.0, 1.0], (100, 1))
    with pytest.raises(InfeasibleError, match=r"explore = 0.5.*at most"):
        allocate_coupons(CouponProblem(cost, cost, None, min_sent=100, explore=0.5))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True, "half"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ProblemError, match="explore"):
        replace(SHOP, explore=share)


def test_the_check_wants_a_log():
    problem = replace(SHOP, explore=0.1)
    plan = allocate_coupons(problem)
    for lie, says in (
        ({"explored": None}, "no draw is logged"),
        ({"propensity": plan.propensity * 0}, "outside"),
        ({"propensity": np.full(len(plan.choice), 0.5)}, "not explored"),
        ({"propensity": np.where(plan.explored, 0.9, 1.0)}, "real chance"),
    ):
        with pytest.raises(CouponPlanError, match=says):
            check_coupons(problem, replace(plan, **lie))
    with pytest.raises(CouponPlanError, match="although explore = 0"):
        check_coupons(SHOP, plan)
