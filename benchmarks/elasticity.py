"""The price response held against known truths and against the data set that comes with the product.

    python -m benchmarks.elasticity [--seeds 3] [--scenarios default,sparse,...] [--no-real]

Writes benchmarks/results/elasticity.md. On simulated shops: error, bias, coverage and what the response says of itself.
On complete_journey: the spread of elasticities and every check. Orange juice has a benchmark of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.demand.response import diagnose_response, estimate_response
from engine.demand.sensitivity import measure_strength
from engine.panel import build_panel, split_panel
from engine.settings import Settings, load_settings
from engine.simulation import SCENARIOS, load_truth, simulate_shop
from engine.sources import open_shop

Floats = npt.NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"
NINETY = 1.645


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--home", default=".offerwright")
    parser.add_argument("--no-real", action="store_true")
    options = parser.parse_args(arguments)
    settings = load_settings(None, [f"data.home={options.home}"])
    parts = ["# Elasticities", "", *known_truth(options.scenarios.split(","), options.seeds)]
    if not options.no_real:
        parts += complete_journey(settings)
    text = "\n".join(parts) + "\n"
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "elasticity.md").write_text(text, encoding="utf-8")


def known_truth(scenarios: Sequence[str], seeds: int) -> list[str]:
    """One line for each scenario: means over seeds."""
    lines: list[dict[str, object]] = []
    for scenario in scenarios:
        rows = pd.DataFrame([_one_shop(scenario, seed) for seed in range(1, seeds + 1)])
        lines.append({"scenario": scenario} | {str(k): v for k, v in rows.mean().round(3).items()})
    return ["## Simulated shops", "", f"Means over {seeds} seeds, 300 products, 104 weeks.", "", _table(lines)]


def _one_shop(scenario: str, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "shop"
        settings = load_settings(None, [f"data.home={home}/home"])
        simulate_shop(folder, seed=seed, scenario=scenario, transactions=False, coupon_waves=0)
        panel = build_panel(open_shop(str(folder), settings), settings)
        truth = load_truth(folder)
    position = {product: i for i, product in enumerate(truth.product_ids)}
    true = truth.elasticity_regular[[position[product] for product in panel.product_ids]]
    started = time.process_time()
    response = estimate_response(panel, settings, seed=seed)
    seconds = time.process_time() - started
    error = response.elasticity - true
    return {
        "mean_absolute_error": float(np.abs(error).mean()),
        "bias": float(error.mean()),
        "correlation": float(np.corrcoef(response.elasticity, true)[0, 1]),
        "coverage_90": float((np.abs(error) < NINETY * response.elasticity_se).mean()),
        "identified": float(response.identified.mean()),
        "warnings": float(sum(note.code.startswith("warning") for note in response.notes)),
        "cpu_seconds": seconds,
    }


def complete_journey(settings: Settings) -> list[str]:
    """Quantiles by channel, checks, and the strength of observed confounders."""
    shop = open_shop("complete_journey", settings)
    panel = build_panel(shop, settings)
    first, second, how = split_panel(shop, panel, settings, settings.seed)
    response = estimate_response(panel, settings, seed=settings.seed)
    checked = diagnose_response(panel, first, second, response, settings, seed=settings.seed)
    quantiles = [
        {"channel": name, **_quantiles(response.channel_mean[:, k])} for k, name in enumerate(response.channels)
    ]
    revenue = np.bincount(panel.series_product, weights=(panel.units * panel.price).sum(axis=1))
    share = float(revenue[response.identified].sum() / revenue.sum())
    strength = measure_strength(panel)
    return [
        "",
        "## complete_journey",
        "",
        _table(quantiles),
        "",
        f"Identified: {response.identified.mean():.1%} of products, {share:.1%} of revenue. Halves: {how}.",
        "",
        *[f"- {check.reason.english()}" for check in checked.checks],
        *[f"- {note.english()}" for note in response.notes],
        *[f"- leaving out {b.name} moves the mean everyday elasticity by {b.shift:+.3f}" for b in strength.benchmarks],
    ]


def _quantiles(values: Floats) -> dict[str, float]:
    return {f"q{level:02d}": round(float(np.quantile(values, level / 100)), 2) for level in (5, 25, 50, 75, 95)}


def _table(rows: Sequence[dict[str, object]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows])


if __name__ == "__main__":
    main()
