"""Rules about sums: number of changes, price index, floors on units, revenue and margin, stock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from optimizers.prices.rows import Measure
from optimizers.rules.basis import Basis, Limit, linear_limit, measured_limit
from optimizers.rules.between import RowRule
from optimizers.rules.record import Floats, Ints, Rule
from optimizers.rules.scope import groups
from optimizers.rules.single import PERCENT


def _by(rule: Rule, basis: Basis, products: Ints) -> dict[str, Ints]:
    column = rule.values["by"]
    return groups((column,) if column else (), products, basis.facts, f"rule {rule.name!r}")


def _max_changes(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    for name, found in _by(rule, basis, products).items():
        given = (rule.values["at_most"], rule.values["share"])
        most = min(np.inf if given[0] is None else given[0], np.inf if given[1] is None else given[1] * len(found))
        yield linear_limit(basis, name, found, basis.changed(found), high=float(np.floor(most + 1e-9)))


def _price_index(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    low, high = rule.values["low"], rule.values["high"]
    for name, found in _by(rule, basis, products).items():
        revenue = basis.revenue[found]
        if revenue.sum() > 0:
            value = PERCENT * (revenue / revenue.sum())[:, None] * basis.moves(found)
            yield linear_limit(
                basis,
                name,
                found,
                value,
                low=-np.inf if low is None else PERCENT * low,
                high=np.inf if high is None else PERCENT * high,
            )


def _units(basis: Basis) -> Floats:
    """(P,) expected units over the horizon at today's prices."""
    return np.asarray(basis.problem.base_units * basis.problem.base_scale.mean(axis=0))


def _volume_floor(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    yield from _floor(rule, basis, products, "units", _units(basis))


def _revenue_floor(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    yield from _floor(rule, basis, products, "revenue", _units(basis) * basis.problem.current_price)


def _floor(rule: Rule, basis: Basis, products: Ints, measure: Measure, today: Floats) -> Iterator[Limit]:
    for name, found in _by(rule, basis, products).items():
        total = float(today[found].sum())
        if total > 0:
            yield measured_limit(name, found, measure, total / PERCENT, low=rule.values["at_least"] * total)


def _group_margin_floor(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    revenue = _units(basis) * basis.problem.current_price
    for name, found in _by(rule, basis, products).items():
        total = float(revenue[found].sum())
        if total > 0:
            yield measured_limit(name, found, "margin", total / PERCENT, low=rule.values["at_least"])


def _stock_cover(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    stock = basis.facts.stock[products]
    for product, held in zip(products.tolist(), stock.tolist(), strict=True):
        if np.isfinite(held):
            most = rule.values["share"] * held
            unit = max(held, 1e-9) / PERCENT
            yield measured_limit(basis.problem.product_ids[product], np.array([product]), "units", unit, high=most)


TOTALS: Mapping[str, RowRule] = {
    "max_changes": _max_changes,
    "price_index": _price_index,
    "volume_floor": _volume_floor,
    "revenue_floor": _revenue_floor,
    "group_margin_floor": _group_margin_floor,
    "stock_cover": _stock_cover,
}
