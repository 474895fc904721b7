"""How good the level forecast is: all models, what each group of features is worth, and what rebuilt prices give away.

    python -m benchmarks.demand_accuracy [--data complete_journey] [--no-ablations]

Writes benchmarks/results/demand_accuracy.md and .csv. The held-out weeks, the strictness and the models are those of
engine.demand.backtest; here the buyers' profiles are built as of the first forecast's origin.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from engine.demand.backtest import Backtest, backtest
from engine.panel import Panel, build_panel
from engine.profiles import build_profiles, profile_mix
from engine.settings import Settings, load_settings
from engine.shop import Shop
from engine.sources import open_shop
from engine.text import embed_texts

RESULTS = Path(__file__).parent / "results"
ORIGIN_WEEKS = 15
"""The first forecast eight weeks ahead of the eight test weeks is made with all but this many weeks of the panel."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="complete_journey")
    parser.add_argument("--home", default=".offerwright")
    parser.add_argument("--no-ablations", action="store_true")
    options = parser.parse_args(arguments)
    settings = load_settings(None, [f"data.home={options.home}"])
    shop = open_shop(options.data, settings)
    panel = build_panel(shop, settings)
    started = time.process_time()
    tested = measure(shop, panel, settings, ablations=not options.no_ablations)
    seconds = time.process_time() - started
    text = "\n".join([*_page(options.data, panel, tested, seconds), *_price_leak(shop, panel, settings)])
    RESULTS.mkdir(exist_ok=True)
    suffix = "" if options.data == "complete_journey" else "_" + Path(options.data).name
    (RESULTS / f"demand_accuracy{suffix}.md").write_text(text + "\n", encoding="utf-8")
    rows = pd.DataFrame([asdict(row) for row in (*tested.rows, *tested.ablations)])
    rows.round(5).to_csv(RESULTS / f"demand_accuracy{suffix}.csv", index=False)
    print(text)


def measure(shop: Shop, panel: Panel, settings: Settings, *, ablations: bool) -> Backtest:
    """Backtest with the text of the products, and with the buyers' profiles where the shop has customers."""
    texts = (panel.products["title"] + " " + panel.products["description"]).str.strip().tolist()
    week = int(panel.weeks[max(len(panel.weeks) - ORIGIN_WEEKS - 1, 0)])
    mix = None
    if shop.has("transactions") and shop.has("customers"):
        mix = profile_mix(shop, build_profiles(shop, settings, as_of=week), panel, week)
    return backtest(
        panel,
        settings,
        profile_mix=mix,
        text=embed_texts(texts, settings.home / "cache" / "text"),
        seed=settings.seed,
        profile_week=week,
        ablations=ablations,
    )


def _page(data: str, panel: Panel, tested: Backtest, seconds: float) -> list[str]:
    weeks = tested.weeks
    span = f"weeks {weeks[0].week}–{weeks[-1].week}" if weeks else "no weeks"
    return [
        f"# Accuracy of the level forecast on {data}, {span}",
        "",
        f"{panel.n_products:,} products, {len(panel.series_product):,} series, {len(panel.weeks)} weeks; "
        f"{seconds:.0f} s of processor time. WAPE = Σ|units − forecast| / Σ units over product-weeks; bias = "
        "Σ forecast / Σ units − 1. A forecast h weeks ahead comes from models fitted on weeks up to its origin or "
        "earlier; price, leaflet and display of the target week are known.",
        "",
        *_table(tested),
        "",
        "## Differences, 90 % bootstrap interval over products",
        "",
        "| model | against | weeks ahead | WAPE | interval |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {i.model} | {i.other} | {i.horizon} | {i.difference:+.4f} | {i.low:+.4f} … {i.high:+.4f} |"
            for i in tested.intervals
        ),
        *_ablations(tested),
        *_coverage(tested),
        *_weeks(tested),
        "",
        *(f"- {reason.english()}" for reason in tested.reasons),
    ]


