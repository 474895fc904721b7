"""What one budget promises: never exceeded, split as well as brute force, its bound above every split."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf_cases import make_shelf

from engine.errors import InfeasibleError, PlanError, ProblemError
from optimizers.budget.check import check_joint_plan
from optimizers.budget.joint import StagePoint, budget_frontier, split_budget, word_shadow_price
from optimizers.budget.stages import (
    CouponStage,
    PriceStage,
    PromotionStage,
    TableStage,
    investment_row,
    margin_stage,
    price_investment,
)
from optimizers.coupons import CouponProblem, allocate_coupons
from optimizers.prices import PriceProblem, evaluate_prices, problem_ladder, solve_prices
from optimizers.promotions import PromotionProblem, plan_promotions

points = st.lists(st.tuples(st.integers(0, 60), st.integers(-20, 200)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=150)
@given(st.lists(points, min_size=1, max_size=3), st.integers(0, 150))
def test_the_split_equals_brute_force_over_tables(tables: list[list[tuple[int, int]]], budget: int) -> None:
    stages = [TableStage(tuple(StagePoint(float(s), float(v)) for s, v in table)) for table in tables]
    fitting = [c for c in itertools.product(*tables) if sum(s for s, _ in c) <= budget]
    if not fitting:
        with pytest.raises(InfeasibleError, match="the budget is"):
            split_budget(stages, budget)
        return
    best = max(sum(v for _, v in c) for c in fitting)
    plan = split_budget(stages, budget, gap=1e-9)
    assert plan.spend <= budget
    assert plan.objective <= best
    assert plan.bound >= best - 1e-9 * max(abs(best), 1)
    assert plan.objective == sum(p.value for p in plan.points)
    if plan.status == "optimal":
        assert plan.objective == best


def coupons(seed: int, customers: int = 300) -> CouponProblem:
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0.5, 4.0, (customers, 4)).astype(np.float32)
    profit = (cost * rng.uniform(-0.5, 2.5, (customers, 4))).astype(np.float32)
    profit[:, 0] = cost[:, 0] = 0
    return CouponProblem(profit=profit, cost=cost, budget=None)


def calendar(seed: int, products: int = 12, weeks: int = 6) -> PromotionProblem:
    rng = np.random.default_rng(seed)
    price = np.round(rng.uniform(2, 12, products), 2)
    lift = 1 + rng.uniform(3, 10, (products, 1)) * np.array([[0.15, 0.3]])
    return PromotionProblem(
        product_ids=tuple(f"p{i}" for i in range(products)),
        price=price,
        unit_cost=price * rng.uniform(0.4, 0.6, products),
        base_units=rng.uniform(10, 60, products) * np.ones((weeks, 1)),
        category=np.arange(products) // 4,
        depth=np.array([0.15, 0.3]),
        lift=lift,
        takes=0.01 * lift,
        dip=np.full((products, 1), 0.1),
        fixed_cost=np.array([2.0, 4.0]),
        slot=np.array([0, 0]),
        slots=np.full((1, weeks), 3.0),
        max_per_category=1,
        min_gap=2,
    )


def shelf(seed: int, products: int = 15, **rules: Any) -> PriceProblem:
    return make_shelf(seed, products, slope=(-2.8, 0.6), draws=20, family_size=5, **({"step": 0.025} | rules))


def test_prices_coupons_and_promotions_share_a_budget_and_the_last_unit_brings_the_same_everywhere() -> None:
    stages = [PriceStage(shelf(1)), CouponStage(coupons(1)), PromotionStage(calendar(1))]
    budget = 500.0
    plan = split_budget(stages, budget, gap=5e-3)
    check_joint_plan(stages, plan)
    assert plan.spend <= budget
    assert plan.gap <= 5e-3
    assert plan.shadow_price > 0
    prices, coupon, promotion = plan.points
    assert prices.spend == pytest.approx(price_investment(stages[0].problem, prices.plan.price))
    assert prices.value == pytest.approx(evaluate_prices(stages[0].problem, prices.plan.price).gain.sum())
    assert promotion.plan.spend == pytest.approx(promotion.spend)
    rows = np.arange(300)
    assert coupon.value == pytest.approx(stages[1].problem.profit[rows, coupon.plan.choice].sum(), rel=1e-5)
    # No other split, taken from each stage alone on a grid of thirds, is worth more than the bound.
    for a, b in itertools.product((0.0, 200.0, 350.0), (0.0, 150.0)):
        shares = (a, b, budget - a - b)
        alone = [stage.at_budget(share, 20.0) for stage, share in zip(stages, shares, strict=True)]
        assert sum(p.value for p in alone if p) <= plan.bound + 1e-6
        assert sum(p.value for p in alone if p) <= plan.objective * (1 + 6e-3)


def test_each_stage_answers_a_price_with_a_bound_that_no_budget_of_its_own_breaks() -> None:
    for stage in (PriceStage(shelf(2)), CouponStage(coupons(2)), PromotionStage(calendar(2))):
        for price in (0.0, 0.3, 1.5):
            asked = stage.at_price(price, 20.0)
            near = 1e-6 * max(abs(asked.bound), 1.0)
            assert asked.point.value - price * asked.point.spend <= asked.bound + near
            for budget in (0.0, 40.0, 200.0):
                alone = stage.at_budget(budget, 20.0)
                assert alone is not None
                assert alone.spend <= budget * (1 + 1e-9)
                assert alone.value - price * alone.spend <= asked.bound + near


def test_a_budget_that_is_larger_than_what_pays_has_no_price() -> None:
    stages = [CouponStage(coupons(3)), PromotionStage(calendar(3))]
    plan = split_budget(stages, 1e6)
    assert plan.shadow_price == 0
    assert plan.status == "optimal"
    free = allocate_coupons(coupons(3)).objective + plan_promotions(calendar(3)).objective
    assert plan.objective == pytest.approx(free, rel=1e-4)
    assert word_shadow_price(plan).english() == ("the budget is larger than what pays: more of it would bring nothing")


def test_the_frontier_rises_its_price_falls_and_foretells_the_next_point() -> None:
    stages = [CouponStage(coupons(4)), PromotionStage(calendar(4))]
    budgets = [50.0, 100.0, 200.0, 400.0]
    plans = budget_frontier(stages, budgets)
    for one, two in itertools.pairwise(plans):
        assert two.objective >= one.objective
        assert two.shadow_price <= one.shadow_price + 1e-9
        assert two.objective <= one.bound + one.shadow_price * (two.budget - one.budget) + 1e-6
    assert word_shadow_price(plans[0]).english() == (
        f"one more 10 in the budget would bring {10 * plans[0].shadow_price:,.0f} at most"
    )


@pytest.mark.parametrize("figure", ["spend", "objective", "budget", "bound"])
@pytest.mark.parametrize("number", [0, 1])
def test_the_checker_finds_a_wrong_figure_of_the_whole_or_of_a_stage(figure: str, number: int) -> None:
    stages = [CouponStage(coupons(6)), PromotionStage(calendar(6))]
    plan = split_budget(stages, 200.0)
    check_joint_plan(stages, plan)
    with pytest.raises(PlanError):
        check_joint_plan(stages, replace(plan, **{figure: 0.9 * getattr(plan, figure)}))
    points = list(plan.points)
    points[number] = replace(points[number], value=points[number].value + 1.0)
    with pytest.raises(PlanError, match=stages[number].name):
        check_joint_plan(stages, replace(plan, points=tuple(points), objective=plan.objective + 1.0))


def test_no_budget_spends_nothing_and_keeps_what_costs_nothing() -> None:
    problem = shelf(5)
    plan = split_budget([PriceStage(problem), CouponStage(coupons(5))], 0.0)
    assert plan.spend == 0.0
    assert (plan.points[0].plan.price >= problem.current_price - 1e-9).all()
    assert plan.points[0].value > 0


def test_soft_rules_are_refused_where_a_budget_is_shared() -> None:
    problem = shelf(6, 3)
    with pytest.raises(ProblemError, match="'price investment' is soft"):
        PriceStage(problem, investment_row(problem, None, 10.0, penalty=1.0))


def test_price_investment_is_what_lower_prices_give_away() -> None:
    problem = shelf(6, 3)
    price = problem.current_price * np.array([0.9, 1.1, 1.0])
    units = problem.base_units[0] * np.mean(0.9 ** problem.own[:, 0])
    assert price_investment(problem, price) == pytest.approx(0.1 * problem.current_price[0] * units)
    assert math.isclose(price_investment(problem, problem.current_price), 0.0)


def test_a_margin_target_is_kept_by_all_stages_together() -> None:
    """Each stage chooses among the price plans of its own shelf; together they must earn a quarter of revenue."""
    target, shelves = 0.42, [shelf(7, 4, step=0.1), shelf(8, 4, step=0.1)]
    stages, figures = [], []
    for problem in shelves:
        rungs = [row[np.isfinite(row)] for row in problem_ladder(problem).price]
        outcomes = []
        for prices in itertools.product(*rungs):
            price = np.array(prices)
            found = evaluate_prices(problem, price)
            outcomes.append((float(found.profit.sum()), float((found.units * price).sum())))
        figures.append(outcomes)
        stages.append(margin_stage([p for p, _ in outcomes], [r for _, r in outcomes], target))
    plan = split_budget(stages, 0.0, gap=1e-6)
    profit, revenue = (sum(figures[n][point.plan][k] for n, point in enumerate(plan.points)) for k in (0, 1))
    assert profit / revenue >= target - 1e-9
    best = max(a[0] + b[0] for a in figures[0] for b in figures[1] if a[0] + b[0] >= target * (a[1] + b[1]))
    assert plan.objective <= best + 1e-9 * best
    assert plan.objective >= best * (1 - 5e-3)
    assert plan.bound >= best * (1 - 1e-12)
    free = sum(
        solve_prices(problem).objective + evaluate_prices(problem, problem.current_price).profit.sum()
        for problem in shelves
    )
    assert plan.objective <= free + 1e-6


@pytest.mark.parametrize("budget", [math.nan, math.inf])
def test_a_budget_that_is_no_number_is_refused(budget: float) -> None:
    with pytest.raises(ProblemError, match="budget is"):
        split_budget([TableStage((StagePoint(0.0, 0.0),))], budget)
    with pytest.raises(ProblemError, match="no stage"):
        split_budget([], 1.0)
