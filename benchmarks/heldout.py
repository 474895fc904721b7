"""Promised against judged: plans made from one half of the sales, judged on the other by another class of model.

    python -m benchmarks.heldout [--data complete_journey] [--index-band 0.002] [--seeds 1] [--first-seed 1]

For each direction two plans are made under the same rules: one by the posterior (the product's way, `api.heldout`) and
one by the raw, unshrunken elasticities of the same half. Both are judged by the held-out half with
`engine.demand.judge`. The level is the mean of the last weeks for everybody, so that only the response is on trial.

One half-plan is judged by half of the sales, so that chance decides much of each line. All splits together are read
as repeated cross-fitting is (Chernozhukov et al., The Econometrics Journal, 2018, section 3.4): the mean of both
directions of a split, the median over splits, and in its interval the errors within the splits and the spread between
them. This rule was written down before its result was seen; of complete_journey the lines of seeds 1 to 3 were known.
Writes benchmarks/results/heldout_DATA.md, with the first seed in its name where that is not 1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from api.heldout import HalfPlan, plan_and_judge, pose_half
from api.price_stage import Demand, DemandFeatures, price_problem
from engine.demand.level import LevelForecast
from engine.demand.response import Response, estimate_response
from engine.panel import Panel, build_panel, current_prices, recent_units, split_panel
from engine.settings import Settings, load_settings
from engine.sources import open_shop
from optimizers.prices import PriceProblem

RESULTS = Path(__file__).parent / "results"
LEVEL_WEEKS = 8
WAYS = ("posterior", "raw")
LARGEST = 50.0


Z90 = 1.6449
"""Standard deviations from the middle to the ends of a 90 % interval of a normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A gain with its 90 % interval, as shares of today's profit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Trial:
    """One plan of one half, judged by the other."""

    seed: int
    way: str
    """One of WAYS."""
    direction: str
    half: HalfPlan


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="complete_journey")
    parser.add_argument("--index-band", default="0.002", help="as pricing.index_band; none: free")
    parser.add_argument("--seeds", type=int, default=1, help="number of ways to halve the sales")
    parser.add_argument("--first-seed", type=int, default=1, help="seed of the first of them")
    parser.add_argument("--home", default=".offerwright")
    options = parser.parse_args(arguments)
    settings = load_settings(None, [f"data.home={options.home}", f"pricing.index_band={options.index_band}"])
    started = time.process_time()
    shop = open_shop(options.data, settings)
    panel = build_panel(shop, settings)
    problem = whole_problem(panel, settings)
    trials: list[Trial] = []
    split = ""
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        first, second, split = split_panel(shop, panel, settings, seed)
        for name, own, other in (("a → b", first, second), ("b → a", second, first)):
            found = trials_of(problem, panel, own, other, settings)
            trials += [Trial(seed, way, name, half) for way, half in found]
    text = report(options.data, split, settings, trials, time.process_time() - started)
    RESULTS.mkdir(exist_ok=True)
    name = options.data.replace("/", "_") + (f"_{options.first_seed}" if options.first_seed != 1 else "")
    (RESULTS / f"heldout_{name}.md").write_text(text, encoding="utf-8")
    print(text)


def whole_problem(panel: Panel, settings: Settings) -> PriceProblem:
    """Pose the whole shop's problem with the mean of the last weeks as its level, taken as certain."""
    units = recent_units(panel, LEVEL_WEEKS) * settings.demand.horizon_weeks
    level = LevelForecast(units=np.zeros((0, 0)), product_units=units, relative_sd=np.zeros(panel.n_products))
    response = estimate_response(panel, settings, seed=settings.seed)
    nothing = DemandFeatures(None, np.zeros((panel.n_products, 0), dtype=np.float32))
    return price_problem(Demand(panel, current_prices(panel), level, response, nothing), settings)


def trials_of(
    problem: PriceProblem, whole: Panel, own: Panel, other: Panel, settings: Settings
) -> Iterator[tuple[str, HalfPlan]]:
    """Plan on `own` both ways and judge each plan on `other`."""
    response = estimate_response(own, settings, seed=settings.seed)
    half = pose_half(problem, response, settings)
    for way, believed in zip(WAYS, (half, unshrunken_problem(half, response)), strict=True):
        yield way, plan_and_judge(believed, other, whole, settings)


def unshrunken_problem(half: PriceProblem, response: Response) -> PriceProblem:
    """Pose the half's problem with its raw elasticities, taken as certain; the posterior's where there are none."""
    raw = np.where(np.isfinite(response.raw), response.raw, response.elasticity)[None, :]
    return replace(
        half,
        own=np.clip(raw, -LARGEST, LARGEST),
        cross=half.cross.mean(axis=0, keepdims=True),
        base_scale=np.ones_like(raw),
        curvature_draws=None,
    )


