"""Each line's words: why this price, which rule bound it, what the next best price is, what would make another best."""

from __future__ import annotations

from api.price_choice import ChosenPrices
from engine.demand.response import Response
from engine.proposal import Reason
from optimizers.prices import PriceProblem
from optimizers.prices.alternatives import Alternative, best_alternatives
from optimizers.prices.explain import explain_line
from optimizers.rules.plan import with_rule

NEXT_BEST = {
    "": "{why}; next best: {price:.2f}, which gains {cost:,.2f} less",
    "stronger": "{why}; next best: {price:.2f}, which gains {cost:,.2f} less; "
    "another price is best if shoppers answer more strongly than {elasticity:.1f}",
    "weaker": "{why}; next best: {price:.2f}, which gains {cost:,.2f} less; "
    "another price is best if shoppers answer more weakly than {elasticity:.1f}",
}


def line_reasons(response: Response, problem: PriceProblem, chosen: ChosenPrices) -> tuple[Reason, ...]:
    """(P,) the reason of every line."""
    allowed = None if chosen.ruled is None else chosen.ruled.rules.rows().allowed
    others = best_alternatives(problem, chosen.plan, allowed)
    return tuple(_reason(response, problem, chosen, others[i], i) for i in range(len(problem.product_ids)))


def _reason(
    response: Response, problem: PriceProblem, chosen: ChosenPrices, other: Alternative | None, product: int
) -> Reason:
    identified = bool(response.identified[product])
    why = explain_line(problem, chosen.plan, product) if identified else response.verdict[product]
    why = why if chosen.ruled is None else with_rule(why, chosen.ruled, product)
    return with_next_best(why, other, float(problem.own[:, product].mean()) if identified else None)


def with_next_best(why: Reason, other: Alternative | None, elasticity: float | None) -> Reason:
    """Add the next best price, and the elasticity at which another price would be best.

    Nothing is added where there is no other price, or where a better one is kept away by a rule: the reason names it.
    """
    if other is None or other.cost < 0 or elasticity is None:
        return why
    values = {"why": why, "price": other.price, "cost": other.cost}
    if other.elasticity is None:
        return Reason(NEXT_BEST[""], values)
    side = "stronger" if other.elasticity < elasticity else "weaker"
    return Reason(NEXT_BEST[side], values | {"elasticity": other.elasticity})
