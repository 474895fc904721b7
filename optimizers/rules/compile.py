"""Rules → what the solver takes: a mask over the ladder, and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from engine.errors import ConfigurationError
from optimizers.prices.ladder import Ladder
from optimizers.prices.rows import LinearRow, PriceRows
from optimizers.rules.basis import Basis, Compiled, Excess, Limit
from optimizers.rules.between import BETWEEN, RowRule
from optimizers.rules.demand import todays_value
from optimizers.rules.record import NO_WORSE, Bools, Floats, Ints, Rule
from optimizers.rules.scope import products_of
from optimizers.rules.single import SINGLE
from optimizers.rules.totals import TOTALS

_ROWS: Mapping[str, RowRule] = {**BETWEEN, **TOTALS}
TOLERANCE = 1e-6
"""Units of violation below which a rule counts as kept."""
_NEEDS = {
    "competitor_gap": ("competitor_price", "give the section 'competitor_prices' in the rules file"),
    "stock_cover": ("stock", "give the section 'stock' in the rules file"),
}
"""Kind -> the fact without which it would be silent, and the remedy."""


@dataclass(frozen=True)
class CompiledRules:
    """All rules over one ladder."""

    basis: Basis
    original: tuple[Compiled, ...]
    """The rules as they were written."""

    @cached_property
    def rules(self) -> tuple[Compiled, ...]:
        """The rules as they are kept: those that are `no_worse` with their limits where today's prices stand."""
        return tuple(_no_worse(one, self.basis) if one.rule.today == NO_WORSE else one for one in self.original)

    @property
    def allowed(self) -> Bools:
        """(P, K) rungs that every hard rule about one price permits."""
        allowed = self.basis.ladder.rungs.copy()
        for compiled in self.rules:
            if compiled.rule.hard and compiled.excess is not None:
                allowed[compiled.excess.product] &= compiled.excess.amount <= TOLERANCE
        return allowed

    def rows(self) -> PriceRows:
        """The rules as the solver takes them; they may leave a product without any rung (`diagnose` says why)."""
        return PriceRows(self.allowed, tuple(row for compiled in self.rules for row in _rows(compiled)))


def compile_rules(basis: Basis, rules: tuple[Rule, ...]) -> CompiledRules:
    """Compile rules against a problem on its ladder.

    Raises:
        ConfigurationError: a rule names a product, a column or a value that the shop does not have, or asks about facts
            that nobody gave; the message lists every fault.
    """
    compiled: list[Compiled] = []
    faults: list[str] = []
    for rule in rules:
        try:
            compiled.append(compile_rule(basis, rule))
        except ConfigurationError as error:
            faults.append(str(error))
    if faults:
        raise ConfigurationError("\n  ".join(faults))
    return CompiledRules(basis, tuple(compiled))


def compile_rule(basis: Basis, rule: Rule) -> Compiled:
    """Compile one rule; see `compile_rules`."""
    products = products_of(rule, basis.facts)
    fact, remedy = _NEEDS.get(rule.kind, ("", ""))
    if fact and len(products) and not np.isfinite(getattr(basis.facts, fact)[products]).any():
        raise ConfigurationError(f"rule {rule.name!r}: no {fact.replace('_', ' ')} of its products is known; {remedy}")
    if not len(products):
        return Compiled(rule)
    if rule.kind in SINGLE:
        amount = _clean(SINGLE[rule.kind](rule, basis, products), basis.ladder, products)
        return Compiled(rule, excess=Excess(products, amount))
    return Compiled(rule, limits=tuple(_ROWS[rule.kind](rule, basis, products)))


def _clean(amount: Floats, ladder: Ladder, products: Ints) -> Floats:
    """Drop noise; a rung that does not exist breaks nothing."""
    there = ladder.rungs[products]
    return np.where(there & (amount > TOLERANCE), amount, 0.0)


def _no_worse(compiled: Compiled, basis: Basis) -> Compiled:
    """Relax each limit to where today's prices stand."""
    excess = compiled.excess
    if excess is not None:
        today = excess.amount[:, basis.ladder.today, None]
        excess = Excess(excess.product, np.maximum(excess.amount - today, 0.0))
    return replace(compiled, excess=excess, limits=tuple(_at_today(basis, limit) for limit in compiled.limits))


def _at_today(basis: Basis, limit: Limit) -> Limit:
    value = todays_value(basis, limit)
    row = limit.row
    slack = TOLERANCE * limit.unit * (1.0 if row.measure != "margin" else 0.0)
    low = row.low if row.low <= value else value - max(slack, 1e-12)
    high = row.high if row.high >= value else value + max(slack, 1e-12)
    return replace(limit, row=replace(row, low=low, high=high))


def row_name(rule: Rule, limit: Limit) -> str:
    """What the solver calls a row of a rule."""
    return f"{rule.name}: {limit.about}" if limit.about else rule.name


def _rows(compiled: Compiled) -> Iterator[LinearRow]:
    """Rows of one rule; a soft rule about single prices becomes one row, since its violations add up."""
    rule = compiled.rule
    for limit in compiled.limits:
        penalty = None if rule.penalty is None else rule.penalty / limit.unit
        yield replace(limit.row, name=row_name(rule, limit), penalty=penalty)
    if compiled.excess is not None and not rule.hard:
        where, rung = np.nonzero(compiled.excess.amount > 0)
        if len(where):
            amount = compiled.excess.amount[where, rung]
            product = compiled.excess.product[where]
            yield LinearRow(rule.name, product, rung.astype(np.int64), amount, high=0.0, penalty=rule.penalty)
