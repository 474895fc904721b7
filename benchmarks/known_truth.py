"""How much of what can be gained is gained, on shops whose truth is known.

    python -m benchmarks.known_truth --seeds 10 --scenarios default,hidden_confounding

For every scenario and seed: simulate a shop, run `offerwright run` on it as anybody would, and hold prices.csv,
coupons.csv and summary.json against the truth. Writes benchmarks/results/known_truth.csv and .md. Beside the scenarios
of engine.simulation there are `logit` (benchmarks/logit_shop.py) and `referee_NAME` (the designs of
benchmarks/referee_shops.py), which share nothing with it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.oracle import KnownTruth, best_prices
from engine.settings import Settings, load_settings
from engine.simulation import SCENARIOS, CouponTruth, load_truth, simulate_shop

RESULTS = Path(__file__).parent / "results"
NORMAL_90 = 1.6449
REFEREE = "referee_"
BARS = {
    "captured": "≥ .80",
    "promised/realised": ".8–1.2",
    "interval covers": "≥ .90",
    "elasticity MAE": "≤ .45 (experiments .48)",
    "elasticity covers": "≥ .90",
    "coupons captured": "≥ .75",
}


@dataclass(frozen=True)
class Case:
    """One shop to be proposed for."""

    scenario: str
    seed: int
    folder: Path
    """Holds shop/ (the data) and what the runs write."""


def simulate(case: Case, **overrides: object) -> tuple[KnownTruth, CouponTruth | None]:
    """Write the shop of a case and read its truth."""
    if case.scenario == "logit":
        from benchmarks.logit_shop import simulate_logit_shop

        return simulate_logit_shop(case.folder / "shop", seed=case.seed), None
    if case.scenario.startswith(REFEREE):
        from benchmarks.referee_shops import simulate_referee_shop

        design = case.scenario.removeprefix(REFEREE)
        return simulate_referee_shop(case.folder / "shop", seed=case.seed, design=design), None
    simulate_shop(case.folder / "shop", seed=case.seed, scenario=case.scenario, **overrides)
    truth = load_truth(case.folder / "shop")
    return truth, truth.coupons


def propose(case: Case, part: str, settings: Sequence[str]) -> tuple[Path, float]:
    """Run the command on the shop and return the folder of its results and the seconds it took.

    Raises:
        RuntimeError: the command failed; the message is what it said.
    """
    out = case.folder / part
    command = [str(Path(sys.executable).parent / "offerwright"), "run", "--data", str(case.folder / "shop")]
    command += ["--out", str(out), "--only", part, "--set", f"data.home={case.folder / 'home'}"]
    for text in settings:
        command += ["--set", text]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip()[-600:]}")
    return out, time.perf_counter() - begun


def score_prices(out: Path, truth: KnownTruth, settings: Settings) -> dict[str, Any]:
    """Hold a price proposal against the truth and against the oracle."""
    lines = pd.read_csv(out / "prices.csv", dtype={"product_id": str})
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    weeks = int(summary["horizon_weeks"])
    place = {product: i for i, product in enumerate(truth.product_ids)}
    at = lines["product_id"].map(place).to_numpy()
    proposed = truth.current_price.copy()
    proposed[at] = lines["proposed_price"]
    realised = truth.gain(proposed, weeks=weeks)
    oracle = truth.gain(best_prices(truth, settings.pricing, weeks=weeks), weeks=weeks)
    profit = float(truth.line_profit(truth.current_price, weeks=weeks).sum())
    error = lines["elasticity"].to_numpy() - truth.elasticity_regular[at]
    inside = np.abs(error) <= NORMAL_90 * lines["elasticity_se"].to_numpy()
    known = lines["identified"].astype(bool).to_numpy()
    units = float(truth.units(truth.current_price, weeks=weeks)[at].sum())
    promised_width = max(summary["promised_gain_high"] - summary["promised_gain_low"], 1e-9)
    return {
        "oracle share": oracle / profit,
        "realised share": realised / profit,
        "captured": realised / oracle if oracle > 0 else None,
        "realised": realised,
        "oracle": oracle,
        "promised": summary["promised_gain"],
        "promised low": summary["promised_gain_low"],
        "promised high": summary["promised_gain_high"],
        "raw predicted": summary.get("raw_predicted_gain"),
        "promised/realised": summary["promised_gain"] / realised if realised else None,
        "interval covers": float(summary["promised_gain_low"] <= realised <= summary["promised_gain_high"]),
        "error in sds of the promise": 2 * NORMAL_90 * (realised - summary["promised_gain"]) / promised_width,
        "elasticity MAE": float(np.abs(error).mean()),
        "elasticity bias": float(error.mean()),
        "elasticity covers": float(inside.mean()),
        "elasticity covers (identified)": float(inside[known].mean()) if known.any() else None,
        "identified": float(known.mean()),
        "changed": float((lines["proposed_price"] != lines["current_price"]).mean()),
        "today's price wrong": float(np.mean(np.abs(lines["current_price"] / truth.current_price[at] - 1) > 1e-6)),
        "units forecast/true": float(lines["units_current"].sum() / units),
    }


def score_coupons(out: Path, truth: CouponTruth) -> dict[str, Any]:
    """Hold a coupon plan against the truth; without a budget the oracle is the best offer for each customer."""
    lines = pd.read_csv(out / "coupons.csv", dtype={"customer_id": str, "offer_id": str})
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    customer = {name: i for i, name in enumerate(truth.customer_ids)}
    offer = {name: i for i, name in enumerate(truth.offer_ids)}
    choice = np.zeros(len(customer), dtype=np.int64)
    choice[lines["customer_id"].map(customer)] = lines["offer_id"].map(offer)
    realised, oracle = truth.policy_profit(choice), truth.best_profit()
    low, high = summary["promised_gain_low"], summary["promised_gain_high"]
    cost = truth.policy_cost(choice)
    return {
        "coupons captured": realised / oracle,
        "coupons realised": realised,
        "coupons promised": summary["promised_gain"],
        "coupons interval covers": float(low <= realised <= high),
        "coupons cost forecast/true": float(lines["expected_cost"].sum()) / cost if cost else None,
        "coupons sent": float((choice > 0).mean()),
    }


def run_case(case: Case, parts: Sequence[str], settings: Sequence[str], **overrides: object) -> dict[str, Any]:
    """Simulate, propose and score one shop; a run that fails leaves its message in the row."""
    row: dict[str, Any] = {"scenario": case.scenario, "seed": case.seed}
    truth, coupons = simulate(case, **overrides)
    asked = load_settings(None, settings)
    for part in parts:
        if part == "coupons" and coupons is None:
            continue
        try:
            out, seconds = propose(case, part, settings)
        except RuntimeError as error:
            row["error"] = f"{part}: {error}"
            continue
        row[f"{part} seconds"] = seconds
        row |= score_prices(out, truth, asked) if part == "prices" or coupons is None else score_coupons(out, coupons)
    return row


def digest(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each scenario: means over shops, and the promise over all shops together."""
    rows = []
    for scenario, shops in table.groupby("scenario", sort=False):
        row: dict[str, Any] = {"scenario": scenario, "shops": len(shops)}
        for name in table.columns:
            if name not in ("scenario", "seed", "error") and not name.endswith(("low", "high")):
                row[name] = pd.to_numeric(shops[name], errors="coerce").mean()
        if "promised" in shops:
            row["captured"] = shops["realised"].sum() / shops["oracle"].sum()
            row["captured, worst"] = shops["captured"].min()
            row["promised/realised"] = shops["promised"].sum() / shops["realised"].sum()
        row["failed"] = int(shops["error"].notna().sum()) if "error" in shops else 0
        rows.append(row)
    return pd.DataFrame(rows)


