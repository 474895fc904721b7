"""What a markdown plan promises: the best path of all, every rule kept, figures that simulation confirms."""

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
from optimizers.markdown import (
    MarkdownPlan,
    MarkdownProblem,
    advance_week,
    draw_noise,
    expect_path,
    plan_markdown,
    replan,
)
from optimizers.markdown import paths as markdown_paths
from optimizers.markdown.check import check_markdown_plan, simulate_path
from optimizers.markdown.policy import sales_chances, solve_markdown_policy


def drawn(
    seed: int, products: int = 2, weeks: int = 3, rungs: int = 3, draws: int = 4, **rules: Any
) -> MarkdownProblem:
    """A few products with random stock, money and response."""
    rng = np.random.default_rng(seed)
    reference = np.round(rng.uniform(5, 40, products), 2)
    ladder = np.round(reference[:, None] * np.linspace(0.4, 1.0, rungs)[None, :], 2)
    given_: dict[str, Any] = {
        "product_ids": tuple(f"p{i}" for i in range(products)),
        "stock": np.floor(rng.uniform(0, 60, products)),
        "ladder": ladder,
        "current_rung": np.full(products, rungs - 1),
        "week_units": rng.uniform(1, 15, products) * 0.9 ** np.arange(weeks)[:, None],
        "reference_price": reference,
        "own": rng.normal(-2.0, 0.6, (draws, products)),
        "base_scale": np.exp(0.3 * rng.standard_normal((draws, products))),
        "unit_cost": np.round(rng.uniform(0, 2, products), 2),
        "salvage": np.round(rng.uniform(-1, 4, products), 2),
    }
    return MarkdownProblem(**(given_ | rules))


def paths_permitted(problem: MarkdownProblem, i: int) -> list[tuple[int, ...]]:
    """Every path of one product that keeps its own rules, by trying all."""
    found = []
    rungs = [k for k in range(problem.ladder.shape[1]) if math.isfinite(problem.ladder[i, k])]
    for path in itertools.product(rungs, repeat=problem.weeks):
        whole = (int(problem.current_rung[i]), *path)
        changes = [w for w in range(1, len(whole)) if whole[w] != whole[w - 1]]
        falls = all(whole[w] < whole[w - 1] for w in changes) or not problem.non_increasing
        apart = all(b - a >= problem.min_weeks_between for a, b in itertools.pairwise(changes))
        early = (
            problem.weeks_held is not None
            and changes
            and changes[0] - 1 + problem.weeks_held[i] < (problem.min_weeks_between)
        )
        few = problem.max_steps is None or len(changes) <= problem.max_steps[i]
        if falls and apart and few and not early:
            found.append(path)
    return found


def best_by_force(problem: MarkdownProblem) -> float:
    """The largest value over every combination of paths."""
    options = []
    for i in range(len(problem.product_ids)):
        mine = []
        for path in paths_permitted(problem, i):
            rung = np.tile(problem.current_rung[:, None], (1, problem.weeks))
            rung[i] = path
            mine.append((path, simulate_path(problem, expect_path(problem, rung), i)[2]))
        options.append(mine)
    best = -math.inf
    for choice in itertools.product(*options):
        if problem.max_changed is not None:
            steps = np.array([[problem.current_rung[i], *path] for i, (path, _) in enumerate(choice)])
            if ((np.diff(steps, axis=1) != 0).sum(axis=0) > problem.max_changed).any():
                continue
        best = max(best, sum(value for _, value in choice))
    return best


rules = st.fixed_dictionaries(
    {
        "non_increasing": st.booleans(),
        "max_steps": st.sampled_from([None, np.array([1, 2]), np.array([0, 1])]),
        "min_weeks_between": st.sampled_from([1, 2]),
        "weeks_held": st.sampled_from([None, np.array([1, 1])]),
        "max_changed": st.sampled_from([None, 0, 1]),
    }
)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), rules, st.booleans())
def test_the_plan_equals_brute_force_and_keeps_every_rule(seed: int, rule: dict[str, Any], noisy: bool) -> None:
    problem = drawn(seed, **rule)
    if noisy:
        problem = replace(problem, noise=draw_noise(problem, np.random.default_rng(seed)))
    plan = plan_markdown(problem, gap=1e-7)
    check_markdown_plan(problem, plan)
    best = best_by_force(problem)
    assert plan.objective == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert plan.bound >= best - 1e-6 * max(abs(best), 1)
    assert plan.adaptive_bound >= best - 1e-6 * max(abs(best), 1)
    assert plan.gap <= 1e-6


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([None, 1]))
def test_a_beam_stays_below_its_bound_and_the_bound_above_the_best(seed: int, most: int | None) -> None:
    problem = drawn(seed, products=2, weeks=6, rungs=4, max_changed=most)
    exact = plan_markdown(problem, gap=1e-7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markdown_paths, "listable", lambda _: 5)
        patch.setattr(markdown_paths, "BEAM", 12)
        beam = plan_markdown(problem, gap=1e-7)
    check_markdown_plan(problem, beam)
    near = 1e-6 * max(abs(exact.objective), 1)
    assert beam.objective <= exact.objective + near
    assert beam.bound >= exact.objective - near
    assert beam.adaptive_bound >= exact.adaptive_bound - near


