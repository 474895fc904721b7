"""What a rule is compiled against, and into: a problem on its ladder, and what each choice breaks by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizers.prices.ladder import Ladder
from optimizers.prices.problem import PriceProblem
from optimizers.prices.rows import LinearRow, Measure
from optimizers.rules.record import Facts, Floats, Ints, Rule


@dataclass(frozen=True)
class Basis:
    """P products on their ladder of K rungs, with the facts that rules ask about."""

    problem: PriceProblem
    ladder: Ladder
    facts: Facts

    @property
    def revenue(self) -> Floats:
        """(P,) revenue at today's prices over the horizon, money: the weights of indices and averages."""
        return np.asarray(self.problem.current_price * self.problem.base_units)

    def moves(self, products: Ints) -> Floats:
        """(n, K) relative change of each rung against today's price; NaN where there is no rung."""
        return np.asarray(self.ladder.price[products] / self.problem.current_price[products, None] - 1)

    def changed(self, products: Ints) -> Floats:
        """(n, K) 1 for every rung other than today's."""
        changed = np.ones((len(products), self.ladder.price.shape[1]))
        changed[:, self.ladder.today] = 0.0
        return changed


@dataclass(frozen=True)
class Excess:
    """A rule about one price at a time: how far each rung is from keeping it."""

    product: Ints
    """(n,)"""
    amount: Floats
    """(n, K) units of violation, 0 where the rung keeps the rule."""


@dataclass(frozen=True)
class Limit:
    """A rule about several prices together, low <= row <= high as in `LinearRow`."""

    about: str
    """What of the rule's scope it speaks of, for example a category; "" for all of it."""
    row: LinearRow
    unit: float = 1.0
    """How much of the row is one unit of violation."""


@dataclass(frozen=True)
class Compiled:
    """One rule over a ladder."""

    rule: Rule
    excess: Excess | None = None
    limits: tuple[Limit, ...] = ()

    @property
    def products(self) -> Ints:
        """Row numbers of the products that it speaks of, ascending."""
        single = [self.excess.product] if self.excess is not None else []
        return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *single, *(e.row.product for e in self.limits)]))


def linear_limit(
    basis: Basis, about: str, products: Ints, value: Floats, *, low: float = -np.inf, high: float = np.inf
) -> Limit:
    """Bound Σ value over the chosen rungs.

    Today's rungs are taken out of the sum (their values move into the bounds): "hold everything" is the point 0.

    Args:
        basis: the ladder.
        about: see `Limit`.
        products: (n,) each at most once.
        value: (n, K) in units of violation; NaN where there is no rung.
        low: smallest sum.
        high: largest sum.
    """
    today = value[:, basis.ladder.today]
    shift = float(today.sum())
    difference = value - today[:, None]
    where, rung = np.nonzero(np.isfinite(difference) & (difference != 0))
    row = LinearRow("", products[where], rung.astype(np.int64), difference[where, rung], low - shift, high - shift)
    return Limit(about, row)


def measured_limit(
    about: str, products: Ints, measure: Measure, unit: float, *, low: float = -np.inf, high: float = np.inf
) -> Limit:
    """Bound what exact demand gives for some products; `unit` is how much of it is one unit of violation."""
    nothing = np.empty(0)
    return Limit(about, LinearRow("", products, nothing.astype(np.int64), nothing, low, high, None, measure), unit)