def _table(tested: Backtest) -> list[str]:
    segments = list(dict.fromkeys(row.segment for row in tested.rows))
    lines = [
        "| model | weeks ahead | bias | " + " | ".join(f"WAPE {name}" for name in segments) + " |",
        "| --- | --- | --- |" + " --- |" * len(segments),
    ]
    for name, horizon in dict.fromkeys((row.model, row.horizon) for row in tested.rows):
        rows = [tested.row(name, horizon, segment) for segment in segments]
        bias = rows[0].bias if rows[0] else float("nan")
        cells = " | ".join(f"{row.wape:.3f}" if row else "–" for row in rows)
        lines.append(f"| {name} | {horizon} | {bias:+.1%} | {cells} |")
    return lines


def _ablations(tested: Backtest) -> list[str]:
    if not tested.ablations:
        return []
    lines = ["", "## What each group is worth: change in WAPE when it is left out", ""]
    segments = list(dict.fromkeys(row.segment for row in tested.ablations))
    lines += ["| left out | weeks ahead | " + " | ".join(segments) + " |", "| --- | --- |" + " --- |" * len(segments)]
    for name, horizon in dict.fromkeys((row.model, row.horizon) for row in tested.ablations):
        cells = []
        for segment in segments:
            full = tested.row("XGBoost", horizon, segment)
            rows = [r for r in tested.ablations if (r.model, r.horizon, r.segment) == (name, horizon, segment)]
            cells.append(f"{rows[0].wape - full.wape:+.4f}" if rows and full else "–")
        lines.append(f"| {name.removeprefix('without ')} | {horizon} | " + " | ".join(cells) + " |")
    return lines


def _coverage(tested: Backtest) -> list[str]:
    found = tested.coverage
    if found is None:
        return []
    return [
        "",
        "## Stated errors of the horizon totals",
        "",
        f"Of {found.products:,} products {found.covered:.1%} sold within the 90 % interval of their forecast; all "
        f"together the forecast was {found.total_error:+.1%} off, where a standard deviation of "
        f"{found.total_sd:.1%} was stated.",
    ]


def _weeks(tested: Backtest) -> list[str]:
    if not tested.weeks:
        return []
    names = list(tested.weeks[0].forecast)
    lines = ["", "## Week by week: forecast / sold − 1", "", "| week | sold | " + " | ".join(names) + " |"]
    lines.append("| --- | --- |" + " --- |" * len(names))
    for week in tested.weeks:
        cells = " | ".join(f"{week.forecast[name] / max(week.actual, 1e-9) - 1:+.1%}" for name in names)
        lines.append(f"| {week.week} | {week.actual:,.0f} | {cells} |")
    return lines


def _price_leak(shop: Shop, panel: Panel, settings: Settings) -> list[str]:
    """Forecast one half of the households with its own rebuilt prices, then with those of the other half."""
    if not panel.prices_reconstructed:
        return []
    mine, other = (build_panel(shop, settings, half=half) for half in ("a", "b"))
    if mine.units.shape != other.units.shape:
        return ["", "The halves of the households have different weeks; the price leak was not measured."]
    swapped = replace(mine, price=other.price, regular_price=other.regular_price)
    own, fair = (backtest(part, settings, seed=settings.seed) for part in (mine, swapped))
    lines = [
        "",
        "## What rebuilt prices give away",
        "",
        "One half of the households, forecast with prices rebuilt from its own purchases and from those of the other "
        "half. The difference is what a price knows of the very sales it was rebuilt from.",
        "",
        "| model | weeks ahead | WAPE, own prices | WAPE, the other half's prices |",
        "| --- | --- | --- | --- |",
    ]
    for row in own.rows:
        twin = fair.row(row.model, row.horizon)
        if row.segment == "all" and twin:
            lines.append(f"| {row.model} | {row.horizon} | {row.wape:.3f} | {twin.wape:.3f} |")
    return lines


if __name__ == "__main__":
    main()
