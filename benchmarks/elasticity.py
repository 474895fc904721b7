"""The price response held against known truths and against the two data sets that come with the product.

    python -m benchmarks.elasticity [--seeds 3] [--scenarios default,sparse,...] [--no-real]

Writes benchmarks/results/elasticity.md. On simulated shops: error, bias, coverage and what the response says of itself.
On complete_journey: the spread of elasticities and every check. On orange_juice: elasticities beside store-and-brand
fixed effects (log units on log price and feature, ordinary least squares), like for like and by channel.
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

from engine.demand.channels import Channels, split_prices
from engine.demand.fitting import fit_panel
from engine.demand.noise import noise_precision, unshrunken
from engine.demand.response import diagnose_response, estimate_response
from engine.demand.sensitivity import measure_strength
from engine.errors import DataError
from engine.panel import Panel, build_panel, split_panel
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
        parts += [*complete_journey(settings), *orange_juice(settings)]
    text = "\n".join(parts) + "\n"
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "elasticity.md").write_text(text, encoding="utf-8")


def known_truth(scenarios: Sequence[str], seeds: int) -> list[str]:
    """One line for each scenario: means over seeds."""
    lines = []
    for scenario in scenarios:
        rows = pd.DataFrame([_one_shop(scenario, seed) for seed in range(1, seeds + 1)])
        lines.append({"scenario": scenario, **rows.mean().round(3).to_dict()})
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


def orange_juice(settings: Settings) -> list[str]:
    """Beside store-and-brand fixed effects: the same question first, then ours."""
    try:
        panel = build_panel(open_shop("orange_juice", settings), settings)
    except DataError as error:
        return ["", "## orange_juice", "", f"Not measured: {error}"]
    reference, reference_se = fixed_effects(panel)
    channels = split_prices(panel)
    merged = Channels(("regular",), channels.values.sum(axis=2, keepdims=True), channels.usable)
    bare = frozenset({"category weeks", "trend", "season", "stockpiling"})
    same, same_se = _one_channel(panel, merged, bare)
    full, full_se = _one_channel(panel, merged, frozenset())
    response = estimate_response(panel, settings, seed=settings.seed)
    rows = [
        {
            "brand": product,
            "fixed effects (OLS)": f"{reference[i]:.2f} ± {reference_se[i]:.2f}",
            "ours, same controls": f"{same[i]:.2f} ± {same_se[i]:.2f}",
            "ours, all controls": f"{full[i]:.2f} ± {full_se[i]:.2f}",
            "promotion": f"{response.channel_mean[i, 0]:.2f} ± {response.channel_sd[i, 0]:.2f}",
            "everyday": f"{response.elasticity[i]:.2f} ± {response.elasticity_se[i]:.2f}",
        }
        for i, product in enumerate(panel.product_ids)
    ]
    ranks = ", ".join(
        f"{name} {_rank(reference, values):.2f}"
        for name, values in (("same controls", same), ("all controls", full), ("everyday", response.elasticity))
    )
    return ["", "## orange_juice", "", _table(rows), "", f"Rank correlation with fixed effects: {ranks}."]


def _one_channel(panel: Panel, merged: Channels, without: frozenset[str]) -> tuple[Floats, Floats]:
    fit = fit_panel(panel, merged, without=without)
    return unshrunken(fit)[:, 0], 1.0 / np.sqrt(np.maximum(noise_precision(fit)[:, 0, 0], 1e-12))


def fixed_effects(panel: Panel) -> tuple[Floats, Floats]:
    """(P,) slope of log units on log price, net of store-and-brand means and feature, and its week-clustered error."""
    slope, error = np.zeros(panel.n_products), np.zeros(panel.n_products)
    used = panel.observed & (panel.units > 0)
    for product in range(panel.n_products):
        rows = panel.series_product == product
        mask = used[rows]
        price, units, feature = (
            _demeaned(values[rows], mask)
            for values in (np.log(panel.price), np.log(np.maximum(panel.units, 1e-9)), panel.mailer)
        )
        design = np.column_stack([price[mask], feature[mask]])
        solved, *_ = np.linalg.lstsq(design, units[mask], rcond=None)
        left = np.where(mask, units - price * solved[0] - feature * solved[1], 0.0)
        inverse = np.linalg.pinv(design.T @ design)
        weekly = np.stack([(price * left).sum(axis=0), (feature * left).sum(axis=0)], axis=1)
        slope[product], error[product] = solved[0], np.sqrt((inverse @ weekly.T @ weekly @ inverse)[0, 0])
    return slope, error


def _demeaned(values: Floats, mask: npt.NDArray[np.bool_]) -> Floats:
    count = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    mean = np.where(mask, values, 0.0).sum(axis=1, keepdims=True) / count
    return np.where(mask, values - mean, 0.0)


def _rank(a: Floats, b: Floats) -> float:
    ranks = (np.argsort(np.argsort(values)) for values in (a, b))
    return float(np.corrcoef(*ranks)[0, 1])


def _table(rows: Sequence[dict[str, object]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows])


if __name__ == "__main__":
    main()
