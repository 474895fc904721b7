"""The coupon problem: values, costs and rules, validated once, where they come in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError, shown

Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CouponProblem:
    """N customers, O offers of which offer 0 is "no coupon" (profit 0, cost 0).

    Raises:
        ProblemError: a shape, an identifier, a NaN, a negative cost: the field, its place and the remedy are named.
    """

    profit: Float32
    """(N, O) expected incremental profit net of the coupon's cost, money. float64 is kept as such."""
    cost: Float32
    """(N, O) expected cost of the coupon, money, never negative."""
    budget: float | None
    """Total cost allowed, money; None: no limit."""
    segment: Ints | None = None
    """(N,) segment 0…S-1 of each customer."""
    segment_budget: Floats | None = None
    """(S,) cost allowed by segment, money; infinite: no limit for that segment."""
    min_sent: int | None = None
    """Smallest number of customers who are sent a coupon."""
    offered: Bools | None = None
    """(N, O) False: this customer cannot be sent this offer; None: everybody can be sent everything."""
    max_sent: int | None = None
    """Greatest number of customers who are sent a coupon."""
    offer_cap: Floats | None = None
    """(O,) most customers who are sent each offer; infinite: no limit; 0: the offer is closed. Entry 0 is infinite."""
    contacts: Ints | None = None
    """(N,) contacts that each customer has had in this period already. A plan covers one period and is one contact: a
    customer gets at most one coupon of it, and none at all where `contacts` has reached `contact_limit`."""
    contact_limit: int | None = None
    """Most contacts of one customer in one period, this plan's included."""
    exclusive: tuple[tuple[int, ...], ...] = ()
    """Groups of offers that exclude each other for one customer: who holds one of a group is sent none of it."""
    held: Bools | None = None
    """(N, O) offers that the customer holds from earlier; needed where `exclusive` is given."""
    explore: float = 0.0
    """Share of the customers, drawn at random, whose offer is drawn at random too, in [0, 1]."""

    def __post_init__(self) -> None:
        profit, cost = _money_matrix("profit", self.profit), _money_matrix("cost", self.cost)
        if profit.shape != cost.shape:
            raise ProblemError(
                f"profit has shape {profit.shape} and cost {cost.shape}; give both as (customers, offers)"
            )
        _check_values(profit, cost)
        n = len(profit)
        object.__setattr__(self, "profit", profit)
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "budget", _checked_budget(self.budget))
        object.__setattr__(self, "segment", _checked_segment(self.segment, n))
        object.__setattr__(self, "segment_budget", _checked_segment_budget(self.segment_budget, self.segment))
        object.__setattr__(self, "min_sent", _checked_count("min_sent", self.min_sent, "customers"))
        object.__setattr__(self, "offered", _checked_mask("offered", self.offered, profit.shape))
        object.__setattr__(self, "max_sent", _checked_count("max_sent", self.max_sent, "customers"))
        object.__setattr__(self, "offer_cap", _checked_caps(self.offer_cap, profit.shape[1]))
        object.__setattr__(self, "contact_limit", _checked_count("contact_limit", self.contact_limit, "contacts"))
        object.__setattr__(self, "contacts", _checked_contacts(self.contacts, self.contact_limit, n))
        object.__setattr__(self, "held", _checked_mask("held", self.held, profit.shape))
        object.__setattr__(self, "exclusive", _checked_groups(self.exclusive, profit.shape[1], self.held))
        object.__setattr__(self, "explore", _checked_share("explore", self.explore))
        _check_together(self)

    @property
    def n_customers(self) -> int:
        """N."""
        return len(self.profit)

    @property
    def n_offers(self) -> int:
        """O, "no coupon" included."""
        return int(self.profit.shape[1])

    def sendable(self) -> Bools | None:
        """(N, O) what each customer can be sent under `offered`, contacts and exclusions; None: everything."""
        masks = [
            mask
            for mask in (
                self.offered,
                within_contacts(self.contacts, self.contact_limit, self.n_offers),
                without_excluded(self.held, self.exclusive),
            )
            if mask is not None
        ]
        if not masks:
            return None
        allowed: Bools = np.logical_and.reduce(masks)
        allowed[:, 0] = True
        return allowed


