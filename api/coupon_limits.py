"""From what the coupons are worth and what config.yaml allows to the problem that the allocation solves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.coupon_response import CouponResponse
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
        ConfigurationError: `coupons.offer_caps` names an offer that the history does not hold.
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
        explore=limits.explore,
    )


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
    known = list(response.offer_ids[1:])
    unknown = sorted(set(limits.offer_caps) - set(known))
    if unknown:
        raise ConfigurationError(
            f"coupons.offer_caps names {unknown}, which coupon_history does not hold (or coupons.offers leaves out); "
            f"there are {known}"
        )
    return np.array([np.inf, *(limits.offer_caps.get(offer, np.inf) for offer in known)], dtype=np.float64)


def past_contacts(shop: Shop, response: CouponResponse, waves: int) -> npt.NDArray[np.int64]:
    """(N,) waves in which each customer was sent a coupon, of the latest `waves` - 1 that the history holds."""
    history = pd.read_parquet(shop.tables["coupon_history"], columns=["customer_id", "wave", "sent"])
    late = np.unique(history["wave"])[::-1][: waves - 1]
    sent = history[history["wave"].isin(late) & (history["sent"] == 1)]
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
