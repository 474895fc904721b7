"""One budget for prices, coupons and promotions: what splitting it jointly brings beside fixed shares.

    python -m benchmarks.joint_budget [--seconds 120]

A drawn shop (seeded): 60 products whose lower prices cost margin, 1,500 customers with nine offers, a calendar of 40
products over eight weeks. Budgets from an eighth to all of what would be spent freely. Beside the joint split: a third
for each, and the whole budget for the stage that gains most from it. Writes benchmarks/results/joint_budget.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.prices import drawn_problem
from benchmarks.promotion_calendar import drawn as drawn_calendar
from optimizers.budget.joint import BudgetSearch, Stage, word_shadow_price
from optimizers.budget.stages import CouponStage, PriceStage, PromotionStage
from optimizers.coupons import CouponProblem

RESULTS = Path(__file__).parent / "results"
NOTE = (
    "`python -m benchmarks.joint_budget`; a drawn shop (seeds 1 to 3); two shared cores, one thread, "
    "processor time. thirds, best single: gain of those splits over the joint one."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args(arguments)
    stages = _stages()
    search = BudgetSearch(stages)
    freely = sum(stage.at_price(0.0, options.seconds).point.spend for stage in stages)
    lines = [
        "# One budget, gap 2e-3 asked for, one thread",
        "",
        NOTE,
        "",
        "| budget | gain | gap | status | cpu s | prices | coupons | promotions | thirds | best single | in words |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for share in (0.125, 0.25, 0.5, 1.0):
        lines.append(_row(search, stages, share * freely, options.seconds))
        print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "joint_budget.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _stages() -> tuple[Stage, ...]:
    rng = np.random.default_rng(3)
    cost = rng.uniform(0.2, 3.0, (1500, 10)).astype(np.float32)
    profit = (cost * rng.normal(0.2, 0.8, (1500, 10))).astype(np.float32)
    profit[:, 0] = cost[:, 0] = 0
    prices = replace(drawn_problem(60, 100), index_band=None)
    # Shoppers who answer prices strongly, so that lower prices pay.
    prices = replace(prices, own=prices.own * 1.8, cross=0.0 * prices.cross, base_units=5.0 * prices.base_units)
    return (
        PriceStage(prices),
        CouponStage(CouponProblem(profit=profit, cost=cost, budget=None)),
        PromotionStage(drawn_calendar(40, 8, 2, max_per_category=1)),
    )


def _row(search: BudgetSearch, stages: tuple[Stage, ...], budget: float, seconds: float) -> str:
    begun = time.process_time()
    plan = search.plan(budget, gap=2e-3, seconds=seconds)
    used = time.process_time() - begun
    thirds = sum(p.value for p in (stage.at_budget(budget / 3, seconds) for stage in stages) if p)
    nothing = [stage.at_budget(0.0, seconds) for stage in stages]
    base = sum(p.value for p in nothing if p)
    single = max(
        base + p.value - (nothing[n].value if nothing[n] else 0.0)  # type: ignore[union-attr]
        for n, p in enumerate(stage.at_budget(budget, seconds) for stage in stages)
        if p
    )
    spent = " | ".join(f"{point.spend:,.0f}" for point in plan.points)
    words = word_shadow_price(plan).english()
    return (
        f"| {budget:,.0f} | {plan.objective:,.0f} | {plan.gap:.1e} | {plan.status} | {used:.1f} | {spent} | "
        f"{thirds / plan.objective - 1:+.1%} | {single / plan.objective - 1:+.1%} | {words} |"
    )


if __name__ == "__main__":
    main()
