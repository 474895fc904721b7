"""What robust plans promise: bounds that hold, the best of all on small problems, promises that come true."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from optimizers.prices import PriceProblem, evaluate_prices, problem_ladder, raw_predicted_gain, solve_prices
from optimizers.prices.check import check_price_plan
from optimizers.prices.robust import RISKS, Measures, solve_robust_prices, tail_weights
from optimizers.prices.rows import LinearRow, PriceRows
from optimizers.prices.worst_case import worst_gain


def shop(seed: int, products: int = 3, draws: int = 12, **rules: Any) -> PriceProblem:
    """Products with uncertain response; no substitution, so that the solver's bounds are exact."""
    rng = np.random.default_rng(seed)
    price = np.round(rng.uniform(1.0, 9.0, products), 2)
    common = 0.4 * rng.standard_normal((draws, 1))
    given_: dict[str, Any] = {
        "product_ids": tuple(f"p{i}" for i in range(products)),
        "current_price": price,
        "unit_cost": price * rng.uniform(0.5, 0.8, products),
        "base_units": rng.uniform(20.0, 500.0, products),
        "own": rng.normal(-2.4, 0.8, products) + common + 0.5 * rng.standard_normal((draws, products)),
        "cross": np.zeros((draws, products)),
        "base_scale": np.exp(0.1 * rng.standard_normal((draws, products))),
        "family": np.arange(products),
        "movable": np.ones(products, dtype=bool),
        "max_change": 0.10,
        "step": 0.05,
        "index_band": None,
        "min_margin": None,
        "max_changed": None,
        "endings": None,
    }
    return PriceProblem(**(given_ | rules))


def best_by_force(problem: PriceProblem, risk: str) -> float:
    measures = Measures(problem, 0.25, 1.0)
    rungs = [row[np.isfinite(row)] for row in problem_ladder(problem).price]
    return max(measures.of(np.array(prices))[risk] for prices in itertools.product(*rungs))


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.sampled_from(RISKS))
def test_the_plan_is_within_its_gap_of_brute_force_and_its_bound_holds(seed: int, risk: str) -> None:
    problem = shop(seed)
    plan = solve_robust_prices(problem, risk, tail=0.25, radius=1.0, gap=1e-6)
    best = best_by_force(problem, risk)
    near = 1e-6 * max(abs(best), 1.0)
    assert plan.objective <= best + near
    assert plan.bound >= best - near
    assert plan.objective >= (0.0 if risk != "mean" else best - near)
    counted = Measures(problem, 0.25, 1.0).of(plan.price)
    assert counted[risk] == pytest.approx(plan.objective)
    if plan.status == "optimal":
        assert plan.objective >= best - 2e-6 * max(abs(best), 1.0)
    assert (plan.status == "heuristic") == (risk == "lower")


@settings(deadline=None, max_examples=4)
@given(st.integers(0, 10_000))
def test_each_setting_counts_for_most_by_its_own_measure(seed: int) -> None:
    problem = shop(seed, products=8, draws=20)
    plans = {risk: solve_robust_prices(problem, risk, rounds=8) for risk in RISKS}
    assert plans["mean"].expected_gain >= max(p.expected_gain for p in plans.values()) - 1e-2 * abs(plans["mean"].bound)
    for risk in ("tail", "worst", "lower"):
        held = Measures(problem, 0.10, 1.645).of(plans["mean"].price)[risk]
        assert plans[risk].objective >= held - 1e-9 * abs(held)
    for plan in plans.values():
        assert plan.tail_gain <= plan.lower_gain + 1e-9
        assert plan.tail_gain <= plan.expected_gain + 1e-9


def test_the_gap_closes_on_a_shop_of_many_products() -> None:
    problem = shop(5, products=30, draws=40)
    for risk in ("tail", "worst"):
        plan = solve_robust_prices(problem, risk, rounds=15)
        assert plan.gap < 0.03, risk
        assert plan.objective > 0


def test_hard_linear_rules_are_kept_and_other_kinds_refused() -> None:
    problem = shop(9, products=6, draws=20)
    rungs = problem_ladder(problem).price
    allowed = np.ones(rungs.shape, dtype=bool)
    dearer, column = np.nonzero(np.nan_to_num(rungs) > problem.current_price[:, None] + 1e-9)
    row = LinearRow("one dearer price", dearer, column, np.ones(len(dearer)), high=1.0)
    for risk in RISKS:
        plan = solve_robust_prices(problem, risk, rows=PriceRows(allowed, (row,)), rounds=4)
        assert (plan.price > problem.current_price + 1e-9).sum() <= 1
    for other in (replace(row, penalty=1.0), LinearRow("u", dearer[:1], *[np.empty(0, int)] * 2, measure="units")):
        with pytest.raises(ProblemError, match="hard, linear"):
            solve_robust_prices(problem, "mean", rows=PriceRows(allowed, (other,)))


@pytest.mark.parametrize("risk", RISKS)
def test_the_plan_passes_the_re_check_of_any_price_plan(risk: str) -> None:
    problem = shop(10, products=12, draws=20, index_band=0.01, max_changed=6)
    plan = solve_robust_prices(problem, risk, rounds=4)
    assert plan.price_plan is not None
    assert plan.price_plan.objective == plan.expected_gain
    check_price_plan(problem, plan.price_plan)


