"""Which rule kept a product from a better price, and which rules today's prices break."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizers.prices import model as price_model
from optimizers.prices.rows import LinearRow
from optimizers.rules.basis import Basis, Compiled
from optimizers.rules.compile import TOLERANCE, CompiledRules
from optimizers.rules.demand import linearised, todays_value
from optimizers.rules.record import Bools, Floats, Ints

MATERIAL = 0.01
"""A rule is named only where another rung would gain the product at least this share of its profit more."""
_NEARLY = 1e-9


@dataclass(frozen=True)
class Bound:
    """What kept one product from a better price."""

    rules: tuple[str, ...]
    """Names, in the order of the rules; empty where no rule stood in the way."""
    price: float
    """What it would take without them, the others' prices standing still, money per unit."""


def bound_by(compiled: CompiledRules, price: Floats) -> tuple[Bound, ...]:
    """Find the rules that kept each product from a rung that gains it more, the others' prices standing still.

    Args:
        compiled: rules over the ladder from which the prices were chosen.
        price: (P,) the plan's prices.

    Returns:
        (P,) the rules that forbid the best of the rungs that would gain more.
    """
    basis = compiled.basis
    choice = chosen_rungs(basis, price)
    gain = _gain(basis, price)
    rows = np.arange(len(choice))
    held = gain[rows, choice]
    better = gain > (held + MATERIAL * _profit(basis) + _NEARLY)[:, None]
    names: list[list[str]] = [[] for _ in rows]
    wanted = np.where(better, gain, -np.inf)
    best = np.argmax(wanted, axis=1)
    wants = better.any(axis=1) & basis.problem.movable
    for one in compiled.rules:
        forbids = _forbids(basis, one, choice, best)
        for product in np.flatnonzero(forbids & wants):
            names[product].append(one.rule.name)
    wanted_price = basis.ladder.price[rows, np.where(wants, best, choice)].tolist()
    return tuple(Bound(tuple(found), free) for found, free in zip(names, wanted_price, strict=True))


def breaks_today(compiled: CompiledRules) -> tuple[tuple[str, ...], ...]:
    """(P,) names of the rules that the product's price of today breaks, alone or with others."""
    names: list[list[str]] = [[] for _ in compiled.basis.problem.product_ids]
    for one in compiled.original:
        for product in sorted(breaks(compiled.basis, one)):
            names[product].append(one.rule.name)
    return tuple(tuple(found) for found in names)


def breaks(basis: Basis, one: Compiled) -> set[int]:
    """Products at which today's prices break a compiled rule."""
    found: set[int] = set()
    if one.excess is not None:
        found |= set(one.excess.product[one.excess.amount[:, basis.ladder.today] > TOLERANCE].tolist())
    for limit in one.limits:
        value, slack = todays_value(basis, limit), TOLERANCE * (limit.unit if limit.row.measure != "margin" else 0.01)
        if not limit.row.low - slack <= value <= limit.row.high + slack:
            found |= set(limit.row.product.tolist())
    return found


def chosen_rungs(basis: Basis, price: Floats) -> Ints:
    """(P,) column of each price on its ladder."""
    distance = np.abs(basis.ladder.price - price[:, None])
    return np.asarray(np.argmin(np.where(np.isfinite(distance), distance, np.inf), axis=1), dtype=np.int64)


def _gain(basis: Basis, price: Floats) -> Floats:
    """(P, K) what each rung gains, its family to first order, while the other prices stay where the plan put them."""
    problem = basis.problem
    model = price_model.rung_model(problem, price_model.Families.of(problem), basis.ladder, price)
    return np.where(np.isfinite(model.gain), model.gain, -np.inf)


def _profit(basis: Basis) -> Floats:
    problem = basis.problem
    return np.abs(problem.base_units * (problem.current_price - problem.unit_cost))


def _forbids(basis: Basis, one: Compiled, choice: Ints, best: Ints) -> Bools:
    """(P,) True where a rule is kept at the plan, and would be broken (further) by the product's best rung alone."""
    forbids = np.zeros(len(choice), dtype=np.bool_)
    if one.excess is not None:
        mine = one.excess.product
        rows = np.arange(len(mine))
        amount = one.excess.amount
        forbids[mine] = amount[rows, best[mine]] > amount[rows, choice[mine]] + TOLERANCE
    for limit in one.limits:
        row = linearised(basis, limit).row
        forbids |= _row_forbids(row, choice, best, len(choice))
    return forbids


def _row_forbids(row: LinearRow, choice: Ints, best: Ints, products: int) -> Bools:
    now = np.where(choice[row.product] == row.rung, row.coefficient, 0.0)
    then = np.where(best[row.product] == row.rung, row.coefficient, 0.0)
    value = float(now.sum())
    change = np.bincount(row.product, weights=then - now, minlength=products)
    after = value + change
    over = (after > row.high + TOLERANCE) & (change > 0)
    under = (after < row.low - TOLERANCE) & (change < 0)
    return np.asarray(over | under)
