"""Readings of switchbacks, price tests, stores and budget splits while they run, under every analysis.

    python -m benchmarks.experiment_looks [--repeats 4000] [--only TEXT]

Each design is read every week or fortnight of its time, once on tests of nothing and once with an effect that differs
from unit to unit. Error: how often any look shows an effect that is not there. Coverage: how often the truth lies in
the interval of every look. Power and time: how often, and after which share of the time, a look shows the effect of
which the design says that it is shown in 80 %. Seeded; writes benchmarks/results/experiment_looks.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.experiment_truth import daily_sales, with_effect
from experiments.few_units import FewLooks, interval_looks
from experiments.price_test import draw_price_test, read_price_test
from experiments.sequential import AnalysisPlan
from experiments.shared_budget import BudgetSplit, read_budget_split
from experiments.switchback import draw_switchback, plan_switchback, read_switchback

RESULTS = Path(__file__).parent / "results"
Floats = npt.NDArray[np.float64]
WEEKS, STEPS = 8, 168
ALPHA, POWER = 0.05, 0.8
PLANS = {
    "group sequential, alpha·t³": AnalysisPlan("group_sequential", ALPHA, planned_units=1),
    "group sequential, Pocock-like": AnalysisPlan("group_sequential", ALPHA, "pocock", planned_units=1),
    "always valid": AnalysisPlan("always_valid", ALPHA),
    "read once, looked at early": AnalysisPlan("fixed", ALPHA),
}
Look = tuple[float, float, float]
"""Estimate, standard error, degrees of freedom."""
Once = Callable[[float], Iterator[Look]]
"""From an effect to what is read at each look of one test."""


@dataclass(frozen=True)
class Case:
    """A design that is read again and again."""

    once: Once
    fractions: tuple[float, ...]
    """How far it is at each look."""
    growing: bool = False
    """Whether the degrees of freedom grow with it."""
    times: float = 1.0
    """How many times as often it is repeated, being quick or slow to simulate."""


def switchback(rng: np.random.Generator, regions: int) -> Case:
    """Stores for 24 weeks, a day's carry-over; the effect differs from day to day. Read every fortnight from week 4."""
    plan = plan_switchback(daily_sales(rng, regions), steps=STEPS, effect=4.0, felt=(1.0,), lengths=(7,))
    ends = range(28, STEPS + 1, 14)

    def once(effect: float) -> Iterator[Look]:
        ran = draw_switchback(plan, rng)
        state = with_effect(np.zeros(ran.shape), ran, 1.0, (1.0,))
        values = daily_sales(rng, regions) + effect * state * rng.normal(1.0, 1.0, ran.shape)
        for steps in ends:
            got = read_switchback(values[:, :steps], ran[:, :steps], length=plan.length, burn_in=plan.burn_in)
            yield got.estimate, got.standard_error, got.pairs - 1.0

    return Case(once, tuple(steps / STEPS for steps in ends), growing=True)


def weekly(rng: np.random.Generator, units: int, paid_back: float) -> Floats:
    """(units, weeks) noise of the weeks so far, of which the next week pays back a share: the mean of weeks 1…w."""
    shocks = rng.normal(0, 4, (units, WEEKS + 1))
    return np.cumsum(shocks[:, 1:] - paid_back * shocks[:, :-1], axis=1) / np.arange(1, WEEKS + 1)


def price_test(rng: np.random.Generator, number: int, paid_back: float = 0.0, lasting: float = 1.0) -> Case:
    """Products in categories, with a part that lasts; a launch moves each by its own amount. Read every week."""
    categories = np.repeat(np.arange(number), rng.integers(4, 12, number))
    size = categories.size

    def once(effect: float) -> Iterator[Look]:
        test = draw_price_test(categories, rng)
        level = rng.lognormal(3.0, 0.5, size)
        before = level + rng.normal(0, 1, size)
        kept = rng.normal(0, lasting, number)[categories] + rng.normal(0, lasting, size)
        earned = level + kept + effect * test.variant * rng.normal(1.0, 1.0, size)
        so_far = earned[:, None] + weekly(rng, size, paid_back)
        for week in range(WEEKS):
            got = read_price_test(so_far[:, week], test, categories, before=before).launch
            yield got.estimate, got.error, got.freedom

    return Case(once, tuple(week / WEEKS for week in range(1, WEEKS + 1)), times=0.5)


