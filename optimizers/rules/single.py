"""Rules about one price at a time: how far every rung is from keeping them, (n, K) in the kind's unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from optimizers.rules.basis import Basis
from optimizers.rules.record import Floats, Ints, Rule

PERCENT = 100.0
_HALF_A_CENT = 0.005
_SLACK = 1e-9

SingleRule = Callable[[Rule, Basis, Ints], Floats]


def _beyond(value: Floats, low: float | None, high: float | None) -> Floats:
    """How far values lie outside their limits; None: no limit."""
    under = 0.0 if low is None else low - value
    over = 0.0 if high is None else value - high
    return np.maximum(np.maximum(under, over), 0.0)


def _max_change(rule: Rule, basis: Basis, products: Ints) -> Floats:
    down = rule.values["down"]
    return PERCENT * _beyond(basis.moves(products), None if down is None else -down, rule.values["up"])


def _min_step(rule: Rule, basis: Basis, products: Ints) -> Floats:
    today = basis.problem.current_price[products, None]
    least = np.maximum(rule.values["share"] * today, rule.values["money"])
    step = np.abs(basis.ladder.price[products] - today)
    return np.where(step < least * (1 - _SLACK), basis.changed(products), 0.0)


def _margin_floor(rule: Rule, basis: Basis, products: Ints) -> Floats:
    price = basis.ladder.price[products]
    margin = 1 - basis.problem.unit_cost[products, None] / price
    return PERCENT * _beyond(margin, rule.values["at_least"], None)


def _price_endings(rule: Rule, basis: Basis, products: Ints) -> Floats:
    cents = np.round(basis.ladder.price[products] * 100) % 100
    allowed = [round(ending * 100) for ending in rule.values["endings"]]
    return np.where(np.isin(cents, allowed), 0.0, basis.changed(products))


def _price_ladder(rule: Rule, basis: Basis, products: Ints) -> Floats:
    allowed = np.array(rule.values["prices"])
    distance = np.abs(basis.ladder.price[products][..., None] - allowed).min(axis=-1)
    return np.where(distance < _HALF_A_CENT, 0.0, basis.changed(products))


def _competitor_gap(rule: Rule, basis: Basis, products: Ints) -> Floats:
    gap = basis.ladder.price[products] / basis.facts.competitor_price[products, None] - 1
    below = rule.values["below"]
    return PERCENT * np.nan_to_num(_beyond(gap, None if below is None else -below, rule.values["above"]))


def _min_days(rule: Rule, basis: Basis, products: Ints) -> Floats:
    early = basis.facts.days_since_change[products] < rule.values["days"]
    return np.asarray(basis.changed(products) * early[:, None])


def _lowest_price(rule: Rule, basis: Basis, products: Ints) -> Floats:
    price, lowest = basis.ladder.price[products], basis.facts.lowest_price[products, None]
    limit = np.minimum(lowest * (1 - rule.values["at_least"] + _SLACK), lowest - _HALF_A_CENT)
    cut = price < basis.problem.current_price[products, None]
    return np.where(cut & ~(price <= limit), basis.changed(products), 0.0)


def _frozen(_rule: Rule, basis: Basis, products: Ints) -> Floats:
    return basis.changed(products)


SINGLE: Mapping[str, SingleRule] = {
    "max_change": _max_change,
    "min_step": _min_step,
    "margin_floor": _margin_floor,
    "price_endings": _price_endings,
    "price_ladder": _price_ladder,
    "competitor_gap": _competitor_gap,
    "min_days_between_changes": _min_days,
    "lowest_price_30_days": _lowest_price,
    "frozen": _frozen,
}