def as_markdown(summary: pd.DataFrame) -> str:
    """Scenarios as columns, figures as rows, with the bar beside each."""
    head = ["figure", *summary["scenario"].astype(str), "bar"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for name in summary.columns[1:]:
        cells = ["–" if pd.isna(value) else f"{float(value):,.3g}" for value in summary[name]]
        lines.append("| " + " | ".join([name, *cells, BARS.get(name, "")]) + " |")
    return "\n".join(lines) + "\n"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Score `offerwright run` on shops with known truth.")
    parser.add_argument("--seeds", type=int, default=10, help="number of shops of each scenario")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument(
        "--scenarios",
        default="default",
        help=f"comma-separated: {', '.join([*SCENARIOS, 'logit', 'referee_evidence'])} …",
    )
    parser.add_argument("--only", default="prices,coupons", help="prices, coupons or both")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="a setting")
    parser.add_argument("--shop", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the simulator")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for known_truth.csv and .md")
    parser.add_argument("--keep", type=Path, help="keep shops and results in this folder")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases and write the tables, anew after every shop."""
    asked = parse_arguments(arguments)
    overrides = {key: json.loads(value) for key, _, value in (text.partition("=") for text in asked.shop)}
    rows: list[dict[str, Any]] = []
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for scenario in asked.scenarios.split(","):
            for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
                folder = (asked.keep or Path(scratch)) / f"{scenario}-{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                row = run_case(Case(scenario, seed, folder), asked.only.split(","), asked.settings, **overrides)
                rows.append(row)
                print({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}, flush=True)
                table = pd.DataFrame(rows)
                table.to_csv(asked.out / "known_truth.csv", index=False)
                (asked.out / "known_truth.md").write_text(as_markdown(digest(table)), encoding="utf-8")
    print(as_markdown(digest(pd.DataFrame(rows))))


if __name__ == "__main__":
    main()
