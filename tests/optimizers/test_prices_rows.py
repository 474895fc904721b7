"""Rules between prices: the plan keeps every row and equals brute force, and its bound is one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_cases import small_problem

from engine.errors import InfeasibleError, PlanError, ProblemError
from optimizers.prices import PriceProblem, problem_ladder, solve_prices
from optimizers.prices import listed as price_listed
from optimizers.prices import model as price_model
from optimizers.prices import system as price_system
from optimizers.prices.check import exact_gain, price_index_change
from optimizers.prices.incumbent import PriceProgress
from optimizers.prices.resolve import resolve_prices
from optimizers.prices.rows import LinearRow, PriceRows
from optimizers.solver import solve

NOTHING = np.empty(0)


def activity(problem: PriceProblem, row: LinearRow, rungs: np.ndarray, price: np.ndarray) -> float:
    """What a row adds up to, by the checker's arithmetic."""
    if row.measure == "linear":
        return float(row.coefficient[rungs[row.product] == row.rung].sum())
    today = problem.base_units * problem.base_scale.mean(axis=0) * (problem.current_price - problem.unit_cost)
    profit = exact_gain(problem, price).mean(axis=0) + today
    units = profit / (price - problem.unit_cost)
    chosen = row.product
    return float(
        {
            "units": units[chosen].sum(),
            "revenue": (units * price)[chosen].sum(),
            "profit": profit[chosen].sum(),
            "margin": profit[chosen].sum() / (units * price)[chosen].sum(),
        }[row.measure]
    )


def worth(problem: PriceProblem, rows: PriceRows, rungs: np.ndarray, slack: float) -> float:
    """Gain less fines; -inf where a hard rule is broken by more than `slack` of its size."""
    price = problem_ladder(problem).price[np.arange(len(rungs)), rungs]
    changed = int((price != problem.current_price).sum())
    if problem.max_changed is not None and changed > problem.max_changed:
        return -np.inf
    if problem.index_band is not None and abs(price_index_change(problem, price)) > problem.index_band + 1e-9:
        return -np.inf
    value = float(exact_gain(problem, price).mean(axis=0).sum())
    for row in rows.rows:
        found = activity(problem, row, rungs, price)
        off = max(row.low - found, found - row.high, 0.0)
        if row.measure == "margin":
            # The violation of a margin is the profit that is missing from it.
            off *= activity(problem, replace(row, measure="revenue"), rungs, price)
        if row.penalty is not None:
            value -= row.penalty * off
        elif off > slack * max(abs(found), 1.0):
            return -np.inf
    return value


def best_by_force(problem: PriceProblem, rows: PriceRows, slack: float = 1e-9) -> float:
    options = [np.flatnonzero(mask) for mask in rows.allowed & problem_ladder(problem).rungs]
    return max(worth(problem, rows, np.array(c), slack) for c in itertools.product(*options))


def rungs_of(problem: PriceProblem, price: np.ndarray) -> np.ndarray:
    ladder = problem_ladder(problem).price
    return np.abs(np.where(np.isfinite(ladder), ladder, np.inf) - price[:, None]).argmin(axis=1)


