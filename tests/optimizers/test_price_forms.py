"""Curvature and index weights: solver, evaluation and independent check speak of the same demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import ProblemError
from optimizers.prices import PriceProblem, evaluate_prices, solve_prices
from optimizers.prices.check import check_price_plan, exact_gain


def shop(curvature=0.8, seed=1, products=12):
    rng = np.random.default_rng(seed)
    own = rng.normal(-2.2, 0.4, (40, products))
    price = rng.uniform(1, 6, products).round(2)
    return PriceProblem(
        product_ids=tuple(f"P{i}" for i in range(products)),
        current_price=price,
        unit_cost=0.6 * price,
        base_units=rng.uniform(5, 200, products),
        own=own,
        cross=np.abs(rng.normal(0.8, 0.3, own.shape)),
        base_scale=np.ones(own.shape),
        family=np.arange(products) % 3,
        movable=np.ones(products, dtype=bool),
        max_change=0.1,
        step=0.025,
        index_band=0.002,
        min_margin=None,
        max_changed=None,
        endings=None,
        curvature=curvature,
        index_weight=rng.uniform(0.1, 1, products),
    )


def units(problem, price):
    """Expected units, from the statement of the record, product by product."""
    found = np.zeros(len(price))
    for i, family in enumerate(problem.family):
        others = [j for j in range(len(price)) if problem.family[j] == family and j != i]
        weight = problem.index_weight[others] / problem.index_weight[others].sum()
        index = np.prod((price[others] / problem.current_price[others]) ** weight)
        bent = ((price[i] / problem.current_price[i]) ** problem.curvature - 1) / problem.curvature
        found[i] = (problem.base_units[i] * np.exp(problem.own[:, i] * bent) * index ** problem.cross[:, i]).mean()
    return found


@pytest.mark.parametrize("curvature", [0.8, -0.3, 2.0])
def test_demand_is_as_stated(curvature):
    problem = shop(curvature)
    price = problem.current_price * np.random.default_rng(2).uniform(0.9, 1.1, 12)
    np.testing.assert_allclose(evaluate_prices(problem, price).units, units(problem, price), rtol=1e-10)
    np.testing.assert_allclose(exact_gain(problem, price).mean(axis=0), evaluate_prices(problem, price).gain)


@pytest.mark.parametrize("risk", ["mean", "lower"])
def test_the_solver_optimises_the_bent_demand_and_the_check_agrees(risk):
    problem = replace(shop(), risk=risk)
    if risk == "lower":
        # Quantiles over draws have kinks, which make proofs dear; what is asked here is the form of demand.
        problem = replace(problem, movable=np.arange(12) < 5)
    plan = solve_prices(problem, gap=1e-3)
    check_price_plan(problem, plan)
    if risk == "mean":
        straight = solve_prices(replace(problem, curvature=0.0, index_weight=None), gap=1e-3)
        assert plan.objective >= evaluate_prices(problem, straight.price).gain.sum() - 1e-3 * abs(plan.objective)


def test_weights_equal_to_revenue_change_nothing():
    problem = shop(curvature=0.0)
    revenue = problem.current_price * problem.base_units
    price = problem.current_price * np.random.default_rng(3).uniform(0.9, 1.1, 12)
    by_weight = evaluate_prices(replace(problem, index_weight=revenue), price).gain
    np.testing.assert_allclose(by_weight, evaluate_prices(replace(problem, index_weight=None), price).gain)


def test_a_form_that_makes_no_sense_is_refused():
    with pytest.raises(ProblemError, match="curvature is nan"):
        solve_prices(replace(shop(), curvature=float("nan")))
    with pytest.raises(ProblemError, match="index_weight"):
        solve_prices(replace(shop(), index_weight=np.full(12, -1.0)))


def test_each_draw_is_evaluated_by_its_own_curvature():
    """Draws that differ in nothing but their curvature give the gains of problems with those curvatures."""
    problem = shop()
    bends = np.linspace(-0.4, 1.6, len(problem.own))
    price = problem.current_price * np.linspace(0.92, 1.08, 12)
    gains = evaluate_prices(replace(problem, curvature=0.7, curvature_draws=bends), price).gain_draws
    for draw, bend in enumerate(bends):
        alone = evaluate_prices(replace(problem, curvature=float(bend)), price).gain_draws
        assert gains[draw] == pytest.approx(alone[draw], rel=1e-6)


def test_curvature_draws_of_another_number_are_refused():
    problem = shop()
    with pytest.raises(ProblemError, match="curvature_draws has shape"):
        evaluate_prices(replace(problem, curvature_draws=np.zeros(2)), problem.current_price)
