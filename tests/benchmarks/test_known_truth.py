"""The scoring itself: the oracle is the best plan under the rules, and a proposal gets the marks it deserves."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.known_truth import Case, as_markdown, digest, score_coupons, score_prices, simulate
from benchmarks.logit_shop import choice_shares, simulate_logit_shop
from benchmarks.oracle import best_prices, choose, rungs
from engine.settings import load_settings
from engine.simulation import make_shop
from engine.simulation.scenario import make_scenario
from optimizers.prices import PriceProblem, solve_prices

RULES = load_settings(None).pricing
SMALL = {"weeks": 30, "customers": 40, "transactions": False}


def truth_of(products, *, seed=1, **overrides):
    scenario = make_scenario("default", {**SMALL, "products": products, **overrides})
    return make_shop(scenario, seed=seed).truth


def index_of(truth, prices):
    revenue = truth.current_price * truth.units(truth.current_price)
    return float((revenue * (prices / truth.current_price - 1)).sum() / revenue.sum())


def test_the_oracle_obeys_the_rules_and_beats_feasible_plans():
    truth = truth_of(60)
    best = best_prices(truth, RULES, weeks=8)
    assert abs(index_of(truth, best)) <= RULES.index_band + 1e-12
    assert np.abs(best / truth.current_price - 1).max() <= RULES.max_change + 1e-9
    np.testing.assert_allclose(np.round(best * 100), best * 100, atol=1e-6)
    ladder, rng = rungs(truth, RULES), np.random.default_rng(0)
    others = [ladder[np.arange(60), rng.integers(0, ladder.shape[1], 60)] for _ in range(4000)]
    feasible = [plan for plan in others if abs(index_of(truth, plan)) <= RULES.index_band]
    assert len(feasible) > 50
    assert truth.gain(best) > max(truth.gain(plan) for plan in feasible)


def test_the_oracle_is_the_best_of_all_plans_of_a_tiny_shop():
    truth = truth_of(4, categories=2)
    rules = RULES.model_copy(update={"index_band": 0.02, "step": 0.05})
    ladder = rungs(truth, rules)
    plans = (np.array(plan) for plan in itertools.product(*ladder))
    brute = max(truth.gain(plan) for plan in plans if abs(index_of(truth, plan)) <= 0.02)
    assert truth.gain(best_prices(truth, rules, weeks=8)) >= 0.97 * brute


def test_without_an_index_the_oracle_takes_each_rung_that_earns_most():
    value = np.array([[0.0, 3.0, 1.0], [5.0, 2.0, 4.0]])
    index = np.array([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
    np.testing.assert_array_equal(choose(value, index, np.inf), [1, 0])
    np.testing.assert_array_equal(choose(value, index, 0.5), [2, 0])


def test_the_solver_given_the_truth_finds_what_the_oracle_finds():
    truth = truth_of(80)
    units = truth.units(truth.current_price)
    problem = PriceProblem(
        product_ids=truth.product_ids,
        current_price=truth.current_price,
        unit_cost=truth.unit_cost,
        base_units=units,
        own=truth.elasticity_regular[None, :],
        cross=truth.elasticity_cross[None, :],
        base_scale=np.ones((1, 80)),
        family=truth.category,
        movable=np.ones(80, dtype=np.bool_),
        max_change=RULES.max_change,
        step=RULES.step,
        index_band=RULES.index_band,
        min_margin=RULES.min_margin,
        max_changed=None,
        endings=None,
    )
    plan = solve_prices(problem)
    assert truth.gain(plan.price) == pytest.approx(truth.gain(best_prices(truth, RULES, weeks=8)), rel=0.03)


def proposal(folder, truth, prices, **summary):
    folder.mkdir(exist_ok=True)
    pd.DataFrame(
        {
            "product_id": truth.product_ids,
            "current_price": truth.current_price,
            "proposed_price": prices,
            "units_current": truth.units(truth.current_price),
            "elasticity": truth.elasticity_regular + 0.1,
            "elasticity_se": 0.1,
            "identified": True,
        }
    ).to_csv(folder / "prices.csv", index=False)
    (folder / "summary.json").write_text(json.dumps({"horizon_weeks": 8, **summary}))
    return folder


def test_a_perfect_proposal_gets_full_marks(tmp_path):
    truth = truth_of(40)
    best = best_prices(truth, RULES, weeks=8)
    gain = truth.gain(best)
    out = proposal(tmp_path, truth, best, promised_gain=gain, promised_gain_low=0.9 * gain, promised_gain_high=2 * gain)
    marks = score_prices(out, truth, load_settings(None))
    assert marks["captured"] == pytest.approx(1.0)
    assert marks["promised/realised"] == pytest.approx(1.0)
    assert marks["interval covers"] == 1.0
    assert marks["error in sds of the promise"] == pytest.approx(0.0)
    assert marks["elasticity MAE"] == pytest.approx(0.1)
    assert marks["elasticity covers"] == 1.0
    assert marks["today's price wrong"] == 0.0
    assert marks["units forecast/true"] == pytest.approx(1.0)


def test_shops_of_the_referee_are_run_like_any_other(tmp_path):
    truth, coupons = simulate(Case("referee_nested", 1, tmp_path))
    assert coupons is None
    assert (tmp_path / "shop" / "products.csv").exists()
    assert truth.gain(truth.current_price * 1.01) != 0


def test_a_proposal_that_changes_nothing_gets_none(tmp_path):
    truth = truth_of(40)
    out = proposal(
        tmp_path, truth, truth.current_price, promised_gain=5.0, promised_gain_low=1.0, promised_gain_high=9.0
    )
    marks = score_prices(out, truth, load_settings(None))
    assert marks["captured"] == 0.0
    assert marks["interval covers"] == 0.0
    assert marks["promised/realised"] is None


def test_a_perfect_coupon_plan_gets_full_marks(tmp_path):
    truth = truth_of(5).coupons
    choice = truth.profit.argmax(axis=1)
    sent = np.flatnonzero(choice)
    pd.DataFrame(
        {
            "customer_id": np.array(truth.customer_ids)[sent],
            "offer_id": np.array(truth.offer_ids)[choice[sent]],
            "expected_cost": truth.cost[sent, choice[sent]],
        }
    ).to_csv(tmp_path / "coupons.csv", index=False)
    gain = truth.best_profit()
    summary = {"promised_gain": gain, "promised_gain_low": 0.0, "promised_gain_high": 2 * gain}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    marks = score_coupons(tmp_path, truth)
    assert marks["coupons captured"] == pytest.approx(1.0)
    assert marks["coupons interval covers"] == 1.0
    assert marks["coupons cost forecast/true"] == pytest.approx(1.0)


def test_the_table_says_what_failed():
    rows = pd.DataFrame(
        [
            {"scenario": "a", "seed": 1, "captured": 0.5, "realised": 5.0, "oracle": 10.0, "promised": 6.0},
            {"scenario": "a", "seed": 2, "error": "prices: exit 2"},
        ]
    )
    summary = digest(rows)
    assert summary.loc[0, "failed"] == 1
    assert summary.loc[0, "captured"] == 0.5
    assert summary.loc[0, "promised/realised"] == pytest.approx(1.2)
    assert "| captured | 0.5 | ≥ .80 |" in as_markdown(summary)


def test_the_second_generator_states_its_own_truth(tmp_path):
    truth = simulate_logit_shop(tmp_path / "shop", seed=2)
    plain = choice_shares(
        (truth.taste - truth.slope * truth.current_price / truth.base_price)[None, :], truth.category
    )[0]
    formula = -truth.slope * truth.current_price / truth.base_price * (1 - plain)
    np.testing.assert_allclose(truth.elasticity_regular, formula, rtol=0.05)
    sales = pd.read_csv(tmp_path / "shop" / "sales_weekly.csv")
    prices = pd.read_csv(tmp_path / "shop" / "prices_weekly.csv")
    last = prices["week"] == prices["week"].max()
    np.testing.assert_allclose(prices.loc[last, "price"], truth.current_price)
    weekly = sales.groupby("product_id")["units"].mean().to_numpy()
    assert np.corrcoef(np.log(weekly), np.log(truth.units(truth.current_price)))[0, 1] > 0.9
    assert truth.gain(truth.current_price) == 0
