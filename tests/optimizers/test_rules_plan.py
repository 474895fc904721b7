"""Plans keep every rule, are the best that do, name the rule that bound, and say why where there is no plan."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_cases import value_of
from rule_cases import keeps, rule, small_shop

from engine.errors import InfeasibleError
from engine.proposal import Reason
from optimizers.prices import solve_prices
from optimizers.prices.check import check_price_plan
from optimizers.rules import KINDS, Basis, Rule, compile_rules
from optimizers.rules.binding import forbidding
from optimizers.rules.check import broken, check_rules, fines
from optimizers.rules.conflict import RuleConflictError
from optimizers.rules.plan import find_conflict, rule_remarks, solve_under_rules, with_rule

FLOORS = {
    "volume_floor": {"at_least": 1.0},
    "revenue_floor": {"at_least": 1.0, "by": None},
    "group_margin_floor": {"at_least": 0.9},
}
"""Floors that the best prices would break; what today's prices break, too, may not get worse."""


def shop(seed: int, products: int = 5) -> Basis:
    return small_shop(seed, products, max_change=0.10, step=0.05)


@cache
def free_plan(seed: int) -> np.ndarray:
    return solve_prices(shop(seed).problem, gap=1e-3).price


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_plan_keeps_the_rule_where_it_binds(kind: str) -> None:
    """Without the rule the best prices break it; with it, they keep it, and gain no more."""
    one = rule(kind, today="no_worse", **FLOORS.get(kind, {}))
    for seed in range(40):
        basis = shop(seed)
        if broken(basis.problem, basis.facts, one, free_plan(seed)):
            break
    ruled = solve_under_rules(basis.problem, basis.facts, (one,))
    check_rules(basis.problem, basis.facts, (one,), ruled.plan.price)
    check_price_plan(basis.problem, ruled.plan, ruled.rules.rows())
    assert broken(basis.problem, basis.facts, one, free_plan(seed)), "the rule binds nowhere: this proves nothing"
    assert ruled.plan.objective <= value_of(basis.problem, free_plan(seed)) + 1e-6
    said = [name for one in ruled.bound for name in one.rules]
    assert set(said) <= {one.name}
    if kind in ("frozen", "max_change", "price_endings", "competitor_gap", "min_days_between_changes"):
        assert said, "a rule about single prices that binds is named at a product"


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3, unique=True))
def test_the_plan_is_the_best_that_keeps_all_rules(seed: int, kinds: list[str]) -> None:
    """Against every combination of rungs, hard and soft rules mixed."""
    basis = shop(seed, 3)
    rules = tuple(
        rule(kind, today="no_worse", soft=None if (seed + place) % 2 else 0.5) for place, kind in enumerate(kinds)
    )
    ruled = solve_under_rules(basis.problem, basis.facts, rules, seconds=2.0)
    best = best_by_force(basis, rules)
    scale = max(abs(best), abs(ruled.plan.bound), 1e-9)
    cent = 1e-6 * scale + 1e-5  # what the tolerance on violations may cost in fines
    assert ruled.plan.objective <= best + cent
    assert ruled.plan.bound >= best - cent
    assert ruled.plan.objective >= best - max(ruled.plan.gap, 1e-4) * scale - cent
    check_price_plan(basis.problem, ruled.plan, ruled.rules.rows())


def best_by_force(basis: Basis, rules: tuple[Rule, ...]) -> float:
    rows = compile_rules(basis, rules).rows()
    products = np.arange(len(rows.allowed))
    best = -np.inf
    for chosen in itertools.product(*(np.flatnonzero(row) for row in rows.allowed)):
        choice = np.array(chosen)
        price = basis.ladder.price[products, choice]
        if keeps(basis, rows, choice, price):
            worth = value_of(basis.problem, price) - fines(basis.problem, basis.facts, rules, price)
            best = max(best, worth)
    return best


def test_a_line_names_the_rule_that_bound_it_and_what_today_breaks() -> None:
    basis = small_shop(1, 3, cross=0.0, own=np.full((4, 3), -1.05), max_change=0.10, step=0.05)
    problem = replace(basis.problem, current_price=np.full(3, 2.0), unit_cost=np.array([1.0, 1.0, 1.9]))
    rules = (
        rule("max_change", up=0.05, name="slowly", scope={"products": "p0"}),
        rule("margin_floor", at_least=0.08, name="healthy", scope={"products": "p2"}),
        rule("margin_floor", at_least=0.6, name="ambitious", scope={"products": "p1"}, today="no_worse"),
    )
    ruled = solve_under_rules(problem, basis.facts, rules)
    assert ruled.plan.price.tolist() == [2.1, 2.2, 2.2]
    assert [one.rules for one in ruled.bound] == [("slowly",), (), ()]
    assert ruled.broken_today == ((), ("ambitious",), ("healthy",))
    (mended,), (relaxed,) = rule_remarks(ruled, 2), rule_remarks(ruled, 1)
    assert mended.english() == "today's price breaks the rule “healthy”: the plan moves it to 2.20"
    assert relaxed.english().endswith("the rule is relaxed to where today's prices stand")
    said = with_rule(mended, ruled, 0).english()
    assert said.startswith("raised by 5.0%, bound by “slowly”: without, 2.20; that costs this line ")
    money = np.array([value_of(problem, np.array([p, 2.2, 2.2])) for p in (2.1, 2.2)])
    assert ruled.bound[0].cost == pytest.approx(money[1] - money[0])
    assert f"{ruled.bound[0].cost:,.2f} over the horizon" in said


