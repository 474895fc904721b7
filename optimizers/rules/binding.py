"""Which rule kept a product from a better price, and which rules today's prices break."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimizers.prices import model as price_model
from optimizers.prices.rows import LinearRow
from optimizers.rules.basis import Basis, Compiled, Excess
from optimizers.rules.compile import TOLERANCE, CompiledRules, row_name
from optimizers.rules.demand import linearised, todays_value
from optimizers.rules.kinds import CHANGES, KINDS
from optimizers.rules.record import Bools, Floats, Ints

MATERIAL = 0.01
"""A rule is named only where another rung would gain the product at least this share of its profit more."""
_NEARLY = 1e-9


@dataclass(frozen=True)
class Relief:
    """What a rule would bring if it asked for a little less."""

    rule: str
    counted: bool
    """True: one change or one product more; False: one percentage point."""
    gain: float
    """Money over the horizon: its shadow price, or where it speaks of single prices, what this product would gain."""


@dataclass(frozen=True)
class Bound:
    """What kept one product from a better price."""

    rules: tuple[str, ...]
    """Names, in the order of the rules; empty where no rule stood in the way."""
    price: float
    """What it would take without them, the others' prices standing still, money per unit."""
    cost: float = 0.0
    """Money over the horizon that it would gain by that."""
    relief: tuple[Relief, ...] = ()
    """Of those rules whose relief brings something."""


def bound_by(compiled: CompiledRules, price: Floats, shadow: Mapping[str, float]) -> tuple[Bound, ...]:
    """Find the rules that kept each product from a rung that gains it more, the others' prices standing still.

    Args:
        compiled: rules over the ladder from which the prices were chosen.
        price: (P,) the plan's prices.
        shadow: its shadow prices, by row.

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
    wanted = np.where(wants, best, choice)
    wanted_price, cost = basis.ladder.price[rows, wanted].tolist(), (gain[rows, wanted] - held).tolist()
    more = gain - held[:, None]
    relief = [tuple(_reliefs(compiled, found, more[n], shadow, n)) for n, found in enumerate(names)]
    return tuple(Bound(tuple(names[n]), wanted_price[n], cost[n], relief[n]) for n in rows.tolist())


def _reliefs(
    compiled: CompiledRules, names: Sequence[str], more: Floats, shadow: Mapping[str, float], product: int
) -> Iterator[Relief]:
    """What a unit of each rule that bound a product would bring; `more` (K,) is what rungs gain beyond the plan's."""
    for one in compiled.rules:
        if one.rule.name in names:
            kind = KINDS[one.rule.kind]
            gain = _shadow(one, shadow, product)
            if one.excess is not None and not kind.counted:
                gain = _one_point(compiled, one.excess, more, product)
            if gain > _NEARLY:
                yield Relief(one.rule.name, kind.counted or kind.counted_in == CHANGES, gain)


def _shadow(one: Compiled, shadow: Mapping[str, float], product: int) -> float:
    """The largest shadow price of a rule's rows that speak of a product, money per unit of violation."""
    mine = (limit for limit in one.limits if product in limit.row.product)
    return max((shadow.get(row_name(one.rule, limit), 0.0) * limit.unit for limit in mine), default=0.0)


def _one_point(compiled: CompiledRules, excess: Excess, more: Floats, product: int) -> float:
    """What a product gains by the best rung that breaks one rule by a unit at most, and no other of single prices."""
    others = compiled.basis.ladder.rungs[product].copy()
    for one in compiled.rules:
        if one.excess is not None and one.excess is not excess and one.rule.hard:
            others &= _amount(one.excess, product, len(more)) <= TOLERANCE
    fits = others & (_amount(excess, product, len(more)) <= 1.0 + TOLERANCE)
    return float(more[fits].max(initial=0.0))


def _amount(excess: Excess, product: int, rungs: int) -> Floats:
    """(K,) units by which a product's rungs break a rule."""
    place = np.flatnonzero(excess.product == product)
    return np.asarray(excess.amount[place[0]]) if len(place) else np.zeros(rungs)


def forbidding(compiled: CompiledRules, price: Floats, wanted: Floats) -> tuple[tuple[str, ...], ...]:
    """(P,) names of the rules that forbid each product its wanted price, (P,), the others staying at `price` (P,)."""
    choice, best = (chosen_rungs(compiled.basis, prices) for prices in (price, wanted))
    names: list[list[str]] = [[] for _ in choice]
    for one in compiled.rules:
        if one.rule.hard:
            for product in np.flatnonzero(_forbids(compiled.basis, one, choice, best) & (choice != best)):
                names[product].append(one.rule.name)
    return tuple(tuple(found) for found in names)


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
