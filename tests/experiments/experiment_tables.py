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


START = pd.Timestamp("2026-03-02")
UNTIL = pd.Timestamp("2026-03-30")


def clean_logs(n=300, seed=1, effect=0.0):
    """Exposures over a week, outcomes from three weeks before to the data end; nothing is wrong with them."""
    rng = np.random.default_rng(seed)
    units = pd.DataFrame({"unit_id": [f"c{i}" for i in range(n)], "variant": np.arange(n) % 2})
    units["timestamp"] = START + pd.to_timedelta(rng.integers(0, 7 * 24 * 60, n), unit="min")
    units["experiment"] = "spring"
    units["region"] = np.array(["north", "south"])[rng.integers(0, 2, n)]
    taste = rng.gamma(3.0, 1.0, n)
    rows = rng.integers(0, n, 20 * n)
    minutes = rng.integers(-21 * 24 * 60, 28 * 24 * 60, rows.size)
    outcomes = pd.DataFrame(
        {"unit_id": units.unit_id.to_numpy()[rows], "timestamp": START + pd.to_timedelta(minutes, unit="min")}
    )
    outcomes["revenue"] = taste[rows] * rng.gamma(2.0, 3.0, rows.size)
    after = outcomes.timestamp.to_numpy() >= units.timestamp.to_numpy()[rows]
    outcomes["revenue"] += effect * after * units.variant.to_numpy()[rows]
    outcomes["items"] = 1 + rng.poisson(1.0, rows.size)
    outcomes["coupon_cost"] = np.where(units.variant.to_numpy()[rows] == 1, rng.uniform(0, 1, rows.size), 0.0)
    outcomes["channel"] = np.array(["app", "web"])[rng.integers(0, 2, rows.size)]
    return units, outcomes


def units_by_hand(exposures, outcomes, *, start_hours=0.0, end_hours=None, where=None):
    """Each unit's outcomes within its window, by pandas: the slow road, which shares no code with the database's."""
    rows = outcomes if where is None else outcomes[where(outcomes)]
    joined = rows.merge(exposures[["unit_id", "timestamp"]], on="unit_id", suffixes=("", "_shown"))
    hours = (joined.timestamp - joined.timestamp_shown).dt.total_seconds() / 3600
    inside = joined[(hours >= start_hours) & (hours < (end_hours or np.inf)) & (joined.timestamp <= UNTIL)]
    sums = inside.groupby("unit_id")[["revenue", "items", "coupon_cost"]].sum()
    sums["rows"] = inside.groupby("unit_id").size()
    return exposures.set_index("unit_id").join(sums).fillna(dict.fromkeys(sums.columns, 0.0)).reset_index()
