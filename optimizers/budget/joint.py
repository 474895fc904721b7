"""One budget for several ways of spending it: prices, coupons, promotions.

Each way (a stage) answers two questions: what it would do at a price of money, and what it would do within an amount of
its own. At one price of money for all, their answers add up to a bound on every split of the budget (Lagrangian
relaxation: Everett, "Generalized Lagrange Multiplier Method for Solving Problems of Optimum Allocation of Resources",
Operations Research, 1963), and at the best price the last unit of money brings the same everywhere. The split is then
chosen among all answers met so far, exactly, and what is left over is offered to each stage.

Stages are taken as separate: a product that is repriced, promoted and couponed at once is counted by each as if the
others were not there. Give each product, or each customer, to one stage.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.errors import InfeasibleError, ProblemError
from engine.proposal import Reason
from optimizers.gap import relative_gap

ROUNDS = 30
FILLS = 6
NARROW = 1e-4
"""Width of the interval of prices, as a share, below which no price between is asked."""
WORTH = "one more {amount:,.0f} in the budget would bring {gain:,.0f} at most"
WORTH_NOTHING = "the budget is larger than what pays: more of it would bring nothing"


@dataclass(frozen=True)
class StagePoint:
    """One thing that a stage may do."""

    spend: float
    """What it takes of the budget, money; negative: it adds to it."""
    value: float
    """What it brings, money."""
    plan: Any = field(default=None, compare=False, repr=False)
    """The stage's own plan, ready to be taken."""


@dataclass(frozen=True)
class PricedPoint:
    """What a stage does at a price of money."""

    point: StagePoint
    bound: float
    """Nothing that the stage may do has a larger value - price · spend; money."""


class Stage(Protocol):
    """One way of spending money."""

    @property
    def name(self) -> str:
        """What pages call it."""

    def at_price(self, price: float, seconds: float) -> PricedPoint:
        """Return the point with the largest value - price · spend."""

    def at_budget(self, budget: float, seconds: float) -> StagePoint | None:
        """Return the point of most value that spends no more than `budget`; None where there is none."""


@dataclass(frozen=True)
class JointPlan:
    """How a budget is split."""

    budget: float
    points: tuple[StagePoint, ...]
    """What each stage does, in the order of the stages."""
    spend: float
    objective: float
    """Sum of values, money."""
    bound: float
    """No split is worth more, money, as far as the stages' own bounds hold."""
    gap: float
    shadow_price: float
    """What one more unit of money in the budget would bring at most: the price of the best bound."""
    status: str
    """"optimal" (within the gap), "gap_limit" (the gap is honest) or "time_limit"."""
    rounds: int
    seconds: float


