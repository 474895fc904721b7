"""Coupon response on simulated shops: share of the oracle's profit, promise against truth, coverage of the interval.

    python -m benchmarks.coupon_response --seeds 10 --scenarios default,hidden_confounding [--out benchmarks/results]

Every customer is sent the offer with the largest estimated profit, if that is positive; no budget. The oracle does the
same with the truth.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from engine.coupon_response import estimate_coupon_response
from engine.settings import Settings
from engine.shop import Shop
from engine.simulation import load_truth, simulate_shop


def measure(scenario: str, seed: int, folder: Path) -> dict[str, object]:
    """Simulate one shop, estimate, and hold the plan against the truth."""
    simulate_shop(folder, seed=seed, scenario=scenario, products=5, weeks=20, transactions=False)
    shop = Shop("simulated", {path.stem: path for path in folder.glob("*.parquet")}, str(seed))
    cpu = time.process_time()
    response = estimate_coupon_response(shop, Settings(), seed=seed)
    cpu = time.process_time() - cpu
    truth = load_truth(folder).coupons
    if response is None or truth is None:
        raise SystemExit(f"{scenario}, seed {seed}: the simulated shop has no coupons")
    choice = response.profit.argmax(axis=1)
    value, real = response.value_of(choice), truth.policy_profit(choice)
    redemption = (response.cost / np.maximum(response.face_value, 1e-9)).argmax(axis=1)
    return {
        "scenario": scenario,
        "seed": seed,
        "credible": response.credible,
        "of_oracle": real / truth.best_profit(),
        "by_redemption": truth.policy_profit(redemption) / truth.best_profit(),
        "promised_to_real": value.mean / real,
        "covered": value.low <= real <= value.high,
        "z": (value.mean - real) / value.se,
        "disagreement_z": response.agreement.z,
        "cpu_seconds": cpu,
    }


def main() -> None:
    """Measure and print, and write the table where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--scenarios", default="default,hidden_confounding")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    lines = []
    for scenario in asked.scenarios.split(","):
        for seed in range(1, asked.seeds + 1):
            with tempfile.TemporaryDirectory() as folder:
                lines.append(measure(scenario, seed, Path(folder) / "shop"))
    table = pd.DataFrame(lines)
    print(table.round(3).to_string(index=False))
    print(table.drop(columns="seed").groupby("scenario").mean().round(3).to_string())
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        table.round(4).to_csv(asked.out / "coupon_response.csv", index=False)


if __name__ == "__main__":
    main()
