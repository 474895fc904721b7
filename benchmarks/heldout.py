"""Promised against judged: plans made from one half of the sales, judged on the other by another class of model.

    python -m benchmarks.heldout [--data complete_journey] [--index-band 0.002] [--seeds 1]

For each direction two plans are made under the same rules: one by the posterior (the product's way) and one by the raw,
unshrunken elasticities of the same half. Both are judged by the held-out half with `engine.demand.judge`. The level is
the mean of the last weeks for everybody, so that only the response is on trial. Writes
benchmarks/results/heldout_DATA.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.demand.judge import Judgement, judge_plan
from engine.demand.response import Response, estimate_response
from engine.panel import Panel, build_panel, current_prices, recent_units, split_panel
from engine.settings import Settings, load_settings
from engine.sources import open_shop
from optimizers.check import check_price_plan, price_index_change
from optimizers.prices import PriceProblem, evaluate_prices, solve_prices

Floats = npt.NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Trial:
    """One plan of one half, judged by the other; money over the horizon of the whole shop."""

    seed: int
    way: str
    """"posterior" or "raw"."""
    direction: str
    changed: int
    index_change: float
    promised: float
    promised_low: float
    promised_high: float
    judged: Judgement

    def agree_given_both_errors(self) -> bool:
        """Whether promise and judgement differ by no more than the half-widths of both intervals allow."""
        promised = (self.promised_high - self.promised_low) / 2
        judged = (self.judged.gain_high - self.judged.gain_low) / 2
        return abs(self.promised - self.judged.gain) <= float(np.hypot(promised, judged))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="complete_journey")
    parser.add_argument("--index-band", default="0.002", help="as pricing.index_band; none: free")
    parser.add_argument("--seeds", type=int, default=1, help="number of ways to halve the sales")
    parser.add_argument("--home", default=".offerwright")
    options = parser.parse_args(arguments)
    settings = load_settings(None, [f"data.home={options.home}", f"pricing.index_band={options.index_band}"])
    started = time.process_time()
    shop = open_shop(options.data, settings)
    panel = build_panel(shop, settings)
    trials: list[Trial] = []
    split = ""
    for seed in range(1, options.seeds + 1):
        first, second, split = split_panel(shop, panel, settings, seed)
        for name, own, other in (("a → b", first, second), ("b → a", second, first)):
            trials.extend(trials_of(seed, name, panel, own, other, settings))
    text = report(options.data, split, settings, trials, time.process_time() - started)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"heldout_{options.data.replace('/', '_')}.md").write_text(text, encoding="utf-8")
    print(text)


def trials_of(seed: int, direction: str, whole: Panel, own: Panel, other: Panel, settings: Settings) -> Iterator[Trial]:
    """Plan on `own` both ways and judge each plan on `other`."""
    response = estimate_response(own, settings, seed=settings.seed)
    problem = half_problem(whole, response, settings)
    raw = np.where(np.isfinite(response.raw), response.raw, response.elasticity)[None, :]
    ways = {
        "posterior": problem,
        "raw": replace(
            problem,
            own=np.clip(raw, -50, 50),
            cross=problem.cross.mean(axis=0, keepdims=True),
            base_scale=np.ones_like(raw),
        ),
    }
    for way, believed in ways.items():
        plan = solve_prices(believed, gap=1e-3)
        check_price_plan(believed, plan)
        draws = evaluate_prices(believed, plan.price).gain_draws
        yield Trial(
            seed,
            way,
            direction,
            changed=int((plan.price != problem.current_price).sum()),
            index_change=price_index_change(problem, plan.price),
            promised=float(draws.mean()),
            promised_low=float(np.quantile(draws, 0.05)),
            promised_high=float(np.quantile(draws, 0.95)),
            judged=judge(other, whole, problem, plan.price, settings.seed),
        )


def half_problem(whole: Panel, response: Response, settings: Settings) -> PriceProblem:
    """Pose the whole shop's problem with one half's response; the level is the mean of the last eight weeks."""
    rng, rules = np.random.default_rng(settings.seed), settings.pricing
    own, cross = response.draws(settings.demand.draws, rng)
    price, cost = current_prices(whole), whole.products["unit_cost"].to_numpy(dtype=np.float64)
    known = np.isfinite(price) & (price > 0) & np.isfinite(cost)
    units = recent_units(whole, 8) * settings.demand.horizon_weeks
    return PriceProblem(
        product_ids=whole.product_ids,
        current_price=np.where(known, price, 1.0),
        unit_cost=np.where(known, cost, 0.0),
        base_units=np.where(known, units, 0.0),
        own=own,
        cross=cross,
        base_scale=np.ones_like(own),
        family=whole.category_code,
        movable=response.identified & known,
        max_change=rules.max_change,
        step=rules.step,
        index_band=rules.index_band,
        min_margin=rules.min_margin,
        max_changed=rules.max_changed,
        endings=rules.endings,
        price_low=response.price_low,
        price_high=response.price_high,
    )


def judge(other: Panel, whole: Panel, problem: PriceProblem, price: Floats, seed: int) -> Judgement:
    """Judge with the held-out half's units; prices come from the whole shop where the series are the same."""
    return judge_plan(
        other,
        current_price=problem.current_price,
        price=price,
        unit_cost=problem.unit_cost,
        base_units=problem.base_units,
        seed=seed,
        prices_from=whole if other.units.shape == whole.units.shape else None,
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
    ]
    for trial in trials:
        base, judged = trial.judged.profit_current, trial.judged
        promised = _share(trial.promised, trial.promised_low, trial.promised_high, base)
        found = _share(judged.gain, judged.gain_low, judged.gain_high, base)
        ratio = judged.gain / trial.promised if trial.promised else float("nan")
        lines.append(
            f"| {trial.seed} | {trial.way} | {trial.direction} | {trial.changed} | {trial.index_change:+.4f} | "
            f"{promised} | {found} | {ratio:.2f} |"
        )
    for way in ("posterior", "raw"):
        mine = [trial for trial in trials if trial.way == way]
        promised_sum, judged_sum = sum(t.promised for t in mine), sum(t.judged.gain for t in mine)
        within = sum(t.promised_low <= t.judged.gain <= t.promised_high for t in mine)
        agree = sum(t.judged.agrees(t.promised) for t in mine)
        both = sum(t.agree_given_both_errors() for t in mine)
        lines.append("")
        lines.append(
            f"By {way}: {judged_sum / promised_sum:.2f} of the promise was found again; the judged gain lies within "
            f"the promised interval in {within} of {len(mine)} trials, the promise within the judged "
            f"one in {agree}; they agree given the errors of both (90 %) in {both}."
        )
    return "\n".join([*lines, ""])


def _share(value: float, low: float, high: float, base: float) -> str:
    return f"{value / base:.2%} ({low / base:.2%} … {high / base:.2%})"


if __name__ == "__main__":
    main()