def report(data: str, split: str, settings: Settings, trials: Sequence[Trial], seconds: float) -> str:
    """Put the table into Markdown, shares of today's profit."""
    lines = [
        f"# Promised and judged on {data}",
        "",
        f"Halves by {split}; horizon {settings.demand.horizon_weeks} weeks; index band {settings.pricing.index_band}; "
        f"at most ±{settings.pricing.max_change:.0%}; {seconds:.0f} s of processor time. Shares of today's profit.",
        "",
        "| seed | plan by | direction | changed | index | promised (90 %) | judged (90 %) | judged ÷ promised |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(trial) for trial in trials),
        *(line for way in WAYS for line in ("", _verdict(way, [t.half for t in trials if t.way == way]))),
        "",
        "## All splits together",
        "",
        "Mean of both directions of each split, median over the splits; the intervals hold the errors within the "
        "splits and the spread between them.",
        "",
        "| plan by | splits | promised (90 %) | judged (90 %) | judged ÷ promised | judged within promised | "
        "promised within judged | agree given both errors |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_aggregate_row(way, [t for t in trials if t.way == way]) for way in WAYS),
    ]
    return "\n".join([*lines, ""])


def _row(trial: Trial) -> str:
    half = trial.half
    promised = _share(half.promised, half.promised_low, half.promised_high, half.profit_current)
    judged = _share(half.judged, half.judged_low, half.judged_high, half.profit_current)
    ratio = half.judged / half.promised if half.promised else float("nan")
    return (
        f"| {trial.seed} | {trial.way} | {trial.direction} | {half.changed} | {half.index_change:+.4f} | "
        f"{promised} | {judged} | {ratio:.2f} |"
    )


def _verdict(way: str, halves: Sequence[HalfPlan]) -> str:
    found = sum(half.judged for half in halves) / sum(half.promised for half in halves)
    within, agree = sum(half.within for half in halves), sum(half.agrees for half in halves)
    covered = sum(half.judged_low <= half.promised <= half.judged_high for half in halves)
    return (
        f"By {way}: {found:.2f} of the promise was found again; the judged gain lies within the promised interval in "
        f"{within} of {len(halves)} trials, the promise within the judged one in {covered}; they agree given the "
        f"errors of both (90 %) in {agree}."
    )


def _aggregate_row(way: str, trials: Sequence[Trial]) -> str:
    seeds = sorted({trial.seed for trial in trials})
    splits = [[trial.half for trial in trials if trial.seed == seed] for seed in seeds]
    promised, judged = (
        over_splits([cross_fitted(halves, name) for halves in splits]) for name in ("promised", "judged")
    )
    within, covered = _holds(promised, judged.value), _holds(judged, promised.value)
    apart = abs(promised.value - judged.value)
    agree = apart <= float(np.hypot(promised.high - promised.low, judged.high - judged.low)) / 2
    shown = [_share(found.value, found.low, found.high, 1.0) for found in (promised, judged)]
    said = " | ".join("yes" if answer else "no" for answer in (within, covered, agree))
    return f"| {way} | {len(seeds)} | {shown[0]} | {shown[1]} | {judged.value / promised.value:.2f} | {said} |"


def cross_fitted(halves: Sequence[HalfPlan], name: str) -> Estimate:
    """Mean over the directions of one split of what was "promised" or "judged".

    Widths are averaged too: both halves live through the same weeks, so that their errors do not cancel.
    """
    ends = [f"{name}{end}" for end in ("", "_low", "_high")]
    return Estimate(*(float(np.mean([getattr(half, end) / half.profit_current for half in halves])) for end in ends))


def over_splits(found: Sequence[Estimate]) -> Estimate:
    """Median over splits, with an interval that holds the errors within the splits and the spread between them.

    The squared error of a split grows by the square of its distance from the median; their median is taken
    (Chernozhukov et al., 2018, definition 3.3), here for the lower and the upper half of the interval alone.
    """
    value = np.array([one.value for one in found])
    middle = float(np.median(value))
    spread = (Z90 * (value - middle)) ** 2
    below = np.sqrt(np.median((value - [one.low for one in found]) ** 2 + spread))
    above = np.sqrt(np.median((np.array([one.high for one in found]) - value) ** 2 + spread))
    return Estimate(middle, middle - float(below), middle + float(above))


def _holds(found: Estimate, value: float) -> bool:
    return found.low <= value <= found.high


def _share(value: float, low: float, high: float, base: float) -> str:
    return f"{value / base:.2%} ({low / base:.2%} … {high / base:.2%})"


if __name__ == "__main__":
    main()