def drawn_rows(problem: PriceProblem, seed: int, soft: bool) -> PriceRows:
    """A mask, an order between two products, a volume floor over both families, a profit floor for one product."""
    rng = np.random.default_rng(seed + 1)
    ladder = problem_ladder(problem)
    rungs = [np.flatnonzero(row) for row in ladder.rungs]
    products = len(rungs)
    allowed = ladder.rungs & (rng.random(ladder.rungs.shape) < 0.9)
    allowed[:, ladder.today] = True
    first, second = rng.permutation(products)[:2]
    ratio = float(problem.current_price[first] / problem.current_price[second]) * rng.uniform(1.0, 1.05)
    order = LinearRow(
        "order",
        np.concatenate([np.full(len(rungs[first]), first), np.full(len(rungs[second]), second)]),
        np.concatenate([rungs[first], rungs[second]]),
        np.concatenate([ladder.price[first][rungs[first]], -ratio * ladder.price[second][rungs[second]]]),
        high=1e-9,
    )
    everyone, no_rung = np.arange(products), NOTHING.astype(int)
    sold = activity(problem, LinearRow("", everyone, no_rung, NOTHING, measure="units"), rungs, problem.current_price)
    volume = LinearRow("volume", everyone, no_rung, NOTHING, low=sold * rng.uniform(0.95, 1.0), measure="units")
    kind = str(rng.choice(["revenue", "profit", "margin"]))
    row = LinearRow(kind, everyone[: 1 + products // 2], no_rung, NOTHING, measure=kind)
    floor = replace(row, low=activity(problem, row, no_rung, problem.current_price) * 0.99)
    made = (order, volume, floor)
    return PriceRows(allowed, tuple(replace(r, penalty=float(rng.uniform(0.01, 2.0))) for r in made) if soft else made)


cases = st.fixed_dictionaries(
    {
        "index_band": st.sampled_from([None, 0.01, 0.05]),
        "max_changed": st.sampled_from([None, 2]),
        "cross": st.sampled_from([0.0, 0.4, 1.5]),
    }
)


@pytest.mark.parametrize("road", ["listed", "in one piece", "in columns"])
@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.integers(2, 5), st.booleans(), cases)
def test_plan_equals_brute_force_and_the_bound_holds(
    road: str, seed: int, products: int, soft: bool, case: dict[str, Any]
) -> None:
    problem = small_problem(seed, products, family=np.arange(products) % 2, **case)
    rows = drawn_rows(problem, seed, soft)
    with pytest.MonkeyPatch.context() as patch:
        if road != "listed":
            patch.setattr(price_listed, "MOST_OF_ALL", 0)
        if road == "in columns":
            patch.setattr(price_system, "WHOLE", 0)
            patch.setattr(price_system, "JOINING", 0)
            patch.setattr(price_system, "PACKED", 1)
        plan = solve_prices(problem, rows=rows, gap=1e-6)
    best = best_by_force(problem, rows)
    size = float(np.abs(problem.base_units * problem.current_price).sum())
    assert worth(problem, rows, rungs_of(problem, plan.price), 1e-7) == pytest.approx(plan.objective, abs=1e-8 * size)
    assert plan.bound >= best - 1e-9 * size
    assert plan.objective <= best_by_force(problem, rows, 1e-7) + 1e-9 * size
    if plan.status == "optimal":
        assert plan.objective == pytest.approx(best, rel=2e-6, abs=1e-8 * size)
    assert road == "in columns" or plan.status in ("optimal", "nothing_to_move")


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000), st.sampled_from([0.002, 0.02]), st.sampled_from([None, 6]))
def test_columns_agree_with_the_monolithic_model(seed: int, band: float, changes: int | None) -> None:
    """Without substitution the whole is one linear integer model, which HiGHS solves: the oracle."""
    problem = small_problem(seed, 30, family=np.arange(30) // 6, index_band=band, max_changed=changes)
    ladder = problem_ladder(problem)
    model = price_model.rung_model(problem, price_model.Families.of(problem), ladder, problem.current_price)
    choices = price_model.choice_model(problem, ladder, model.gain)
    assert choices is not None
    oracle = solve(choices.compiled, gap=1e-7, seconds=30.0)
    plan = solve_prices(problem, gap=1e-4)
    assert oracle.objective is not None
    assert oracle.bound is not None
    assert plan.objective <= oracle.bound * (1 + 1e-9)
    assert plan.bound >= oracle.objective * (1 - 1e-9)
    assert plan.status != "optimal" or plan.objective >= oracle.objective * (1 - 1.01e-4)


def test_todays_price_may_be_ruled_out() -> None:
    problem = small_problem(3, 4, cross=0.3, family=np.array([0, 0, 1, 1]))
    ladder = problem_ladder(problem)
    allowed = ladder.rungs.copy()
    allowed[1, ladder.today] = False
    plan = solve_prices(problem, rows=PriceRows(allowed), gap=1e-6)
    assert plan.price[1] != problem.current_price[1]
    assert plan.objective == pytest.approx(best_by_force(problem, PriceRows(allowed)), rel=1e-6)


def test_rules_that_contradict_each_other_are_infeasible_and_named() -> None:
    problem = small_problem(3, 4, max_changed=0)
    ladder = problem_ladder(problem)
    allowed = ladder.rungs.copy()
    allowed[1, ladder.today] = False
    with pytest.raises(InfeasibleError, match="max_changed"):
        solve_prices(problem, rows=PriceRows(allowed))


def test_no_time_and_no_permitted_plan_in_hand_holds_nothing() -> None:
    problem = small_problem(3, 4, max_changed=0)
    ladder = problem_ladder(problem)
    allowed = ladder.rungs.copy()
    allowed[1, ladder.today] = False
    with pytest.raises(PlanError, match="time was up"):
        solve_prices(problem, rows=PriceRows(allowed), seconds=0)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"product": np.array([9])}, "rule 'r': a product is numbered 9"),
        ({"rung": np.array([99])}, "rule 'r': a rung is numbered 99"),
        ({"coefficient": np.array([np.nan])}, "rule 'r': a coefficient is not finite"),
        ({"low": 2.0, "high": 1.0}, "rule 'r': low is 2 and high 1"),
        ({"penalty": -1.0}, "rule 'r': penalty is -1"),
        ({"measure": "joy"}, "rule 'r': measure is 'joy'"),
        ({"rung": np.array([0, 1])}, "rule 'r': 1 products, 2 rungs"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(row: dict[str, Any], named: str) -> None:
    problem = small_problem(1, 3)
    one = np.zeros(1, dtype=int)
    made = LinearRow(**({"name": "r", "product": one, "rung": one, "coefficient": np.ones(1)} | row))
    with pytest.raises(ProblemError, match=named):
        solve_prices(problem, rows=PriceRows(problem_ladder(problem).rungs, (made,)))


def test_a_product_without_a_price_is_named() -> None:
    problem = small_problem(1, 3)
    allowed = problem_ladder(problem).rungs.copy()
    allowed[2] = False
    with pytest.raises(ProblemError, match="product p2: the rules leave it no price"):
        solve_prices(problem, rows=PriceRows(allowed))


def test_a_family_of_120_is_solved_and_bounded() -> None:
    problem = small_problem(2, 240, draws=20, cross=0.5, family=np.arange(240) // 120, index_band=0.002, max_changed=60)
    plan = solve_prices(problem, gap=1e-2)
    assert plan.objective > 0
    assert plan.gap <= 2e-2
    assert abs(price_index_change(problem, plan.price)) <= 0.002 + 1e-9
    assert (plan.price != problem.current_price).sum() <= 60


def shop() -> PriceProblem:
    return small_problem(4, 60, draws=20, cross=0.4, family=np.arange(60) // 10, index_band=0.004, max_changed=20)


def test_progress_is_told_and_only_gets_better() -> None:
    told: list[PriceProgress] = []
    plan = solve_prices(shop(), gap=1e-3, progress=told.append)
    assert len(told) >= 2
    assert all(a.objective <= b.objective and a.bound >= b.bound for a, b in itertools.pairwise(told))
    assert told[-1].gap == pytest.approx(plan.gap, abs=1e-6)


def test_a_cancelled_search_hands_over_what_it_holds() -> None:
    calls = itertools.count()
    plan = solve_prices(shop(), gap=0.0, cancelled=lambda: next(calls) > 5)
    assert plan.status == "cancelled"
    assert plan.bound >= plan.objective >= 0


def test_a_fixed_price_moves_only_its_family() -> None:
    problem = shop()
    plan = solve_prices(problem, gap=1e-3)
    ladder = problem_ladder(problem)
    product = int(np.flatnonzero(ladder.rungs[:, ladder.today + 1])[7])
    price = float(ladder.price[product, ladder.today + 1])
    again = resolve_prices(problem, plan, {product: price})
    assert again.price[product] == price
    moved = np.flatnonzero(again.price != plan.price)
    assert set(problem.family[moved]) <= {problem.family[product]}
    assert again.objective == pytest.approx(float(exact_gain(problem, again.price).mean(axis=0).sum()))
    assert abs(price_index_change(problem, again.price)) <= 0.004 + 1e-9
    assert (again.price != problem.current_price).sum() <= 20
    best = solve_prices(problem, rows=PriceRows(_only(ladder.rungs, product, ladder.today + 1)), gap=1e-3)
    assert again.objective <= best.bound * (1 + 1e-9) <= again.bound * (1 + 2e-3)
    assert again.objective >= 0.9 * best.objective


def _only(rungs: np.ndarray, product: int, rung: int) -> np.ndarray:
    allowed = rungs.copy()
    allowed[product] = False
    allowed[product, rung] = True
    return allowed


def test_a_price_that_is_not_on_the_ladder_cannot_be_fixed() -> None:
    problem = shop()
    plan = solve_prices(problem, gap=1e-2)
    with pytest.raises(ProblemError, match="product p0: 99 is not on its ladder"):
        resolve_prices(problem, plan, {0: 99.0})
    with pytest.raises(ProblemError, match="product number 999"):
        resolve_prices(problem, plan, {999: 1.0})


@pytest.mark.parametrize("families", [1, 6])
def test_without_time_a_plan_keeps_its_other_prices_when_one_is_fixed(families: int) -> None:
    """A re-solve starts from the plan: with no time for anything better, only what was fixed moves."""
    problem = small_problem(4, 60, draws=20, cross=0.4, family=np.arange(60) % families)
    plan = solve_prices(problem, gap=1e-2)
    ladder = problem_ladder(problem)
    product = int(np.flatnonzero((plan.price != problem.current_price) & ladder.rungs[:, ladder.today])[0])
    again = resolve_prices(problem, plan, {product: float(problem.current_price[product])}, seconds=0.0)
    assert np.flatnonzero(again.price != plan.price).tolist() == [product]
    assert again.status == "time_limit"
    assert again.objective == pytest.approx(float(exact_gain(problem, again.price).mean(axis=0).sum()))
