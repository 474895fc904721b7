"""Tables that the tests of measurement share."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

REFERENCE = json.loads((Path(__file__).parents[1] / "fixtures" / "experiment_reference.json").read_text())


def reference_table():
    """The table behind the reference figures: 100,000 customers, half of them treated, with a small true effect."""
    rng = np.random.default_rng(20240601)
    variant = np.repeat([0, 1], 50_000)
    taste = rng.gamma(2.0, 1.0, 100_000)
    pre = taste * 10 + rng.normal(0, 4, 100_000)
    sessions = 1 + rng.poisson(taste + 0.05 * variant)
    orders = rng.binomial(sessions, np.clip(0.10 + 0.02 * taste + 0.006 * variant, 0, 1))
    revenue = np.where(orders > 0, orders * rng.lognormal(3.0 + 0.1 * taste, 0.6, 100_000), 0.0)
    columns = {"user": np.arange(100_000), "variant": variant, "sessions": sessions}
    return pd.DataFrame({**columns, "orders": orders, "revenue": revenue, "pre": pre})


def small_table(n=400, seed=1, effect=0.0):
    """n units by turns in control and treatment, with spending, a habit from before, visits and a home store."""
    rng = np.random.default_rng(seed)
    habit = rng.gamma(2.0, 5.0, n)
    variant = np.arange(n) % 2
    return pd.DataFrame(
        {
            "user": np.arange(n),
            "variant": variant,
            "habit": habit,
            "spend": habit + rng.normal(0, 2, n) + effect * variant,
            "visits": 1 + rng.poisson(2, n),
            "cost": rng.uniform(0, 1, n) * variant,
            "store": np.array(["north", "south", "west"])[rng.integers(0, 3, n)],
            "bought": rng.integers(0, 2, n),
        }
    )
