"""The independent re-check of a split budget: what each stage spends and brings, recomputed from its own plan."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.errors import PlanError
from optimizers.budget.joint import JointPlan, Stage
from optimizers.budget.stages import CouponStage, PriceStage, PromotionStage
from optimizers.prices.check import exact_gain
from optimizers.prices.problem import PriceProblem
from optimizers.promotions.check import calendar_money

MONEY = 1e-6
"""Relative tolerance on sums of money."""


def check_joint_plan(stages: Sequence[Stage], plan: JointPlan) -> None:
    """Make sure that a budget is kept and that every stage's figures are right.

    Stages of another kind than prices, coupons and promotions are taken at their word.

    Raises:
        PlanError: naming every figure that recomputing does not give.
    """
    if len(plan.points) != len(stages):
        raise PlanError(f"the plan has {len(plan.points)} points for {len(stages)} stages")
    faults: list[str] = []
    for stage, point in zip(stages, plan.points, strict=True):
        spend, value = _recompute(stage, point.plan) or (point.spend, point.value)
        if not (_same(spend, point.spend) and _same(value, point.value)):
            faults.append(
                f"{stage.name}: spends {point.spend} for {point.value}; recomputing gives {spend} for {value}"
            )
    spent, brought = (math.fsum(getattr(point, name) for point in plan.points) for name in ("spend", "value"))
    if not (_same(spent, plan.spend) and _same(brought, plan.objective)):
        faults.append(f"{plan.spend} is spent for {plan.objective}; the stages add up to {spent} for {brought}")
    if spent > plan.budget + MONEY * max(abs(plan.budget), 1.0):
        faults.append(f"{spent} is spent of a budget of {plan.budget}")
    if plan.bound < plan.objective - MONEY * max(abs(plan.objective), 1.0):
        faults.append(f"the bound {plan.bound} lies below the objective {plan.objective}")
    if faults:
        raise PlanError("the split of the budget failed its re-check and was not used: " + "; ".join(faults))


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= MONEY * max(abs(one), abs(other), 1.0)


def _recompute(stage: Stage, plan: object) -> tuple[float, float] | None:
    """Spend and value of a stage's plan; None for a stage that cannot be looked into."""
    if isinstance(stage, CouponStage):
        rows = [(n, int(offer)) for n, offer in enumerate(plan.choice)]  # type: ignore[attr-defined]
        cost = math.fsum(float(stage.problem.cost[n, o]) for n, o in rows)
        return cost, math.fsum(float(stage.problem.profit[n, o]) for n, o in rows)
    if isinstance(stage, PromotionStage):
        calendar = [[int(o) for o in row] for row in plan.option]  # type: ignore[attr-defined]
        profit, spend = calendar_money(stage.problem, calendar)
        return spend, profit - calendar_money(stage.problem, [[0] * len(row) for row in calendar])[0]
    if isinstance(stage, PriceStage):
        price = plan.price  # type: ignore[attr-defined]
        return _invested(stage.problem, [float(p) for p in price]), float(
            exact_gain(stage.problem, price).mean(0).sum()
        )
    return None


def _invested(problem: PriceProblem, prices: Sequence[float]) -> float:
    total = 0.0
    for i, price in enumerate(prices):
        today = float(problem.current_price[i])
        if price < today:
            draws = [
                float(level) * (price / today) ** float(own)
                for level, own in zip(problem.base_scale[:, i], problem.own[:, i], strict=True)
            ]
            total += (today - price) * float(problem.base_units[i]) * math.fsum(draws) / len(draws)
    return total
