"""Small shops with every fact that rules ask about, and one example of every kind of rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from price_cases import small_problem

from optimizers.prices import PriceProblem, problem_ladder
from optimizers.prices.ladder import Ladder
from optimizers.prices.rows import LinearRow
from optimizers.rules import Basis, Facts, Rule, read_rules
from optimizers.rules.check import expected_units

LIMIT = 0.5
"""Examples are set so that today's prices break some and keep others."""

EXAMPLES: dict[str, dict[str, Any]] = {
    "max_change": {"up": 0.05, "down": 0.07},
    "min_step": {"share": 0.06, "money": 0.1},
    "margin_floor": {"at_least": 0.3},
    "group_margin_floor": {"at_least": 0.33, "by": "category"},
    "price_endings": {"endings": [0.99, 0.49, 0.29]},
    "price_ladder": {"prices": [0.99, 1.99, 2.49, 2.99, 3.99, 4.99]},
    "pack_size_order": {"group_by": ["category"]},
    "brand_gap": {"scope": {"brand": "Own"}, "above": {"brand": "Peak"}, "at_least": 0.05, "at_most": 0.4},
    "private_label_gap": {"at_least": 0.1},
    "move_together": {"tolerance": 0.02},
    "competitor_gap": {"above": 0.03, "below": 0.1},
    "min_days_between_changes": {"days": 28},
    "lowest_price_30_days": {"at_least": 0.02},
    "frozen": {"scope": {"category": "JUICE"}},
    "max_changes": {"at_most": 2},
    "price_index": {"low": -0.01, "high": 0.01, "by": "category"},
    "volume_floor": {"at_least": 1.01},
    "revenue_floor": {"at_least": 1.005, "by": "category"},
    "stock_cover": {},
}


def rule(kind: str, **changes: Any) -> Rule:
    """The example of a kind, with some keys set otherwise."""
    return read_rules([{"name": f"my {kind}", "kind": kind, **EXAMPLES[kind], **changes}]).rules[0]


def small_shop(seed: int, products: int = 6, **settings: Any) -> Basis:
    """A problem on its ladder, with facts: two categories, three brands, a private label, two price families."""
    problem = small_problem(seed, products, draws=4, **({"cross": 0.3} | settings))
    return basis_of(problem, seed)


def basis_of(problem: PriceProblem, seed: int = 0, ladder: Ladder | None = None) -> Basis:
    """Put a problem on its ladder beside random facts."""
    rng = np.random.default_rng(seed)
    count = len(problem.product_ids)
    places = np.arange(count)
    price = problem.current_price
    facts = Facts(
        columns={
            "product_id": problem.product_ids,
            "category": tuple(np.where(places % 4 < 2, "JUICE", "TEA").tolist()),
            "brand": tuple(np.array(["Own", "Peak", "Vale"])[places % 3].tolist()),
            "department": ("FOOD",) * count,
            "private_label": tuple(np.where(places % 3 == 0, "1", "0").tolist()),
            "unit": tuple(np.where(places % 5 < 4, "oz", "ct").tolist()),
            "price_family": tuple(np.where(places % 2 == 0, "even", np.where(places % 3 == 0, "", "odd")).tolist()),
        },
        pack_size=rng.choice([1.0, 1.0, 2.0, np.nan], count),
        days_since_change=rng.choice([7.0, 70.0, np.inf], count),
        lowest_price=rng.choice([0.93, 1.0, np.nan], count) * price,
        competitor_price=rng.choice([0.95, 1.1, np.nan], count) * price,
        stock=rng.choice([0.9, 1.1, np.inf], count) * problem.base_units,
    )
    facts.competitor_price[0], facts.stock[0] = price[0], problem.base_units[0]
    return Basis(problem, problem_ladder(problem) if ladder is None else ladder, facts)


def random_choices(basis: Basis, rng: np.random.Generator, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random rungs (P,) and their prices (P,), near to today's more often than not; today's own first."""
    rungs = basis.ladder.rungs
    today = np.full(len(rungs), basis.ladder.today)
    yield today, basis.problem.current_price
    for _ in range(count):
        choice = np.array([rng.choice(np.flatnonzero(row)) for row in rungs])
        choice = np.where(rng.random(len(choice)) < rng.random(), choice, today)
        yield choice, basis.ladder.price[np.arange(len(choice)), choice]


def row_value(problem: PriceProblem, row: LinearRow, choice: np.ndarray, price: np.ndarray) -> float:
    """What a row adds up to, by the words of `LinearRow`."""
    if row.measure == "linear":
        return float(row.coefficient[choice[row.product] == row.rung].sum())
    units = expected_units(problem, price)[row.product]
    revenue = float(units @ price[row.product])
    profit = revenue - float(units @ problem.unit_cost[row.product])
    return {"units": float(units.sum()), "revenue": revenue, "profit": profit, "margin": profit / revenue}[row.measure]


def keeps(basis: Basis, rows: Any, choice: np.ndarray, price: np.ndarray) -> bool:
    """Whether a choice of rungs keeps the mask and every hard row."""
    allowed = bool(rows.allowed[np.arange(len(choice)), choice].all())
    values = [(row, row_value(basis.problem, row, choice, price)) for row in rows.rows if row.penalty is None]
    return allowed and all(row.low - 1e-5 <= value <= row.high + 1e-5 for row, value in values)
