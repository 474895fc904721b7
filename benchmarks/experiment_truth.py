"""Experiments whose truth is known: how often the interval covers it, and what the naive reading would have said.

    python -m benchmarks.experiment_truth [--repeats 2000]

Switchbacks with carry-over, two coupon policies on one budget, product prices with substitution. Seeded; writes
benchmarks/results/experiment_truth.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from experiments.price_test import draw_price_test, read_price_test
from experiments.shared_budget import read_budget_split, read_one_pot, split_budget
from experiments.switchback import draw_switchback, plan_switchback, read_switchback

RESULTS = Path(__file__).parent / "results"
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Repeat = tuple[float, float, float, float, float, float, float]
"""truth, estimate, low, high, naive, naive low, naive high."""

FELT = (1.0, 0.6, 0.3)
STEP_EFFECT = 4.0
CUSTOMERS, CELLS, BUDGET_EACH, COUPON = 20_000, 50, 0.25, 1.0


def daily_sales(rng: np.random.Generator, regions: int = 8, steps: int = 168) -> Floats:
    """Levels, a weekly season, a trend and noise that remembers yesterday, (regions, steps)."""
    shocks = 3.0 * rng.standard_normal((regions, steps))
    walk = np.empty_like(shocks)
    walk[:, 0] = shocks[:, 0]
    for step in range(1, steps):
        walk[:, step] = 0.6 * walk[:, step - 1] + shocks[:, step]
    season = 10 * np.sin(2 * np.pi * np.arange(steps) / 7)
    return rng.normal(100, 20, (regions, 1)) + season + 0.05 * np.arange(steps) + walk


def with_effect(base: Floats, schedule: Ints, effect: float = STEP_EFFECT, felt: Sequence[float] = FELT) -> Floats:
    """Add the effect of a schedule; after a switch the old state is still felt, less and less."""
    state = np.concatenate([np.zeros((schedule.shape[0], len(felt)), int), schedule], axis=1)
    place = np.arange(schedule.shape[1]) + len(felt)
    kept = np.diff(np.concatenate([[0.0], 1 - np.array(felt), [1.0]]))
    lagged = [share * state[:, place - lag] for lag, share in enumerate(kept)]
    return base + effect * np.sum(lagged, axis=0)


def repeat_switchback(rng: np.random.Generator) -> Callable[[], Repeat]:
    """Make a switchback test that can be repeated."""
    plan = plan_switchback(daily_sales(rng), steps=168, effect=STEP_EFFECT, felt=FELT, lengths=(7, 14, 21))

    def once() -> Repeat:
        schedule = draw_switchback(plan, rng)
        values = with_effect(daily_sales(rng), schedule)
        got = read_switchback(values, schedule, length=plan.length, burn_in=plan.burn_in)
        return STEP_EFFECT, got.estimate, got.low, got.high, got.naive, got.naive_low, got.naive_high

    return once


def run_policy(policy: Ints, pot: Ints, budget: Floats, taste: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Profit and cost of customers who come one by one; a coupon goes out while the pot lasts.

    Args:
        policy: (n,) 0 sends to 40 % of the customers whatever they gain, 1 to the fifth who gains most.
        pot: (n,) which pot pays.
        budget: (pots,) money.
        taste: (n, 2) uniform: whom policy 0 picks, and how much a coupon helps.
        noise: (n,) profit without a coupon.
    """
    wanted = np.where(policy == 0, taste[:, 0] < 0.4, taste[:, 1] > 0.8)
    sent = np.zeros(policy.size, dtype=bool)
    for one in range(budget.size):
        members = np.flatnonzero((pot == one) & wanted)
        sent[members[: int(budget[one] / COUPON)]] = True
    return noise + sent * (5.0 * taste[:, 1] ** 2 - COUPON), sent * COUPON


def policy_truth() -> float:
    """Profit for each customer of policy 1 alone less that of policy 0 alone, in closed form."""
    greedy = BUDGET_EACH * (5.0 / 3 - COUPON)
    careful = 5.0 * (1 - 0.8**3) / 3 - 0.2 * COUPON
    return careful - greedy


def _customers(rng: np.random.Generator) -> tuple[Floats, Floats]:
    return rng.random((CUSTOMERS, 2)), rng.gamma(0.5, 2.0, CUSTOMERS)