class BudgetSearch:
    """Stages with everything they have answered so far, so that another budget begins where the last one ended."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        if not stages:
            raise ProblemError("no stage is given; give at least one way of spending the budget")
        self.stages = tuple(stages)
        self.pool: list[list[StagePoint]] = [[] for _ in stages]
        self.priced: dict[float, tuple[PricedPoint, ...]] = {}
        self.asked: set[tuple[int, float]] = set()

    def plan(self, budget: float, *, gap: float = 1e-3, seconds: float = 60.0) -> JointPlan:
        """Split a budget.

        Args:
            budget: money, finite.
            gap: relative gap at which the search may stop.
            seconds: time limit of all stages together; each stage is asked once at the least.

        Raises:
            ProblemError: the budget is no number.
            InfeasibleError: the stages cannot spend as little as that.
        """
        if not math.isfinite(budget):
            raise ProblemError(f"budget is {budget}; give an amount of money")
        begun = time.perf_counter()
        deadline = begun + seconds
        price, bound, rounds = self._best_price(budget, gap, deadline)
        held = self._split(budget)
        for _ in range(FILLS):
            late = time.perf_counter() >= deadline
            if late or (held and relative_gap(_value(held), max(bound, _value(held))) <= gap):
                break
            held = self._fill(budget, deadline)
        if held is None:
            raise InfeasibleError(self._shortfall(budget))
        value = _value(held)
        bound = max(bound, value)
        reached = relative_gap(value, bound)
        late = time.perf_counter() >= deadline
        status = "optimal" if reached <= gap else "time_limit" if late else "gap_limit"
        spent = sum(point.spend for point in held)
        return JointPlan(budget, held, spent, value, bound, reached, price, status, rounds, time.perf_counter() - begun)

    def _ask(self, price: float, deadline: float) -> tuple[PricedPoint, ...]:
        """Ask every stage at a price, once."""
        if price not in self.priced:
            left = max(deadline - time.perf_counter(), 0.0) / len(self.stages)
            answers = tuple(stage.at_price(price, left) for stage in self.stages)
            for known, answer in zip(self.pool, answers, strict=True):
                known.append(answer.point)
            self.priced[price] = answers
        return self.priced[price]

    def _bound(self, price: float, budget: float) -> float:
        return price * budget + sum(answer.bound for answer in self.priced[price])

    def _best_price(self, budget: float, gap: float, deadline: float) -> tuple[float, float, int]:
        """Find the price of money whose bound is least: where two answers, one too dear, one too cheap, meet."""
        low, high = 0.0, 1.0
        self._ask(low, deadline)
        rounds = 1
        if self._spent(low) > budget:
            while self._ask(high, deadline) and self._spent(high) > budget and rounds < ROUNDS:
                low, high, rounds = high, 4.0 * high, rounds + 1
            while rounds < ROUNDS and time.perf_counter() < deadline:
                price = self._between(low, high)
                if high - low <= NARROW * high or self._closed(budget, gap):
                    break
                self._ask(price, deadline)
                low, high = (price, high) if self._spent(price) > budget else (low, price)
                rounds += 1
        best = min(self.priced, key=lambda asked: (self._bound(asked, budget), asked))
        return best, self._bound(best, budget), rounds

    def _between(self, low: float, high: float) -> float:
        """The price at which both answers are worth the same; half-way where stages answered too roughly for that."""
        saved, lost = self._spent(low) - self._spent(high), self._worth(low) - self._worth(high)
        price = lost / saved if saved > 0 else low
        inside = low + 0.01 * (high - low) < price < high - 0.01 * (high - low)
        return price if inside else 0.5 * (low + high)

    def _closed(self, budget: float, gap: float) -> bool:
        held = self._split(budget)
        bound = min(self._bound(price, budget) for price in self.priced)
        return held is not None and relative_gap(_value(held), max(bound, _value(held))) <= gap

    def _spent(self, price: float) -> float:
        return sum(answer.point.spend for answer in self.priced[price])

    def _worth(self, price: float) -> float:
        return sum(answer.point.value for answer in self.priced[price])

    def _split(self, budget: float) -> tuple[StagePoint, ...] | None:
        """The best choice of one known point of each stage within the budget."""
        fitting = [entry for entry in _merged(self.pool) if entry[0] <= budget + 1e-9 * max(abs(budget), 1.0)]
        return max(fitting, key=lambda entry: entry[1])[2] if fitting else None

    def _fill(self, budget: float, deadline: float) -> tuple[StagePoint, ...] | None:
        """Ask each stage for what the others could leave over: where that promises most by the bounds known so far."""
        for number, stage in enumerate(self.stages):
            others = _merged([known for place, known in enumerate(self.pool) if place != number])
            hopes = {budget - spend: value + self._ceiling(number, budget - spend) for spend, value, _ in others}
            fresh = [share for share in hopes if (number, share) not in self.asked]
            if not fresh or time.perf_counter() >= deadline:
                continue
            share = max(fresh, key=hopes.__getitem__)
            self.asked.add((number, share))
            found = stage.at_budget(share, max(deadline - time.perf_counter(), 0.0))
            if found is not None and found not in self.pool[number]:
                self.pool[number].append(found)
        return self._split(budget)

    def _ceiling(self, number: int, budget: float) -> float:
        """No point of a stage is worth more within a budget of its own; none at all below what it has ever spent."""
        if budget < min(point.spend for point in self.pool[number]):
            return -math.inf
        return min(answers[number].bound + price * budget for price, answers in self.priced.items())

    def _shortfall(self, budget: float) -> str:
        least = [min(point.spend for point in known) for known in self.pool]
        dearest = self.stages[max(range(len(least)), key=least.__getitem__)].name
        return (
            f"the stages spend {sum(least):,.2f} at least, {dearest} most of it; the budget is {budget:,.2f}: "
            "raise it, or leave that stage out"
        )


def _merged(pool: list[list[StagePoint]]) -> list[tuple[float, float, tuple[StagePoint, ...]]]:
    """Sums of one point of each stage, (spend, value, points), those left out that spend more and bring no more."""
    sums: list[tuple[float, float, tuple[StagePoint, ...]]] = [(0.0, 0.0, ())]
    for known in pool:
        merged = [(s + p.spend, v + p.value, (*chosen, p)) for s, v, chosen in sums for p in known]
        merged.sort(key=lambda m: (m[0], -m[1]))
        sums, best = [], -math.inf
        for entry in merged:
            if entry[1] > best:
                sums.append(entry)
                best = entry[1]
    return sums


def _value(held: tuple[StagePoint, ...] | None) -> float:
    return sum(point.value for point in held) if held else -math.inf


def split_budget(stages: Sequence[Stage], budget: float, *, gap: float = 1e-3, seconds: float = 60.0) -> JointPlan:
    """Split one budget over stages; see `BudgetSearch.plan`."""
    return BudgetSearch(stages).plan(budget, gap=gap, seconds=seconds)


def budget_frontier(
    stages: Sequence[Stage], budgets: Sequence[float], *, gap: float = 1e-3, seconds: float = 60.0
) -> tuple[JointPlan, ...]:
    """Split every budget of a list, in its order; each begins with all that the stages answered for those before it.

    Args:
        stages: ways of spending.
        budgets: money.
        gap: as in `BudgetSearch.plan`.
        seconds: time limit of the whole list.
    """
    search = BudgetSearch(stages)
    return tuple(search.plan(float(budget), gap=gap, seconds=seconds / len(budgets)) for budget in budgets)


def round_amount(budget: float) -> float:
    """An amount to speak of: the power of ten below a budget, at least 1."""
    return float(10.0 ** max(math.floor(math.log10(max(budget, 1.0))), 0))


def word_shadow_price(plan: JointPlan) -> Reason:
    """Say in words what more budget would bring, at most."""
    if plan.shadow_price <= 0:
        return Reason(WORTH_NOTHING)
    amount = round_amount(plan.budget)
    return Reason(WORTH, {"amount": amount, "gain": amount * plan.shadow_price})
