"""Prices under business rules: compile, solve, check again, and say which rule bound what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from engine.errors import InfeasibleError, PlanError
from engine.proposal import Reason
from optimizers.prices.problem import PricePlan, PriceProblem, problem_ladder
from optimizers.prices.rows import PriceRows
from optimizers.prices.solve import solve_prices
from optimizers.rules.basis import Basis
from optimizers.rules.binding import Bound, bound_by, breaks, breaks_today
from optimizers.rules.check import check_rules, fines
from optimizers.rules.compile import CompiledRules, compile_rules
from optimizers.rules.conflict import Conflict, RuleConflictError, diagnose, listed_rules, settings_as_rules
from optimizers.rules.elastic import elastic_model
from optimizers.rules.record import Facts, Rule

BROKEN_TODAY = {
    "mended": "today's price breaks the rule “{rule}”: the plan moves it to {price:.2f}",
    "elsewhere": "today's price breaks the rule “{rule}”: the plan mends that by moving others",
    "relaxed": "today's price breaks the rule “{rule}”: the rule is relaxed to where today's prices stand",
    "soft": "the price breaks the rule “{rule}”, which is soft: to keep it would cost more than its penalty",
}
BOUND = {
    "held": "held at today's price by {rules}: without, {price:.2f}",
    "raised": "raised by {move:.1%}, bound by {rules}: without, {price:.2f}",
    "lowered": "lowered by {move:.1%}, bound by {rules}: without, {price:.2f}",
}

COSTS = "{why}; that costs this line {cost:,.2f} over the horizon"
RELIEF = {
    "point": "{why}; one percentage point more under “{rule}” would bring {gain:,.2f}",
    "count": "{why}; one more under “{rule}” would bring {gain:,.2f}",
}
"""What a little more of a rule would bring: its shadow price, in the unit that the rule is counted in."""
HALF_A_CENT = 0.005
SECONDS_TO_DIAGNOSE = 60.0
SETTINGS = ("index_up", "index_down", "max_changed")
"""Shadow prices that are told even where they are 0; those of rules only where they are not."""
MEASURED = frozenset({"volume_floor", "revenue_floor", "group_margin_floor", "stock_cover"})
"""Kinds that a linear model sees to first order only."""


@dataclass(frozen=True)
class RuledPlan:
    """A plan with what the rules did to it."""

    plan: PricePlan
    fines: float
    """What the plan pays for the soft rules that it breaks, money; `plan.objective` is less this."""
    rules: CompiledRules
    bound: tuple[Bound, ...]
    """(P,) the rules that kept a product from a better price."""
    broken_today: tuple[tuple[str, ...], ...]
    """(P,) names of the rules that today's price of the product breaks."""


class PriceSolver(Protocol):
    """What `solve_prices` does."""

    def __call__(self, problem: PriceProblem, *, rows: PriceRows | None, gap: float, seconds: float) -> PricePlan:
        """Choose prices under rows."""


def solve_under_rules(
    problem: PriceProblem,
    facts: Facts,
    rules: Sequence[Rule],
    *,
    gap: float = 1e-4,
    seconds: float = 60.0,
    solve: PriceSolver = solve_prices,
) -> RuledPlan:
    """Choose the prices that gain most under the settings and these rules.

    Args:
        problem: products, response and settings.
        facts: what rules ask about the products.
        rules: the rules in force.
        gap: relative gap at which the solver may stop.
        seconds: time limit of the solver.
        solve: the solver; another one chooses by another risk.

    Raises:
        ConfigurationError: a rule names what the shop does not have.
        RuleConflictError: no prices keep all hard rules; it says which contradict each other, and the cheapest way out.
        PlanError: the plan broke a rule when it was checked again.
    """
    basis = Basis(problem, problem_ladder(problem), facts)
    compiled = compile_rules(basis, tuple(rules))
    rows = compiled.rows()
    conflict = find_conflict(compiled)
    stuck = not rows.allowed.any(axis=1).all()
    if conflict is not None and (stuck or _exact(conflict, rules)):
        raise RuleConflictError(conflict)
    try:
        plan = solve(problem, rows=rows, gap=gap, seconds=seconds)
    except InfeasibleError as error:
        raise RuleConflictError(conflict or diagnose(basis, rules)) from error
    except PlanError as error:
        if conflict is None:
            raise
        raise RuleConflictError(conflict) from error
    check_rules(problem, facts, rules, plan.price)
    shadow = {name: value for name, value in plan.shadow_prices.items() if value or name in SETTINGS}
    return RuledPlan(
        plan=replace(plan, shadow_prices=shadow),
        fines=fines(problem, facts, rules, plan.price),
        rules=compiled,
        bound=bound_by(compiled, plan.price, shadow),
        broken_today=breaks_today(compiled),
    )


