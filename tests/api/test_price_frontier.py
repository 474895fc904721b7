"""Every point of a frontier is a plan that keeps its limit and the rules, and can be taken as it stands."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_price_choice import PRODUCTS, problem, ruled, settings

from api.frontier import frontier_of, nearest_point, render_frontier
from api.price_choice import PriceChoice, PriceLimit
from api.price_stage import PosedPrices
from api.rule_stage import PriceRules
from engine.errors import ConfigurationError, UnsolvedError
from engine.progress import Silent
from optimizers.budget.frontier import measure_prices
from optimizers.prices import evaluate_prices

FEW = {"name": "Few labels", "kind": "max_changes", "at_most": 3}


def posed(rules: PriceRules) -> PosedPrices:
    names = [f"P{i}" for i in range(PRODUCTS)]
    response = SimpleNamespace(
        elasticity=np.full(PRODUCTS, -2.0), elasticity_se=np.full(PRODUCTS, 0.4), identified=np.ones(PRODUCTS, bool)
    )
    panel = SimpleNamespace(products=pd.DataFrame({"title": names, "category": "shelf"}))
    return PosedPrices(SimpleNamespace(response=response, panel=panel), problem(), rules)  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", ["index", "units", "revenue", "investment"])
def test_each_point_stands_in_a_file_that_keeps_limit_and_rules(measure: str) -> None:
    shop = posed(ruled(FEW))
    found = frontier_of(shop, measure, (), settings(), Silent())
    values = [point.value for point in found.points]
    assert values == sorted(values)
    files = render_frontier(shop, found, language="en", currency="EUR")
    assert "<svg" in files["frontier.html"] or len(found.points) < 2
    listed = list(csv.DictReader(io.StringIO(files["frontier.csv"])))
    for row, point in zip(listed, found.points, strict=True):
        lines = list(csv.DictReader(io.StringIO(files[row["prices"]])))
        price = np.array([float(line["proposed_price"]) for line in lines])
        assert (price != shop.problem.current_price).sum() <= 3
        reached = measure_prices(shop.problem, measure, price)
        assert reached == pytest.approx(float(row["reached"]), abs=1e-8)
        if measure in ("units", "revenue"):
            assert reached >= point.level - 1e-6
        else:
            assert abs(reached) <= point.level + 1e-6
        gains = sum(float(line["profit_proposed"]) - float(line["profit_current"]) for line in lines)
        assert gains == pytest.approx(float(row["value"]), abs=1e-3)


def test_what_is_taken_is_worth_what_its_point_promised() -> None:
    shop, given = posed(PriceRules()), settings("pricing.gap=0.00001")
    found = frontier_of(shop, "units", [0.05], given, Silent(), take=0.08)
    point = nearest_point(found, 0.08)
    choice = PriceChoice("mean", PriceRules(), PriceLimit("units", point.level))
    chosen = choice.choose(shop.problem, gap=1e-5, seconds=20)
    assert measure_prices(shop.problem, "units", chosen.plan.price) >= 0.08 - 1e-9
    assert chosen.plan.objective == pytest.approx(point.value, rel=1e-3)
    free = PriceChoice("mean", PriceRules()).choose(shop.problem, gap=1e-5, seconds=20).plan
    assert chosen.plan.objective < free.objective
    band = PriceChoice("mean", PriceRules(), PriceLimit("index", 0.002))
    assert band.pose(shop.problem).index_band == 0.002
    assert band.free_of("index").pose(shop.problem) is shop.problem
    assert evaluate_prices(shop.problem, chosen.plan.price).gain.sum() == pytest.approx(chosen.plan.objective)


def test_a_point_that_is_not_there_and_an_unknown_measure_are_refused_by_name() -> None:
    shop = posed(PriceRules())
    found = frontier_of(shop, "index", [0.01, 0.02], settings(), Silent())
    with pytest.raises(ConfigurationError, match=r"--take 0.5: .* it has 0.01, 0.02"):
        nearest_point(found, 0.5)
    with pytest.raises(ConfigurationError, match="'profit' is unknown"):
        frontier_of(shop, "profit", [], settings(), Silent())


@pytest.mark.parametrize("measure", ["units", "revenue"])
def test_no_time_to_find_prices_that_keep_a_level_is_refused_with_the_setting_that_gives_more(measure: str) -> None:
    with pytest.raises(UnsolvedError, match=r"time was up .*pricing\.seconds") as caught:
        frontier_of(posed(PriceRules()), measure, [0.05], settings("pricing.seconds=0"), Silent())
    assert caught.value.exit_status == 2


def test_no_time_where_today_keeps_every_level_leaves_today_with_a_gap_that_says_nothing_is_proven() -> None:
    found = frontier_of(posed(PriceRules()), "index", [0.01], settings("pricing.seconds=0"), Silent())
    assert found.points[0].gap > 0.5
    assert found.points[0].value == 0.0
