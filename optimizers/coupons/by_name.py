"""What the coupons of a table may cost and be, by the table's own names, and the same by number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.errors import ProblemError
from optimizers.coupons.long_table import REQUIRED, Asked
from optimizers.coupons.problem import CouponProblem, Floats


@dataclass(frozen=True)
class Limits:
    """Limits by name. Nothing given: no limit.

    Raises:
        ProblemError: `parity` names a column that decides who is sent what.
    """

    budget: float | None = None
    """Money in total."""
    segment_budgets: Mapping[str, float] = field(default_factory=dict)
    """Money by segment name; segments not named have no limit of their own."""
    min_sent: int | None = None
    """Least number of customers sent a coupon."""
    max_sent: int | None = None
    """Greatest number."""
    offer_caps: Mapping[str, int] = field(default_factory=dict)
    """Most customers by offer_id; offers not named have no cap."""
    contact_limit: int | None = None
    """Most contacts of a customer in the period, what stands in the column `contacts` included."""
    exclusive: Sequence[Sequence[str]] = ()
    """Groups of offer_ids: who holds one of a group (column `held`) is sent none of it."""
    explore: float = 0.0
    """Share of the customers whose offer is drawn at random."""
    parity: str | None = None
    """Column with a protected attribute; it is read for the parity report and decides nothing."""

    def __post_init__(self) -> None:
        if self.parity in {*REQUIRED, "segment", "contacts", "held"}:
            raise ProblemError(f"parity = {self.parity!r} decides who is sent what; name a column that decides nothing")

    @property
    def asked(self) -> Asked:
        """The columns that these limits need."""
        return Asked(self.contact_limit is not None, bool(self.exclusive), self.parity)

    def check(self) -> None:
        """Refuse what no table can make right, before one is read.

        Raises:
            ProblemError: an amount, a count or a share out of range, with its value.
        """
        offers = {*self.offer_caps, *(name for group in self.exclusive for name in group)}
        self.of_nobody(("", *sorted(offers)), tuple(self.segment_budgets))

    def of_nobody(self, offers: Sequence[str], segments: Sequence[str] | None) -> CouponProblem:
        """The problem of these limits without customers.

        Args:
            offers: (O,) identifiers, the first being that of no coupon.
            segments: (S,) names; None: the table has none.

        Raises:
            ProblemError: a limit out of range, or of a segment or an offer that is not there.
        """
        none = np.zeros((0, len(offers)), dtype=np.float32)
        nobody = np.zeros(0, dtype=np.int64)
        budgets = self.segment_budget(segments)
        if budgets is None and segments:
            budgets = np.full(len(segments), np.inf)
        return CouponProblem(
            *(none, none, self.budget, nobody if segments else None, budgets, self.min_sent),
            max_sent=self.max_sent,
            offer_cap=self.offer_cap(offers),
            contacts=None if self.contact_limit is None else nobody,
            contact_limit=self.contact_limit,
            exclusive=self.groups(offers),
            held=none.astype(np.bool_),
            explore=self.explore,
        )

    def segment_budget(self, segments: Sequence[str] | None) -> Floats | None:
        """(S,) money of each segment; None: no segment has a limit.

        Args:
            segments: names; None: the table has none.

        Raises:
            ProblemError: a segment that the table does not hold.
        """
        if not self.segment_budgets:
            return None
        if segments is None:
            raise ProblemError(
                "segment budgets are given, but the table has no column segment; add it or leave them out"
            )
        _check_known("segment", self.segment_budgets, segments)
        return np.array([self.segment_budgets.get(name, math.inf) for name in segments], dtype=np.float64)

    def offer_cap(self, offers: Sequence[str]) -> Floats | None:
        """(O,) most customers of each offer; None: no offer has a limit.

        Args:
            offers: identifiers, the first being that of no coupon.

        Raises:
            ProblemError: an offer that the table does not hold.
        """
        if not self.offer_caps:
            return None
        _check_known("offer", self.offer_caps, offers[1:])
        return np.array([math.inf, *(self.offer_caps.get(name, math.inf) for name in offers[1:])], dtype=np.float64)

    def groups(self, offers: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Numbers of the offers that exclude each other; the rest as `offer_cap`."""
        for group in self.exclusive:
            _check_known("offer", group, offers[1:])
        number = {name: place for place, name in enumerate(offers) if place}
        return tuple(tuple(number[name] for name in group) for group in self.exclusive)


def _check_known(what: str, named: Sequence[str] | Mapping[str, float], known: Sequence[str]) -> None:
    unknown = [name for name in named if name not in known]
    if unknown:
        raise ProblemError(f"{what} '{unknown[0]}' is not in the table; it has: {', '.join(sorted(known)[:20])}")
