"""Price tests are chosen by what they teach: an unknown response is worth learning, a known one is not."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
from test_price_choice import PRODUCTS
from test_price_choice import settings as given_settings
from test_price_frontier import posed

from api.price_stage import PosedPrices
from api.price_tests import COLUMNS, find_price_tests, price_test_table
from api.rule_stage import PriceRules


def half_known() -> PosedPrices:
    """The first product's response is known to the digit, the second is not known well enough to be moved."""
    shop = posed(PriceRules())
    rng = np.random.default_rng(3)
    draws = len(shop.problem.own)
    own = np.full((draws, PRODUCTS), -2.0)
    own[:, 1:] += rng.normal(0, 0.8, (draws, PRODUCTS - 1))
    movable = np.ones(PRODUCTS, dtype=bool)
    movable[1] = False
    base = np.full(PRODUCTS, 4_000.0)
    problem = replace(shop.problem, own=own, base_scale=np.ones_like(own), movable=movable, base_units=base)
    return replace(shop, problem=problem)


def test_what_is_known_teaches_nothing_and_what_is_not_is_worth_its_cost() -> None:
    shop, settings = half_known(), given_settings()
    found = find_price_tests(shop, settings, weeks=8, change=0.1, max_tests=PRODUCTS, budget=math.inf)
    assert found.values.information[0] < 1e-6 * found.values.information[1:].min(), "what is known teaches nothing"
    assert 1 in found.chosen, "a held product is freed by what its test teaches"
    assert all(found.values.net[i] > 0 for i in found.chosen)
    assert found.record()["net"] <= found.bound + 1e-6
    few = find_price_tests(shop, settings, weeks=8, change=0.1, max_tests=2, budget=math.inf)
    assert few.chosen == found.chosen[:2], "of a few, those that are worth most"
    poor = find_price_tests(shop, settings, weeks=8, change=0.1, max_tests=PRODUCTS, budget=0.0)
    assert all(poor.values.cost[i] <= 0 for i in poor.chosen)


def test_the_table_says_what_each_test_costs_and_brings() -> None:
    found = find_price_tests(half_known(), given_settings(), weeks=8, change=0.1, max_tests=3, budget=math.inf)
    rows = list(csv.DictReader(io.StringIO(price_test_table(found))))
    assert [row["product_id"] for row in rows] == [found.posed.problem.product_ids[i] for i in found.chosen]
    assert tuple(rows[0]) == (*COLUMNS, "why")
    assert all(float(row["net"]) == float(row["net"]) and "is expected to bring" in row["why"] for row in rows)
    assert all(float(row["se_after"]) < 0.9 for row in rows)