def test_a_rules_relief_is_what_a_little_more_of_it_brings() -> None:
    """A limit on changes: its shadow price is no less than what one more change brings."""
    basis = small_shop(4, 6, own=np.full((4, 6), -1.05), cross=0.0, max_change=0.10, step=0.01)
    few = rule("max_changes", at_most=3, share=None, by=None, name="few", scope={})
    ruled = solve_under_rules(basis.problem, basis.facts, (few,), gap=1e-6)
    more = rule("max_changes", at_most=4, share=None, by=None, name="few", scope={})
    gained = solve_under_rules(basis.problem, basis.facts, (more,), gap=1e-6).plan.objective - ruled.plan.objective
    relief = [relief for one in ruled.bound for relief in one.relief]
    assert relief
    assert {(one.rule, one.counted) for one in relief} == {("few", True)}
    assert relief[0].gain >= gained - 1e-6
    assert relief[0].gain == pytest.approx(ruled.plan.shadow_prices["few"])
    held = next(n for n, one in enumerate(ruled.bound) if one.relief)
    said = with_rule(Reason("held"), ruled, held).english()
    assert f"one more under “few” would bring {relief[0].gain:,.2f}" in said


def test_one_point_more_of_a_rule_about_single_prices_brings_the_next_rung() -> None:
    basis = small_shop(1, 2, cross=0.0, own=np.full((4, 2), -1.05), max_change=0.10, step=0.01)
    slowly = rule("max_change", up=0.04, name="slowly", scope={"products": "p0"})
    ruled = solve_under_rules(basis.problem, basis.facts, (slowly,))
    (relief,) = ruled.bound[0].relief
    ladder = basis.ladder.price[0]
    beyond = ladder[ladder > ruled.plan.price[0] + 1e-9]
    within = beyond[beyond <= 1.05 * basis.problem.current_price[0] + 1e-9]
    price = ruled.plan.price.copy()
    price[0] = within.max()
    assert relief.gain == pytest.approx(value_of(basis.problem, price) - value_of(basis.problem, ruled.plan.price))
    assert "one percentage point more under “slowly” would bring" in with_rule(Reason("x"), ruled, 0).english()


def test_what_forbids_a_price_is_named() -> None:
    basis = small_shop(1, 2, cross=0.0, own=np.full((4, 2), -1.05), max_change=0.10, step=0.05)
    rules = (rule("max_change", up=0.05, name="slowly", scope={"products": "p0"}),)
    compiled = compile_rules(basis, rules)
    today, wanted = basis.problem.current_price, basis.ladder.price[:, -1]
    assert forbidding(compiled, today, wanted) == (("slowly",), ())


def test_no_plan_is_an_explanation() -> None:
    basis = shop(3)
    rules = (rule("price_index", low=0.03, high=0.2, by=None, name="dearer"), rule("frozen", scope={}, name="frozen"))
    with pytest.raises(InfeasibleError) as refused:
        solve_under_rules(basis.problem, basis.facts, rules)
    assert isinstance(refused.value, RuleConflictError)
    assert refused.value.explanation["rules"] == ["dearer", "frozen"]
    assert refused.value.exit_status == 3
    assert "“dearer” and “frozen” cannot be kept together" in str(refused.value)


def test_rules_that_today_keeps_need_no_diagnosis() -> None:
    basis = shop(3)
    assert find_conflict(compile_rules(basis, (rule("frozen", scope={}),))) is None


def test_a_single_product_without_a_permitted_price_is_named() -> None:
    basis = shop(3)
    problem = replace(basis.problem, unit_cost=basis.problem.unit_cost.copy())
    problem.unit_cost[4] = problem.current_price[4] * 1.5
    with pytest.raises(RuleConflictError, match=r"no prices within reach keep “margin” \(for example p4\)"):
        solve_under_rules(problem, basis.facts, (rule("margin_floor", at_least=0.0, name="margin"),))
