"""No plan: the smallest set of rules that contradict each other, and the cheapest way out, against brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_cases import basis_of, keeps, rule, small_shop

from optimizers.prices import problem_ladder
from optimizers.rules import Basis, Rule, compile_rules
from optimizers.rules.conflict import HELD, RuleConflictError, diagnose
from optimizers.rules.smallest import smallest_contradiction, smallest_hitting_set

sets = st.lists(st.frozensets(st.integers(0, 6), min_size=1, max_size=4), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(contradictions=sets)
def test_the_smallest_contradiction_is_found(contradictions: list[frozenset[int]]) -> None:
    """Known contradictions: a set can be kept when it holds none of them whole."""
    found = smallest_contradiction(7, lambda kept: not any(one <= kept for one in contradictions))
    assert found in contradictions
    assert len(found) == min(map(len, contradictions))


@settings(max_examples=150, deadline=None)
@given(sets=sets)
def test_the_smallest_hitting_set_is_found(sets: list[frozenset[int]]) -> None:
    found = smallest_hitting_set(sets)
    assert all(found & one for one in sets)
    smaller = itertools.combinations(range(7), max(len(found) - 1, 0))
    assert not any(all(set(other) & one for one in sets) for other in smaller) or not found


def possible(basis: Basis, rules: tuple[Rule, ...]) -> bool:
    """Brute force: whether any choice of rungs keeps all rules."""
    rows = compile_rules(basis, rules).rows()
    products = np.arange(len(rows.allowed))
    for chosen in itertools.product(*(np.flatnonzero(row) for row in basis.ladder.rungs)):
        choice = np.array(chosen)
        if keeps(basis, rows, choice, basis.ladder.price[products, choice]):
            return True
    return False


CROWD = (
    rule("max_change", up=0.05, down=0.0, name="no cuts"),
    rule("price_index", low=-0.2, high=-0.01, by=None, name="cheaper basket"),
    rule("margin_floor", at_least=0.2, name="margin"),
    rule("competitor_gap", above=0.0, below=0.5, name="not above them"),
    rule("max_changes", at_most=0, name="nothing changes"),
    rule("pack_size_order", group_by="category", name="big is cheap"),
)


@pytest.mark.parametrize("seed", range(10))
def test_the_named_set_is_the_smallest_that_brute_force_finds(seed: int) -> None:
    """Without settings that bind and with every product free, the rules alone are to blame."""
    problem = small_shop(seed, 4, cross=0.0, max_change=0.10, step=0.05).problem
    basis = basis_of(problem, seed)
    wide = replace(problem, max_change=0.2)
    reach = Basis(problem, problem_ladder(wide), basis.facts)
    blamed = diagnose(basis, CROWD)
    names = {one.name: one for one in CROWD}
    assert blamed.smallest
    own = tuple(names[name] for name in blamed.rules if name in names)
    assert len(own) >= 1
    if len(own) == len(blamed.rules):
        assert not possible(reach, own)
    for fewer in itertools.combinations(CROWD, len(blamed.rules) - 1):
        assert possible(reach, fewer), f"{[one.name for one in fewer]} alone contradict each other"
    assert all(name in blamed.reason.english() for name in blamed.rules)


def test_the_way_out_is_the_least_that_has_to_give() -> None:
    """One product at 2.00 that costs 1.80: a margin of 20 % needs 2.25, and raises end at 5 % (2.10: 14.29 %)."""
    problem = replace(
        small_shop(1, 1, max_change=0.10, step=0.05).problem,
        current_price=np.array([2.0]),
        unit_cost=np.array([1.8]),
    )
    basis = basis_of(problem)
    rules = (rule("margin_floor", at_least=0.2, name="margin", weight=1.0), rule("max_change", up=0.05, name="raise"))
    blamed = diagnose(basis, rules)
    assert blamed.rules == ("margin", "raise")
    assert blamed.products == ("p0",)
    (only,) = blamed.relaxations
    assert (only.rule, only.amount) == ("margin", pytest.approx(100 * (0.2 - 0.3 / 2.1)))
    assert "(at_least: 0.2 → 0.1429)" in blamed.reason.english()
    dear = diagnose(basis, (replace(rules[0], weight=100.0), rules[1]))
    assert {one.rule for one in dear.relaxations} == {"raise", "pricing.max_change"}
    assert blamed.record()["rules"] == ["margin", "raise"]
    assert str(RuleConflictError(blamed)) == blamed.reason.english()


def test_held_products_and_settings_are_named_too() -> None:
    problem = small_shop(3, 3, max_change=0.10).problem
    frozen = replace(problem, movable=np.array([False, True, True]), current_price=np.full(3, 2.0))
    basis = basis_of(replace(frozen, unit_cost=np.full(3, 1.9)))
    blamed = diagnose(basis, (rule("margin_floor", at_least=0.1, scope={"products": "p0"}, name="margin"),))
    assert set(blamed.rules) == {"margin", HELD}
    assert "exempt 1 product(s)" in blamed.reason.english()
    basis = basis_of(replace(frozen, movable=np.full(3, True), index_band=0.001))
    blamed = diagnose(basis, (rule("price_index", low=0.02, high=0.5, by=None, name="dearer"),))
    assert set(blamed.rules) == {"dearer", "pricing.index_band"}


def test_soft_rules_contradict_nothing() -> None:
    basis = small_shop(4, 3)
    rules = (rule("price_index", low=0.02, high=0.5, by=None, soft=1.0), rule("frozen", scope={}))
    assert diagnose(basis, rules).rules == ()


def test_in_want_of_time_nothing_is_claimed() -> None:
    blamed = diagnose(small_shop(0, 4, cross=0.0), CROWD, seconds=1e-6)
    assert not blamed.smallest
    assert "cannot be kept together" not in blamed.reason.english()