def stores(rng: np.random.Generator, number: int) -> Case:
    """Stores, half of them treated, by their change since before (Welch's t). Read every week."""
    half = number // 2

    def once(effect: float) -> Iterator[Look]:
        order = rng.permutation(number)
        change = rng.normal(0, 0.5, number)[:, None] + weekly(rng, number, 0.0)
        change[order[:half]] += effect * rng.normal(1.0, 1.0, (half, 1))
        for week in range(WEEKS):
            on, off = change[order[:half], week], change[order[half:], week]
            parts = on.var(ddof=1) / half, off.var(ddof=1) / (number - half)
            freedom = sum(parts) ** 2 / (parts[0] ** 2 / (half - 1) + parts[1] ** 2 / (number - half - 1))
            yield float(on.mean() - off.mean()), float(np.sqrt(sum(parts))), float(freedom)

    return Case(once, tuple(week / WEEKS for week in range(1, WEEKS + 1)), times=2.0)


def budget_split(rng: np.random.Generator, cells: int, customers: int = 4_000) -> Case:
    """Customers in cells, whose purchases come a week at a time; the effect is so far's. Read every week."""

    def once(effect: float) -> Iterator[Look]:
        cell = rng.integers(0, cells, customers)
        split = BudgetSplit(cell, rng.permutation(np.arange(cells) % 2), np.ones(cells))
        habit = rng.gamma(2.0, 2.0, customers)
        weeks = rng.gamma(0.5, 2.0, (customers, WEEKS)) * habit[:, None]
        weeks += (effect * split.customer_variant * rng.gamma(1.0, 1.0, customers))[:, None]
        for week in range(1, WEEKS + 1):
            got = read_budget_split(weeks[:, :week].mean(axis=1), np.zeros(customers), split, before=habit)
            yield got.estimate, got.standard_error, got.freedom

    return Case(once, tuple(week / WEEKS for week in range(1, WEEKS + 1)), times=2.0)


CASES: dict[str, Callable[[np.random.Generator], Case]] = {
    "switchback, 8 stores, 24 weeks": lambda rng: switchback(rng, 8),
    "switchback, 2 stores, 24 weeks": lambda rng: switchback(rng, 2),
    "price test, 60 categories, 8 weeks": lambda rng: price_test(rng, 60),
    "price test, 16 categories, 8 weeks": lambda rng: price_test(rng, 16),
    "price test, 16 categories, weeks pay back .3 of the one before": lambda rng: price_test(rng, 16, 0.3, 0.0),
    "24 stores, 8 weeks": lambda rng: stores(rng, 24),
    "8 stores, 8 weeks": lambda rng: stores(rng, 8),
    "budget split, 40 cells, 8 weeks": lambda rng: budget_split(rng, 40),
    "budget split, 8 cells, 8 weeks": lambda rng: budget_split(rng, 8),
}


def simulated(case: Case, effect: float, repeats: int) -> Floats:
    """(repeats, looks, 3) what is read at each look."""
    return np.array([list(case.once(effect)) for _ in range(repeats)])


def half_widths(plan: AnalysisPlan, case: Case, freedom: Floats) -> Floats:
    """(repeats, looks) critical |t| of each reading, by the looks before it; freedom to the nearest tenth."""
    columns = [
        [_critical(plan, case.fractions[: look + 1], case.growing, one) for one in np.round(column, 1).tolist()]
        for look, column in enumerate(freedom.T)
    ]
    return np.array(columns).T


@lru_cache(maxsize=100_000)
def _critical(plan: AnalysisPlan, fractions: tuple[float, ...], growing: bool, freedom: float) -> float:
    then = [(freedom + 1) * at / fractions[-1] - 1 if growing else freedom for at in fractions]
    return float(interval_looks(plan, fractions, then).critical[-1])


