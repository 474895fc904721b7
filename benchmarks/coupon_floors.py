"""Floors that bind: how close to the best plan the coupons of shops of 10,000 customers come, and in which time.

    python -m benchmarks.coupon_floors [--customers 10000] [--seeds 10] [--gap 1.2e-6]

The shops are those of `benchmarks.coupons`: nine offers and none, one budget, five segment budgets. The floor stands at
a share of the most that the budgets buy (found by asking for everybody, which is refused with that number). A gap of 0
is a plan that was proven the best of all, the integer program included. Processor seconds, the check of the input
included; every plan is re-checked. Writes benchmarks/results/coupon_floors.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.coupons import shop_problem
from engine.errors import InfeasibleError
from optimizers.coupons import CouponProblem, allocate_coupons
from optimizers.coupons.check import check_coupons

RESULTS = Path(__file__).parent / "results"
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


@dataclass(frozen=True)
class Line:
    """One allocation."""

    seed: int
    share: float
    cpu: float
    gap: float
    floor_price: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=10, help="seeds 1 … of the shops")
    parser.add_argument("--gap", type=float, default=1.2e-6)
    asked = parser.parse_args(arguments)
    allocate_coupons(shop_problem(500, seed=0), "dual")
    lines = [line for seed in range(1, asked.seeds + 1) for line in _shop(asked.customers, seed, asked.gap)]
    text = _table(lines, asked)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "coupon_floors.md").write_text(text, encoding="utf-8")


def _shop(customers: int, seed: int, gap: float) -> list[Line]:
    problem = shop_problem(customers, seed=seed)
    most = _most(problem)
    return [_line(replace(problem, min_sent=int(share * most)), seed, share, gap) for share in SHARES]


def _line(problem: CouponProblem, seed: int, share: float, gap: float) -> Line:
    began = time.process_time()
    plan = allocate_coupons(replace(problem), "dual", gap)
    seconds = time.process_time() - began
    check_coupons(problem, plan)
    return Line(seed, share, seconds, plan.gap, plan.floor_shadow_price)


def _most(problem: CouponProblem) -> int:
    """Most coupons that the budgets buy."""
    try:
        allocate_coupons(replace(problem, min_sent=problem.n_customers), "dual")
    except InfeasibleError as refused:
        found = re.search(r"at most ([\d,]+)", str(refused))
        assert found is not None  # noqa: S101 - the refusal names the most
        return int(found[1].replace(",", ""))
    return problem.n_customers


def _table(lines: Sequence[Line], asked: argparse.Namespace) -> str:
    text = [
        "# Floors that bind, from half of what the budgets buy to nearly all",
        "",
        f"`python -m benchmarks.coupon_floors --customers {asked.customers} --seeds {asked.seeds} --gap {asked.gap:g}`"
        f", seeds from 1 on; {os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f} at the end; "
        "processor seconds.",
        "",
        "| floor, share of the most | median s | most s | within .2 s | proven best of all | widest gap | price of the "
        "floor |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for share in SHARES:
        mine = [line for line in lines if line.share == share]
        times, gaps = sorted(line.cpu for line in mine), [line.gap for line in mine]
        quick, proven = sum(t <= 0.2 for t in times), sum(gap < 1e-12 for gap in gaps)
        price = sum(line.floor_price for line in mine) / len(mine)
        cells = f"{times[len(times) // 2]:.2f} | {times[-1]:.2f} | {quick} of {len(mine)} | {proven} of {len(mine)}"
        text.append(f"| {share:.0%} | {cells} | {max(gaps):.1e} | {price:.2f} |")
    return "\n".join([*text, ""])


if __name__ == "__main__":
    main()