def try_under_rules(
    problem: PriceProblem,
    facts: Facts,
    rules: Sequence[Rule],
    *,
    gap: float = 1e-4,
    seconds: float = 60.0,
    solve: PriceSolver = solve_prices,
) -> PricePlan:
    """Choose prices as `solve_under_rules` does, without asking why where there are none: for plans that are compared.

    Raises:
        ConfigurationError, PlanError: as there.
        InfeasibleError: no prices keep all hard rules; which of them is not looked for.
    """
    compiled = compile_rules(Basis(problem, problem_ladder(problem), facts), tuple(rules))
    rows = compiled.rows()
    if not rows.allowed.any(axis=1).all():
        raise InfeasibleError("a product has no price that keeps all hard rules; `diagnose` says which contradict")
    plan = solve(problem, rows=rows, gap=gap, seconds=seconds)
    check_rules(problem, facts, rules, plan.price)
    return plan


def find_conflict(compiled: CompiledRules) -> Conflict | None:
    """Diagnose hard rules that leave no plan; None where they leave one, floors on demand seen to first order."""
    hard = [one for one in (*compiled.rules, *settings_as_rules(compiled.basis)) if one.rule.hard]
    if not any(breaks(compiled.basis, one) for one in hard):
        return None  # today's prices are a plan
    model = elastic_model(compiled.basis, hard)
    if model.keepable(frozenset(range(len(hard))), SECONDS_TO_DIAGNOSE):
        return None
    conflict = diagnose(compiled.basis, [one.rule for one in compiled.rules], seconds=SECONDS_TO_DIAGNOSE)
    return conflict if conflict.rules else None


def _exact(conflict: Conflict, rules: Sequence[Rule]) -> bool:
    """Whether a contradiction stands whatever demand does: none of its rules is a floor on demand."""
    kinds = {rule.name: rule.kind for rule in rules}
    return not any(kinds.get(name) in MEASURED for name in conflict.rules)


def rule_remarks(ruled: RuledPlan, product: int) -> tuple[Reason, ...]:
    """Say of one product which rules its price of today breaks, and what the plan does about it."""
    problem = ruled.rules.basis.problem
    price, today = float(ruled.plan.price[product]), float(problem.current_price[product])
    rules = {compiled.rule.name: compiled.rule for compiled in ruled.rules.rules}
    remarks = []
    for name in ruled.broken_today[product]:
        rule = rules[name]
        moved = "mended" if price != today else "elsewhere"
        state = "soft" if not rule.hard else ("relaxed" if rule.today == "no_worse" else moved)
        if state != "soft" or price == today:
            values = {"rule": name} | ({"price": price} if state == "mended" else {})
            remarks.append(Reason(BROKEN_TODAY[state], values))
    return tuple(remarks)


def _bound(ruled: RuledPlan, product: int) -> Reason | None:
    bound = ruled.bound[product]
    if not bound.rules:
        return None
    move = float(ruled.plan.price[product] / ruled.rules.basis.problem.current_price[product]) - 1
    values = {"rules": listed_rules(bound.rules), "price": bound.price}
    if move == 0:
        return _with_cost(Reason(BOUND["held"], values), bound)
    return _with_cost(Reason(BOUND["raised" if move > 0 else "lowered"], values | {"move": abs(move)}), bound)


def _with_cost(why: Reason, bound: Bound) -> Reason:
    """Add what the rules cost the line, and what a little more of each would bring."""
    if bound.cost >= HALF_A_CENT:
        why = Reason(COSTS, {"why": why, "cost": bound.cost})
    for one in bound.relief:
        if one.gain >= HALF_A_CENT:
            template = RELIEF["count" if one.counted else "point"]
            why = Reason(template, {"why": why, "rule": one.rule, "gain": one.gain})
    return why


def with_rule(reason: Reason, ruled: RuledPlan, product: int) -> Reason:
    """Say which rules bound a line, or else its own reason; and add what its price of today breaks."""
    said = _bound(ruled, product) or reason
    for remark in rule_remarks(ruled, product):
        said = Reason("{first}; {second}", {"first": said, "second": remark})
    return said