def test_many_products_under_a_weekly_limit_are_within_the_gap_and_the_same_twice() -> None:
    problem = drawn(3, products=60, weeks=8, rungs=5, draws=20, max_changed=5, max_steps=np.full(60, 3))
    plan = plan_markdown(problem)
    check_markdown_plan(problem, plan)
    assert plan.status == "optimal"
    assert plan.gap <= 1e-4
    assert plan.change_price.max() > 0
    assert np.array_equal(plan.rung, plan_markdown(problem).rung)


def test_one_more_change_a_week_brings_no_more_than_its_price() -> None:
    problem = drawn(5, products=40, weeks=6, rungs=5, draws=10, max_changed=4, max_steps=np.full(40, 2))
    plan, wider = plan_markdown(problem, gap=1e-6), plan_markdown(replace(problem, max_changed=5), gap=1e-6)
    assert plan.objective <= wider.objective <= plan.bound + plan.change_price.sum() + 1e-6


def test_without_time_prices_are_kept_or_better_and_the_gap_is_honest() -> None:
    problem = drawn(7, products=20, weeks=6, rungs=4, max_changed=1)
    plan = plan_markdown(problem, seconds=0.0)
    check_markdown_plan(problem, plan)
    assert plan.status in ("time_limit", "optimal")
    assert plan.bound >= plan_markdown(problem).objective - 1e-6


def known(weeks: int, stock: float, price: np.ndarray, units: np.ndarray, **rules: Any) -> MarkdownProblem:
    """One product whose demand is known: `units` (K,) a week at `price` (K,)."""
    own = np.array([[math.log(units[0] / units[-1]) / math.log(price[0] / price[-1])]]) if len(price) > 1 else [[0.0]]
    return MarkdownProblem(
        **(
            {
                "product_ids": ("a",),
                "stock": np.array([stock]),
                "ladder": price[None, :],
                "current_rung": np.array([len(price) - 1]),
                "week_units": np.full((weeks, 1), units[-1]),
                "reference_price": price[-1:],
                "own": np.asarray(own, dtype=float),
                "base_scale": np.ones((1, 1)),
                "unit_cost": np.zeros(1),
                "salvage": np.zeros(1),
            }
            | rules
        )
    )


def test_salvage_above_every_price_keeps_the_price() -> None:
    problem = known(4, 100.0, np.array([5.0, 10.0]), np.array([20.0, 5.0]), salvage=np.array([20.0]))
    plan = plan_markdown(problem)
    check_markdown_plan(problem, plan)
    assert (plan.price == 10.0).all()


def test_a_stock_that_sells_at_full_price_is_not_marked_down() -> None:
    plan = plan_markdown(known(4, 10.0, np.array([5.0, 10.0]), np.array([20.0, 5.0])))
    assert (plan.price == 10.0).all()
    assert plan.sales.tolist() == [[5.0, 5.0, 0.0, 0.0]]
    assert (plan.leftover[0], plan.sold_out[0], plan.objective) == (0.0, 1.0, 100.0)


