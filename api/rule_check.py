"""A file of rules held against a shop: what is wrong with it, what contradicts what, what each rule binds and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from api.price_choice import ChosenPrices, PriceChoice
from api.price_stage import PosedPrices
from api.rule_stage import PriceRules, rule_evidence
from engine.errors import InfeasibleError, PlanError
from engine.progress import Progress
from engine.proposal import Reason
from engine.settings import Settings
from optimizers.prices import PricePlan, PriceProblem
from optimizers.rules.conflict import Conflict, RuleConflictError

OF_THE_TIME = 0.25
"""Share of `pricing.seconds` that the plan without one of the rules may take."""


@dataclass(frozen=True)
class RuleCost:
    """What one rule does. Money over the horizon."""

    name: str
    kind: str
    scope: str
    owner: str
    hard: bool
    products: int
    """Products that it can concern."""
    bound: int
    """Products that it keeps from a better price."""
    broken_today: int
    """Products whose price of today breaks it."""
    cost: float | None
    """What the plan would gain more without this rule alone, all others kept; None: no plan was found without it."""
    cost_at_most: float | None
    """The cost is proven to be no larger; the plans with and without the rule are each known within their gaps."""


@dataclass(frozen=True)
class RuleCheck:
    """What was found."""

    rules: tuple[RuleCost, ...]
    """Those in force, in the order of the file; empty where they contradict each other."""
    remarks: tuple[Reason, ...]
    gain: float | None
    """Of the plan under all rules over today's prices; None where there is no plan."""
    gain_without: float | None
    """Of the plan under the settings alone."""
    gap: float | None
    fines: float
    """What the plan pays for the soft rules that it breaks."""
    conflict: Conflict | None
    """Why no prices keep all rules, with the cheapest way out; None where some do."""


def check_rules_of(posed: PosedPrices, settings: Settings, progress: Progress) -> RuleCheck:
    """Plan with all rules, with none, and without each of them.

    Raises:
        PlanError: a plan failed its re-check.
    """
    rules, gap, seconds = posed.rules, settings.pricing.gap, settings.pricing.seconds
    free = PriceChoice("mean", PriceRules()).try_out(_by_mean(posed.problem), gap, seconds)
    try:
        chosen = PriceChoice("mean", rules).choose(_by_mean(posed.problem), gap=gap, seconds=seconds)
    except RuleConflictError as error:
        return RuleCheck((), rules.remarks, None, free.objective, None, 0.0, error.conflict)
    costs = _costs(posed, chosen, settings, progress)
    fines = chosen.ruled.fines if chosen.ruled else 0.0
    return RuleCheck(costs, rules.remarks, chosen.plan.objective, free.objective, chosen.plan.gap, fines, None)


def _by_mean(problem: PriceProblem) -> PriceProblem:
    return replace(problem, risk="mean")


def _costs(posed: PosedPrices, chosen: ChosenPrices, settings: Settings, progress: Progress) -> tuple[RuleCost, ...]:
    told = rule_evidence(posed.rules, chosen.ruled)
    rows: Sequence[dict[str, Any]] = told["rules"] if told else ()
    found = []
    for number, row in enumerate(rows):
        other = _without(posed, row, settings)
        found.append(_cost(row, chosen.plan, other))
        progress.advance((number + 1) / len(rows))
    return tuple(found)


def _without(posed: PosedPrices, row: dict[str, Any], settings: Settings) -> PricePlan | None:
    """The plan without one rule; None where it concerns nobody, or no plan was found in time."""
    if not row["products"]:
        return None
    rest = tuple(rule for rule in posed.rules.rules if rule.name != row["name"])
    choice = PriceChoice("mean", replace(posed.rules, rules=rest))
    try:
        return choice.try_out(_by_mean(posed.problem), settings.pricing.gap, settings.pricing.seconds * OF_THE_TIME)
    except (InfeasibleError, PlanError):
        return None


def _cost(row: dict[str, Any], plan: PricePlan, other: PricePlan | None) -> RuleCost:
    nothing = None if row["products"] else 0.0
    # The plan under all rules is a plan without this one too: a search that found less has not looked hard enough.
    cost = nothing if other is None else max(other.objective - plan.objective, 0.0)
    most = nothing if other is None else max(other.bound - plan.objective, 0.0)
    names = ("name", "kind", "scope", "owner", "products", "bound", "broken_today")
    return RuleCost(**{name: row[name] for name in names}, hard=row["penalty"] is None, cost=cost, cost_at_most=most)
