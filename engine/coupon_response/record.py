"""What is known about the response to coupons, and how far it can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.proposal import Reason

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NINETY = NormalDist().inv_cdf(0.95)
"""Half-width of a 90 % interval in standard errors."""


class LinearErrors(Protocol):
    """Joint normal errors of the effects of N customers and O offers, made of q independent ones."""

    def sd(self) -> Floats:
        """(N, O) standard deviation of each effect, money."""

    def loads_of(self, choice: Ints) -> Floats:
        """(q,) how the sum of the chosen cells, (N,) offers, moves with each independent error, money."""

    def moves(self, direction: Floats) -> Floats:
        """(N, O) by how much each cell moves where the errors go one step in a direction (q,), money."""


class JointErrors(LinearErrors, Protocol):
    """Errors of all estimates together."""

    def sd_of_sum(self, choice: Ints) -> float:
        """Standard deviation of the sum of the chosen cells, (N,) offers, money."""


@dataclass(frozen=True)
class Overlap:
    """Whether customers who were sent a coupon have counterparts who were not, among rows that were not randomised."""

    rows: int
    auc: float
    """How well attributes tell who was sent a coupon: .5 not at all, 1 perfectly; NaN where nothing was targeted."""
    outside: float
    """Share of rows whose chance of being sent a coupon lies outside [.05, .95]."""
    effective_share: float
    """Effective sample size under inverse-propensity weights, as a share of the rows (Kish 1965)."""


@dataclass(frozen=True)
class Placebo:
    """The "effect" of a coupon on profit before it was sent, which is none: what is found is confounding."""

    kind: str
    """"profit_before" (a column of the history), "previous wave", or "" where neither exists."""
    effect: float
    """Money per customer and wave, mean over the offers sent."""
    se: float
    z: float
    by_offer: Floats
    """(O,) z of each offer, offer 0 being 0."""


@dataclass(frozen=True)
class Agreement:
    """Average effect by the randomised rows against that by the targeted rows."""

    randomised: float
    """Money per coupon sent; NaN without randomised rows."""
    randomised_se: float
    targeted: float
    """The same by the targeted rows, adjusted; NaN without them."""
    targeted_se: float

    @property
    def z(self) -> float:
        """Difference in standard errors; NaN where one of the two is missing."""
        return float((self.targeted - self.randomised) / np.hypot(self.randomised_se, self.targeted_se))


@dataclass(frozen=True)
class PolicyValue:
    """What a way of sending coupons earns, money per wave over all customers, with its 90 % interval."""

    mean: float
    se: float
    low: float
    high: float
    sent: float
    """Customers sent a coupon."""

    @classmethod
    def of(cls, mean: float, se: float, sent: float) -> PolicyValue:
        """Make it from mean and standard error."""
        return cls(mean, se, mean - NINETY * se, mean + NINETY * se, sent)


@dataclass(frozen=True)
class CouponResponse:
    """N customers, O offers of which offer 0 ('') is no coupon. Money per wave."""

    customer_ids: npt.NDArray[np.object_]
    """(N,)"""
    offer_ids: tuple[str, ...]
    """(O,) the first is ''."""
    profit: Floats
    """(N, O) expected incremental profit net of the coupon, shrunk. In a response that is credible for some offers
    only, the others stand at 0 here; `estimated_profit` has what was estimated for them."""
    profit_se: Floats
    """(N, O) posterior standard deviation of `estimated_profit`."""
    cost: Floats
    """(N, O) expected cost: chance of redemption among all who are sent it x face value."""
    credible: bool
    """Whether coupons may be sent on the strength of these estimates (for at least one offer)."""
    verdict: tuple[Reason, ...]
    """Why, or why not, and what else must be known."""
    overlap: Overlap
    placebo: Placebo
    face_value: Floats
    """(O,) money; 0 where it is unknown."""
    n_randomised: int
    """Rows of the history in which sending was drawn at random."""
    method: str
    estimated_profit: Floats
    """(N, O) the estimates of all offers, credible or not."""
    offer_credible: Bools
    """(O,) by offer; True for offer 0."""
    agreement: Agreement
    policy: PolicyValue
    """What sending by these estimates (every customer the best offer that pays, no budget) earned on customers whom
    they had not seen: cross-fitted, doubly robust."""
    n_rows: int = 0
    errors: JointErrors | None = None
    """How the errors of the estimates hang together; None: taken as independent."""

    def value_of(self, choice: npt.ArrayLike) -> PolicyValue:
        """Value of a plan under the posterior, with the errors of all its customers taken together.

        Args:
            choice: (N,) offer of each customer, 0 for none.
        """
        picked = np.asarray(choice, dtype=np.int64)
        at = np.arange(len(picked))
        mean = float(self.profit[at, picked].sum())
        alone = float(np.sqrt((self.profit_se[at, picked] ** 2).sum()))
        se = alone if self.errors is None else self.errors.sd_of_sum(picked)
        return PolicyValue.of(mean, se, float(np.count_nonzero(picked)))
