"""Coupons chosen by risk on simulated shops: what each setting promises, what it surely brings, and what truly came.

    python -m benchmarks.coupon_risk [--seeds 20] [--customers 800]

Small shops, whose effects are known badly; the budget is half of what sending everybody the best offer that pays would
cost. The same response is planned by every `risk`; the truth of the simulator says what each plan
brings. `floor` is the plan's profit under the effects that hurt most (an ellipsoid that holds 95 % on the side that
hurts): the truth should lie above it in 19 of 20 shops. Writes benchmarks/results/coupon_risk.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from engine.coupon_response import CouponResponse, estimate_coupon_response
from engine.settings import Settings
from engine.shop import Shop
from engine.simulation import load_truth, simulate_shop
from optimizers.coupons import CouponProblem
from optimizers.coupons.robust import RISKS, solve_robust_coupons

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="seeds 1 … of the shops")
    parser.add_argument("--customers", type=int, default=800)
    asked = parser.parse_args(arguments)
    lines = []
    for seed in range(1, asked.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            lines += _shop(seed, asked.customers, Path(folder) / "shop")
        print(f"shop {seed} of {asked.seeds}", flush=True)
    text = _table(pd.DataFrame(lines), asked)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "coupon_risk.md").write_text(text, encoding="utf-8")


def _shop(seed: int, customers: int, folder: Path) -> list[dict[str, object]]:
    """Every risk's plan for one shop, beside the truth."""
    simulate_shop(folder, seed=seed, products=5, weeks=20, customers=customers, transactions=False)
    shop = Shop("simulated", {path.stem: path for path in folder.glob("*.parquet")}, str(seed))
    response, truth = estimate_coupon_response(shop, Settings(), seed=seed), load_truth(folder).coupons
    if response is None or response.errors is None or truth is None:
        return []
    problem = _problem(response)
    lines = []
    for risk in RISKS:
        found = solve_robust_coupons(problem, response.errors, risk)
        line = {"seed": seed, "risk": risk, "expected": found.expected, "tail": found.tail, "floor": found.worst}
        lines.append(line | {"true": truth.policy_profit(found.plan.choice), "sent": found.plan.sent, "gap": found.gap})
    return lines


def _problem(response: CouponResponse) -> CouponProblem:
    profit, cost = response.estimated_profit.astype(np.float32), response.cost.astype(np.float32)
    best = profit.argmax(axis=1)
    free = float(cost[np.arange(len(best)), best][profit.max(axis=1) > 0].sum())
    return CouponProblem(profit=profit, cost=cost, budget=free / 2)


def _table(lines: pd.DataFrame, asked: argparse.Namespace) -> str:
    shops = lines["seed"].nunique()
    text = [
        "# Coupons chosen by risk, beside the truth",
        "",
        f"`python -m benchmarks.coupon_risk --seeds {asked.seeds} --customers {asked.customers}`; {shops} simulated "
        f"shops, seeds from 1 on, money a wave, mean over the shops; {os.cpu_count()} cores ({platform.machine()}).",
        "",
        "| risk | sent | promised | came | worst shop | worst tenth, promised | floor, promised | came above the floor "
        "| widest gap |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for risk in RISKS:
        mine = lines[lines["risk"] == risk]
        mean = mine[["sent", "expected", "true", "tail", "floor"]].mean()
        above = int((mine["true"] >= mine["floor"]).sum())
        text.append(
            f"| {risk} | {mean['sent']:.0f} | {mean['expected']:.1f} | {mean['true']:.1f} | {mine['true'].min():.1f} | "
            f"{mean['tail']:.1f} | {mean['floor']:.1f} | {above} of {shops} | {mine['gap'].max():.1e} |"
        )
    return "\n".join([*text, ""])


if __name__ == "__main__":
    main()