def test_the_same_twice() -> None:
    problem = shop(6, products=10, draws=20)
    for risk in RISKS:
        first, second = (solve_robust_prices(problem, risk, rounds=6) for _ in range(2))
        assert np.array_equal(first.price, second.price)
        assert first.bound == second.bound


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
def test_no_shift_within_its_limit_hurts_more_than_the_tails(seed: int, tail: float) -> None:
    rng = np.random.default_rng(seed)
    gain = rng.standard_normal(20)
    weight = tail_weights(gain, tail)
    assert weight.sum() == pytest.approx(1.0)
    assert weight.max() <= 1 / (tail * 20) + 1e-12
    other = rng.dirichlet(np.ones(20))
    other = np.minimum(other, 1 / (tail * 20))
    if other.sum() > 0.999999:
        assert weight @ gain <= other @ gain + 1e-12
    level = np.quantile(gain, tail, method="inverted_cdf")  # the tail's mean lies below its edge
    whole = round(tail * 20)
    if abs(tail * 20 - whole) < 1e-9:
        assert weight @ gain == pytest.approx(np.sort(gain)[:whole].mean())
    assert weight @ gain <= level + 1e-12


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.0, 3.0))
def test_no_elasticity_in_the_ellipsoid_brings_less_than_the_worst(seed: int, radius: float) -> None:
    problem = shop(seed, products=6, draws=30)
    rng = np.random.default_rng(seed)
    price = np.round(problem.current_price * rng.uniform(0.9, 1.1, 6), 2)
    least, own = worst_gain(problem, price, radius)
    mean = problem.own.mean(axis=0)
    spread = (problem.own - mean) / np.sqrt(29)
    level = problem.base_units * problem.base_scale.mean(axis=0)

    def gain(elasticity: np.ndarray) -> float:
        units = level * (price / problem.current_price) ** elasticity
        return float(
            (units * (price - problem.unit_cost)).sum() - (level * (problem.current_price - problem.unit_cost)).sum()
        )

    assert gain(own) == pytest.approx(least, rel=1e-5, abs=1e-5 * level.sum())
    for _ in range(60):
        z = rng.standard_normal(30)
        z *= radius / np.linalg.norm(z)
        assert gain(mean + z @ spread) >= least - 1e-7 * level.sum()


def test_without_radius_the_worst_is_the_mean_response() -> None:
    problem = shop(3)
    price = np.round(problem.current_price * 1.05, 2)
    mean = evaluate_prices(_at_mean(problem), price).gain.sum()
    assert worst_gain(problem, price, 0.0)[0] == pytest.approx(mean)


def _at_mean(problem: PriceProblem) -> PriceProblem:
    parts = {name: getattr(problem, name).mean(axis=0, keepdims=True) for name in ("own", "cross", "base_scale")}
    return replace(problem, **parts)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"risk": "bold"}, "risk is 'bold'"),
        ({"tail": 0.0}, "tail is 0"),
        ({"tail": float("nan")}, "tail is nan"),
        ({"radius": -1.0}, "radius is -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        solve_robust_prices(shop(1), **({"risk": "tail"} | changes))


def test_without_time_todays_prices_are_held_and_the_gap_is_honest() -> None:
    plan = solve_robust_prices(shop(2, products=20), "tail", seconds=0.0)
    assert plan.status == "time_limit"
    assert plan.objective >= 0
    assert plan.bound >= plan.objective


def test_what_the_posterior_promises_comes_true_and_what_the_raw_estimate_promises_does_not() -> None:
    """The optimiser's curse on known truth: true elasticities are drawn from the prior, estimates are noisy, plans are
    made on the posterior and on the estimates; the promise of the posterior mean must be what is realised on average.
    """
    rng = np.random.default_rng(11)
    products, draws, prior_mean, prior_sd, noise = 40, 60, -2.2, 0.5, 0.8
    promised = realised = raw_promised = raw_realised = 0.0
    for shop_number in range(12):
        truth = prior_mean + prior_sd * rng.standard_normal(products)
        estimate = truth + noise * rng.standard_normal(products)
        keep = prior_sd**2 / (prior_sd**2 + noise**2)
        sd = np.sqrt(keep) * noise
        own = prior_mean + keep * (estimate - prior_mean) + sd * rng.standard_normal((draws, products))
        problem = shop(shop_number, products, draws, own=own, base_scale=np.ones((draws, products)))
        plan = solve_robust_prices(problem, "mean")
        promised += plan.expected_gain
        realised += float(evaluate_prices(_with_truth(problem, truth), plan.price).gain.sum())
        raw = solve_prices(_with_truth(problem, estimate))
        raw_promised += raw_predicted_gain(problem, estimate)
        raw_realised += float(evaluate_prices(_with_truth(problem, truth), raw.price).gain.sum())
    assert 0.9 < realised / promised < 1.1
    assert raw_promised > 1.3 * raw_realised
    assert realised > raw_realised


def _with_truth(problem: PriceProblem, own: np.ndarray) -> PriceProblem:
    one = np.ones((1, len(own)))
    return replace(problem, own=own[None, :], cross=0 * one, base_scale=one)