@pytest.mark.parametrize(("stock", "weeks", "rungs"), [(0.0, 3, 3), (5.0, 1, 3), (5.0, 3, 1), (0.0, 1, 1)])
def test_no_stock_one_week_and_one_price_get_a_right_answer(stock: float, weeks: int, rungs: int) -> None:
    problem = drawn(2, products=2, weeks=weeks, rungs=rungs, stock=np.full(2, stock))
    plan = plan_markdown(problem)
    check_markdown_plan(problem, plan)
    assert plan.objective == pytest.approx(best_by_force(problem))
    assert plan.status == ("nothing_to_sell" if stock == 0 else "optimal")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stock": np.array([np.nan, 1.0])}, "product p0: stock is nan"),
        ({"stock": np.array([1.0, -2.0])}, "product p1: stock is -2.0"),
        ({"salvage": np.array([np.inf, 0.0])}, "product p0: salvage is inf"),
        ({"ladder": np.array([[3.0, 2.0, 1.0]] * 2)}, "must ascend"),
        ({"ladder": np.full((2, 3), np.nan)}, "no price"),
        ({"ladder": np.array([[0.0, 2.0, 3.0]] * 2)}, "above 0"),
        ({"current_rung": np.array([0, 3])}, "current rung is 3"),
        ({"week_units": np.empty((0, 2))}, "holds no week"),
        ({"own": np.full((4, 2), np.nan)}, "own elasticity is nan"),
        ({"own": np.empty((0, 2))}, "no draws"),
        ({"weight": np.full((4, 2), 0.3)}, "add up to 1"),
        ({"max_changed": -1}, "max_changed is -1"),
        ({"min_weeks_between": 0}, "min_weeks_between is 0"),
        ({"dispersion": -1.0}, "dispersion is -1"),
        ({"stock": np.ones(3)}, r"stock has shape \(3,\)"),
        ({"week_units": np.full((3, 2), np.inf)}, "week_units"),
    ],
)
def test_a_bad_problem_is_refused_with_the_product_and_the_value(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        drawn(1, **changes)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: replace(p, objective=p.objective * 1.01),
        lambda p: replace(p, bound=p.objective * 0.9),
        lambda p: replace(p, rung=p.rung[:, ::-1], price=p.price[:, ::-1]),
        lambda p: replace(p, price=p.price + 0.01),
        lambda p: replace(p, leftover=p.leftover + 1),
    ],
)
def test_the_checker_finds_what_is_wrong(spoil: Any) -> None:
    problem = drawn(11, products=3, weeks=4, rungs=3, stock=np.full(3, 60.0))
    plan = plan_markdown(problem)
    assert (plan.rung[:, 0] != plan.rung[:, -1]).any()
    with pytest.raises(PlanError):
        check_markdown_plan(problem, spoil(plan))


# --- the policy -------------------------------------------------------------------------------------------------------


def policy_by_force(problem: MarkdownProblem, stock: int) -> float:
    """The same recursion, written top-down over whole states, in plain Python."""
    chance = sales_chances(problem, 0, stock)
    price = problem.ladder[0] - problem.unit_cost[0]

    def worth(w: int, s: int, k: int, held: int, steps: int) -> float:
        if w == problem.weeks:
            return float(problem.salvage[0]) * s
        best = -math.inf
        for j in range(len(price)):
            moved = j != k
            if moved and (steps == 0 or held < problem.min_weeks_between or (problem.non_increasing and j > k)):
                continue
            after = (j, 1 if moved else held + 1, steps - moved)
            total = 0.0
            for n in range(s + 1):
                likely = float(chance[w, j, n]) if n < s else 1.0 - float(chance[w, j, :s].sum())
                total += likely * (float(price[j]) * n + worth(w + 1, s - n, *after))
            best = max(best, total)
        return best

    held = 99 if problem.weeks_held is None else int(problem.weeks_held[0])
    steps = 99 if problem.max_steps is None else int(problem.max_steps[0])
    return worth(0, stock, int(problem.current_rung[0]), held, steps)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 10_000),
    st.booleans(),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([1, 2]),
    st.sampled_from([0.0, 0.4]),
)
def test_the_policy_equals_brute_force(
    seed: int, falling: bool, steps: int | None, pause: int, dispersion: float
) -> None:
    most = None if steps is None else np.array([steps])
    problem = drawn(
        *(seed, 1, 3, 3),
        stock=np.array([5.0]),
        non_increasing=falling,
        max_steps=most,
        min_weeks_between=pause,
        weeks_held=np.array([1]),
        dispersion=dispersion,
    )
    problem = replace(problem, week_units=problem.week_units * 0.3)
    assert solve_markdown_policy(problem, 0).value == pytest.approx(policy_by_force(problem, 5), rel=1e-9, abs=1e-9)


def test_the_policy_comes_near_gallego_and_van_ryzins_closed_form() -> None:
    """Demand a·exp(-p) in continuous time, n units, time t: J = log Σ_i (a·t/e)^i / i!, i = 0…n (their section 2.3)."""
    units, weeks, rate = 8, 400, 12.0
    grid = np.arange(0.4, 4.0, 0.02)
    problem = known(weeks, units, grid, rate / weeks * np.exp(-grid), non_increasing=False)
    # The constant elasticity of `known` is replaced by the table of exponential demand, rung by rung.
    with pytest.MonkeyPatch.context() as patch:
        mean = rate / weeks * np.exp(-grid)
        law = np.stack([mean**n * np.exp(-mean) / math.factorial(n) for n in range(units)], axis=1)
        chance = np.concatenate([law, 1 - law.sum(axis=1, keepdims=True)], axis=1)
        patch.setattr(
            "optimizers.markdown.policy.sales_chances", lambda *_: np.tile(np.maximum(chance, 0.0), (weeks, 1, 1))
        )
        value = solve_markdown_policy(replace(problem, max_steps=None), 0).value
    closed = math.log(sum((rate / math.e) ** i / math.factorial(i) for i in range(units + 1)))
    assert value == pytest.approx(closed, rel=0.01)


