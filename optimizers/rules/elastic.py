"""The elastic model: every rule may be relaxed, at a price; where its relaxation is held at 0, the rule is kept.

One relaxation for each rule, counted in the rule's own unit: how far its limit would have to move, or how many products
it would have to exempt (Chinneck, "Feasibility and Infeasibility in Optimization", Springer 2008, chapters 6 and 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizers import solver
from optimizers.rules.basis import Basis, Compiled, Excess
from optimizers.rules.demand import linearised
from optimizers.rules.kinds import KINDS
from optimizers.rules.record import Bools, Floats, Ints

SLACK = 1e-6
"""Units of violation that count as none."""
CHEAP_ENOUGH = 0.01
"""Relative gap at which the search for the cheapest way out ends."""


@dataclass(frozen=True)
class Elastic:
    """The compiled model of some rules."""

    model: solver.CompiledModel
    relaxation: Ints
    """(R,) column of each rule's relaxation."""
    cost: Floats
    """(C,) weight of each rule on its relaxation, 0 elsewhere."""
    today: Floats
    """(R,) relaxations that today's prices need."""

    def keepable(self, kept: frozenset[int], seconds: float) -> bool:
        """Whether these rules can be kept at once, all others given up; True where time ran out."""
        if not self.today[sorted(kept)].any():
            return True
        cost = np.zeros_like(self.cost)
        return solver.solve(self._keeping(kept), cost=cost, gap=1.0, seconds=seconds).stop != solver.Stop.INFEASIBLE

    def cheapest(self, seconds: float, kept: frozenset[int] = frozenset()) -> Floats | None:
        """(R,) relaxations of least weighted sum that make a plan possible; None where none was found in time.

        Args:
            seconds: time limit; what is held then is taken.
            kept: rules that must be kept.
        """
        found = solver.solve(self._keeping(kept), cost=self.cost, gap=CHEAP_ENOUGH, seconds=seconds)
        return None if found.values is None else found.values[self.relaxation]

    def at_least(self) -> Floats:
        """(R,) relaxations of least weighted sum were products to take several rungs in parts: quick, and too few."""
        found = solver.relax(self.model, cost=self.cost)
        return np.ones(len(self.today)) if found.values is None else found.values[self.relaxation]

    def _keeping(self, kept: frozenset[int]) -> solver.CompiledModel:
        high = self.model.column_high.copy()
        high[self.relaxation[sorted(kept)]] = 0.0
        return replace(self.model, column_high=high)


def elastic_model(basis: Basis, rules: Sequence[Compiled]) -> Elastic:
    """Build the model of these rules; floors on demand are seen to first order in substitution."""
    import pyomo.environ as pyo

    rules = [replace(rule, limits=tuple(linearised(basis, limit) for limit in rule.limits)) for rule in rules]
    model = pyo.ConcreteModel()
    product, rung = np.nonzero(basis.ladder.rungs & _touched(basis, rules)[:, None])
    model.take = pyo.Var(range(len(product)), domain=pyo.Binary)
    model.relax = pyo.Var(range(len(rules)), domain=pyo.NonNegativeReals)
    number = np.full(basis.ladder.price.shape, -1, dtype=np.int64)
    number[product, rung] = np.arange(len(product))
    model.rules = pyo.ConstraintList()
    take = list(model.take.values())
    for columns in np.split(np.arange(len(product)), np.flatnonzero(np.diff(product)) + 1):
        if len(columns):
            model.rules.add(pyo.quicksum(take[c] for c in columns.tolist()) == 1)
    today = np.zeros(len(rules))
    at_today = rung == basis.ladder.today
    for place, rule in enumerate(rules):
        for columns, weight, low, high in _terms(rule, number):
            value = float(weight @ at_today[columns])
            today[place] = max(today[place], value - high - SLACK, low - value - SLACK)
            total = pyo.quicksum(w * take[c] for c, w in zip(columns.tolist(), weight.tolist(), strict=True))
            if np.isfinite(high):
                model.rules.add(total - model.relax[place] <= high)
            if np.isfinite(low):
                model.rules.add(total + model.relax[place] >= low)
    weights = [rule.rule.weight for rule in rules]
    model.cost = pyo.Objective(expr=pyo.quicksum(w * s for w, s in zip(weights, model.relax.values(), strict=True)))
    compiled = solver.compile_model(model)
    return Elastic(compiled, compiled.positions(model.relax.values()), compiled.cost, np.maximum(today, 0.0))


def _touched(basis: Basis, rules: Sequence[Compiled]) -> Bools:
    """(P,) products that any rule speaks of."""
    touched = np.zeros(len(basis.ladder.price), dtype=np.bool_)
    for rule in rules:
        if rule.excess is not None:
            touched[rule.excess.product[(rule.excess.amount > 0).any(axis=1)]] = True
        for limit in rule.limits:
            touched[limit.row.product] = True
    return touched


def _terms(rule: Compiled, number: Ints) -> Iterator[tuple[Ints, Floats, float, float]]:
    """Rows of one rule as columns, weights, low and high."""
    if rule.excess is not None:
        yield from _excess_terms(rule.excess, number, counted=KINDS[rule.rule.kind].counted)
    for limit in rule.limits:
        row = limit.row
        yield number[row.product, row.rung], row.coefficient, row.low, row.high


def _excess_terms(excess: Excess, number: Ints, *, counted: bool) -> Iterator[tuple[Ints, Floats, float, float]]:
    """One row for all products where violations are counted, else one for each product."""
    where, rung = np.nonzero(excess.amount > 0)
    columns, weights = number[excess.product[where], rung], excess.amount[where, rung]
    if counted and len(columns):
        yield columns, weights, -np.inf, 0.0
    if not counted:
        cuts = np.flatnonzero(np.diff(where)) + 1
        for some, amounts in zip(np.split(columns, cuts), np.split(weights, cuts), strict=True):
            if len(some):
                yield some, amounts, -np.inf, 0.0
