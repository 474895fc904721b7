"""Coupon allocation: seconds, certified gap and memory by number of customers, beside HiGHS given the same problem.

    python -m benchmarks.coupons --customers 1000,10000,100000,1000000 [--highs 2000] [--out benchmarks/results]

The problem is that of a shop: nine offers and none, one budget, five segment budgets, a floor on the number sent. One
thread. The first line of each size is warm: kernels are compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from optimizers.check_coupons import check_coupons
from optimizers.coupons import CouponPlan, CouponProblem, allocate_coupons

OFFERS = 9
SEGMENTS = 5


def shop_problem(customers: int, *, seed: int, kinds: int | None = None, floor: float = 0.15) -> CouponProblem:
    """Customers whose redemption and profit hang together over the offers; `kinds` distinct ones, or all different."""
    rng = np.random.default_rng(seed)
    face = np.linspace(1, 5, OFFERS)
    drawn = kinds or customers
    redeems = rng.beta(2, 6, (drawn, 1)) * np.exp(0.2 * rng.normal(size=(drawn, OFFERS)))
    cost = np.clip(redeems, 0, 1) * face
    worth = rng.gamma(2, 1, (drawn, 1)) * np.sqrt(face) * 0.6 * np.exp(0.4 * rng.normal(size=cost.shape))
    none = np.zeros((drawn, 1))
    profits = np.hstack([none, worth - cost - 0.3]).astype(np.float32)
    costs = np.hstack([none, cost]).astype(np.float32)
    if kinds:
        pick = rng.integers(0, kinds, customers)
        profits, costs = profits[pick], costs[pick]
    free = costs[np.arange(customers), profits.argmax(axis=1)].sum(dtype=np.float64)
    return CouponProblem(
        profit=profits,
        cost=costs,
        budget=0.2 * float(free),
        segment=rng.integers(0, SEGMENTS, customers),
        segment_budget=0.2 * float(free) / SEGMENTS * np.array([0.5, 0.8, 1.2, 1.5, 2.0]),
        min_sent=int(floor * customers),
    )


def measure(name: str, problem: CouponProblem, method: str) -> dict[str, object]:
    """One line of the table."""
    wall, cpu = time.perf_counter(), time.process_time()
    plan: CouponPlan = allocate_coupons(problem, method)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    check_coupons(problem, plan)
    return {
        "problem": name,
        "customers": problem.n_customers,
        "method": plan.method,
        "seconds": round(wall, 3),
        "cpu_seconds": round(cpu, 3),
        "gap": float(f"{plan.gap:.1e}"),
        "status": plan.status,
        "objective": round(plan.objective, 2),
        "sent": plan.sent,
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    """Measure and print, and write the table where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", default="1000,10000,100000,1000000")
    parser.add_argument("--highs", type=int, default=2000, help="up to so many customers HiGHS solves it too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    allocate_coupons(shop_problem(500, seed=0), "dual")
    lines: list[dict[str, object]] = []
    for customers in (int(float(size)) for size in asked.customers.split(",")):
        before = len(lines)
        problem = shop_problem(customers, seed=asked.seed)
        lines.append(measure("all different", problem, "dual"))
        if customers <= asked.highs:
            lines.append(measure("all different", problem, "exact"))
        lines.append(measure("floor binds", shop_problem(customers, seed=asked.seed, floor=0.6), "dual"))
        lines.append(measure("200 kinds", shop_problem(customers, seed=asked.seed, kinds=200), "dual"))
        print(pd.DataFrame(lines[before:]).to_string(index=False), flush=True)
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(lines).to_csv(asked.out / "coupons.csv", index=False)


if __name__ == "__main__":
    main()