def test_watching_the_stock_is_worth_no_less_than_any_fixed_path() -> None:
    problem = drawn(4, 1, 5, 4, draws=1, stock=np.array([30.0]), salvage=np.zeros(1))
    policy = solve_markdown_policy(problem, 0)
    chance = sales_chances(problem, 0, 30)
    best = -math.inf
    for path in paths_permitted(problem, 0):
        likely = np.zeros(31)
        likely[30], money = 1.0, 0.0
        for w, k in enumerate(path):
            after = np.zeros(31)
            for s in range(31):
                for n in range(s + 1):
                    share = chance[w, k, n] if n < s else 1 - chance[w, k, :s].sum()
                    after[s - n] += likely[s] * share
                    money += likely[s] * share * n * (problem.ladder[0, k] - problem.unit_cost[0])
            likely = after
        best = max(best, money)
    assert policy.value >= best - 1e-9
    assert policy.value <= best * 1.2


# --- planning again ---------------------------------------------------------------------------------------------------


def test_what_sold_moves_the_draws_to_those_that_foretold_it() -> None:
    problem = drawn(6, 2, 4, 3, draws=200, stock=np.array([500.0, 500.0]))
    mean = problem.week_units[0]
    slow, quick = (advance_week(problem, mean * f, problem.stock - mean * f, problem.current_rung) for f in (0.4, 2.0))
    level = [(left.probability() * problem.base_scale).sum(axis=0) for left in (slow, quick)]
    assert (level[0] < problem.base_scale.mean(axis=0)).all()
    assert (level[1] > problem.base_scale.mean(axis=0)).all()
    assert slow.probability().sum(axis=0) == pytest.approx(1.0)
    assert slow.weeks == 3


def test_a_stock_that_ran_out_says_only_that_demand_was_no_smaller() -> None:
    problem = drawn(6, 1, 4, 3, draws=100, stock=np.array([3.0]), week_units=np.full((4, 1), 50.0))
    left = advance_week(problem, np.array([3.0]), np.array([0.0]), problem.current_rung)
    assert left.probability() == pytest.approx(1 / 100, rel=1e-3)


def test_planning_again_each_week_beats_the_first_plan_when_demand_surprises() -> None:
    """Truth is one of the draws; both sell down the same stock under it, over many truths."""
    problem = drawn(8, 1, 6, 5, draws=40, stock=np.array([150.0]), salvage=np.zeros(1), unit_cost=np.zeros(1))
    spread = np.exp(0.8 * np.random.default_rng(0).standard_normal((40, 1)))
    problem = replace(problem, base_scale=spread / spread.mean())
    plan = plan_markdown(problem)
    once = again = 0.0
    for d in range(0, 40, 2):
        once += _sell(problem, plan, d, watching=False)
        again += _sell(problem, plan, d, watching=True)
    assert again > once
    assert again / 20 <= plan.adaptive_bound * 1.2


def _sell(problem: MarkdownProblem, plan: MarkdownPlan, d: int, *, watching: bool) -> float:
    demand, money, stock = problem.demand(0)[d], 0.0, problem.stock
    now, left, path = plan, problem, list(plan.rung[0])
    for w in range(problem.weeks):
        k = int(now.rung[0, 0]) if watching else path[w]
        sold = np.minimum(demand[w, k], stock)
        stock, money = stock - sold, money + float(sold[0] * problem.ladder[0, k])
        if watching and w < problem.weeks - 1:
            left, now = replan(left, now, sold, stock)
    return money


def test_after_the_last_week_there_is_nothing_to_plan() -> None:
    problem = drawn(1, weeks=1)
    with pytest.raises(ProblemError, match="last week is over"):
        advance_week(problem, np.zeros(2), problem.stock, problem.current_rung)
    with pytest.raises(ProblemError, match="sold must be"):
        advance_week(drawn(1), np.array([-1.0, 0.0]), problem.stock, problem.current_rung)


def test_a_plan_made_again_keeps_what_is_left_of_the_rules() -> None:
    problem = drawn(9, 3, 5, 4, stock=np.full(3, 80.0), max_steps=np.full(3, 2), min_weeks_between=2)
    plan = plan_markdown(problem)
    left, after = replan(problem, plan, plan.sales[:, 0], problem.stock - plan.sales[:, 0])
    check_markdown_plan(left, after)
    changed = plan.rung[:, 0] != problem.current_rung
    assert changed.any()
    assert np.array_equal(left.max_steps, 2 - changed)
    assert (after.rung[changed, 0] == plan.rung[changed, 0]).all()
