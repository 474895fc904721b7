"""What the compiler permits is what the rules ask: every kind against a checker that shares no code with it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_cases import EXAMPLES, keeps, random_choices, row_value, rule, small_shop

from engine.errors import ConfigurationError, PlanError
from optimizers.prices.rows import check_rows
from optimizers.rules import KINDS, compile_rules
from optimizers.rules.check import broken, check_rules, fines


def test_there_is_an_example_of_every_kind() -> None:
    assert set(EXAMPLES) == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("today", ["must_hold", "no_worse"])
def test_compiler_and_checker_agree_on_every_choice(kind: str, today: str) -> None:
    """Mask and rows permit exactly what the checker finds unbroken, on random shops and random choices of rungs."""
    seen = {True: 0, False: 0}
    for seed in range(12):
        basis = small_shop(seed, 7)
        one = rule(kind, today=today)
        rows = compile_rules(basis, (one,)).rows()
        for choice, price in random_choices(basis, np.random.default_rng(seed), 25):
            faults = broken(basis.problem, basis.facts, one, price)
            assert keeps(basis, rows, choice, price) == (not faults), (seed, choice, faults)
            seen[not faults] += 1
    assert seen[True], "the example is never kept: it proves nothing"
    assert seen[False], "the example is never broken: it proves nothing"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_worse_always_permits_todays_prices(kind: str) -> None:
    for seed in range(8):
        basis = small_shop(seed, 7)
        rows = compile_rules(basis, (rule(kind, today="no_worse"),)).rows()
        today = np.full(7, basis.ladder.today)
        assert keeps(basis, rows, today, basis.problem.current_price)


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 10_000))
def test_a_soft_rule_costs_its_penalty_for_each_unit_of_violation(kind: str, seed: int) -> None:
    """Nothing is forbidden; the rows' shortfall, times their penalties, is the sum of violations times the price."""
    basis = small_shop(seed, 6)
    one = rule(kind, soft=2.0)
    rows = compile_rules(basis, (one,)).rows()
    assert (rows.allowed == basis.ladder.rungs).all()
    check_rows(rows, basis.ladder.rungs, basis.problem.product_ids)
    for choice, price in random_choices(basis, np.random.default_rng(seed), 5):
        paid = 0.0
        for row in rows.rows:
            value = row_value(basis.problem, row, choice, price)
            short = max(row.low - value, value - row.high, 0.0)
            if row.measure == "margin":  # counted in money of profit
                revenue = row_value(basis.problem, _measured(row, "revenue"), choice, price)
                short *= revenue
            paid += short * (row.penalty or 0.0)
        owed = fines(basis.problem, basis.facts, (one,), price)
        assert paid == pytest.approx(owed, rel=1e-6, abs=1e-4)


def _measured(row: Any, measure: str) -> Any:
    return replace(row, measure=measure)


def test_the_check_names_the_broken_rule() -> None:
    basis = small_shop(3)
    frozen = rule("frozen", scope={})
    price = basis.problem.current_price.copy()
    check_rules(basis.problem, basis.facts, (frozen,), price)
    price[2] += 0.05
    with pytest.raises(PlanError, match="'my frozen' is broken at p2 by 1"):
        check_rules(basis.problem, basis.facts, (frozen,), price)
    check_rules(basis.problem, basis.facts, (rule("frozen", scope={}, soft=1.0),), price)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "frozen", "scope": {"category": "JUCE"}}, "no product has category 'JUCE'; did you mean 'JUICE'"),
        ({"kind": "frozen", "scope": {"products": ["p22"]}}, "no product has product_id 'p22'; did you mean 'p2'"),
        ({"kind": "frozen", "scope": {"categry": "JUICE"}}, "have no 'categry'; did you mean 'category'"),
        ({"kind": "frozen", "scope": {"brand": "Own", "products": "p1"}}, "no product meets all of"),
        ({"kind": "brand_gap", "scope": {"brand": "Own"}, "above": {"brand": "Own"}}, "stands on both sides"),
        ({"kind": "private_label_gap", "scope": {"brand": "Peak"}}, "none of its products is private label"),
        ({"kind": "competitor_gap", "scope": {"products": "p1"}}, "no competitor price of its products is known"),
        ({"kind": "move_together", "group_by": "line"}, "the products have no 'line'"),
    ],
)
def test_a_rule_that_names_the_unknown_is_refused(changes: dict[str, Any], said: str) -> None:
    basis = small_shop(2)
    basis.facts.competitor_price[1] = np.nan
    with pytest.raises(ConfigurationError, match=said):
        compile_rules(basis, (rule(**changes),))


def test_every_refusal_is_told_at_once() -> None:
    wrong = (rule("frozen", scope={"category": "X"}), rule("frozen", name="other", scope={"brand": "Y"}))
    with pytest.raises(ConfigurationError, match=r"(?s)category 'X'.*rule 'other': no product has brand 'Y'"):
        compile_rules(small_shop(2), wrong)


def test_a_product_that_the_plan_leaves_out_is_no_fault() -> None:
    basis = small_shop(2)
    facts = replace(basis.facts, elsewhere={"product_id": frozenset({"rare"})})
    compiled = compile_rules(replace(basis, facts=facts), (rule("frozen", scope={"products": "rare"}),))
    assert (compiled.rows().allowed == basis.ladder.rungs).all()


def test_a_catalogue_compiles_in_a_moment() -> None:
    """2,000 products in a hundred categories, a rule of every kind: less than two seconds of processor time."""
    small = small_shop(5, 2000, family=np.arange(2000) // 20)
    category = tuple(f"C{place // 20}" for place in range(2000))
    basis = replace(small, facts=replace(small.facts, columns={**small.facts.columns, "category": category}))
    scopes = {"frozen": {"scope": {"category": "C3"}}}
    rules = tuple(rule(kind, **scopes.get(kind, {})) for kind in EXAMPLES)
    begun = time.process_time()
    rows = compile_rules(basis, rules).rows()
    assert time.process_time() - begun < 2.0
    check_rows(replace(rows, allowed=basis.ladder.rungs), basis.ladder.rungs, basis.problem.product_ids)


def test_a_group_of_too_many_pairs_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="pairs of packs to compare"):
        compile_rules(small_shop(5, 800), (rule("pack_size_order"),))
