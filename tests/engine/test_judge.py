"""The judge: an independent model that finds known truth, tells good plans from bad, and says how sure it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from engine.demand.absorbed import absorbed_at, fit_absorbed
from engine.demand.judge import judge_plan
from engine.errors import ProblemError
from engine.panel import Panel

PRODUCTS, WEEKS, CATEGORIES = 40, 104, 5


def shop(seed: int, elasticity: float | np.ndarray = -2.0, moves: float = 0.06, diversion: float = 0.0) -> Panel:
    """A chain with logged everyday prices that step now and then, promotions, and week effects by category.

    Of the sales that dearer products lose, the part `diversion` stays in the category, for all of it alike.
    """
    rng = np.random.default_rng(seed)
    category = np.arange(PRODUCTS) % CATEGORIES
    steps = np.where(rng.random((PRODUCTS, WEEKS)) < 0.08, rng.normal(0, moves, (PRODUCTS, WEEKS)), 0.0)
    log_regular = np.log(rng.uniform(1, 6, PRODUCTS))[:, None] + np.cumsum(steps, axis=1) * 0.7
    promoted = rng.random((PRODUCTS, WEEKS)) < 0.1
    log_price = log_regular + np.where(promoted, np.log(0.8), 0.0)
    slope = np.broadcast_to(elasticity, PRODUCTS)[:, None]
    eta = 3.5 + rng.normal(0, 0.6, PRODUCTS)[:, None] + rng.normal(0, 0.15, (CATEGORIES, WEEKS))[category]
    lost = -np.broadcast_to(slope, log_regular.shape) * (log_regular - log_regular[:, -1:])
    eta = eta + diversion * np.stack([lost[category == c].mean(axis=0) for c in range(CATEGORIES)])[category]
    eta = eta + slope * (log_regular - log_regular[:, :1]) + 2.5 * slope * (log_price - log_regular) / slope.mean() * -1
    units = rng.poisson(np.exp(eta) * rng.gamma(20, 1 / 20, eta.shape)).astype(float)
    zeros, ones = np.zeros_like(units), np.ones(units.shape, dtype=bool)
    products = pd.DataFrame(
        {"product_id": [f"p{i}" for i in range(PRODUCTS)], "category": [f"c{c}" for c in category], "unit_cost": 0.5}
    )
    return Panel(
        products=products,
        series_product=np.arange(PRODUCTS),
        series_store=np.full(PRODUCTS, ""),
        weeks=np.arange(WEEKS),
        week_start=np.full(WEEKS, np.datetime64("NaT")),
        units=units,
        price=np.exp(log_price),
        regular_price=np.exp(log_regular),
        mailer=zeros,
        display=zeros,
        stock_out=zeros,
        experiment=zeros,
        observed=ones,
        regular_logged=True,
    )


def plan_of(panel: Panel, move: float | np.ndarray) -> dict[str, np.ndarray]:
    today = panel.regular_price[:, -1]
    return {
        "current_price": today,
        "price": today * (1 + move),
        "unit_cost": today * 0.7,
        "base_units": panel.units[:, -8:].sum(axis=1),
    }


def true_gain(plan: dict[str, np.ndarray], elasticity: float | np.ndarray, diversion: float = 0.0) -> float:
    move = np.log(plan["price"] / plan["current_price"])
    own = elasticity * move
    category = np.arange(PRODUCTS) % CATEGORIES
    kept = diversion * np.array([-np.broadcast_to(own, PRODUCTS)[category == c].mean() for c in range(CATEGORIES)])
    margin = plan["price"] - plan["unit_cost"]
    return float(
        plan["base_units"] @ (np.exp(own + kept[category]) * margin - (plan["current_price"] - plan["unit_cost"]))
    )


@pytest.mark.parametrize("dispersion", [0.0, 0.3])
def test_coefficients_equal_a_regression_with_all_dummies(dispersion: float) -> None:
    """Reference: statsmodels' GLM with a dummy for every row and column, 12 series × 60 weeks with holes."""
    rng = np.random.default_rng(0)
    rows, columns = 12, 60
    design = np.stack([rng.normal(0, 0.1, (rows, columns)), rng.random((rows, columns)) < 0.2], axis=2).astype(float)
    eta = rng.normal(2, 1, rows)[:, None] + rng.normal(0, 0.2, columns) + design @ [-2.0, 0.3]
    usable = rng.random((rows, columns)) < 0.9
    units = np.where(usable, rng.poisson(np.exp(eta)), 0.0)
    fit = absorbed_at(units, design, usable, dispersion)
    assert fit is not None
    i, j = np.nonzero(usable)
    dummies = np.column_stack([np.eye(rows)[i], np.eye(columns)[j][:, 1:]])
    family = sm.families.NegativeBinomial(alpha=dispersion) if dispersion else sm.families.Poisson()
    fitted = sm.GLM(units[usable], np.column_stack([design[usable], dummies]), family=family).fit(
        cov_type="cluster", cov_kwds={"groups": j}
    )
    assert fit.coefficient == pytest.approx(fitted.params[:2], abs=2e-5)
    assert np.all(fit.se >= fitted.bse[:2] * 0.9)
    assert np.all(fit.se < fitted.bse[:2] * 2)
    weeks = np.concatenate([[0.0], fitted.params[2 + rows :]])
    assert fit.column_effect - fit.column_effect[0] == pytest.approx(weeks, abs=1e-4)


