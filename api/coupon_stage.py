"""The coupon part of a cycle: response of each customer to each offer → allocation → lines, with the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.coupon_response import CouponResponse, PolicyValue, estimate_coupon_response
from engine.errors import ConfigurationError
from engine.profiles import build_profiles
from engine.progress import Stopwatch
from engine.proposal import CouponLine, Reason
from engine.settings import Settings
from engine.shop import Shop
from optimizers.coupons import CouponPlan, CouponProblem, allocate_coupons
from optimizers.coupons.check import check_coupons

NO_HISTORY = Reason("no coupons proposed: the data hold no coupon_history")
NOT_CREDIBLE = Reason("no coupons proposed: the estimated effects failed their checks")


@dataclass(frozen=True)
class CouponResult:
    """The coupon plan with what speaks for or against it; `plan` is None where there was nothing to plan with."""

    response: CouponResponse | None
    problem: CouponProblem | None
    plan: CouponPlan | None
    lines: tuple[CouponLine, ...]
    reason: Reason | None
    """Why nothing is sent, where nothing is."""
    value: PolicyValue | None
    """What the plan is expected to earn, with the errors of all customers taken together; None without a plan."""
    profit_current: float | None
    """Expected profit of one wave in which nobody is sent a coupon, money; None where the history cannot tell."""
    evidence: Mapping[str, Any]


def propose_coupons(shop: Shop, settings: Settings, watch: Stopwatch) -> CouponResult:
    """Estimate the response to coupons and allocate them.

    Raises:
        ConfigurationError: `coupons.offers` names an offer that the history does not hold.
        InfeasibleError: the limits contradict each other.
    """
    check_offers(shop, settings)
    with watch.stage("coupon response"):
        profiles = None if shop.has("customers") or not shop.has("transactions") else build_profiles(shop, settings)
        response = estimate_coupon_response(shop, settings, profiles=profiles, seed=settings.seed)
    if response is None:
        return CouponResult(None, None, None, (), NO_HISTORY, None, None, {"reason": NO_HISTORY})
    with watch.stage("coupon plan"):
        problem = coupon_problem(response, settings)
        plan = allocate_coupons(problem, method=settings.coupons.method, gap=settings.coupons.gap)
        check_coupons(problem, plan)
    reason = None if response.credible or settings.coupons.send_unless_credible else NOT_CREDIBLE
    lines, value = coupon_lines(response, plan), response.value_of(plan.choice)
    return CouponResult(
        response, problem, plan, lines, reason, value, profit_without_coupons(shop), _evidence(response, plan, reason)
    )


def profit_without_coupons(shop: Shop) -> float | None:
    """Profit of one wave without coupons: the mean over those who were sent none (at random, where that was done)."""
    history = pd.read_parquet(shop.tables["coupon_history"])
    if "profit" not in history:
        return None
    unsent = history[history["sent"] == 0]
    if "randomised" in history and (unsent["randomised"] == 1).any():
        unsent = unsent[unsent["randomised"] == 1]
    mean = unsent["profit"].mean()
    return float(mean * history["customer_id"].nunique()) if np.isfinite(mean) else None


def coupon_problem(response: CouponResponse, settings: Settings) -> CouponProblem:
    """Pose the allocation; where the estimate is not credible every offer is closed."""
    profit = _estimates(response, settings).astype(np.float32)
    cost = response.cost.astype(np.float32)
    closed = np.zeros(len(response.offer_ids), dtype=np.bool_)
    if not settings.coupons.send_unless_credible:
        closed |= ~response.offer_credible | (not response.credible)
    closed[0] = False
    refused = closed[None, :] | (profit < settings.coupons.min_profit)
    refused[:, 0] = False
    return CouponProblem(profit=np.where(refused, np.float32(-1.0), profit), cost=cost, budget=settings.coupons.budget)


def _estimates(response: CouponResponse, settings: Settings) -> npt.NDArray[np.float64]:
    """(N, O) what is allocated on: the credible offers', or every offer's where the user insists."""
    return response.estimated_profit if settings.coupons.send_unless_credible else response.profit


def check_offers(shop: Shop, settings: Settings) -> None:
    """Refuse an offer that the history does not hold.

    Raises:
        ConfigurationError: `coupons.offers` names it.
    """
    wanted = settings.coupons.offers
    if wanted is None or not shop.has("coupon_history"):
        return
    history = pd.read_parquet(shop.tables["coupon_history"])
    known = sorted(set(history["offer_id"].dropna().astype(str)) - {""}) if "offer_id" in history else []
    unknown = [offer for offer in wanted if offer not in known]
    if unknown:
        raise ConfigurationError(
            f"coupons.offers names {unknown}, which coupon_history does not hold; it holds {known}"
        )


def coupon_lines(response: CouponResponse, plan: CouponPlan) -> tuple[CouponLine, ...]:
    """One line for each customer who is sent an offer, in the order of the customers."""
    return tuple(
        CouponLine(
            customer_id=str(response.customer_ids[n]),
            offer_id=str(response.offer_ids[plan.choice[n]]),
            expected_incremental_profit=float(response.profit[n, plan.choice[n]]),
            expected_cost=float(response.cost[n, plan.choice[n]]),
        )
        for n in np.flatnonzero(plan.choice > 0)
    )


def _evidence(response: CouponResponse, plan: CouponPlan, reason: Reason | None) -> dict[str, Any]:
    sent = np.bincount(plan.choice, minlength=len(response.offer_ids))
    return {
        "reason": reason,
        "credible": response.credible,
        "verdict": list(response.verdict),
        "overlap": response.overlap,
        "placebo": response.placebo,
        "agreement": response.agreement,
        "policy": response.policy,
        "offers": [
            {
                "offer_id": str(offer),
                "face_value": float(response.face_value[o]),
                "credible": bool(response.offer_credible[o]),
                "sent": int(sent[o]),
                "mean_profit": float(response.estimated_profit[:, o].mean()),
                "mean_cost": float(response.cost[:, o].mean()),
            }
            for o, offer in enumerate(response.offer_ids)
            if o > 0
        ],
    }
