"""A proposal: a plan, the evidence for it, and a life of its own.

draft → submitted → {changes_requested → draft | rejected | approved} → scheduled → published → measured → closed
                                                          published → rolled_back
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeGuard


class State(StrEnum):
    """Where a proposal stands."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    CHANGES_REQUESTED = "changes_requested"
    REJECTED = "rejected"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    PUBLISHED = "published"
    ROLLED_BACK = "rolled_back"
    MEASURED = "measured"
    CLOSED = "closed"
    INFEASIBLE = "infeasible"
    """No plan exists; stored with the explanation so that the rules can be changed."""


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.SUBMITTED}),
    State.SUBMITTED: frozenset({State.CHANGES_REQUESTED, State.REJECTED, State.APPROVED}),
    State.CHANGES_REQUESTED: frozenset({State.DRAFT}),
    State.REJECTED: frozenset(),
    State.APPROVED: frozenset({State.SCHEDULED}),
    State.SCHEDULED: frozenset({State.PUBLISHED}),
    State.PUBLISHED: frozenset({State.MEASURED, State.ROLLED_BACK}),
    State.ROLLED_BACK: frozenset(),
    State.MEASURED: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
    State.INFEASIBLE: frozenset(),
}


@dataclass(frozen=True)
class Reason:
    """A sentence kept as a template and its values, so that it can be read in any language.

    `code` is a msgid such as "held at today's price: elasticity not identified ({mean:.1f} ± {se:.1f})".
    A value may be a reason itself.
    """

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, code: str, values: Mapping[str, Any]) -> Reason:
        """Put a stored sentence together again: sentences inside it were stored as their `code` and `values`."""
        return cls(code, {name: cls.of(**value) if _is_sentence(value) else value for name, value in values.items()})

    def english(self) -> str:
        """The sentence in English."""
        inner = {
            name: value.english() if isinstance(value, Reason) else readable(value)
            for name, value in self.values.items()
        }
        return self.code.format(**inner)


def _is_sentence(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and value.keys() == {"code", "values"}


class _Missing:
    """A number that there is none of: a dash, however it was to be written."""

    def __format__(self, _spec: str) -> str:
        return "–"


class _Number(float):
    """A number that rounds to zero from below is plainly zero."""

    def __format__(self, spec: str) -> str:
        return format(0.0 if _rounds_to_zero(format(float(self), spec)) else float(self), spec)


def _rounds_to_zero(written: str) -> bool:
    return not any(digit in written for digit in "123456789")


def readable(value: object) -> object:
    """What stands for a value in a sentence: a dash for a number that there is none of, 0 for what rounds to -0."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _Missing()
    return _Number(value) if isinstance(value, float) and math.isfinite(value) else value


Sentence = str | Reason
"""What people read: a marked sentence as it is (`N_`), or a template with its values."""


def N_(message: str) -> str:  # noqa: N802 - gettext's name for it
    """Mark a sentence or word that people will read, so that the catalogues of translations know it."""
    return message


def english(sentence: Sentence) -> str:
    """Write a sentence in English."""
    return sentence.english() if isinstance(sentence, Reason) else sentence


@dataclass(frozen=True)
class PriceLine:
    """One product of a proposal. Money over the horizon unless it is a price."""

    product_id: str
    title: str
    category: str
    current_price: float
    proposed_price: float
    unit_cost: float
    units_current: float
    units_proposed: float
    profit_current: float
    profit_proposed: float
    gain_low: float
    """5 % quantile of the line's gain."""
    gain_high: float
    elasticity: float
    elasticity_se: float
    identified: bool
    reason: Reason

    @property
    def why(self) -> str:
        """The reason in English, as in prices.csv."""
        return self.reason.english()


@dataclass(frozen=True)
class CouponLine:
    """One customer who is sent an offer, or was drawn to be explored."""

    customer_id: str
    offer_id: str
    """Empty: an explored customer who was drawn no coupon."""
    expected_incremental_profit: float
    expected_cost: float
    explored: bool = False
    """Whether the offer was drawn at random."""
    propensity: float = 1.0
    """Chance with which just this offer (or none) was drawn for an explored customer; 1 for all others."""


@dataclass(frozen=True)
class FrontierLine:
    """A product at one point of a frontier. Money over the horizon unless it is a price."""

    product_id: str
    price: float
    units: float
    profit: float
    gain_low: float
    """5 % quantile of the line's gain."""
    gain_high: float


@dataclass(frozen=True)
class FrontierPlan:
    """One point of a proposal's frontier: the best prices at one level of a limit."""

    measure: str
    """What is limited: index, units, revenue or investment."""
    level: float | None
    """The limit: a share, of the investment money; None: no limit."""
    reached: float
    """Where these prices stand on the same measure."""
    gain: float
    """Expected, over today's prices."""
    gain_low: float
    gain_high: float
    """5 % and 95 % quantile of the plan's gain."""
    bound: float
    """No prices at this level gain more."""
    gap: float
    lines: tuple[FrontierLine, ...]
    """Products that sell or earn otherwise than today; all others stay as they are."""


@dataclass(frozen=True)
class Proposal:
    """A stored proposal. `summary` is what summary.json holds; `evidence` is what the report draws from."""

    proposal_id: str
    data: str
    state: State
    created_at: datetime
    created_by: str
    horizon_weeks: int
    currency: str
    summary: Mapping[str, Any]
    evidence: Mapping[str, Any]
    prices: tuple[PriceLine, ...] = ()
    coupons: tuple[CouponLine, ...] = ()
    frontier: tuple[FrontierPlan, ...] = ()
    """Other plans that were looked at; each can be taken as a draft of its own."""
