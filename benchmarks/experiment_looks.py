"""Early readings of designs that are read once, on tests of nothing: how often one of them shows an effect.

    python -m benchmarks.experiment_looks [--repeats 1000]

A switchback, a price test and a budget split are read every fortnight or week of their time. Before the end the
interval is the confidence sequence that a reading shows then; at the end it is that of the plan. Seeded; writes
benchmarks/results/experiment_looks.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.experiment_truth import daily_sales
from experiments.price_test import draw_price_test, read_price_test
from experiments.sequential import AnalysisPlan, early_widening
from experiments.shared_budget import BudgetSplit, read_budget_split
from experiments.switchback import draw_switchback, plan_switchback, read_switchback

RESULTS = Path(__file__).parent / "results"
Floats = npt.NDArray[np.float64]
Looks = list[tuple[float, float, float]]
"""Estimate, low and high of the interval for one look, at each look."""
WEEKS = 8


def switchback(rng: np.random.Generator) -> Callable[[], Looks]:
    """Eight stores for 24 weeks, read every fortnight from the fourth week on."""
    plan = plan_switchback(daily_sales(rng), steps=168, effect=4.0, felt=(1.0,), lengths=(7,))

    def once() -> Looks:
        ran, values = draw_switchback(plan, rng), daily_sales(rng)
        looks = []
        for steps in range(28, 169, 14):
            got = read_switchback(values[:, :steps], ran[:, :steps], length=plan.length, burn_in=plan.burn_in)
            looks.append((got.estimate, got.low, got.high))
        return looks

    return once


def price_test(rng: np.random.Generator) -> Callable[[], Looks]:
    """Some four hundred products in sixty categories, whose weeks have a part that lasts; read every week."""
    categories = np.repeat(np.arange(60), rng.integers(4, 12, 60))
    size = categories.size

    def once() -> Looks:
        test = draw_price_test(categories, rng)
        level = rng.lognormal(3.0, 0.5, size)
        before = level + rng.normal(0, 1, size)
        lasting = rng.normal(0, 1, 60)[categories] + rng.normal(0, 1, size)
        weeks = level[:, None] + lasting[:, None] + rng.normal(0, 4, (size, WEEKS))
        looks = []
        for week in range(1, WEEKS + 1):
            got = read_price_test(weeks[:, :week].mean(axis=1), test, categories, before=before).launch
            looks.append((got.estimate, got.low, got.high))
        return looks

    return once


def budget_split(rng: np.random.Generator) -> Callable[[], Looks]:
    """Four thousand customers in forty cells, whose purchases come a week at a time."""
    customers, cells = 4_000, 40

    def once() -> Looks:
        cell = rng.integers(0, cells, customers)
        split = BudgetSplit(cell, rng.permutation(np.arange(cells) % 2), np.ones(cells))
        habit = rng.gamma(2.0, 2.0, customers)
        weeks = rng.gamma(0.5, 2.0, (customers, WEEKS)) * habit[:, None]
        looks = []
        for week in range(1, WEEKS + 1):
            got = read_budget_split(weeks[:, :week].sum(axis=1), np.zeros(customers), split, before=habit)
            looks.append((got.estimate, got.low, got.high))
        return looks

    return once


WEEKLY = tuple(week / WEEKS for week in range(1, WEEKS + 1))
FORTNIGHTLY = tuple(steps / 168 for steps in range(28, 169, 14))
DESIGNS: dict[str, tuple[Callable[[np.random.Generator], Callable[[], Looks]], Sequence[float]]] = {
    "switchback, eight stores, 24 weeks": (switchback, FORTNIGHTLY),
    "price test, sixty categories, 8 weeks": (price_test, WEEKLY),
    "budget split, forty cells, 8 weeks": (budget_split, WEEKLY),
}
"""How each is made, and how far it is at each look."""


def excluded(looks: Looks, fractions: Sequence[float]) -> npt.NDArray[np.bool_]:
    """(looks,) whether nought is outside the interval that is shown at each look; the last one is the end."""
    units = 10_000
    found = []
    for fraction, (estimate, low, high) in zip(fractions, looks, strict=True):
        plan = AnalysisPlan("fixed", planned_units=round(units / fraction))
        wider = early_widening(plan, units)
        found.append(not estimate - wider * (estimate - low) <= 0 <= estimate + wider * (high - estimate))
    return np.array(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Repeat, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    options = parser.parse_args(arguments)
    lines = [
        f"# Early readings of designs that are read once, {options.repeats} tests of nothing, 95 % intervals, seed 1",
        "",
        f"`python -m benchmarks.experiment_looks --repeats {options.repeats}`; simulated, described in the module.",
        "Bar: at most 5.3 % of the tests show an effect at any look before the end; about 5 % at the end. Without the",
        "widening: what somebody sees who looks every time at the interval of a plan that is read once.",
        "",
        "| design | looks | shown before the end | at the end | at any look, without the widening |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (make, fractions) in DESIGNS.items():
        once = make(np.random.default_rng(1))
        runs = [once() for _ in range(options.repeats)]
        shown = np.array([excluded(run, fractions) for run in runs])
        plain = np.array([[not low <= 0 <= high for _, low, high in run] for run in runs])
        lines.append(
            f"| {name} | {shown.shape[1]} | {shown[:, :-1].any(axis=1).mean():.1%} | {shown[:, -1].mean():.1%} | "
            f"{plain.any(axis=1).mean():.1%} |"
        )
        print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "experiment_looks.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
