"""Small price problems with everything stated, and the brute force that knows their answers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from optimizers.prices import PriceProblem, problem_ladder
from optimizers.prices.check import exact_gain, price_index_change


def small_problem(seed: int, products: int = 3, draws: int = 5, cross: float = 0.0, **rules: Any) -> PriceProblem:
    """A problem of a few products with random money and responses."""
    rng = np.random.default_rng(seed)
    price = np.round(rng.uniform(0.8, 9.0, products), 2)
    own = rng.normal(-2.0, 0.9, products) + 0.3 * rng.standard_normal((draws, products))
    own = rules.get("own", own)
    given: dict[str, Any] = {
        "product_ids": tuple(f"p{i}" for i in range(products)),
        "current_price": price,
        "unit_cost": price * rng.uniform(0.5, 0.85, products),
        "base_units": rng.uniform(5.0, 500.0, products),
        "own": own,
        "cross": np.full((len(own), products), cross),
        "base_scale": np.exp(0.1 * rng.standard_normal((len(own), products))),
        "family": rng.integers(0, 2, products),
        "movable": np.ones(products, dtype=bool),
        "max_change": 0.10,
        "step": 0.05,
        "index_band": None,
        "min_margin": None,
        "max_changed": None,
        "endings": None,
    }
    return PriceProblem(**(given | rules))


def value_of(problem: PriceProblem, price: np.ndarray) -> float:
    """What the risk setting counts, by the checker's arithmetic."""
    gain = exact_gain(problem, price)
    return float((gain.mean(axis=0) if problem.risk == "mean" else np.quantile(gain, 0.10, axis=0)).sum())


def best_by_force(problem: PriceProblem) -> float:
    """The largest value over every combination of rungs that keeps the coupling rules."""
    ladder = problem_ladder(problem)
    rungs = [row[np.isfinite(row)] for row in ladder.price]
    best = -np.inf
    for combination in itertools.product(*rungs):
        price = np.array(combination)
        changed = int((price != problem.current_price).sum())
        if problem.max_changed is not None and changed > problem.max_changed:
            continue
        if problem.index_band is not None and abs(price_index_change(problem, price)) > problem.index_band + 5e-10:
            continue
        best = max(best, value_of(problem, price))
    return best
