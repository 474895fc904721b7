"""Prices, coupons and promotions as stages of one budget, and plans made before as another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError, ProblemError
from optimizers.budget.joint import PricedPoint, StagePoint
from optimizers.coupons.allocate import allocate_coupons
from optimizers.coupons.problem import CouponProblem
from optimizers.prices.problem import PriceProblem, problem_ladder
from optimizers.prices.rows import LinearRow, PriceRows
from optimizers.prices.solve import evaluate_prices, solve_prices
from optimizers.promotions.plan import plan_promotions
from optimizers.promotions.problem import PromotionProblem

Floats = npt.NDArray[np.float64]

INVESTMENT = "price investment"


@dataclass(frozen=True)
class CouponStage:
    """Coupons; what they are expected to cost is what is spent."""

    problem: CouponProblem
    name: str = "coupons"
    gap: float = 1e-4

    def at_price(self, price: float, seconds: float) -> PricedPoint:
        """Allocate where every unit of cost is charged at a price, without the total budget."""
        given = {field.name: getattr(self.problem, field.name) for field in fields(self.problem)}
        profit = self.problem.profit.astype(np.float64) - price * self.problem.cost.astype(np.float64)
        charged = CouponProblem(**(given | {"profit": profit, "budget": None}))
        plan = allocate_coupons(charged, gap=self.gap, seconds=seconds)
        return PricedPoint(self._point(plan.choice, plan), plan.bound)

    def at_budget(self, budget: float, seconds: float) -> StagePoint | None:
        """Allocate within a budget."""
        if budget < 0:
            return None
        plan = allocate_coupons(replace(self.problem, budget=budget), gap=self.gap, seconds=seconds)
        return self._point(plan.choice, plan)

    def _point(self, choice: npt.NDArray[np.int64], plan: object) -> StagePoint:
        rows = np.arange(len(choice))
        cost, profit = self.problem.cost[rows, choice], self.problem.profit[rows, choice]
        return StagePoint(float(cost.sum(dtype=np.float64)), float(profit.sum(dtype=np.float64)), plan)


@dataclass(frozen=True)
class PromotionStage:
    """A promotion calendar; discounts given and fixed costs are what is spent."""

    problem: PromotionProblem
    name: str = "promotions"
    gap: float = 1e-4

    def at_price(self, price: float, seconds: float) -> PricedPoint:
        """Plan where every unit of money spent is charged at a price, without the budget."""
        plan = plan_promotions(replace(self.problem, budget=None, money_price=price), gap=self.gap, seconds=seconds)
        return PricedPoint(StagePoint(plan.spend, plan.objective + price * plan.spend, plan), plan.bound)

    def at_budget(self, budget: float, seconds: float) -> StagePoint | None:
        """Plan within a budget."""
        if budget < 0:
            return None
        plan = plan_promotions(replace(self.problem, budget=budget), gap=self.gap, seconds=seconds)
        return StagePoint(plan.spend, plan.objective, plan)


@dataclass(frozen=True)
class PriceStage:
    """Everyday prices by expected gain; what is spent is the investment in lower prices (`price_investment`).

    Raises:
        ProblemError: a rule is soft.
    """

    problem: PriceProblem
    rows: PriceRows | None = None
    name: str = "prices"
    gap: float = 1e-3

    def __post_init__(self) -> None:
        soft = [row.name for row in self.rows.rows if row.penalty is not None] if self.rows is not None else []
        if soft:
            raise ProblemError(f"rule {soft[0]!r} is soft: prices that share a budget take hard rules only")
        object.__setattr__(self, "problem", replace(self.problem, risk="mean"))

    def at_price(self, price: float, seconds: float) -> PricedPoint:
        """Choose prices where every unit invested is charged at a price."""
        rows = investment_row(self.problem, self.rows, 0.0, penalty=price)
        plan = solve_prices(self.problem, rows=rows, gap=self.gap, seconds=seconds)
        return PricedPoint(self._point(plan.price, plan), plan.bound)

    def at_budget(self, budget: float, seconds: float) -> StagePoint | None:
        """Choose prices that invest no more than a budget."""
        if budget < 0:
            return None
        rows = investment_row(self.problem, self.rows, budget)
        try:
            plan = solve_prices(self.problem, rows=rows, gap=self.gap, seconds=seconds)
        except InfeasibleError:
            return None
        return self._point(plan.price, plan)

    def _point(self, price: Floats, plan: object) -> StagePoint:
        value = float(evaluate_prices(self.problem, price).gain.sum())
        return StagePoint(price_investment(self.problem, price), value, plan)


@dataclass(frozen=True)
class TableStage:
    """Plans made before, such as the points of a frontier; bounds hold among them."""

    points: tuple[StagePoint, ...]
    name: str = "plans"

    def at_price(self, price: float, seconds: float) -> PricedPoint:
        """Return the point of most value at a price of money."""
        del seconds
        best = max(self.points, key=lambda p: (p.value - price * p.spend, -p.spend))
        return PricedPoint(best, best.value - price * best.spend)

    def at_budget(self, budget: float, seconds: float) -> StagePoint | None:
        """Return the point of most value within a budget."""
        del seconds
        fitting = [p for p in self.points if p.spend <= budget]
        return max(fitting, key=lambda p: p.value) if fitting else None


def margin_stage(profit: Sequence[float], revenue: Sequence[float], target: float, name: str = "plans") -> TableStage:
    """State plans for a margin target: profit / revenue of all stages together at least `target`.

    Splitting a budget of 0 over such stages keeps the target: a plan spends the profit that it lacks, and one with a
    better margin adds to it.

    Args:
        profit: of each plan, money.
        revenue: of each plan, money.
        target: share of revenue.
        name: of the stage.
    """
    points = [StagePoint(target * r - p, p, number) for number, (p, r) in enumerate(zip(profit, revenue, strict=True))]
    return TableStage(tuple(points), name)


def price_investment(problem: PriceProblem, price: Floats) -> float:
    """Money given away by lower prices: Σ (today's price - price) · units expected at it, where it is lower.

    Units are those of each product's own move; what its family's moves add is left out, so that the sum is linear in
    the choice of rungs.
    """
    return float(_given(problem, np.asarray(price, dtype=np.float64)[:, None]).sum())


def _given(problem: PriceProblem, price: Floats) -> Floats:
    """(P, K) investment at each of the prices (P, K); NaN where there is none."""
    ratio = price / problem.current_price[:, None]
    units = np.empty_like(price)
    for k in range(price.shape[1]):
        units[:, k] = problem.base_units * (problem.base_scale * ratio[:, k] ** problem.own).mean(axis=0)
    return np.asarray(np.maximum(problem.current_price[:, None] - price, 0.0) * units)


def investment_row(
    problem: PriceProblem, rows: PriceRows | None, most: float, penalty: float | None = None
) -> PriceRows:
    """Add to the rules that lower prices give away no more than `most`, money; soft at a penalty per unit.

    Raises:
        ProblemError: a limit below 0 or no number.
    """
    if not most >= 0:
        raise ProblemError(f"the budget for lower prices is {most}; give 0 or more")
    ladder = problem_ladder(problem)
    given = _given(problem, ladder.price)
    product, rung = np.nonzero(np.nan_to_num(given) > 0)
    row = LinearRow(INVESTMENT, product, rung, given[product, rung], high=most, penalty=penalty)
    base = rows if rows is not None else PriceRows(np.ones(ladder.price.shape, dtype=np.bool_))
    return replace(base, rows=(*base.rows, row))
