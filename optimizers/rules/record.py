"""What a business rule is, and what rules may speak of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MUST_HOLD = "must_hold"
NO_WORSE = "no_worse"


@dataclass(frozen=True)
class Scope:
    """Which products a rule speaks of: those for which every condition holds; without conditions, all."""

    conditions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(column of the product table, permitted values as text), for example (("category", ("JUICE",)),)."""

    def words(self) -> str:
        """The scope on one line, for example `category: JUICE`; `all products` for no condition."""
        return ", ".join(f"{column}: {' or '.join(values)}" for column, values in self.conditions) or "all products"


@dataclass(frozen=True)
class Rule:
    """One business rule, as somebody wrote it down."""

    name: str
    """In the manager's words; it is what pages, reports and conflicts call it."""
    kind: str
    """A key of `KINDS`."""
    scope: Scope = Scope()
    values: Mapping[str, Any] = field(default_factory=dict)
    """Parameter -> value, complete and checked (`read_rules`)."""
    penalty: float | None = None
    """Money per unit of violation (the kind says what a unit is); None: hard, the plan must keep the rule."""
    today: str = MUST_HOLD
    """Where today's prices break the rule: "must_hold" (the plan mends it) or "no_worse" (the limit is relaxed to where
    today's prices stand)."""
    start: date | None = None
    """First day on which the rule is in force; None: since ever."""
    end: date | None = None
    """Last day."""
    owner: str = ""
    weight: float = 1.0
    """How dear one unit of relaxing the rule is beside one unit of another, where rules conflict."""

    @property
    def hard(self) -> bool:
        """Whether the plan must keep the rule at any cost."""
        return self.penalty is None

    def in_force(self, first: date | None, last: date | None) -> bool:
        """Whether the rule is in force on any day of a plan; in a shop without a calendar every rule is."""
        begins = self.start is None or last is None or self.start <= last
        return begins and (self.end is None or first is None or self.end >= first)


@dataclass(frozen=True)
class RuleBook:
    """The rules of a shop with what they need to know beyond its tables."""

    rules: tuple[Rule, ...] = ()
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Price family -> product identifiers; wins over a column `price_family` of the product table."""
    competitor_price: Mapping[str, float] = field(default_factory=dict)
    """Product -> money per unit."""
    stock: Mapping[str, float] = field(default_factory=dict)
    """Product -> units that can be sold over the horizon of the plan."""


@dataclass(frozen=True)
class Facts:
    """What rules may ask about P products, beyond what the price problem says."""

    columns: Mapping[str, tuple[str, ...]]
    """Column of the product table -> (P,) texts; "" where nothing is known. `private_label` holds "0" or "1"."""
    pack_size: Floats
    """(P,) amount in a pack, in the product's `unit`; NaN where unknown."""
    days_since_change: Floats
    """(P,) days from the last change of the everyday price to the plan's first day; infinite where none is known."""
    lowest_price: Floats
    """(P,) lowest price of the 30 days before the plan, promotions included, money per unit; NaN where unknown."""
    competitor_price: Floats
    """(P,) money per unit; NaN where unknown."""
    stock: Floats
    """(P,) units that can be sold over the horizon; infinite where unknown."""
    elsewhere: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Column -> values that the shop knows, beyond these products too: a rule may name them, and they add nobody."""

    def texts(self, column: str) -> tuple[str, ...]:
        """(P,) values of a column; empty texts where the shop has no such column."""
        return self.columns.get(column, ("",) * len(self.pack_size))
