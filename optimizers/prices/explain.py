"""Why each price is what it is, in words: templates and values, so that they can be read in any language."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from engine.proposal import Reason
from optimizers.prices.model import own_move
from optimizers.prices.problem import PricePlan, PriceProblem, problem_ladder

HELD = {
    "not_movable": "held at today's price: this product is not to be moved",
    "no_gain": "held at today's price: no move within ±{max_change:.1%} gains "
    "(elasticity {elasticity:.1f}, margin {margin:.0%})",
    "no_rung": "held at today's price: no other price within ±{max_change:.1%} is permitted in whole cents",
    "no_rung_endings": "held at today's price: no price within ±{max_change:.1%} has a permitted ending ({endings})",
    "no_rung_min_margin": "held at today's price: every other price within ±{max_change:.1%} leaves less than the "
    "smallest margin of {min_margin:.0%}",
    "no_rung_seen_range": "held at today's price: no other price within ±{max_change:.1%} was seen often enough "
    "(seen: {low:.2f} to {high:.2f})",
    "max_change": "held at today's price: only a move beyond ±{max_change:.1%} would gain",
    "min_margin": "held at today's price: the prices that gain leave less than the smallest margin of {min_margin:.0%}",
    "endings": "held at today's price: no price that gains has a permitted ending ({endings})",
    "seen_range": "held at today's price: the prices that gain lie outside those seen ({low:.2f} to {high:.2f})",
    "index": "held at today's price by the index band: without it {free_price:.2f}",
    "max_changed": "held at today's price: the {max_changed:d} changes allowed gain more elsewhere; "
    "without that limit {free_price:.2f}",
}
RAISED = {
    "": "raised by {move:.1%}: at an elasticity of {elasticity:.1f} and a margin of {margin:.0%}, "
    "the dearer units outweigh the lost ones",
    "max_change": "raised by {move:.1%}, as far as ±{max_change:.1%} permits: at an elasticity of {elasticity:.1f} "
    "and a margin of {margin:.0%}, going further would still gain",
    "min_margin": "raised by {move:.1%}, bound by the smallest margin of {min_margin:.0%}: a price between gains more",
    "endings": "raised by {move:.1%} to a permitted ending ({endings}): another price would gain more",
    "seen_range": "raised by {move:.1%}, as far as prices were seen (up to {high:.2f}): "
    "beyond, the response is unknown",
    "index": "raised by {move:.1%}, bound by the index band: without it {free_price:.2f}",
    "index_room": "raised by {move:.1%} to make room in the price index for cuts that gain more: "
    "without the index band {free_price:.2f}",
    "family": "raised by {move:.1%}: what this product loses, others of its family gain",
}
LOWERED = {
    "": "lowered by {move:.1%}: at an elasticity of {elasticity:.1f} and a margin of {margin:.0%}, "
    "the extra units outweigh the lower price",
    "max_change": "lowered by {move:.1%}, as far as ±{max_change:.1%} permits: at an elasticity of {elasticity:.1f} "
    "and a margin of {margin:.0%}, going further would still gain",
    "min_margin": "lowered by {move:.1%}, bound by the smallest margin of {min_margin:.0%}: going further would gain",
    "endings": "lowered by {move:.1%} to a permitted ending ({endings}): another price would gain more",
    "seen_range": "lowered by {move:.1%}, as far as prices were seen (down to {low:.2f}): "
    "beyond, the response is unknown",
    "index": "lowered by {move:.1%}, bound by the index band: without it {free_price:.2f}",
    "index_room": "lowered by {move:.1%} to make room in the price index for raises that gain more: "
    "without the index band {free_price:.2f}",
    "family": "lowered by {move:.1%}: what this product loses, others of its family gain",
}
TEMPLATES: tuple[str, ...] = (*HELD.values(), *RAISED.values(), *LOWERED.values())
"""Every sentence that `explain_line` can say, for the translation catalogue."""
COSTS = {
    "": "{why}; the rule costs this line {cost:,.2f} over the horizon",
    "index": "{why}; the rule costs this line {cost:,.2f} over the horizon, "
    "and 0.1 % more of the index would bring {gain:,.2f} in all",
    "max_changed": "{why}; the rule costs this line {cost:,.2f} over the horizon, "
    "and one more change would bring {gain:,.2f} in all",
}
"""What the rule that bound a line costs, and where it is shared, what more of it would bring (its shadow price)."""
HALF_A_CENT = 0.005

_ORDER = ("index", "max_changed", "max_change", "seen_range", "min_margin", "endings")


def explain_line(problem: PriceProblem, plan: PricePlan, product: int) -> Reason:
    """Say in one sentence why a product's price is what it is, and which rule bound it.

    Args:
        problem: what was asked.
        plan: the answer of `solve_prices`.
        product: row number, 0…P-1.

    Returns:
        A template of `TEMPLATES` with its values; a price is money per unit, `move` and margins are shares.
    """
    if not problem.movable[product]:
        return Reason(HELD["not_movable"])
    values = _values(problem, plan, product)
    price, today = float(plan.price[product]), float(problem.current_price[product])
    rule = _bound_by(problem, plan, product)
    if price == today:
        why = _why_no_rung(problem, product) or rule or "no_gain"
        return Reason(HELD[why], _told(HELD[why], values))
    if rule == "index" and (price > values["free_price"]) == (price > today):
        rule = "index_room"
    rule = rule if rule in RAISED else ""
    if price > today:
        return Reason(RAISED[rule], _told(RAISED[rule], values))
    return Reason(LOWERED[rule], _told(LOWERED[rule], values))


def with_cost(why: Reason, problem: PriceProblem, plan: PricePlan, product: int) -> Reason:
    """Add to a line's reason what the rule costs that bound it, and the shadow price of a rule that lines share.

    Args:
        why: what `explain_line` says.
        problem: what was asked.
        plan: the answer.
        product: row number, 0…P-1.
    """
    rule = _bound_by(problem, plan, product)
    if rule not in plan.binding[product] or not plan.binding_cost:
        return why
    cost = plan.binding_cost[product][plan.binding[product].index(rule)]
    if cost < HALF_A_CENT:
        return why
    shadow = plan.shadow_prices
    shared = {"index": shadow.get("index_up", 0.0) + shadow.get("index_down", 0.0)}
    gain = shared.get(rule, shadow.get(rule, 0.0))
    if gain < HALF_A_CENT:
        return Reason(COSTS[""], {"why": why, "cost": cost})
    return Reason(COSTS[rule], {"why": why, "cost": cost, "gain": gain})


def _bound_by(problem: PriceProblem, plan: PricePlan, product: int) -> str:
    """The rule that bound a line; empty where none did, "family" where it loses for its family's sake."""
    rule = next((name for name in _ORDER if name in plan.binding[product]), "")
    price, today = float(plan.price[product]), float(problem.current_price[product])
    alone = price != today and rule not in ("index", "max_changed")
    return "family" if alone and _own_gain(problem, product, price) < 0 else rule


