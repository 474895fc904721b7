"""How prices are chosen: by which risk and under which business rules, the same for the plan and for what judges it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from api.rule_stage import PriceRules
from engine.errors import PlanError
from engine.settings import Settings
from optimizers.budget.frontier import limited, measure_prices
from optimizers.prices import PricePlan, PriceProblem, solve_prices
from optimizers.prices.check import check_price_plan
from optimizers.prices.robust import RobustPlan, solve_robust_prices
from optimizers.prices.rows import PriceRows
from optimizers.rules.plan import PriceSolver, RuledPlan, solve_under_rules, try_under_rules

FLOORS = ("units", "revenue")
BEYOND = 1e-6
"""Share of a limit that is rounding."""
BY_LINE = ("mean", "lower")
"""Settings of `pricing.risk` that the price problem itself counts; the others speak of the plan as a whole."""


@dataclass(frozen=True)
class ChosenPrices:
    """A plan that was checked again."""

    plan: PricePlan
    ruled: RuledPlan | None = None
    """What the business rules did to it; None without rules."""
    robust: RobustPlan | None = None
    """What each risk setting counts of it; None where the risk is counted line by line."""
    rows: PriceRows | None = None
    """What it was chosen under besides the problem's own settings."""


@dataclass(frozen=True)
class PriceLimit:
    """One point of a frontier: what is limited, and to what (`optimizers.budget.frontier.MEASURES`)."""

    measure: str
    level: float


@dataclass(frozen=True)
class PriceChoice:
    """Risk, rules and limit of one proposal."""

    risk: str
    rules: PriceRules
    limit: PriceLimit | None = None

    def pose(self, problem: PriceProblem) -> PriceProblem:
        """The problem that is solved: a limit on the index takes the place of the settings' band."""
        if self.limit is None or self.limit.measure != "index":
            return problem
        return replace(problem, index_band=self.limit.level)

    def by_mean(self) -> PriceChoice:
        """The same rules, where the plan as a whole is judged by what it is expected to bring."""
        return self if self.risk in BY_LINE else replace(self, risk="mean")

    def free_of(self, measure: str) -> PriceChoice:
        """The same without a limit on this measure."""
        return replace(self, limit=None) if self.limit is not None and self.limit.measure == measure else self

    def choose(self, problem: PriceProblem, *, gap: float, seconds: float) -> ChosenPrices:
        """Choose prices and check them again.

        Raises:
            ProblemError: a risk of the whole plan and a rule that is soft, or counted in units or money.
            InfeasibleError: no prices keep the rules.
            PlanError: the plan failed its re-check.
        """
        games: list[RobustPlan] = []
        solve, problem = self._solver(games), self.pose(problem)
        if self.rules.facts is None:
            plan = solve(problem, rows=None, gap=gap, seconds=seconds)
            check_price_plan(problem, plan)
            return ChosenPrices(plan, None, games[-1] if games else None, self._rows(problem, None))
        ruled = solve_under_rules(problem, self.rules.facts, self.rules.rules, gap=gap, seconds=seconds, solve=solve)
        rows = ruled.rules.rows()
        check_price_plan(problem, ruled.plan, rows)
        return ChosenPrices(ruled.plan, ruled, games[-1] if games else None, self._rows(problem, rows))

    def _rows(self, problem: PriceProblem, rows: PriceRows | None) -> PriceRows | None:
        """The rows of the rules and of the limit."""
        return (
            rows if self.limit is None else limited(as_solved(problem), self.limit.measure, self.limit.level, rows)[1]
        )

    def try_out(self, problem: PriceProblem, gap: float, seconds: float) -> PricePlan:
        """Choose prices for a comparison; what contradicts what is not looked for.

        Raises:
            ProblemError, InfeasibleError, PlanError: as `choose`.
        """
        solve, problem = self._solver([]), self.pose(problem)
        if self.rules.facts is None:
            return solve(problem, rows=None, gap=gap, seconds=seconds)
        return try_under_rules(problem, self.rules.facts, self.rules.rules, gap=gap, seconds=seconds, solve=solve)

    def _solver(self, games: list[RobustPlan]) -> PriceSolver:
        solve: PriceSolver = solve_prices if self.risk in BY_LINE else partial(_play, self.risk, games)
        return solve if self.limit is None else partial(_within, self.limit, solve)


def price_choice(rules: PriceRules, settings: Settings) -> PriceChoice:
    """How the settings want prices chosen."""
    return PriceChoice(settings.pricing.risk, rules)


def risk_of_lines(settings: Settings) -> str:
    """What the price problem itself counts: a risk of the whole plan is played over problems that count the mean."""
    return settings.pricing.risk if settings.pricing.risk in BY_LINE else "mean"


def as_solved(problem: PriceProblem) -> PriceProblem:
    """The problem as the solver counts it: the curvature of demand at its mean, which each draw's own only refines."""
    return replace(problem, curvature_draws=None)


def _within(
    limit: PriceLimit, solve: PriceSolver, problem: PriceProblem, *, rows: PriceRows | None, gap: float, seconds: float
) -> PricePlan:
    """Choose within a limit, and measure what was chosen again.

    Raises:
        PlanError: the prices are beyond the limit.
    """
    problem = as_solved(problem)
    posed, ruled = limited(problem, limit.measure, limit.level, rows)
    plan = solve(posed, rows=ruled, gap=gap, seconds=seconds)
    reached = measure_prices(problem, limit.measure, plan.price)
    beyond = limit.level - reached if limit.measure in FLOORS else abs(reached) - limit.level
    if beyond > BEYOND * max(abs(limit.level), 1.0):
        raise PlanError(
            f"the price plan stands at {reached:.6g} of {limit.measure}, beyond its limit {limit.level:.6g}"
        )
    return plan


def _play(
    risk: str,
    games: list[RobustPlan],
    problem: PriceProblem,
    *,
    rows: PriceRows | None = None,
    gap: float,
    seconds: float,
) -> PricePlan:
    """Choose by a risk of the whole plan; the game is kept beside the prices, which come back as a plan by mean."""
    game = solve_robust_prices(as_solved(problem), risk, rows=rows, gap=gap, seconds=seconds)
    games.append(game)
    assert game.price_plan is not None  # noqa: S101 - for the type checker: a game always ends with its prices
    return game.price_plan
