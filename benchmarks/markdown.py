"""Markdown plans: seconds and gap by size, and what a plan is worth beside simpler ones when demand surprises.

    python -m benchmarks.markdown [--products 10,100,1000] [--shops 120]

Problems are drawn (seeded): log-normal stock and demand, eight weeks, ladders of six prices down to 40 %, elasticities
around -2 of which the plan knows a posterior, levels uncertain by half. The second table sells a product's stock down
under its true demand (a draw that no plan sees, Poisson sales): prices kept; half price in the last two weeks; the plan
followed blindly; the plan made anew each week with what sold; the dynamic program's policy; and the best path for
somebody who knows the draw. Writes benchmarks/results/markdown.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from optimizers.markdown import MarkdownPlan, MarkdownProblem, draw_noise, plan_markdown, replan
from optimizers.markdown.check import check_markdown_plan
from optimizers.markdown.policy import solve_markdown_policy

RESULTS = Path(__file__).parent / "results"
NOTE = (
    "`python -m benchmarks.markdown`; drawn problems (seed 1; the surprises: seeds 100 …); two "
    "shared cores, one thread, processor time."
)
Chooser = Callable[[int, float, float], int]
"""(week, stock, units sold the week before) -> column of the ladder."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", default="10,100,1000")
    parser.add_argument("--shops", type=int, default=120)
    options = parser.parse_args(arguments)
    plan_markdown(drawn(3, 8, 5, 0))  # libraries and kernels are loaded outside the measurement
    lines = [
        "# Markdown plans, 8 weeks, 6 prices, 100 draws, one thread",
        "",
        NOTE,
        "",
        "| products | rules | processor s | status | gap | over prices kept | bound of any policy, over the plan |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for products in (int(size) for size in options.products.split(",")):
        for name in ("free", "3 steps", "3 steps, 2 weeks apart, a tenth a week"):
            lines.append(_size_row(products, name))
            print(lines[-1], flush=True)
    lines += ["", "One product with 26 weeks and 12 prices:", ""]
    lines += ["- 3 steps, 447,304 paths: " + _long_row(3), "- any steps, by a beam: " + _long_row(None)]
    lines += ["", *_surprise_table(options.shops)]
    print("\n".join(lines[-8:]))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "markdown.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def drawn(products: int, weeks: int, draws: int, seed: int, rungs: int = 6) -> MarkdownProblem:
    """Draw products of the kind that the module's text describes."""
    rng = np.random.default_rng(seed)
    reference = np.round(np.exp(rng.normal(2.5, 0.5, products)), 2) + 1.0
    week_units = np.exp(rng.normal(2.3, 0.6, products)) * 0.96 ** np.arange(weeks)[:, None]
    level = np.exp(0.5 * rng.standard_normal((draws, products)))
    return MarkdownProblem(
        product_ids=tuple(f"p{i}" for i in range(products)),
        stock=np.floor(week_units.sum(axis=0) * rng.uniform(0.8, 3.0, products)),
        ladder=np.round(reference[:, None] * np.linspace(0.4, 1.0, rungs), 2),
        current_rung=np.full(products, rungs - 1),
        week_units=week_units,
        reference_price=reference,
        own=rng.normal(-2.0, 0.4, products) + 0.4 * rng.standard_normal((draws, products)),
        base_scale=level / level.mean(axis=0),
        unit_cost=np.zeros(products),
        salvage=0.1 * reference,
    )


def _ruled(products: int, name: str) -> MarkdownProblem:
    problem = drawn(products, 8, 100, 1)
    if name == "free":
        return problem
    problem = replace(problem, max_steps=np.full(products, 3))
    if name == "3 steps":
        return problem
    return replace(problem, min_weeks_between=2, max_changed=max(1, products // 10))


def _size_row(products: int, name: str) -> str:
    problem = _ruled(products, name)
    begun = time.process_time()
    plan = plan_markdown(problem)
    seconds = time.process_time() - begun
    check_markdown_plan(problem, plan)
    return (
        f"| {products} | {name} | {seconds:.2f} | {plan.status} | {plan.gap:.1e} | "
        f"{plan.objective / plan.kept - 1:+.1%} | {plan.adaptive_bound / plan.objective - 1:+.1%} |"
    )


def _long_row(steps: int | None) -> str:
    problem = drawn(1, 26, 100, 2, rungs=12)
    problem = replace(problem, max_steps=None if steps is None else np.array([steps]))
    begun = time.process_time()
    plan = plan_markdown(problem)
    seconds = time.process_time() - begun
    check_markdown_plan(problem, plan)
    return (
        f"{seconds:.2f} processor s, {plan.status}, gap {plan.gap:.1e}, "
        f"over prices kept {plan.objective / plan.kept - 1:+.1%}"
    )


def _surprise_table(shops: int) -> list[str]:
    names = (
        "prices kept",
        "half price for two weeks",
        "plan, blind",
        "plan, anew each week",
        "policy",
        "knowing the draw",
    )
    total = dict.fromkeys(names, 0.0)
    promised = 0.0
    for shop in range(shops):
        problem = drawn(1, 8, 80, 100 + shop)
        problem = replace(problem, noise=draw_noise(problem, np.random.default_rng(shop)))
        truth = np.random.default_rng(1000 + shop).integers(0, 80)
        plan = plan_markdown(problem)
        promised += plan.objective
        for name, chooser in _choosers(problem, plan, int(truth)).items():
            total[name] += _sell(problem, int(truth), chooser, np.random.default_rng(5000 + shop))
    kept = total["prices kept"]
    rows = [f"| {name} | {money / kept - 1:+.1%} |" for name, money in total.items()]
    head = f"{shops} products sold down under a true demand drawn from the posterior (seeds 100 …):"
    realised = total["plan, blind"] / promised
    return [
        head,
        "",
        "| who prices | over prices kept |",
        "| --- | --- |",
        *rows,
        "",
        f"Plan, blind: realised ÷ promised {realised:.3f}.",
    ]


def _choosers(problem: MarkdownProblem, plan: MarkdownPlan, truth: int) -> dict[str, Chooser]:
    top = problem.ladder.shape[1] - 1
    half = int(np.argmin(np.abs(problem.ladder[0] - 0.5 * problem.reference_price[0])))
    known = replace(
        *(problem,),
        **{name: getattr(problem, name)[truth : truth + 1] for name in ("own", "base_scale")},
        noise=None,
    )
    best = plan_markdown(known)
    policy = solve_markdown_policy(problem, 0)
    state = {"rung": top, "held": 99}

    def by_policy(week: int, stock: float, _: float) -> int:
        rung = policy.price_at(week, int(stock), state["rung"], state["held"], 99)
        state["rung"] = rung
        return rung

    return {
        "prices kept": lambda *_: top,
        "half price for two weeks": lambda week, *_: half if week >= problem.weeks - 2 else top,
        "plan, blind": lambda week, *_: int(plan.rung[0, week]),
        "plan, anew each week": _watcher(problem, plan),
        "policy": by_policy,
        "knowing the draw": lambda week, *_: int(best.rung[0, week]),
    }


def _watcher(problem: MarkdownProblem, plan: MarkdownPlan) -> Chooser:
    held = [problem, plan]

    def choose(week: int, stock: float, sold: float) -> int:
        if week > 0:
            held[0], held[1] = replan(held[0], held[1], np.array([sold]), np.array([stock]))  # type: ignore[arg-type]
        return int(held[1].rung[0, 0])  # type: ignore[union-attr]

    return choose


def _sell(problem: MarkdownProblem, truth: int, choose: Chooser, rng: np.random.Generator) -> float:
    stock, money, sold = float(problem.stock[0]), 0.0, 0.0
    for week in range(problem.weeks):
        rung = choose(week, stock, sold)
        price = problem.ladder[0, rung]
        mean = problem.week_units[week, 0] * problem.base_scale[truth, 0]
        mean *= (price / problem.reference_price[0]) ** problem.own[truth, 0]
        sold = min(float(rng.poisson(mean)), stock)
        stock, money = stock - sold, money + sold * price
    return float(money + stock * problem.salvage[0])


if __name__ == "__main__":
    main()
