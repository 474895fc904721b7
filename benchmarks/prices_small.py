"""Small shops under tight rules: gap and seconds of joining listed families, beside searching them.

    python -m benchmarks.prices_small [--seeds 1,2,3] [--products 16] [--limit 20]

A simulated shop is posed as `offerwright run` poses it; then each setting is solved by listing and joining its
families, and once more by the search alone (time limit `--limit`, seconds), which is what larger families get. Writes
benchmarks/results/prices_small.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from api.price_stage import pose_prices
from benchmarks.price_agreement import searched
from engine.progress import Stopwatch
from engine.settings import load_settings
from engine.simulation import simulate_shop
from engine.sources import open_shop
from optimizers.prices import PriceProblem, solve_prices
from optimizers.prices.check import check_price_plan

RESULTS = Path(__file__).parent / "results"
CASES: dict[str, dict[str, Any]] = {
    "as set (band .2 %)": {},
    "at most 3 changes": {"max_changed": 3},
    "at most 3 changes, band .05 %": {"max_changed": 3, "index_band": 0.0005},
    "index unchanged (band 0)": {"index_band": 0.0},
    "moves up to 50 %": {"max_change": 0.5},
    "lower quantile": {"risk": "lower"},
    "at most 8 changes, band 0": {"max_changed": 8, "index_band": 0.0},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--products", type=int, default=16)
    parser.add_argument("--limit", type=float, default=20.0)
    asked = parser.parse_args(arguments)
    lines = [
        f"# Price plans for simulated shops of {asked.products} products, gap 1e-4",
        "",
        f"Command: `python -m benchmarks.prices_small --seeds {asked.seeds} --products {asked.products} --limit"
        f" {asked.limit:g}`. Wall (processor) seconds; the search stops at {asked.limit:g} s.",
        "",
        "| seed | rules | joined: status | gap | s | gain | searched: gap | s | gain |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for seed in asked.seeds.split(","):
        problem = posed(int(seed), asked.products)
        solve_prices(problem)  # compiled outside the measurement
        for name, rules in CASES.items():
            lines.append(f"| {seed} | {name} | {_row(replace(problem, **rules), asked.limit)} |")
            print(lines[-1], flush=True)
    (RESULTS / "prices_small.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def posed(seed: int, products: int) -> PriceProblem:
    """The price problem of a simulated shop under the settings that come with the product."""
    with tempfile.TemporaryDirectory() as scratch:
        shop = Path(scratch) / "shop"
        simulate_shop(shop, seed=seed, products=products)
        settings, watch = load_settings(None, [f"data.home={scratch}/home"]), Stopwatch()
        return pose_prices(open_shop(str(shop), settings, watch.listener), settings, watch).problem


def _row(problem: PriceProblem, limit: float) -> str:
    cells = []
    for joined in (True, False):
        began, busy = time.perf_counter(), time.process_time()
        if joined:
            plan = solve_prices(problem)
        else:
            with searched():
                plan = solve_prices(problem, seconds=limit)
        seconds = f"{time.perf_counter() - began:.2f} ({time.process_time() - busy:.2f})"
        check_price_plan(problem, plan)
        cells += [plan.status] if joined else []
        cells += [f"{plan.gap:.1e}", seconds, f"{plan.objective:,.2f}"]
    return " | ".join(cells)


if __name__ == "__main__":
    main()
