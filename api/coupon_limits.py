"""From what the coupons are worth and what config.yaml allows to the problem that the allocation solves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.coupon_response import CouponResponse
from engine.coupon_response.record import JointErrors
from engine.errors import ConfigurationError
from engine.settings import CouponSettings, Settings
from engine.shop import Shop
from optimizers.coupons import CouponPlan, CouponProblem
from optimizers.coupons.parity import ParityReport, parity_report

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def coupon_problem(shop: Shop, response: CouponResponse, settings: Settings) -> CouponProblem:
    """Pose the allocation.

    An offer whose effect failed its checks is closed; with an exploration share it may be drawn, and is valued at what
    it costs, so that nobody is sent it for what it is hoped to bring.

    Raises:
        ConfigurationError: `coupons.offer_caps` or `coupons.exclusive` names an offer that the history does not hold.
    """
    limits = settings.coupons
    failed = failed_offers(response, settings)
    profit = np.where(failed[None, :], -response.cost, _estimates(response, settings)).astype(np.float32)
    offered = np.broadcast_to(~failed | (limits.explore > 0), profit.shape).copy()
    if limits.min_profit > 0:
        offered &= profit >= limits.min_profit
    profit[:, 0] = 0.0
    offered[:, 0] = True
    return CouponProblem(
        profit=profit,
        cost=response.cost.astype(np.float32),
        budget=limits.budget,
        min_sent=limits.min_sent,
        max_sent=limits.max_sent,
        offered=None if offered.all() else offered,
        offer_cap=_offer_cap(response, limits),
        contacts=None if limits.contact_limit is None else past_contacts(shop, response, limits.contact_waves),
        contact_limit=limits.contact_limit,
        exclusive=_exclusive(response, limits),
        held=held_offers(shop, response, limits.contact_waves) if limits.exclusive else None,
        explore=limits.explore,
    )


@dataclass(frozen=True)
class CredibleErrors:
    """Errors of the effects that are counted; an offer that failed its checks is counted at its cost, without error."""

    errors: JointErrors
    failed: Bools
    """(O,)"""

    def sd(self) -> Floats:
        """(N, O) standard deviation of each effect, money."""
        return np.where(self.failed, 0.0, self.errors.sd())

    def loads_of(self, choice: npt.NDArray[np.int64]) -> Floats:
        """(q,) how the sum of the chosen effects moves with each independent error, money."""
        return self.errors.loads_of(np.where(self.failed[choice], 0, choice))

    def moves(self, direction: Floats) -> Floats:
        """(N, O) by how much each effect moves in a direction (q,) of the errors, money."""
        return np.where(self.failed, 0.0, self.errors.moves(direction))


def failed_offers(response: CouponResponse, settings: Settings) -> Bools:
    """(O,) offers whose effect failed its checks; none where the user insists."""
    failed = np.zeros(len(response.offer_ids), dtype=np.bool_)
    if not settings.coupons.send_unless_credible:
        failed |= ~response.offer_credible | (not response.credible)
    failed[0] = False
    return failed


def _estimates(response: CouponResponse, settings: Settings) -> Floats:
    """(N, O) what is allocated on: the credible offers', or every offer's where the user insists."""
    return response.estimated_profit if settings.coupons.send_unless_credible else response.profit


def _offer_cap(response: CouponResponse, limits: CouponSettings) -> Floats | None:
    if not limits.offer_caps:
        return None
    _require_known("offer_caps", limits.offer_caps, response)
    caps = (limits.offer_caps.get(offer, np.inf) for offer in response.offer_ids[1:])
    return np.array([np.inf, *caps], dtype=np.float64)


def _exclusive(response: CouponResponse, limits: CouponSettings) -> tuple[tuple[int, ...], ...]:
    """Numbers of the offers of each group that exclude each other."""
    _require_known("exclusive", {offer for group in limits.exclusive for offer in group}, response)
    number = {offer: place for place, offer in enumerate(response.offer_ids)}
    return tuple(tuple(number[offer] for offer in group) for group in limits.exclusive)


def _require_known(setting: str, named: Iterable[str], response: CouponResponse) -> None:
    known = list(response.offer_ids[1:])
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise ConfigurationError(
            f"coupons.{setting} names {unknown}, which coupon_history does not hold (or coupons.offers leaves out); "
            f"there are {known}"
        )


def held_offers(shop: Shop, response: CouponResponse, waves: int) -> Bools:
    """(N, O) offers sent in the latest `waves` - 1 waves of the history, unless it says that they were redeemed."""
    sent = _lately_sent(shop, waves)
    if "redeemed" in sent:
        sent = sent[sent["redeemed"] != 1]
    held = np.zeros((len(response.customer_ids), len(response.offer_ids)), dtype=np.bool_)
    customer = pd.Index([str(one) for one in response.customer_ids]).get_indexer(_names(sent["customer_id"]))
    # What was sent without a name is the offer "coupon", as the estimate of the response calls it.
    named = _names(sent["offer_id"].fillna("") if "offer_id" in sent else pd.Series("", index=sent.index))
    offer = pd.Index(response.offer_ids).get_indexer(named.where(named != "", "coupon"))
    considered = (customer >= 0) & (offer > 0)
    held[customer[considered], offer[considered]] = True
    return held


def _names(column: pd.Series) -> pd.Index:
    return pd.Index([str(one) for one in column])


def _lately_sent(shop: Shop, waves: int) -> pd.DataFrame:
    """Rows of coupon_history of who was sent something, in its latest `waves` - 1 waves."""
    history = pd.read_parquet(shop.tables["coupon_history"])
    late = np.unique(history["wave"])[::-1][: waves - 1]
    return history[history["wave"].isin(late) & (history["sent"] == 1)]


def past_contacts(shop: Shop, response: CouponResponse, waves: int) -> npt.NDArray[np.int64]:
    """(N,) waves in which each customer was sent a coupon, of the latest `waves` - 1 that the history holds."""
    sent = _lately_sent(shop, waves)
    counted = sent.astype({"customer_id": str}).drop_duplicates(["customer_id", "wave"])["customer_id"].value_counts()
    found = counted.reindex([str(one) for one in response.customer_ids], fill_value=0)
    return np.asarray(found, dtype=np.int64)


@dataclass(frozen=True)
class Protected:
    """A column of the customers table that decides nothing and is reported on."""

    attribute: str
    values: npt.NDArray[np.object_]
    """(N,) group of each customer; None where it is not known."""


def protected_attributes(shop: Shop, settings: Settings) -> tuple[str, ...]:
    """Names of the protected columns.

    Raises:
        ConfigurationError: `coupons.protected` names a column that the customers table does not have.
    """
    names = settings.coupons.protected or ()
    if not names:
        return ()
    columns = list(pd.read_parquet(shop.tables["customers"]).columns) if shop.has("customers") else []
    unknown = [name for name in names if name not in columns or name == "customer_id"]
    if unknown:
        known = ", ".join(name for name in columns if name != "customer_id") or "no column, as there is no such table"
        raise ConfigurationError(f"coupons.protected names {unknown}, which customers does not have; it has {known}")
    return tuple(names)


def read_protected(shop: Shop, response: CouponResponse, names: tuple[str, ...]) -> tuple[Protected, ...]:
    """Read the protected columns of the customers that the response knows."""
    if not names:
        return ()
    table = pd.read_parquet(shop.tables["customers"]).astype({"customer_id": str})
    table = table.drop_duplicates("customer_id").set_index("customer_id")
    mine = table.reindex([str(one) for one in response.customer_ids])
    return tuple(
        Protected(name, np.array([None if pd.isna(one) else str(one) for one in mine[name]], dtype=object))
        for name in names
    )


def report_parity(
    problem: CouponProblem, plan: CouponPlan, protected: tuple[Protected, ...]
) -> tuple[ParityReport, ...]:
    """How the plan treats the groups of each protected attribute.

    Raises:
        ProblemError: an attribute has more groups than can be reported on; band it.
    """
    return tuple(parity_report(problem, plan, one.attribute, one.values) for one in protected)