def explain_plan(problem: PriceProblem, plan: PricePlan) -> tuple[Reason, ...]:
    """Explain every line, (P,)."""
    return tuple(explain_line(problem, plan, product) for product in range(len(problem.product_ids)))


def _values(problem: PriceProblem, plan: PricePlan, product: int) -> dict[str, Any]:
    today, price = float(problem.current_price[product]), float(plan.price[product])
    free = price if plan.free_price is None else float(plan.free_price[product])
    return {
        "move": abs(price / today - 1),
        "elasticity": float(problem.own[:, product].mean()),
        "margin": 1 - float(problem.unit_cost[product]) / today,
        "free_price": free,
        "max_change": problem.max_change,
        "min_margin": 0.0 if problem.min_margin is None else problem.min_margin,
        "max_changed": 0 if problem.max_changed is None else problem.max_changed,
        "endings": ", ".join(f"{ending:.2f}"[1:] for ending in problem.endings or ()),
        "low": 0.0 if problem.price_low is None else float(problem.price_low[product]),
        "high": np.inf if problem.price_high is None else float(problem.price_high[product]),
    }


def _told(template: str, values: dict[str, Any]) -> dict[str, Any]:
    """Keep only the values that the template speaks of."""
    return {name: value for name, value in values.items() if "{" + name in template}


def _why_no_rung(problem: PriceProblem, product: int) -> str:
    """Return the rule by which no other price is permitted at all; empty where others are."""
    alone = _alone(problem, product)
    if problem_ladder(alone).choices[0] > 1:
        return ""
    relaxed = {
        "endings": replace(alone, endings=None),
        "min_margin": replace(alone, min_margin=None),
        "seen_range": replace(alone, price_low=None, price_high=None),
    }
    for rule, without in relaxed.items():
        if problem_ladder(without).choices[0] > 1:
            return f"no_rung_{rule}"
    return "no_rung"


def _alone(problem: PriceProblem, product: int) -> PriceProblem:
    """Cut the problem of one product out."""
    one = slice(product, product + 1)
    names = ("price_low", "price_high", "further")
    given: dict[str, Any] = {name: getattr(problem, name)[one] for name in names if getattr(problem, name) is not None}
    return replace(
        problem,
        product_ids=problem.product_ids[one],
        **{name: getattr(problem, name)[one] for name in ("current_price", "unit_cost", "base_units", "movable")},
        **{name: getattr(problem, name)[:, one] for name in ("own", "cross", "base_scale")},
        family=np.zeros(1, dtype=np.int64),
        **given,
        index_weight=None,
    )


def _own_gain(problem: PriceProblem, product: int, price: float) -> float:
    """Return the expected gain of a product from its own move alone, money."""
    today, cost = float(problem.current_price[product]), float(problem.unit_cost[product])
    factor = np.exp(problem.own[:, product] * own_move(problem, np.log(np.asarray(price / today))))
    gain = problem.base_scale[:, product] * (factor * (price - cost) - (today - cost))
    return float(problem.base_units[product] * gain.mean())
