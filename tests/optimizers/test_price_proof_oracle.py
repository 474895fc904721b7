"""The compiled branch and bound of a family equals the family's integer model, compiled once by Pyomo, by HiGHS."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from price_cases import small_problem

from optimizers.prices import PriceProblem, problem_ladder
from optimizers.prices import model as price_model
from optimizers.prices.nodes import Question, Work
from optimizers.prices.proof import begin, explore, verdict
from optimizers.prices.system import PriceSystem, all_rows, build_system
from optimizers.solver import solve

WORK = Work(nodes=50_000, first=200, later=20, choices=100, visits=100)


def family(seed: int, products: int) -> PriceProblem:
    """One family without substitution, so that its integer model is exact, under an index band and few changes."""
    return small_problem(
        seed,
        products,
        family=np.zeros(products, dtype=int),
        step=0.025,
        index_band=0.01,
        max_changed=products // 2,
    )


def own_bound(problem: PriceProblem, system: PriceSystem, toll: np.ndarray) -> tuple[float, float]:
    """Best value and bound by branch and bound, where each rung (P, K) of the problem pays a toll."""
    worth = system.worth.copy()
    worth[:, :, 0] -= toll[system.order]
    products = len(system.order)
    start = np.full(products, system.today)
    price = np.zeros(system.families_of(0) + len(system.inner))
    pool, values = np.zeros((4, products), dtype=np.int64), np.full(4, -np.inf)
    hard = 100.0 * float(np.abs(worth[:, :, 0]).max())
    margin = np.array([0.0, 1e-7])
    place, rows = system.place(0), system.inner.arrays
    question = Question(system.tables, rows, worth, system.dent, place, margin, hard, WORK)
    nodes, desk, ledger = begin(question, start, price, 20_000, pool, values)
    explore(question, nodes, desk, ledger, WORK.nodes)
    best, bound, *_ = verdict(question, nodes, ledger)
    return float(best), float(bound)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("products", [4, 8, 12])
def test_both_agree_at_every_toll(seed: int, products: int) -> None:
    problem = family(seed, products)
    ladder = problem_ladder(problem)
    system = build_system(problem, ladder, all_rows(problem, ladder, None), whole=True)
    gain = price_model.rung_model(problem, price_model.Families.of(problem), ladder, problem.current_price).gain
    model = price_model.choice_model(problem, ladder, gain)
    assert model is not None
    rng = np.random.default_rng(seed)
    size = float(np.abs(gain[np.isfinite(gain)]).max())
    for _ in range(3):
        toll = rng.uniform(-0.3, 0.3, gain.shape) * size
        toll[:, ladder.today] = 0.0
        # Compiled once; only costs change, as they do from one round of multipliers to the next.
        cost = (gain - toll)[model.product, model.rung]
        oracle = solve(model.compiled, cost=cost, gap=1e-9, seconds=30.0)
        best, bound = own_bound(problem, system, toll)
        assert oracle.objective is not None
        assert oracle.bound is not None
        assert best == pytest.approx(oracle.objective, rel=1e-6, abs=1e-9 * size)
        assert bound >= oracle.objective - 1e-9 * size
        assert bound <= oracle.bound * (1 + 1e-6) + 1e-9 * size


def test_the_bound_covers_substitution_that_a_linear_model_sees_to_first_order_only() -> None:
    """With substitution every plan that HiGHS proposes is worth no more than the compiled bound, by exact demand."""
    for seed in range(4):
        problem = replace(family(seed, 8), cross=np.full((5, 8), 0.8))
        ladder, families = problem_ladder(problem), price_model.Families.of(problem)
        system = build_system(problem, ladder, all_rows(problem, ladder, None), whole=True)
        best, bound = own_bound(problem, system, np.zeros(ladder.price.shape))
        linear = price_model.rung_model(problem, families, ladder, problem.current_price)
        model = price_model.choice_model(problem, ladder, linear.gain)
        assert model is not None
        proposed = solve(model.compiled, gap=1e-6, seconds=30.0)
        assert proposed.values is not None
        rung = model.choice(proposed.values, 8, ladder.today)
        value = price_model.exact_value(problem, families, ladder.price[np.arange(8), rung])
        assert value <= bound + 1e-9 * abs(bound)
        assert value <= best * (1 + 1e-6)
        assert math.isfinite(bound)
