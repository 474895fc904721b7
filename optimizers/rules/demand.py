"""Expected units and money on the ladder, to first order in substitution: what floors look like to a linear model."""

from __future__ import annotations

import numpy as np

from optimizers.prices.model import Families, own_move
from optimizers.rules.basis import Basis, Limit, linear_limit
from optimizers.rules.record import Floats, Ints


def worth(basis: Basis, measure: str, margin: float) -> tuple[Floats, Floats]:
    """What one unit counts in a measure, (P, K) on the ladder and (P,) at today's price.

    A floor `margin` on profit / revenue is a floor of 0 on profit less that share of revenue.
    """

    def value(price: Floats, cost: Floats) -> Floats:
        if measure == "units":
            return np.where(np.isfinite(price), 1.0, np.nan)
        if measure == "revenue":
            return price
        return price * (1 - margin) - cost if measure == "margin" else price - cost

    problem = basis.problem
    return value(basis.ladder.price, problem.unit_cost[:, None]), value(problem.current_price, problem.unit_cost)


def todays_value(basis: Basis, limit: Limit) -> float:
    """What the row of a limit comes to at today's prices, as `LinearRow` counts it."""
    row, products = limit.row, limit.row.product
    if row.measure == "linear":
        return 0.0
    units = todays_units(basis)[products]
    revenue = float(units @ basis.problem.current_price[products])
    if row.measure == "units":
        return float(units.sum())
    profit = revenue - float(units @ basis.problem.unit_cost[products])
    if row.measure == "margin":
        return profit / revenue if revenue > 0 else 0.0
    return revenue if row.measure == "revenue" else profit


def todays_units(basis: Basis) -> Floats:
    """(P,) expected units over the horizon at today's prices."""
    return np.asarray(basis.problem.base_units * basis.problem.base_scale.mean(axis=0))


def linearised(basis: Basis, limit: Limit) -> Limit:
    """Turn a measured limit into a linear one in units of violation: own effects exact, the family's to first order."""
    row = limit.row
    if row.measure == "linear":
        return limit
    margin = row.low if row.measure == "margin" else 0.0
    rung_worth, today_worth = worth(basis, row.measure, margin)
    low, high = (0.0, np.inf) if row.measure == "margin" else (row.low, row.high)
    touched = _relatives(basis, row.product)
    value = _others(basis, row.product, touched, today_worth)
    own = np.isin(touched, row.product)
    value[own] += _own_units(basis, touched[own]) * rung_worth[touched[own]]
    return linear_limit(basis, limit.about, touched, value / limit.unit, low=low / limit.unit, high=high / limit.unit)


def _relatives(basis: Basis, products: Ints) -> Ints:
    """These products and all that share a family with one of them."""
    family = basis.problem.family
    return np.flatnonzero(np.isin(family, np.unique(family[products]))).astype(np.int64)


def _own_units(basis: Basis, products: Ints) -> Floats:
    """(n, K) expected units at every rung while the rest of the family stays at today's prices."""
    problem = basis.problem
    base = problem.base_units[products] * problem.base_scale[:, products]
    move = own_move(problem, np.log1p(basis.moves(products)))
    result = np.full(move.shape, np.nan)
    for rung in range(move.shape[1]):
        result[:, rung] = (base * np.exp(problem.own[:, products] * move[:, rung])).mean(axis=0)
    return result


def _others(basis: Basis, products: Ints, touched: Ints, worth_today: Floats) -> Floats:
    """(n, K) what each rung of the touched products adds to the rest of its family, to first order."""
    problem = basis.problem
    slope = np.zeros(len(problem.product_ids))
    units = problem.base_units * (problem.base_scale * problem.cross).mean(axis=0)
    slope[products] = (units * worth_today)[products]
    outward = Families.of(problem).outward(slope)
    return np.asarray(outward[touched, None] * np.log1p(basis.moves(touched)))
