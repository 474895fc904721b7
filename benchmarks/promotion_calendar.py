"""Promotion calendars: seconds and proven gap by size, columns beside the one integer program.

    python -m benchmarks.promotion_calendar [--products 8,100,500] [--seconds 200]

Problems are drawn (seeded): a quarter of 13 weeks, categories of ten, three kinds of promotion in two kinds of slot
(one slot for each fifteen products and week), lifts of 1.2 to 4, a dip of two weeks, cannibalisation of 3 % of the
extra units, at most three promotions a product, three weeks apart. Writes benchmarks/results/promotion_calendar.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from optimizers.promotions import PromotionProblem, plan_promotions
from optimizers.promotions.check import check_promotion_plan

RESULTS = Path(__file__).parent / "results"
NOTE = (
    "`python -m benchmarks.promotion_calendar --seconds 200`; drawn problems (seed 1); two cores "
    "shared by a dozen processes, one thread; processor time, the limit is wall time."
)
RULES: dict[str, dict[str, object]] = {
    "one a category": {"max_per_category": 1},
    "two a category": {"max_per_category": 2},
    "one a category, half the budget": {"max_per_category": 1, "budget": 0.5},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", default="8,100,500")
    parser.add_argument("--seconds", type=float, default=200.0)
    options = parser.parse_args(arguments)
    plan_promotions(drawn(4, 4, 0), "exact")  # libraries and kernels are loaded outside the measurement
    lines = [
        "# Promotion calendars, 13 weeks, 3 kinds of promotion, gap 1e-4 asked for, one thread",
        "",
        NOTE,
        "",
        "| products | rules | method | processor s | status | gap | gain | promotions | one more slot | money |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for products in (int(size) for size in options.products.split(",")):
        for name, rules in RULES.items():
            for method in ("columns", "exact") if products <= 10 else ("columns",):
                lines.append(_row(products, name, rules, method, options.seconds))
                print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "promotion_calendar.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def drawn(products: int, weeks: int, seed: int, **rules: object) -> PromotionProblem:
    """Draw a calendar problem of the kind that the module's text describes."""
    rng = np.random.default_rng(seed)
    price = np.round(np.exp(rng.normal(1.4, 0.5, products)), 2) + 0.5
    depth = np.array([0.10, 0.20, 0.35])
    lift = (1 - depth[None, :]) ** -rng.uniform(1.8, 3.4, (products, 1)) * np.array([1.1, 1.2, 1.3])
    slots = np.full((2, weeks), max(1.0, products // 15))
    given: dict[str, object] = {
        "product_ids": tuple(f"p{i}" for i in range(products)),
        "price": price,
        "unit_cost": price * rng.uniform(0.35, 0.6, products),
        "base_units": np.exp(rng.normal(4, 0.9, products)) * rng.uniform(0.8, 1.25, (weeks, products)),
        "category": np.arange(products) // 10,
        "depth": depth,
        "lift": lift,
        "takes": 0.03 * (lift - 1),
        "dip": np.stack([rng.uniform(0.02, 0.12, products), rng.uniform(0.0, 0.06, products)], axis=1),
        "fixed_cost": np.array([3.0, 5.0, 8.0]),
        "slot": np.array([0, 0, 1]),
        "slots": slots,
        "min_gap": 3,
        "max_promotions": np.full(products, 3),
    }
    return PromotionProblem(**(given | rules))  # type: ignore[arg-type]


def _row(products: int, name: str, rules: dict[str, object], method: str, seconds: float) -> str:
    given = dict(rules)
    if "budget" in given:
        free = plan_promotions(drawn(products, 13, 1, max_per_category=1), "columns", seconds=seconds)
        given["budget"] = 0.5 * free.spend
    problem = drawn(products, 13, 1, **given)
    begun = time.process_time()
    plan = plan_promotions(problem, method, seconds=seconds)
    used = time.process_time() - begun
    check_promotion_plan(problem, plan)
    slot = "" if plan.slot_price is None else f"{plan.slot_price.max():.2f}"
    return (
        f"| {products} | {name} | {method} | {used:.2f} | {plan.status} | {plan.gap:.1e} | {plan.objective:,.0f} | "
        f"{int((plan.option > 0).sum())} | {slot} | {plan.budget_price:.2f} |"
    )


if __name__ == "__main__":
    main()
