"""The price optimiser alone: seconds, gap and Pyomo's share, by size and by rule.

    python -m benchmarks.prices [--products 300,1000] [--draws 400]

Problems are drawn (seeded): log-normal prices and units, elasticities around -1.9, margins of 20–40 %, families of ten,
a fifth of the products held. Processor time is shown beside wall time, as the machine may be shared. Writes
benchmarks/results/prices.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from optimizers.check import check_price_plan, price_index_change
from optimizers.prices import PriceProblem, evaluate_prices, solve_prices

RESULTS = Path(__file__).parent / "results"
RULES: dict[str, dict[str, object]] = {
    "index band .2 %": {},
    "no index band": {"index_band": None},
    "index unchanged (band 0)": {"index_band": 0.0},
    "band and a fifth changed": {"max_changed": 0.2},
    "band and endings .99, .49": {"endings": (0.99, 0.49)},
    "band and margin floor 30 %": {"min_margin": 0.30},
    "band, strong substitution": {"cross": 1.0},
    "band, lower quantile": {"risk": "lower"},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", default="300,1000")
    parser.add_argument("--draws", type=int, default=400)
    options = parser.parse_args(arguments)
    solve_prices(drawn_problem(3, 5))  # the libraries are loaded outside the measurement
    lines = [
        f"# Price plans, {options.draws} draws, gap 1e-4, one thread",
        "",
        "| products | rules | wall s | processor s | of it Pyomo | rounds | status | gap | gain of profit | index |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for products in (int(size) for size in options.products.split(",")):
        for name, rules in RULES.items():
            lines.append(_row(products, options.draws, name, rules))
            print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "prices.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def drawn_problem(products: int, draws: int, seed: int = 1) -> PriceProblem:
    """Draw a shop of the kind that the module's text describes."""
    rng = np.random.default_rng(seed)
    price = np.round(np.exp(rng.normal(1.2, 0.6, products)), 2) + 0.2
    own = rng.normal(-1.9, 0.6, products) + rng.uniform(0.15, 0.5, products) * rng.standard_normal((draws, products))
    return PriceProblem(
        product_ids=tuple(f"p{i}" for i in range(products)),
        current_price=price,
        unit_cost=price * rng.uniform(0.6, 0.8, products),
        base_units=np.exp(rng.normal(4, 1.2, products)),
        own=own,
        cross=0.3 * np.abs(1 + 0.3 * rng.standard_normal((draws, 1))) * np.ones((draws, products)),
        base_scale=np.exp(0.1 * rng.standard_normal((draws, products)) - 0.005),
        family=rng.integers(0, max(1, products // 10), products),
        movable=rng.random(products) < 0.8,
        max_change=0.10,
        step=0.025,
        index_band=0.002,
        min_margin=0.0,
        max_changed=None,
        endings=None,
    )


def _row(products: int, draws: int, name: str, rules: dict[str, object]) -> str:
    problem = drawn_problem(products, draws)
    given = dict(rules)
    if "max_changed" in given:
        given["max_changed"] = int(products * 0.2)
    if "cross" in given:
        given["cross"] = problem.cross / 0.3
    problem = replace(problem, **given)  # type: ignore[arg-type]
    wall, processor = time.perf_counter(), time.process_time()
    plan = solve_prices(problem)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    check_price_plan(problem, plan)
    profit = float(evaluate_prices(problem, problem.current_price).profit.sum())
    return (
        f"| {products} | {name} | {wall:.2f} | {processor:.2f} | {plan.build_seconds:.2f} | {plan.rounds} | "
        f"{plan.status} | {plan.gap:.1e} | {plan.objective / profit:.2%} | "
        f"{price_index_change(problem, plan.price):+.5f} |"
    )


if __name__ == "__main__":
    main()