def within_contacts(contacts: Ints | None, limit: int | None, offers: int) -> Bools | None:
    """(N, O) False for every offer of a customer whose contacts (N,) have reached the limit; None: no limit."""
    if contacts is None or limit is None:
        return None
    return np.broadcast_to((contacts < limit)[:, None], (len(contacts), offers))


def without_excluded(held: Bools | None, exclusive: tuple[tuple[int, ...], ...]) -> Bools | None:
    """(N, O) False for every offer of a group of which the customer holds one (`held` (N, O)); None: no groups."""
    if held is None or not exclusive:
        return None
    free = np.ones(held.shape, dtype=np.bool_)
    for group in exclusive:
        free[:, list(group)] &= ~held[:, list(group)].any(axis=1, keepdims=True)
    return free


def close(
    profit: npt.NDArray[Any],
    contacts: Ints | None,
    limit: int | None,
    held: Bools | None,
    exclusive: tuple[tuple[int, ...], ...],
) -> None:
    """Put -inf into profit (N, O) wherever contacts or exclusions rule an offer out."""
    for free in (within_contacts(contacts, limit, profit.shape[1]), without_excluded(held, exclusive)):
        if free is not None:
            profit[~free] = -np.inf
    profit[:, 0] = 0.0


def _money_matrix(name: str, values: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - whatever the caller handed in
    try:
        array = np.asarray(values)
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"{name} cannot be read as numbers ({error}); give a (customers, offers) array") from error
    if array.ndim != 2 or array.shape[1] < 1:
        raise ProblemError(f"{name} has shape {array.shape}; give (customers, offers), offer 0 being no coupon")
    return np.ascontiguousarray(array)


def _check_values(profit: npt.NDArray[Any], cost: npt.NDArray[Any]) -> None:
    for name, values in (("profit", profit), ("cost", cost)):
        # A sum over everything is finite unless a value is not; the costly look for its place is taken only then.
        if not np.isfinite(values.sum(dtype=np.float64)):
            place = np.argwhere(~np.isfinite(values))
            if len(place):
                _refuse_value(name, values, place[0], "give finite numbers; mark what cannot be sent in `offered`")
        if values[:, 0].any():
            row = int(np.flatnonzero(values[:, 0])[0])
            _refuse_value(name, values, np.array([row, 0]), "offer 0 is no coupon: its profit and cost are 0")
    if cost.size and cost.min() < 0:
        _refuse_value("cost", cost, np.argwhere(cost < 0)[0], "a coupon never costs less than 0")


def _refuse_value(name: str, values: npt.NDArray[Any], place: npt.NDArray[Any], remedy: str) -> None:
    row, column = int(place[0]), int(place[1])
    raise ProblemError(f"{name}[{row}, {column}] = {shown(values[row, column])} is refused; {remedy}")


def _checked_budget(budget: float | None) -> float | None:
    if budget is None:
        return None
    if isinstance(budget, bool) or not isinstance(budget, int | float | np.number) or not math.isfinite(budget):
        raise ProblemError(f"budget = {shown(budget)} is refused; give an amount of money, or None for no limit")
    if budget < 0:
        raise ProblemError(f"budget = {shown(budget)} is negative; 0 sends nothing, None sets no limit")
    return float(budget)


def _checked_segment(segment: Any, n: int) -> Ints | None:  # noqa: ANN401
    if segment is None:
        return None
    array = np.asarray(segment)
    if array.shape != (n,):
        raise ProblemError(f"segment has shape {array.shape}; give one whole number per customer, ({n},)")
    if not np.issubdtype(array.dtype, np.integer) and n:
        raise ProblemError(f"segment has type {array.dtype}; give whole numbers 0…S-1")
    if n and array.min() < 0:
        raise ProblemError(f"segment[{int(array.argmin())}] = {array.min()} is negative; number segments 0…S-1")
    return _as_int64("segment", array)


def _as_int64(name: str, array: npt.NDArray[Any]) -> Ints:
    """The same numbers with a sign; what does not fit would come out negative."""
    if len(array) and int(array.max()) > np.iinfo(np.int64).max:
        raise ProblemError(f"{name}[{int(array.argmax())}] = {array.max()} is too large; give numbers below 2**63")
    return array.astype(np.int64)


