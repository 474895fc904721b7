"""What a promotion calendar promises: the best of all on small problems, every rule kept, an honest bound on large."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import PlanError, ProblemError
from optimizers.promotions import (
    PromotionProblem,
    advance_calendar,
    evaluate_calendar,
    plan_promotions,
    word_budget_price,
)
from optimizers.promotions.check import calendar_money, check_promotion_plan


def drawn(seed: int, products: int = 3, weeks: int = 3, options: int = 2, **rules: Any) -> PromotionProblem:
    """A few products with random money and responses."""
    rng = np.random.default_rng(seed)
    price = np.round(rng.uniform(2, 20, products), 2)
    depth = np.round(np.linspace(0.1, 0.35, options), 2)
    lift = 1 + rng.uniform(2, 9, (products, 1)) * depth[None, :]
    given_: dict[str, Any] = {
        "product_ids": tuple(f"p{i}" for i in range(products)),
        "price": price,
        "unit_cost": price * rng.uniform(0.4, 0.75, products),
        "base_units": rng.uniform(10, 100, products) * rng.uniform(0.7, 1.3, (weeks, products)),
        "category": np.arange(products) // 2,
        "depth": depth,
        "lift": lift,
        "takes": 0.03 * (lift - 1) * rng.uniform(0, 2, (products, 1)),
        "dip": rng.uniform(0, 0.2, (products, 2)),
        "fixed_cost": rng.uniform(0, 10, options),
        "slot": np.arange(options) % 2,
        "slots": np.array([[1.0] * weeks, [2.0] * weeks]),
    }
    return PromotionProblem(**(given_ | rules))


def best_by_force(problem: PromotionProblem) -> float:
    """The largest gain of all calendars that keep the rules, by trying each."""
    weeks, kinds = problem.weeks, len(problem.depth)
    nothing = calendar_money(problem, [[0] * weeks for _ in problem.product_ids])[0]
    rows = [_rows_of(problem, i, weeks, kinds) for i in range(len(problem.product_ids))]
    best = -math.inf
    for calendar in itertools.product(*rows):
        if _keeps_limits(problem, calendar):
            profit, spend = calendar_money(problem, [list(row) for row in calendar])
            if problem.budget is None or spend <= problem.budget:
                best = max(best, profit - nothing)
    return best


def _rows_of(problem: PromotionProblem, i: int, weeks: int, kinds: int) -> list[tuple[int, ...]]:
    found = []
    for row in itertools.product(range(kinds + 1), repeat=weeks):
        when = [w for w, o in enumerate(row) if o]
        if problem.max_promotions is not None and len(when) > problem.max_promotions[i]:
            continue
        if problem.last_week is not None and problem.last_week[i] < 0:
            when = [int(problem.last_week[i]), *when]
        if all(b - a >= problem.min_gap for a, b in itertools.pairwise(when)):
            found.append(row)
    return found


def _keeps_limits(problem: PromotionProblem, calendar: tuple[tuple[int, ...], ...]) -> bool:
    for w in range(problem.weeks):
        taken = [row[w] for row in calendar]
        for kind, room in enumerate(problem.slots[:, w]):
            if sum(1 for o in taken if o and problem.slot[o - 1] == kind) > room:
                return False
        if problem.max_per_category is not None:
            for code in set(problem.category.tolist()):
                mine = sum(1 for o, c in zip(taken, problem.category, strict=True) if o and c == code)
                if mine > problem.max_per_category:
                    return False
    return True


rules = st.fixed_dictionaries(
    {
        "min_gap": st.sampled_from([1, 2]),
        "max_promotions": st.sampled_from([None, np.array([1, 2, 1])]),
        "max_per_category": st.sampled_from([None, 1]),
        "budget": st.sampled_from([None, 0.0, 60.0, 200.0]),
        "last_week": st.just(np.array([-1, 0, -2])),
        "last_option": st.just(np.array([1, 0, 2])),
    }
)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), rules, st.sampled_from(["columns", "exact", "auto"]))
def test_the_calendar_equals_brute_force_and_keeps_every_rule(seed: int, rule: dict[str, Any], method: str) -> None:
    problem = drawn(seed, **rule)
    plan = plan_promotions(problem, method, gap=1e-6)
    check_promotion_plan(problem, plan)
    best = best_by_force(problem)
    near = 2e-6 * max(abs(best), 1.0)
    assert plan.objective <= best + near
    assert plan.bound >= best - near
    if method != "columns" or problem.max_per_category == 1:
        assert plan.objective == pytest.approx(best, abs=near)
        assert plan.status == "optimal"


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 2**18 - 1))
def test_any_calendar_is_worth_what_the_plain_recomputation_says(seed: int, code: int) -> None:
    problem = drawn(seed, 3, 4, 2, last_week=np.array([-1, 0, -2]), last_option=np.array([2, 0, 1]))
    option = np.array([(code // 3**n) % 3 for n in range(12)]).reshape(3, 4)
    plan = evaluate_calendar(problem, option)
    profit, spend = calendar_money(problem, option.tolist())
    assert plan.profit.sum() == pytest.approx(profit)
    assert plan.spend == pytest.approx(spend)


def large(seed: int, products: int = 60, weeks: int = 13, **rules: Any) -> PromotionProblem:
    """A quarter of weeks; categories of ten."""
    given_: dict[str, Any] = {
        "category": np.arange(products) // 10,
        "slots": np.array([[4.0] * weeks, [3.0] * weeks]),
        "max_promotions": np.full(products, 3),
        "min_gap": 3,
        "max_per_category": 2,
    }
    return drawn(seed, products, weeks, 3, **(given_ | rules))


def test_a_quarter_of_sixty_products_has_a_small_honest_gap_and_is_the_same_twice() -> None:
    problem = large(1)
    plan = plan_promotions(problem, gap=1e-3)
    check_promotion_plan(problem, plan)
    assert plan.gap < 0.01
    assert plan.objective > 0
    assert plan.slot_price is not None
    assert plan.slot_price.max() > 0
    assert np.array_equal(plan.option, plan_promotions(problem, gap=1e-3).option)


def test_with_one_promotion_a_category_the_quarter_is_proven() -> None:
    problem = large(2, max_per_category=1, budget=6000.0)
    plan = plan_promotions(problem, gap=2e-3)
    check_promotion_plan(problem, plan)
    assert plan.status == "optimal"
    assert plan.spend <= 6000.0
    assert plan.spend > 5500.0


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0))
def test_the_price_of_the_budget_bounds_every_other_budget(seed: int, factor: float) -> None:
    problem = large(seed, 12, 6, budget=400.0, max_per_category=1)
    plan = plan_promotions(problem)
    other = plan_promotions(replace(problem, budget=400.0 * factor))
    assert other.objective <= plan.priced_bound + plan.budget_price * 400.0 * (factor - 1) + 1e-6
    assert (other.objective >= plan.objective * (1 - 1e-3)) or factor < 1


def test_a_dip_and_what_is_taken_from_others_make_promotions_rarer() -> None:
    problem = drawn(3, 4, 8, takes=np.zeros((4, 2)), dip=np.zeros((4, 2)))
    dearer = replace(problem, dip=np.full((4, 2), 0.3), takes=np.full((4, 2), 0.15))
    free, plan = plan_promotions(problem), plan_promotions(dearer)
    assert (plan.option > 0).sum() < (free.option > 0).sum()
    assert plan.objective < free.objective


def test_without_time_there_is_no_promotion_or_better_and_the_bound_stands() -> None:
    problem = large(4, 20, 8)
    plan = plan_promotions(problem, seconds=0.0)
    check_promotion_plan(problem, plan)
    assert plan.objective >= 0
    assert plan.bound >= plan_promotions(problem, gap=1e-3).objective - 1e-6


@pytest.mark.parametrize(
    "changes", [{"budget": 0.0}, {"slots": np.zeros((2, 3))}, {"max_promotions": np.zeros(3, dtype=np.int64)}]
)
def test_where_nothing_is_permitted_nothing_is_promoted(changes: dict[str, Any]) -> None:
    problem = drawn(1, fixed_cost=np.ones(2), **changes)
    plan = plan_promotions(problem)
    assert (plan.option == 0).all()
    assert (plan.objective, plan.status) == (0.0, "optimal")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"price": np.array([1.0, np.nan, 2.0])}, "product p1: price is nan"),
        ({"price": np.array([1.0, 0.0, 2.0])}, "product p1: price is 0.0"),
        ({"base_units": np.full((3, 3), np.inf)}, "product p0: base_units is inf"),
        ({"lift": np.full((3, 2), -1.0)}, "product p0: lift is -1"),
        ({"depth": np.array([0.1, 1.0])}, "option 2: its depth is 1.0"),
        ({"slot": np.array([0, 5])}, "option 2: its slot is 5"),
        ({"min_gap": 0}, "min_gap is 0"),
        ({"budget": np.nan}, "budget is nan"),
        ({"takes": np.full((3, 2), 1.2)}, "max_per_category"),
        ({"last_week": np.array([-1, 0, 0])}, "belong together"),
        ({"last_week": np.array([2, 0, 0]), "last_option": np.array([1, 1, 1])}, "last_week is 2"),
        ({"base_units": np.empty((0, 3)), "slots": np.empty((2, 0))}, "holds no week"),
        ({"category": np.array([0, -1, 0])}, "number categories from 0"),
    ],
)
def test_a_bad_problem_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        drawn(1, **changes)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ProblemError, match="guess"):
        plan_promotions(drawn(1), "guess")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: replace(p, objective=p.objective + 1),
        lambda p: replace(p, bound=p.objective - 1),
        lambda p: replace(p, option=np.full_like(p.option, 1)),
        lambda p: replace(p, spend=p.spend + 1),
        lambda p: replace(p, option=np.roll(p.option, 1, axis=1)),
    ],
)
def test_the_checker_finds_what_is_wrong(spoil: Any) -> None:
    problem = drawn(5, 3, 5, min_gap=2)
    plan = plan_promotions(problem)
    assert (plan.option > 0).any()
    with pytest.raises(PlanError):
        check_promotion_plan(problem, spoil(plan))


def test_a_calendar_planned_again_remembers_what_was_promoted_and_learns_what_sold() -> None:
    problem = drawn(7, 3, 6, min_gap=3, budget=300.0, max_promotions=np.full(3, 2))
    plan = plan_promotions(problem)
    first = plan.option[:, 0] > 0
    left = advance_calendar(problem, plan, plan.units[:, 0] * np.array([2.0, 1.0, 0.5]))
    assert left.weeks == 5
    assert left.budget is not None
    assert left.budget <= 300.0
    assert left.base_units[:, 0] == pytest.approx(problem.base_units[1:, 0] * 6 / 5)
    assert left.base_units[:, 1] == pytest.approx(problem.base_units[1:, 1])
    assert left.last_week is not None
    assert np.array_equal(left.last_week < 0, first)
    again = plan_promotions(left)
    check_promotion_plan(left, again)
    assert not (again.option[first, :2] > 0).any()
    with pytest.raises(ProblemError, match="last week is over"):
        advance_calendar(drawn(1, weeks=1), plan_promotions(drawn(1, weeks=1)), np.ones(3))


def test_the_budgets_price_is_put_into_words() -> None:
    plan = plan_promotions(large(3, 12, 6, budget=300.0, max_per_category=1))
    assert plan.budget_price > 0
    assert word_budget_price(plan, 1000).english() == (
        f"one more 1,000 in the promotion budget would bring {1000 * plan.budget_price:,.0f} at most"
    )