def repeat_budget_split(rng: np.random.Generator) -> Callable[[], Repeat]:
    """Make two policies on split budgets; the naive reading is that of a test in one pot on the same customers."""
    ids = np.arange(CUSTOMERS)
    budget = BUDGET_EACH * CUSTOMERS

    def once() -> Repeat:
        taste, noise = _customers(rng)
        split = split_budget(ids, budget, cells=CELLS, seed=f"cells-{rng.integers(1_000_000_000)}", rng=rng)
        got = read_budget_split(*run_policy(split.customer_variant, split.cell, split.budget, taste, noise), split)
        coin = rng.integers(0, 2, CUSTOMERS)
        one_pot = run_policy(coin, np.zeros(CUSTOMERS, int), np.array([budget]), taste, noise)
        naive = read_one_pot(*one_pot, coin, shadow_price=0.0)
        return policy_truth(), got.estimate, got.low, got.high, naive.naive, naive.naive_low, naive.naive_high

    return once


def product_profits(rng: np.random.Generator, categories: Ints, variant: Ints) -> tuple[Floats, Floats]:
    """Weekly profit before and during; a new price earns 6 more, of which the category's neighbours lose two thirds."""
    size = np.bincount(categories)[categories]
    treated = np.bincount(categories, variant)[categories]
    category = rng.normal(0, 3, categories.max() + 1)[categories]
    level = rng.lognormal(3.0, 0.5, categories.size) + category
    shock = rng.normal(0, 1.0, categories.max() + 1)[categories]
    lost = 4.0 * (treated - variant) / (size - 1)
    before = level + rng.normal(0, 3, categories.size)
    return before, level + shock + rng.normal(0, 3, categories.size) + 6.0 * variant - lost


def repeat_price_test(rng: np.random.Generator, number: int = 60) -> Callable[[], Repeat]:
    """Make a price test over products of some categories; a launch everywhere earns 2 for each product."""
    categories = np.repeat(np.arange(number), rng.integers(4, 12, number))

    def once() -> Repeat:
        test = draw_price_test(categories, rng)
        before, during = product_profits(rng, categories, test.variant)
        got = read_price_test(during, test, categories, before=before)
        launch, naive = got.launch, got.naive
        return 2.0, launch.estimate, launch.low, launch.high, naive.estimate, naive.low, naive.high

    return once


TRUTHS: dict[str, Callable[[np.random.Generator], Callable[[], Repeat]]] = {
    "switchback, carry-over of three days": repeat_switchback,
    "two policies on one budget, split into cells": repeat_budget_split,
    "prices over products, substitution": repeat_price_test,
    "the same with twelve categories": lambda rng: repeat_price_test(rng, 12),
}


def repeated(name: str, repeats: int, seed: int = 1) -> npt.NDArray[np.float64]:
    """Run one experiment many times: (repeats, 7), columns as in `Repeat`."""
    once = TRUTHS[name](np.random.default_rng(seed))
    return np.array([once() for _ in range(repeats)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Repeat, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    options = parser.parse_args(arguments)
    lines = [
        f"# Experiments with known truth, {options.repeats} repeats, 95 % intervals, seed 1",
        "",
        "`python -m benchmarks.experiment_truth`; simulated data, described in the module. Naive: no burn-in;",
        "one pot; all products with the new price against all others.",
        "",
        "| experiment | truth | mean estimate | coverage | mean of the naive | its bias | its coverage | s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in TRUTHS:
        begun = time.perf_counter()
        lines.append(_row(name, repeated(name, options.repeats), time.perf_counter() - begun))
        print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "experiment_truth.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _row(name: str, runs: npt.NDArray[np.float64], seconds: float) -> str:
    truth, estimate, low, high, naive, naive_low, naive_high = runs.T
    covered = np.mean((low <= truth) & (truth <= high))
    naive_covered = np.mean((naive_low <= truth) & (truth <= naive_high))
    return (
        f"| {name} | {truth[0]:.3f} | {estimate.mean():.3f} | {covered:.1%} | {naive.mean():.3f} | "
        f"{naive.mean() / truth[0] - 1:+.0%} | {naive_covered:.1%} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
