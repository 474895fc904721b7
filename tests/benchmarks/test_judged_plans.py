"""The plans that the judge is tried on: made from the truth, not from the sales, and about neutral to the index."""

from __future__ import annotations

import numpy as np

from benchmarks.judge import plans


def test_the_informed_plan_raises_what_is_least_elastic_and_keeps_the_index() -> None:
    rng = np.random.default_rng(1)
    price, units = rng.uniform(1, 5, 200), rng.uniform(5, 50, 200)
    elasticity = rng.normal(-2.0, 1.0, 200)
    made = plans(price, 0.6 * price, units, elasticity, rng)
    moved = made["informed"]
    assert elasticity[moved > 0].mean() > elasticity[moved < 0].mean() + 0.8
    assert abs(np.average(moved, weights=price * units)) < 0.005
    assert set(made) == {"informed", "random", "up"}
    assert abs(np.corrcoef(made["random"], elasticity)[0, 1]) < 0.2
