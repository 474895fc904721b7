"""Prices that rules ask for are the same to the plan, to what it is compared with, and to every point of a frontier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_price_choice import problem, ruled, settings
from test_price_frontier import posed

from api import price_stage
from api.frontier import frontier_of
from api.price_choice import PriceChoice
from api.price_evidence import frontier_figures, index_frontier
from api.rule_check import check_rules_of
from api.rule_stage import PriceRules, under_rules
from engine.progress import Silent, Stopwatch
from optimizers.prices import PriceProblem, evaluate_prices, problem_ladder
from optimizers.prices.solve import at_face_value

ENDINGS = {"name": "Ends in 9", "kind": "price_endings", "endings": [0.99, 0.49]}
POINTS = {"name": "Points", "kind": "price_ladder", "prices": [2.17, 3.07, 3.33, 4.04, 4.44, 5.15, 5.55, 5.85]}


@pytest.mark.parametrize("asked", [ENDINGS, POINTS])
def test_plan_comparisons_and_frontiers_choose_among_them(asked: dict[str, Any]) -> None:
    rules = ruled(asked)
    shop = under_rules(problem(), rules)
    choice = PriceChoice("mean", rules)
    wanted = _cents(shop, asked)
    plans = [
        choice.choose(shop, gap=1e-4, seconds=20).plan,
        choice.try_out(shop, 1e-4, 20),
        choice.try_out(at_face_value(shop, shop.own.mean(axis=0)), 1e-4, 20),
        *frontier_of(replace(posed(rules), problem=shop), "units", (0.0, 0.02), settings(), Silent()).points,
    ]
    for plan in plans:
        moved = plan.price != shop.current_price
        assert moved.any()
        assert {round(100 * price) for price in plan.price[moved]} <= wanted
    gains = [point["gain"] for point in frontier_figures(shop, index_frontier(shop, settings(), choice))]
    assert gains[-1] == pytest.approx(plans[0].objective, rel=2e-3)
    found = check_rules_of(replace(posed(rules), problem=shop), settings("pricing.gap=0.000001"), Silent())
    assert found.gain == pytest.approx(float(evaluate_prices(shop, plans[0].price).gain.sum()), rel=1e-3)
    assert found.gain_without is not None
    assert found.rules[0].cost == pytest.approx(found.gain_without - found.gain, rel=1e-3)


def _cents(shop: PriceProblem, asked: dict[str, Any]) -> set[int]:
    """The asked prices; the ladder holds twice as many of them as its steps alone would."""
    reach = range(100, 800)
    wanted = (
        {c for c in reach if c % 100 in (99, 49)} if asked is ENDINGS else {round(100 * p) for p in POINTS["prices"]}
    )
    steps = {round(100 * price) for price in problem_ladder(problem()).price.ravel() if np.isfinite(price)}
    on_ladder = {round(100 * price) for price in problem_ladder(shop).price.ravel() if np.isfinite(price)}
    assert len(on_ladder & wanted) >= 2 * len(steps & wanted)
    return wanted


def test_posing_puts_them_there_and_without_rules_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pose_prices` is where the plan, its evidence, frontiers and budgets all begin."""
    plain = problem()
    assert under_rules(plain, PriceRules()) is plain
    rules = ruled(ENDINGS)
    for name in ("build_panel", "fit_level", "forecast", "estimate_response", "current_prices"):
        monkeypatch.setattr(price_stage, name, lambda *_args, **_named: None)
    features = price_stage.DemandFeatures(None, np.zeros((0, 0), dtype=np.float32))
    monkeypatch.setattr(price_stage, "describe_products", lambda *_: features)
    monkeypatch.setattr(price_stage, "price_rules", lambda *_: rules)
    monkeypatch.setattr(price_stage, "price_problem", lambda *_: plain)
    found = price_stage.pose_prices(None, settings(), Stopwatch(Silent()))  # type: ignore[arg-type]
    assert np.array_equal(
        problem_ladder(found.problem).price, problem_ladder(under_rules(plain, rules)).price, equal_nan=True
    )
    assert problem_ladder(found.problem).choices.sum() > problem_ladder(plain).choices.sum()
