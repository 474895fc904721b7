"""Each line's words: why this price, which rule bound it, what the next best price is, what would make another best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from api.price_choice import ChosenPrices
from engine.demand.response import Response
from engine.proposal import Reason
from optimizers.prices import PriceProblem
from optimizers.prices.alternatives import Alternative, Barred, best_alternatives
from optimizers.prices.explain import explain_line, with_cost
from optimizers.rules.binding import forbidding
from optimizers.rules.conflict import listed_rules
from optimizers.rules.plan import with_rule

NEXT_BEST = {
    "": "{why}; next best: {price:.2f}, which gains {cost:,.2f} less",
    "stronger": "{why}; next best: {price:.2f}, which gains {cost:,.2f} less; "
    "another price is best if shoppers answer more strongly than {elasticity:.1f}",
    "weaker": "{why}; next best: {price:.2f}, which gains {cost:,.2f} less; "
    "another price is best if shoppers answer more weakly than {elasticity:.1f}",
}


BARRED = "{why}; no other price is permitted while the others stay: {price:.2f} would break {rules}"
SETTINGS = {"index": "pricing.index_band", "max_changed": "pricing.max_changed"}
"""Row of the solver -> the setting that asks for it."""


def line_reasons(response: Response, problem: PriceProblem, chosen: ChosenPrices) -> tuple[Reason, ...]:
    """(P,) the reason of every line."""
    others = best_alternatives(problem, chosen.plan, chosen.rows)
    barring = _barring(problem, chosen, others)
    return tuple(_reason(response, problem, chosen, other, barring[i], i) for i, other in enumerate(others))


def _barring(
    problem: PriceProblem, chosen: ChosenPrices, others: Sequence[Alternative | Barred | None]
) -> list[tuple[str, ...]]:
    """(P,) names of the rules that leave a product no other price; empty where one is left or the line names it."""
    barred = [other if isinstance(other, Barred) else None for other in others]
    plan = chosen.plan.price
    wanted = np.array([plan[i] if one is None else one.price for i, one in enumerate(barred)])
    nobody: tuple[tuple[str, ...], ...] = ((),) * len(barred)
    ruled = nobody if chosen.ruled is None else forbidding(chosen.ruled.rules, plan, wanted)
    return [
        () if one is None else names or _setting(one.row, bound)
        for one, names, bound in zip(barred, ruled, chosen.plan.binding, strict=True)
    ]


def _setting(row: str, bound: Sequence[str]) -> tuple[str, ...]:
    return (SETTINGS.get(row, row),) if row and row not in bound else ()


def _reason(
    response: Response,
    problem: PriceProblem,
    chosen: ChosenPrices,
    other: Alternative | Barred | None,
    barring: tuple[str, ...],
    product: int,
) -> Reason:
    identified = bool(response.identified[product])
    why = response.verdict[product]
    if identified:
        why = explain_line(problem, chosen.plan, product)
        why = with_cost(why, problem, chosen.plan, product)
    why = why if chosen.ruled is None else with_rule(why, chosen.ruled, product)
    if isinstance(other, Barred):
        return with_barring(why, other, barring) if identified else why
    return with_next_best(why, other, float(problem.own[:, product].mean()) if identified else None)


def with_barring(why: Reason, other: Barred, rules: Sequence[str]) -> Reason:
    """Say that no other price is permitted, and by which rules."""
    if not rules:
        return why
    return Reason(BARRED, {"why": why, "price": other.price, "rules": listed_rules(rules)})


def with_next_best(why: Reason, other: Alternative | None, elasticity: float | None) -> Reason:
    """Add the next best price, and the elasticity at which another price would be best.

    Nothing is added where there is no other price, where nothing is known of the response, or where the plan stands
    further from its bound than the other price costs.
    """
    if other is None or other.cost < 0 or elasticity is None:
        return why
    values = {"why": why, "price": other.price, "cost": other.cost}
    if other.elasticity is None:
        return Reason(NEXT_BEST[""], values)
    side = "stronger" if other.elasticity < elasticity else "weaker"
    return Reason(NEXT_BEST[side], values | {"elasticity": other.elasticity})
