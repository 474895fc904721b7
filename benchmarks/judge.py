"""The judge judged: gains of given plans, by the judge and in truth, on shops whose demand is known.

    python -m benchmarks.judge [--seeds 2] [--first-seed 101]

Each shop is halved by a fair coin and the judge sees one half. Three plans are put before it, none of which was made
from the shop's sales: "informed" moves every price by a tenth, up where the true elasticity, known with an error of .4,
says that this pays and down elsewhere; "random" moves each by up to a tenth; "up" raises all by a twentieth, which no
index band would permit and which shows substitution alone. Writes benchmarks/results/judge.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.logit_shop import simulate_logit_shop
from benchmarks.oracle import KnownTruth
from benchmarks.referee_shops import simulate_referee_shop
from engine.demand.judge import judge_plan
from engine.panel import build_panel, split_panel
from engine.settings import load_settings
from engine.simulation import Truth, load_truth, simulate_shop
from engine.sources import open_shop

Floats = npt.NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"
NINETY = 1.645
MISTAKEN = 0.4
"""Standard deviation of the error with which the informed plan knows elasticities."""


@dataclass(frozen=True)
class Verdict:
    """One plan of one shop; shares of today's profit."""

    shop: str
    plan: str
    truth: float
    judged: float
    low: float
    high: float
    slopes_covered: float
    """Share of products whose true elasticity lies within the 90 % interval of the judge's slope."""


def simulated(scenario: str, folder: Path, *, seed: int) -> Truth:
    """Write a shop of our own simulator and return its truth."""
    simulate_shop(folder, seed=seed, scenario=scenario, transactions=False, coupon_waves=0)
    return load_truth(folder)


SHOPS: dict[str, Callable[..., Any]] = {
    **{name: partial(simulated, name) for name in ("default", "promo_not_price")},
    **{
        f"referee {name}": partial(simulate_referee_shop, design=name)
        for name in ("evidence", "separate", "nested", "semilog")
    },
    "logit": simulate_logit_shop,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=101)
    options = parser.parse_args(arguments)
    started = time.process_time()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    verdicts = [verdict for name in SHOPS for seed in seeds for verdict in judge_shop(name, seed)]
    text = report(verdicts, seeds, time.process_time() - started)
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "judge.md").write_text(text, encoding="utf-8")


def judge_shop(name: str, seed: int) -> Iterator[Verdict]:
    """Put the three plans before the judge."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "shop"
        settings = load_settings(None, [f"data.home={home}/home"])
        truth: KnownTruth = SHOPS[name](folder, seed=seed)
        shop = open_shop(str(folder), settings)
        panel = build_panel(shop, settings)
        _, half, _ = split_panel(shop, panel, settings, seed)
    place = {product: i for i, product in enumerate(truth.product_ids)}
    at = np.array([place[product] for product in panel.product_ids])
    today, cost = truth.current_price[at], truth.unit_cost[at]
    units, elasticity = truth.units(truth.current_price)[at], truth.elasticity_regular[at]
    for plan, move in plans(today, cost, units, elasticity, np.random.default_rng(seed)).items():
        price = truth.current_price.copy()
        price[at] = today * (1 + move)
        judged = judge_plan(
            half, current_price=today, price=price[at], unit_cost=cost, base_units=units, seed=settings.seed
        )
        base = judged.profit_current
        inside = np.abs(judged.slope - elasticity) <= NINETY * judged.slope_se
        yield Verdict(
            shop=name,
            plan=plan,
            truth=truth.gain(price) / base,
            judged=judged.gain / base,
            low=judged.gain_low / base,
            high=judged.gain_high / base,
            slopes_covered=float(inside.mean()),
        )


def plans(
    price: Floats, cost: Floats, units: Floats, elasticity: Floats, rng: np.random.Generator
) -> dict[str, Floats]:
    """Relative moves (P,) of the three plans; the informed one leaves the price index about where it is."""
    believed = elasticity + rng.normal(0, MISTAKEN, len(price))
    worth = 1 + believed * (1 - cost / price)
    order = np.argsort(worth)
    revenue = (price * units)[order]
    middle = worth[order][np.searchsorted(np.cumsum(revenue), revenue.sum() / 2)]
    return {
        "informed": 0.1 * np.sign(worth - middle),
        "random": rng.choice([-0.1, -0.05, 0.0, 0.05, 0.1], len(price)),
        "up": np.full(len(price), 0.05),
    }


def report(verdicts: Sequence[Verdict], seeds: range, seconds: float) -> str:
    """Put the table into Markdown."""
    table = pd.DataFrame([vars(verdict) for verdict in verdicts])
    table["error"] = table["judged"] - table["truth"]
    table["covered"] = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    table["z"] = table["error"] / ((table["high"] - table["low"]) / (2 * NINETY))
    lines = [
        "# The judge on shops with known truth",
        "",
        f"Seeds {seeds.start} to {seeds.stop - 1} of each shop, one half of the sales; shares of today's profit; "
        f"{seconds:.0f} s of processor time.",
        "",
        "| plan | shop | truth | judged | error | 90 % interval covers | errors over standard errors, rms |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for plan, plans_of in table.groupby("plan", sort=False):
        lines += [_row(str(plan), str(shop), part) for shop, part in plans_of.groupby("shop", sort=False)]
        lines.append(_row(str(plan), "**all**", plans_of))
    lines += ["", f"Of the products' true elasticities {table['slopes_covered'].mean():.0%} lie within 90 % intervals."]
    return "\n".join([*lines, ""])


def _row(plan: str, shop: str, part: pd.DataFrame) -> str:
    means = " | ".join(f"{part[name].mean():+.2%}" for name in ("truth", "judged", "error"))
    covered, spread = int(part["covered"].sum()), float(np.sqrt((part["z"] ** 2).mean()))
    return f"| {plan} | {shop} | {means} | {covered} of {len(part)} | {spread:.2f} |"


if __name__ == "__main__":
    main()
