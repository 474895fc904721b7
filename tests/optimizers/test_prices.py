"""What a price plan promises: it obeys every rule, it is the best there is, and its figures are right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_cases import best_by_force, small_problem, value_of

from engine.errors import ProblemError
from optimizers.prices import PriceProblem, evaluate_prices, raw_predicted_gain, solve_prices
from optimizers.prices.check import check_price_plan, exact_gain, price_index_change

rules = st.fixed_dictionaries(
    {
        "index_band": st.sampled_from([None, 0.0, 0.002, 0.01, 0.05]),
        "max_changed": st.sampled_from([None, 0, 1, 2]),
        "endings": st.sampled_from([None, (0.99, 0.49), (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)]),
        "min_margin": st.sampled_from([None, 0.0, 0.25]),
        "risk": st.sampled_from(["mean", "lower"]),
        "step": st.sampled_from([0.05, 0.1, 0.034]),
    }
)


@settings(deadline=None, max_examples=120)
@given(st.integers(0, 10_000), st.integers(1, 4), rules)
def test_plan_keeps_every_rule_and_equals_brute_force(seed: int, products: int, rule: dict[str, Any]) -> None:
    problem = small_problem(seed, products, **rule)
    plan = solve_prices(problem, gap=1e-6)
    check_price_plan(problem, plan)
    best = best_by_force(problem)
    assert plan.objective == pytest.approx(best, rel=2e-6, abs=1e-9)
    assert plan.bound >= best - 1e-9 * abs(best)
    assert plan.status in ("optimal", "nothing_to_move")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.01, 0.6), st.sampled_from([None, 0.002, 0.02]))
def test_with_substitution_the_plan_is_nearly_the_best_and_its_gap_honest(
    seed: int, cross: float, band: float | None
) -> None:
    problem = small_problem(seed, 4, cross=cross, index_band=band)
    plan = solve_prices(problem)
    check_price_plan(problem, plan)
    best = best_by_force(problem)
    assert best * 0.99 - 1e-9 <= plan.objective <= best + 1e-9 * abs(best)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["index_band", "max_changed", "min_margin", "endings"]))
def test_loosening_a_rule_never_lowers_the_optimum(seed: int, rule: str) -> None:
    tight = {"index_band": 0.002, "max_changed": 2, "min_margin": 0.2, "endings": (0.05, 0.45, 0.95)}
    problem = small_problem(seed, 6, **(tight if rule == "endings" else tight | {"endings": None}))
    free = {"index_band": None, "max_changed": 4, "min_margin": None, "endings": (0.05, 0.25, 0.45, 0.65, 0.95)}
    before = solve_prices(problem, gap=1e-6)
    after = solve_prices(replace(problem, **{rule: free[rule]}), gap=1e-6)
    assert after.objective >= before.objective * (1 - 2e-6) - 1e-9


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([1e-4, 0.25, 8.0, 1e6]))
def test_counting_in_other_money_scales_the_gain(seed: int, factor: float) -> None:
    problem = small_problem(seed, 5, cross=0.2, index_band=0.01)
    dearer = replace(problem, base_units=problem.base_units * factor)
    plan, scaled = solve_prices(problem, gap=1e-6), solve_prices(dearer, gap=1e-6)
    assert scaled.objective == pytest.approx(plan.objective * factor, rel=1e-5)


def test_holding_everything_returns_todays_prices() -> None:
    problem = small_problem(1, 4, movable=np.zeros(4, dtype=bool))
    plan = solve_prices(problem)
    assert np.array_equal(plan.price, problem.current_price)
    assert (plan.status, plan.objective, plan.bound, plan.gap) == ("nothing_to_move", 0.0, 0.0, 0.0)
    assert plan.binding == (("held",),) * 4


def test_an_empty_shop_gets_an_empty_plan() -> None:
    plan = solve_prices(small_problem(1, 0))
    assert plan.price.shape == (0,)
    assert (plan.status, plan.objective, plan.gap) == ("nothing_to_move", 0.0, 0.0)


def test_no_time_returns_todays_prices_with_a_bound() -> None:
    problem = small_problem(3, 4)
    plan = solve_prices(problem, seconds=0.0)
    check_price_plan(problem, plan)
    assert np.array_equal(plan.price, problem.current_price)
    assert (plan.status, plan.objective, plan.gap) == ("time_limit", 0.0, 1.0)
    assert plan.bound >= best_by_force(problem)


def test_a_large_plan_is_within_the_gap_and_the_same_twice() -> None:
    problem = small_problem(5, 250, draws=60, cross=0.3, index_band=0.002, step=0.025, family=np.arange(250) // 10)
    plan = solve_prices(problem)
    check_price_plan(problem, plan)
    assert plan.status == "optimal"
    assert plan.gap <= 1e-4
    assert plan.objective > 0
    assert np.array_equal(plan.price, solve_prices(problem).price)
    assert plan.shadow_prices["index_up"] > 0
    assert plan.build_seconds <= plan.seconds


def test_a_zero_band_keeps_the_index_and_still_gains() -> None:
    problem = small_problem(6, 200, draws=40, index_band=0.0, step=0.025)
    plan = solve_prices(problem)
    check_price_plan(problem, plan)
    assert abs(price_index_change(problem, plan.price)) < 1e-9
    assert plan.gap < 0.01
    assert plan.objective > 0


def test_shadow_price_foretells_what_a_wider_band_brings() -> None:
    problem = small_problem(7, 250, draws=40, index_band=0.010, step=0.025)
    plan = solve_prices(problem, gap=1e-6)
    wider = solve_prices(replace(problem, index_band=0.011), gap=1e-6)
    assert wider.objective - plan.objective == pytest.approx(plan.shadow_prices["index_up"], rel=0.05)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_evaluation_agrees_with_the_checkers_arithmetic(seed: int, cross: float) -> None:
    problem = small_problem(seed, 6, cross=cross)
    price = problem.current_price * np.random.default_rng(seed).uniform(0.8, 1.25, 6)
    outcome = evaluate_prices(problem, price)
    gain = exact_gain(problem, price)
    assert outcome.gain_draws == pytest.approx(gain.sum(axis=1))
    assert outcome.gain == pytest.approx(gain.mean(axis=0))
    assert outcome.profit - outcome.gain == pytest.approx(evaluate_prices(problem, problem.current_price).profit)
    assert np.all(outcome.line_gain_low <= outcome.line_gain_high)


def test_promise_is_the_posterior_expectation_and_below_the_raw_one() -> None:
    """Draw truths from the posterior: the promise holds on average, the raw one does not (Smith and Winkler, 2006)."""
    rng = np.random.default_rng(8)
    products, prior_sd, noise = 60, 0.5, 1.0
    truth = rng.normal(-2.0, prior_sd, products)
    raw = truth + noise * rng.standard_normal(products)
    share = prior_sd**2 / (prior_sd**2 + noise**2)
    mean, sd = -2.0 + share * (raw + 2.0), prior_sd * np.sqrt(1 - share)
    own = mean + sd * rng.standard_normal((400, products))
    problem = small_problem(8, products, index_band=0.0005, step=0.025, own=own, base_scale=np.ones((400, products)))
    problem = replace(problem, cross=np.zeros((400, products)))
    plan = solve_prices(problem)
    at_truth = value_of(
        replace(problem, own=truth[None], cross=np.zeros((1, products)), base_scale=np.ones((1, products))), plan.price
    )
    low, high = np.quantile(evaluate_prices(problem, plan.price).gain_draws, (0.05, 0.95))
    assert low <= at_truth <= high
    assert raw_predicted_gain(problem, raw) > 1.5 * plan.objective


def test_risk_lower_moves_less_than_mean() -> None:
    problem = small_problem(9, 40, draws=200, step=0.025)
    problem = replace(problem, own=problem.own + np.random.default_rng(0).standard_normal(problem.own.shape))
    lower = solve_prices(replace(problem, risk="lower"))
    mean = solve_prices(problem)
    check_price_plan(replace(problem, risk="lower"), lower)
    moved = [(plan.price != problem.current_price).sum() for plan in (lower, mean)]
    assert moved[0] < moved[1]


def _with(**changes: Any) -> PriceProblem:
    return replace(small_problem(1, 3), **changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"current_price": np.array([1.0, np.nan, 2.0])}, "product p1: current price is nan"),
        ({"current_price": np.array([1.0, 0.0, 2.0])}, "product p1: current price is 0.0"),
        ({"unit_cost": np.array([1.0, 1.0, -2.0])}, "product p2: unit cost is -2.0"),
        ({"base_units": np.array([-1.0, -1.0, 2.0])}, r"product p0 \(and 1 more\): forecast of units is -1.0"),
        ({"own": np.full((5, 3), np.nan)}, "own elasticity is nan"),
        ({"own": np.full((5, 3), -1e6)}, "own elasticity is -1000000"),
        ({"cross": np.full((5, 3), np.inf)}, "cross elasticity is inf"),
        ({"base_scale": np.full((5, 3), -1.0)}, "base_scale is -1"),
        ({"own": np.zeros((0, 3)), "cross": np.zeros((0, 3)), "base_scale": np.zeros((0, 3))}, "no draws"),
        ({"own": np.zeros((5, 2))}, r"own has shape \(5, 2\)"),
        ({"family": np.array([0, -1, 0])}, "family has the code -1"),
        ({"family": np.array([0, 2**62, 0])}, "family has the code 4611686018427387904; number families from 0"),
        ({"family": np.array([0, 2**63, 0], dtype=np.uint64)}, "family has the code 9223372036854775808"),
        ({"family": np.array([0.0, 1.5, 0.0])}, "family holds values of type float64"),
        ({"step": 0.2}, "step is 0.2 and max_change 0.1"),
        ({"index_band": -0.1}, "index_band is -0.1"),
        ({"max_changed": -1}, "max_changed is -1"),
        ({"risk": "wild"}, "risk is 'wild'"),
        ({"price_low": np.array([1.0, np.nan, 1.0])}, "product p1: price_low is nan"),
    ],
)
def test_ill_posed_problems_are_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ProblemError, match=named):
        solve_prices(_with(**changes))


def test_extreme_but_finite_elasticities_are_solved_rightly() -> None:
    problem = small_problem(
        1, 3, own=np.tile([[-90.0, 60.0, 0.0]], (2, 1)), cross=np.zeros((2, 3)), base_scale=np.ones((2, 3))
    )
    plan = solve_prices(problem, gap=1e-6)
    check_price_plan(problem, plan)
    assert plan.objective == pytest.approx(best_by_force(problem), rel=2e-6)


def test_prices_that_cannot_be_evaluated_are_refused() -> None:
    problem = small_problem(1, 3)
    with pytest.raises(ProblemError, match="p2: price is 0"):
        evaluate_prices(problem, np.array([1.0, 2.0, 0.0]))
    with pytest.raises(ProblemError, match="3 products"):
        evaluate_prices(problem, np.ones(2))