def _checked_segment_budget(budgets: Any, segment: Ints | None) -> Floats | None:  # noqa: ANN401
    if budgets is None:
        return None
    if segment is None:
        raise ProblemError("segment_budget is given without segment; say to which segment each customer belongs")
    array = np.asarray(budgets, dtype=np.float64)
    if array.ndim != 1:
        raise ProblemError(f"segment_budget has shape {array.shape}; give one amount per segment, (segments,)")
    if np.isnan(array).any() or (array < 0).any():
        place = int(np.flatnonzero(~(array >= 0))[0])
        raise ProblemError(f"segment_budget[{place}] = {shown(array[place])} is refused; give amounts of at least 0")
    if len(segment) and segment.max() >= len(array):
        place = int(segment.argmax())
        raise ProblemError(
            f"segment[{place}] = {segment[place]} has no entry in segment_budget, which has {len(array)}"
        )
    return array


def _checked_count(name: str, count: Any, of_what: str) -> int | None:  # noqa: ANN401
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise ProblemError(f"{name} = {shown(count)} is refused; give a whole number of {of_what}, at least 0, or None")
    return int(count)


def _checked_share(name: str, share: Any) -> float:  # noqa: ANN401
    if isinstance(share, bool) or not isinstance(share, int | float | np.number) or not 0 <= share <= 1:
        raise ProblemError(f"{name} = {shown(share)} is refused; give a share of the customers, 0 to 1")
    return float(share)


def _checked_mask(name: str, mask: Any, shape: tuple[int, ...]) -> Bools | None:  # noqa: ANN401
    if mask is None:
        return None
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != shape:
        raise ProblemError(f"{name} has type {array.dtype} and shape {array.shape}; give booleans of shape {shape}")
    if name == "offered" and not array[:, 0].all():
        raise ProblemError("offered[:, 0] holds False; everybody can be left without a coupon")
    return array


def _checked_caps(caps: Any, offers: int) -> Floats | None:  # noqa: ANN401
    if caps is None:
        return None
    array = np.array(caps, dtype=np.float64)
    if array.shape != (offers,):
        raise ProblemError(f"offer_cap has shape {array.shape}; give one number per offer, ({offers},)")
    wrong = np.flatnonzero(~(array >= 0) | (np.isfinite(array) & (array != np.floor(array))))
    if len(wrong):
        raise ProblemError(
            f"offer_cap[{wrong[0]}] = {shown(array[wrong[0]])} is refused; give whole numbers of customers, infinite "
            "for no limit"
        )
    if np.isfinite(array[0]):
        raise ProblemError(f"offer_cap[0] = {array[0]} is refused; offer 0 is no coupon and has no cap: give inf")
    return array


def _checked_contacts(contacts: Any, limit: int | None, n: int) -> Ints | None:  # noqa: ANN401
    if (contacts is None) != (limit is None):
        raise ProblemError("contacts and contact_limit belong together; give both or none")
    if contacts is None:
        return None
    array = np.asarray(contacts)
    if array.shape != (n,) or (n and not np.issubdtype(array.dtype, np.integer)):
        raise ProblemError(
            f"contacts has type {array.dtype} and shape {array.shape}; give one whole number per customer, ({n},)"
        )
    if n and array.min() < 0:
        raise ProblemError(f"contacts[{int(array.argmin())}] = {array.min()} is negative; count from 0")
    return _as_int64("contacts", array)


def _checked_groups(groups: Any, offers: int, held: Bools | None) -> tuple[tuple[int, ...], ...]:  # noqa: ANN401
    found = tuple(tuple(int(offer) for offer in group) for group in groups)
    for group in found:
        wrong = [offer for offer in group if not 0 < offer < offers]
        if wrong:
            raise ProblemError(f"exclusive names offer {wrong[0]}; offers that can be sent are 1…{offers - 1}")
    if found and held is None:
        raise ProblemError("exclusive is given without held; say which offers each customer holds from earlier")
    return found


def _check_together(problem: CouponProblem) -> None:
    if problem.min_sent is not None and problem.max_sent is not None and problem.min_sent > problem.max_sent:
        raise ProblemError(
            f"min_sent = {problem.min_sent} is above max_sent = {problem.max_sent}; lower the one or raise the other"
        )