def rows_of(name: str, case: Case, repeats: int) -> Iterator[str]:
    """Markdown rows of a design: one for each analysis."""
    repeats = int(repeats * case.times)
    nothing = simulated(case, 0.0, repeats)
    estimate, error, freedom = (nothing[:, :, part] for part in range(3))
    size = float(error[:, -1].mean())
    some = simulated(case, 2.0 * size, repeats)
    naive = np.abs(estimate / error) > stats.t.isf(ALPHA / 2, freedom)
    planned = tuple(np.median(freedom, axis=0).tolist())
    for label, plan in PLANS.items():
        wrong = np.abs(estimate / error) > half_widths(plan, case, freedom)
        off = np.abs(some[:, :, 0] - 2.0 * size) > half_widths(plan, case, some[:, :, 2]) * some[:, :, 1]
        cells = [
            name,
            label,
            f"{repeats:,}",
            f"{wrong.shape[1]}",
            f"{wrong.any(axis=1).mean():.1%}",
            f"{wrong[:, -1].mean():.1%}",
        ]
        cells += [f"{1 - off.any(axis=1).mean():.1%}", f"{1 - off[:, -1].mean():.1%}"]
        yield "| " + " | ".join([*cells, *_power(plan, case, nothing, planned, size)]) + " |"
    yield (
        f"| {name} | none: 95 % at each look | {repeats:,} | {naive.shape[1]} | {naive.any(axis=1).mean():.1%} | "
        + " | ".join([f"{naive[:, -1].mean():.1%}", "", "", "", ""])
        + " |"
    )


def _power(plan: AnalysisPlan, case: Case, nothing: Floats, planned: Sequence[float], size: float) -> list[str]:
    """The smallest effect over that of one reading, and power and time: planned and found."""
    if plan.method == "fixed":
        return ["", "", ""]
    looks = FewLooks(plan, case.fractions, tuple(planned))
    once = FewLooks(PLANS["read once, looked at early"], (1.0,), (planned[-1],)).drift_for(POWER)
    drift = looks.drift_for(POWER)
    shifted = np.abs(nothing[:, :, 0] + drift * size) / nothing[:, :, 1] > half_widths(plan, case, nothing[:, :, 2])
    at = np.where(shifted.any(axis=1), np.array(case.fractions)[shifted.argmax(axis=1)], 1.0)
    return [
        f"×{drift / once:.2f}",
        f"{shifted.any(axis=1).mean():.1%}",
        f"{looks.duration(drift):.2f} / {at.mean():.2f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Repeat, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4000)
    parser.add_argument("--only", default="", help="designs whose name holds this; they are printed and not written")
    options = parser.parse_args(arguments)
    begun = time.process_time()
    lines = [
        "# Readings while the test runs, simulated tests, alpha 5 %, seed 1",
        "",
        f"`python -m benchmarks.experiment_looks --repeats {options.repeats}`, one thread; simulated, described in",
        "the module. Bar: an effect is shown at any look in at most 5.3 % of the tests of nothing, and the truth lies",
        "in the interval of every look in at least 94.7 %; one standard error of such a share is",
        f"{_error(2_000)} of 2,000 tests, {_error(4_000)} of 4,000 and {_error(8_000)} of 8,000.",
        "The smallest effect is the one that is shown in 80 %, over that of one reading at the end; then the share",
        "in which it was found, and the share of the time after which the test ended on average, planned / found.",
        "Where part of the noise lasts, what is known grows faster than time: fewer errors, and effects are found",
        "sooner.",
        "",
        "| design | analysis | tests | looks | error, any look | error, last look | truth in all intervals |"
        " in the last | smallest effect | found | time planned / found |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, make in CASES.items():
        if options.only not in name:
            continue
        for row in rows_of(name, make(np.random.default_rng(1)), options.repeats):
            lines.append(row)
            print(row, flush=True)
    print(f"{time.process_time() - begun:.0f} s of processor time")
    if options.only:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "experiment_looks.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _error(repeats: int) -> str:
    return f"{np.sqrt(ALPHA * (1 - ALPHA) / repeats):.2%}"


if __name__ == "__main__":
    main()