def test_errors_hold_where_every_week_of_a_small_category_has_an_effect_of_its_own() -> None:
    """Eight series that differ by a hundredfold in volume: the truth lies within 90 % in about 90 of 100 draws."""
    rng = np.random.default_rng(7)
    rows, columns, truth = 8, 60, np.linspace(-3, -1, 8)
    inside = []
    for _ in range(12):
        moves = np.cumsum(rng.normal(0, 0.1, (rows, columns)) * (rng.random((rows, columns)) < 0.15), axis=1)
        eta = np.linspace(2, 6.5, rows)[:, None] + rng.normal(0, 0.2, columns) + truth[:, None] * moves
        units = rng.poisson(np.exp(eta) * rng.gamma(10, 1 / 10, eta.shape)).astype(float)
        design = np.stack([np.where(np.arange(rows)[:, None] == i, moves, 0.0) for i in range(rows)], axis=2)
        fit = fit_absorbed(units, design, np.ones(units.shape, dtype=bool))
        assert fit is not None
        inside.append(np.abs(fit.coefficient - truth) <= 1.645 * fit.se)
    assert 0.83 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize("diversion", [0.0, 0.4])
def test_judged_interval_holds_the_truth_in_nine_of_ten_shops(diversion: float) -> None:
    """20 shops whose products differ, each with a plan that raises what is least elastic and cuts the rest."""
    hits, errors = 0, []
    for seed in range(20):
        truth = np.random.default_rng([seed, 1]).normal(-2.0, 0.5, PRODUCTS)
        panel = shop(seed, truth, diversion=diversion)
        plan = plan_of(panel, 0.05 * np.sign(truth - np.median(truth)))
        judged = judge_plan(panel, **plan, seed=1)
        gain = true_gain(plan, truth, diversion=diversion)
        hits += judged.gain_low <= gain <= judged.gain_high
        errors.append((judged.gain - gain) / judged.profit_current)
    assert hits >= 16
    assert abs(np.mean(errors)) < 0.01


def test_a_judge_that_knows_of_substitution_finds_less_in_a_plan_that_lives_on_it() -> None:
    truth = np.where(np.arange(PRODUCTS) % 2, -1.0, -3.0)
    alone, together = (shop(6, truth, moves=0.12, diversion=diversion) for diversion in (0.0, 0.8))
    move = np.where(truth > -2, 0.08, -0.08)
    judged = [judge_plan(panel, **plan_of(panel, move), seed=1) for panel in (alone, together)]
    assert judged[0].diversion + 0.1 < judged[1].diversion
    assert judged[1].gain / judged[1].profit_current < judged[0].gain / judged[0].profit_current


def test_the_judge_tells_a_good_plan_from_a_bad_one() -> None:
    panel = shop(1, elasticity=-1.2)
    raise_, cut = (judge_plan(panel, **plan_of(panel, move), seed=1) for move in (0.08, -0.08))
    assert raise_.gain_low > 0 > cut.gain_high
    assert raise_.agrees(raise_.gain)


def test_no_move_gains_nothing_for_certain_and_the_seed_decides_the_interval() -> None:
    panel = shop(2)
    still = judge_plan(panel, **plan_of(panel, 0.0), seed=1)
    assert (still.gain, still.gain_low, still.gain_high) == (0.0, 0.0, 0.0)
    plan = plan_of(panel, 0.05)
    once, again = judge_plan(panel, **plan, seed=3), judge_plan(panel, **plan, seed=3)
    assert (once.gain_low, once.gain_high) == (again.gain_low, again.gain_high)


def test_products_with_slopes_of_their_own_and_the_mean_for_the_rest() -> None:
    truth = np.where(np.arange(PRODUCTS) % 2, -1.0, -3.0)
    panel = shop(3, elasticity=truth, moves=0.12)
    judged = judge_plan(panel, **plan_of(panel, 0.05), seed=1)
    assert np.corrcoef(judged.slope, truth)[0, 1] > 0.7
    lone = replace(panel, products=panel.products.assign(category=["alone", *["rest"] * (PRODUCTS - 1)]))
    mixed = judge_plan(lone, **plan_of(lone, 0.05), seed=1)
    assert not mixed.own_evidence[0], "one series and its own week effects leave nothing to learn from"
    assert mixed.own_evidence[1:].mean() > 0.9


def test_units_of_one_half_with_prices_of_the_whole() -> None:
    whole = shop(4)
    rng = np.random.default_rng(1)
    half = replace(whole, units=rng.binomial(whole.units.astype(int), 0.5).astype(float), observed=whole.units > 0)
    plan = plan_of(whole, np.where(np.arange(PRODUCTS) % 2, 0.05, -0.05))
    judged = judge_plan(half, **plan, seed=1, prices_from=whole)
    assert judged.gain_low <= true_gain(plan, -2.0) <= judged.gain_high


def test_what_cannot_be_judged_is_refused() -> None:
    panel = shop(5)
    plan = plan_of(panel, 0.05)
    with pytest.raises(ProblemError, match=r"price has shape \(3,\)"):
        judge_plan(panel, **(plan | {"price": np.ones(3)}), seed=1)
    with pytest.raises(ProblemError, match="unit_cost of product p0 is nan"):
        judge_plan(panel, **(plan | {"unit_cost": np.full(PRODUCTS, np.nan)}), seed=1)
    with pytest.raises(ProblemError, match="price of 0 or below"):
        judge_plan(panel, **(plan | {"price": np.zeros(PRODUCTS)}), seed=1)
    flat = np.repeat(panel.regular_price[:, :1], WEEKS, axis=1)
    still = replace(panel, price=flat, regular_price=flat)
    with pytest.raises(ProblemError, match="no product has everyday price moves"):
        judge_plan(still, **plan, seed=1)
    with pytest.raises(ProblemError, match="the same series in the same order"):
        judge_plan(panel, **plan, seed=1, prices_from=replace(panel, units=panel.units[:, :3]))
