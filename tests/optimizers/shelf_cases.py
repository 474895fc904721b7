"""Shelves without substitution, whose prices answer more or less steeply: what budgets and frontiers are tried on."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.prices import PriceProblem


def make_shelf(
    seed: int, products: int, *, slope: tuple[float, float], draws: int, family_size: int, **rules: Any
) -> PriceProblem:
    """A price problem with own effects alone.

    Args:
        seed: of everything that is drawn.
        products: P.
        slope: mean and spread of the own elasticities.
        draws: of the posterior.
        family_size: products in a family.
        rules: fields of the problem to be set otherwise.
    """
    rng = np.random.default_rng(seed)
    price = np.round(rng.uniform(2, 9, products), 2)
    given: dict[str, Any] = {
        "product_ids": tuple(f"p{i}" for i in range(products)),
        "current_price": price,
        "unit_cost": price * rng.uniform(0.4, 0.8, products),
        "base_units": rng.uniform(20, 300, products),
        "own": rng.normal(*slope, products) + 0.2 * rng.standard_normal((draws, products)),
        "cross": np.zeros((draws, products)),
        "base_scale": np.ones((draws, products)),
        "family": np.arange(products) // family_size,
        "movable": np.ones(products, dtype=bool),
        "max_change": 0.10,
        "step": 0.05,
        "index_band": None,
        "min_margin": None,
        "max_changed": None,
        "endings": None,
    }
    return PriceProblem(**(given | rules))
