"""The price optimiser alone: seconds, gap and Pyomo's share, by size and by rule.

    python -m benchmarks.prices [--products 300,1000] [--draws 400] [--shops 200,2000,20000]

Problems are drawn (seeded): log-normal prices and units, elasticities around -1.9, margins of 20–40 %, families of ten,
a fifth of the products held. Shops (`--shops`, a table of its own) are harder: 15-point ladders, families of 20 with
substitution, an index band and a margin floor for each family, pack-size and private-label order, at most 30 % changed,
a global index band. Processor time is shown beside wall time, as the machine may be shared. Writes
benchmarks/results/prices.md and benchmarks/results/prices_shops.md.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.price_monolith import solve_monolith
from optimizers.prices import PriceProblem, evaluate_prices, problem_ladder, solve_prices
from optimizers.prices.check import check_price_plan, price_index_change
from optimizers.prices.incumbent import PriceProgress
from optimizers.prices.ladder import Ladder
from optimizers.prices.resolve import resolve_prices
from optimizers.prices.rows import LinearRow, PriceRows

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
    parser.add_argument("--shops", default="")
    options = parser.parse_args(arguments)
    solve_prices(drawn_problem(60, 5))  # the libraries are loaded and compiled outside the measurement
    RESULTS.mkdir(exist_ok=True)
    if options.shops:
        _measure_shops([int(size) for size in options.shops.split(",")])
        return
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


def drawn_shop(products: int, draws: int = 100, seed: int = 1) -> tuple[PriceProblem, PriceRows]:
    """Draw a shop of families of 20 with the rules that the module's text lists; `products` a multiple of 20."""
    rng = np.random.default_rng(seed)
    family = np.repeat(np.arange(products // 20), 20)
    level = np.exp(rng.normal(1.2, 0.5, products // 20))[family]
    price = np.round(level * np.exp(rng.normal(0, 0.25, products)), 2) + 0.2
    own = rng.normal(-2.0, 0.6, products) + rng.uniform(0.1, 0.3, products) * rng.standard_normal((draws, products))
    problem = PriceProblem(
        product_ids=tuple(f"p{i}" for i in range(products)),
        current_price=np.round(price, 2),
        unit_cost=price * rng.uniform(0.55, 0.8, products),
        base_units=np.exp(rng.normal(4, 1.0, products)),
        own=own,
        cross=0.4 * np.abs(1 + 0.3 * rng.standard_normal((draws, 1))) * np.ones((draws, products)),
        base_scale=np.exp(0.1 * rng.standard_normal((draws, products)) - 0.005),
        family=family,
        movable=np.ones(products, dtype=np.bool_),
        max_change=0.175,
        step=0.025,
        index_band=0.002,
        min_margin=None,
        max_changed=int(0.3 * products),
        endings=None,
    )
    ladder = problem_ladder(problem)
    rows = [row for code in range(products // 20) for row in _family_rows(problem, ladder, 20 * code, rng)]
    return problem, PriceRows(ladder.rungs, tuple(rows))


def _family_rows(problem: PriceProblem, ladder: Ladder, first: int, rng: np.random.Generator) -> list[LinearRow]:
    """The rules of the family of products first … first + 19."""
    members = np.arange(first, first + 20)
    revenue = problem.current_price[members] * problem.base_units[members]
    place, rung = np.nonzero(ladder.rungs[members] & (np.arange(ladder.price.shape[1]) != ladder.today))
    moved = ladder.price[members[place], rung] - problem.current_price[members[place]]
    part = problem.base_units[members[place]] / revenue.sum() * moved
    margin = 1 - float((problem.unit_cost[members] * problem.base_units[members]).sum() / revenue.sum())
    nothing = np.empty(0)
    rows = [
        LinearRow(f"index of family {first // 20}", members[place], rung, part, -0.02, 0.02),
        LinearRow(
            *(f"margin of family {first // 20}", members, nothing.astype(int), nothing, margin - 0.005, np.inf),
            measure="margin",
        ),
    ]
    pairs = [("pack size", first + 2 * n, first + 2 * n + 1, 0.08) for n in range(4)]
    pairs += [("private label", first + 10 + 2 * n, first + 11 + 2 * n, 0.05) for n in range(2)]
    for name, one, other, room in pairs:
        ratio = problem.current_price[one] / problem.current_price[other] * (1 + rng.uniform(0, room))
        both = [np.flatnonzero(ladder.rungs[i]) for i in (one, other)]
        product = np.repeat([one, other], [len(rungs) for rungs in both])
        per_unit = np.concatenate([ladder.price[one][both[0]] / ratio, -ladder.price[other][both[1]]])
        rows.append(LinearRow(f"{name} {one}-{other}", product, np.concatenate(both), per_unit, -np.inf, 1e-9))
    return rows


def _measure_shops(sizes: list[int]) -> None:
    lines = [
        "# Price plans for shops with many rules, 100 draws, gap 1e-4 (20,000 products: 2e-4), two threads",
        "",
        "Command: `python -m benchmarks.prices --shops " + ",".join(map(str, sizes)) + "`. Two quiet cores."
        " `99 %`: wall (processor) seconds until the plan in hand was worth 99 % of the final bound. `one family`:"
        " wall (processor) seconds to solve again with one price fixed. `one MIP`: gap of HiGHS on the whole as one"
        " integer model, all of it to first order,"
        " after the same wall seconds (`benchmarks/price_monolith.py`).",
        "",
        "| products | seed | wall s | processor s | Pyomo | status | gap | 99 % | one family | peak GB | one MIP |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for products in sizes:
        for seed in (1, 2, 3) if products <= 2000 else (1,):
            lines.append(_shop_row(products, seed))
            print(lines[-1], flush=True)
            (RESULTS / "prices_shops.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _shop_row(products: int, seed: int) -> str:
    problem, rows = drawn_shop(products, seed=seed)
    held: list[tuple[float, float, float]] = []
    wall, processor = time.perf_counter(), time.process_time()

    def listen(progress: PriceProgress) -> None:
        held.append((progress.objective, time.perf_counter() - wall, time.process_time() - processor))

    plan = solve_prices(problem, rows=rows, gap=1e-4 if products <= 2000 else 2e-4, seconds=900, progress=listen)
    wall_spent, processor_spent = time.perf_counter() - wall, time.process_time() - processor
    check_price_plan(problem, plan, rows)
    soon = next(((w, p) for value, w, p in held if value >= 0.99 * plan.bound), (np.nan, np.nan))
    ladder = problem_ladder(problem)
    again, again_processor = time.perf_counter(), time.process_time()
    resolve_prices(problem, plan, {4: float(ladder.price[4, ladder.today + 1])}, rows=rows)
    again, again_processor = time.perf_counter() - again, time.process_time() - again_processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return (
        f"| {products:,} | {seed} | {wall_spent:.1f} | {processor_spent:.1f} | {plan.build_seconds:.2f} | "
        f"{plan.status} | {plan.gap:.1e} | {soon[0]:.1f} ({soon[1]:.1f}) | "
        f"{again:.2f} ({again_processor:.2f}) | {peak:.2f} | {_monolith_gap(problem, rows, wall_spent)} |"
    )


def _monolith_gap(problem: PriceProblem, rows: PriceRows, seconds: float) -> str:
    found = solve_monolith(problem, rows, seconds)
    return "no incumbent" if found.gap is None else f"{found.gap:.1e}"


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
