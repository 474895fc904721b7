"""The proof of a group: the pieces agree with trying everything, in one go, in slices, and when it is stopped."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from price_cases import small_problem

from optimizers.prices import PriceProblem, problem_ladder, solve_prices
from optimizers.prices import groups as groups_module
from optimizers.prices.groups import Groups
from optimizers.prices.incumbent import PriceProgress
from optimizers.prices.listing import choices_left
from optimizers.prices.nodes import Work
from optimizers.prices.rows import LinearRow, PriceRows
from optimizers.prices.system import PriceSystem, all_rows, build_system

ALONE = Work(nodes=50_000, first=100, later=12, choices=1, visits=1)
"""Branching down to single choices."""
LISTING = ALONE._replace(choices=100_000, visits=5_000)
SHORT = ALONE._replace(choices=100_000, visits=12)
"""Lists that are given up, so that what was met is forgotten."""


def floors(problem: PriceProblem) -> PriceRows:
    """A floor on units and one on revenue, a soft pair, in the manner of the orange juice rules."""
    ladder = problem_ladder(problem)
    products, nothing = np.arange(len(problem.product_ids)), np.empty(0)
    none = nothing.astype(np.int64)
    units, revenue = float(problem.base_units[::2].sum()), float((problem.base_units * problem.current_price).sum())
    pair = np.repeat([0, 1], ladder.price.shape[1])
    rung = np.tile(np.arange(ladder.price.shape[1]), 2)
    there = ladder.rungs[pair, rung]
    moves = 100 * np.where(pair == 0, 1.0, -1.0) * (ladder.price[pair, rung] / problem.current_price[pair] - 1)
    return PriceRows(
        ladder.rungs,
        (
            LinearRow("units", products[::2], none, nothing, 0.97 * units, np.inf, measure="units"),
            LinearRow("revenue", products, none, nothing, 0.98 * revenue, np.inf, measure="revenue"),
            LinearRow("together", pair[there], rung[there], moves[there], -2.0, 2.0, penalty=revenue / 1e4),
        ),
    )


def shop(seed: int, products: int, **rules: object) -> PriceProblem:
    """One family with strong substitution."""
    given = {"family": np.zeros(products, dtype=int), "index_band": 0.01, "max_changed": products - 1, "cross": 1.5}
    return small_problem(seed, products, **(given | rules))


def system_of(problem: PriceProblem, rows: PriceRows) -> PriceSystem:
    ladder = problem_ladder(problem)
    return build_system(problem, ladder, all_rows(problem, ladder, rows), whole=True)


def by_force(system: PriceSystem) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every choice that keeps the hard rows, with its value."""
    groups = Groups(system)
    rungs = [np.flatnonzero(left) for left in system.tables.allowed]
    for choice in itertools.product(*rungs):
        value, _, kept = groups.measure(groups.everything, [np.array(choice, dtype=np.int64)])
        if kept[0]:
            yield choice, float(value[0])


def proven(system: PriceSystem, work: Work, below: float = 0.0) -> tuple[float, float, set[tuple[int, ...]], bool]:
    """Best value, bound, choices in the pool, whether the work was done."""
    groups = Groups(system)
    start = np.full(len(system.order), system.today)
    pool, value = groups.pool(0, 5000)
    margin = np.array([-below if below else 0.0, 0.0])
    best, bound, _, done = groups.prove(0, system.worth, system.dent, start, margin, pool, value, work)
    return best, bound, {tuple(one) for one in pool[value > -np.inf].tolist()}, done


@pytest.mark.parametrize("work", [ALONE, LISTING, SHORT], ids=["branching", "listing", "given up"])
@pytest.mark.parametrize("seed", range(4))
def test_the_proof_equals_brute_force_under_floors_and_a_soft_pair(seed: int, work: Work) -> None:
    problem = shop(seed, 5)
    system = system_of(problem, floors(problem))
    values = dict(by_force(system))
    best, bound, *_ = proven(system, work)
    assert best == pytest.approx(max(values.values()), rel=1e-9)
    assert bound == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("work", [ALONE, LISTING, SHORT], ids=["branching", "listing", "given up"])
@pytest.mark.parametrize("seed", range(3))
def test_all_choices_so_far_below_the_best_are_listed(seed: int, work: Work) -> None:
    problem = shop(seed, 4)
    system = system_of(problem, floors(problem))
    values = dict(by_force(system))
    most = max(values.values())
    depth = 0.2 * abs(most)
    listed, done = proven(system, work, depth)[2:]
    wanted = {choice for choice, value in values.items() if value > most - depth * (1 - 1e-9)}
    assert done
    assert wanted <= listed


def test_slices_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = shop(1, 5, step=0.025)
    system = system_of(problem, floors(problem))
    results = []
    for nodes in (groups_module.SLICE, 40):
        monkeypatch.setattr(groups_module, "SLICE", nodes)
        groups, start = Groups(system), np.full(len(system.order), system.today)
        pool, value = groups.pool(0)
        told: list[tuple[float, float]] = []
        watch = told.append
        asked = (0, system.worth, system.dent, start, np.zeros(2), pool, value, ALONE._replace(nodes=1500))
        found = groups.prove(*asked, lambda best, bound, tell=watch: tell((best, bound)))
        assert len(told) > 1
        bounds = [bound for _, bound in told]
        assert bounds == sorted(bounds, reverse=True)
        results.append(
            (found, start.tolist(), pool.tolist(), groups.family_price.tolist(), groups.inner_price.tolist())
        )
    assert results[0] == results[1]


def test_a_shop_in_one_piece_heeds_cancellation_and_tells_its_bound() -> None:
    problem = shop(2, 24, step=0.0125, max_change=0.1)
    rows = floors(problem)
    # One family is one group; only the watch between slices can end it.
    told: list[PriceProgress] = []
    asked = itertools.count()
    plan = solve_prices(
        problem, rows=rows, gap=1e-12, seconds=1e6, progress=told.append, cancelled=lambda: next(asked) > 1
    )
    bounds = [one.bound for one in told]
    assert plan.status in ("cancelled", "optimal")
    assert next(asked) < 20
    assert bounds == sorted(bounds, reverse=True)
    assert plan.objective <= plan.bound
    again = itertools.count()
    same = solve_prices(problem, rows=rows, gap=1e-12, seconds=1e6, cancelled=lambda: next(again) > 1)
    assert np.array_equal(plan.price, same.price)
    assert (plan.objective, plan.bound) == (same.objective, same.bound)


def test_a_quantile_in_one_piece_ends_when_its_time_is_up() -> None:
    problem = shop(3, 24, step=0.0125, risk="lower", max_change=0.1)
    solve_prices(replace(problem, max_change=0.025), seconds=0.1)  # compiled outside the measurement
    plan = solve_prices(problem, rows=floors(problem), gap=1e-12, seconds=0.5)
    assert plan.seconds < 5.0
    assert plan.objective <= plan.bound


@pytest.mark.parametrize("left", [[[1, 0], [0, 1]], [[1, 1], [1, 1]], [[1, 1], [0, 0]]])
def test_choices_are_counted(left: list[list[int]]) -> None:
    mask = np.array(left, dtype=np.uint8)
    assert choices_left(mask) == float(np.prod(mask.sum(axis=1)))
