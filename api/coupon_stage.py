"""The coupon part of a cycle: response of each customer to each offer → allocation → lines, with the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from api.coupon_limits import (
    CredibleErrors,
    coupon_problem,
    failed_offers,
    protected_attributes,
    read_protected,
    report_parity,
)
from engine.coupon_response import CouponResponse, PolicyValue, estimate_coupon_response
from engine.errors import ConfigurationError
from engine.profiles import build_profiles
from engine.progress import Stopwatch
from engine.proposal import N_, CouponLine, Reason
from engine.settings import Settings
from engine.shop import Shop
from optimizers.coupons import CouponPlan, CouponProblem, allocate_coupons
from optimizers.coupons.check import check_coupons
from optimizers.coupons.robust import RobustCoupons, solve_robust_coupons

NO_HISTORY = Reason("no coupons proposed: the data hold no coupon_history")
NOT_CREDIBLE = Reason("no coupons proposed: the estimated effects failed their checks")
ONLY_EXPLORED = Reason(
    "coupons go only to customers drawn at random: the estimated effects failed their checks, and what they bring is "
    "counted as nothing"
)
EXPLORED = N_(
    "{drawn:,} customers ({share:.0%}) were drawn at random to learn from; {sent:,} of them are sent an offer drawn at "
    "random, each with the chance that stands in its line"
)
NOT_TOLD_APART = N_(
    "what the coupons are promised to bring, {mean:,.0f}, is not told apart from nothing (90 %: {low:,.0f} … "
    "{high:,.0f}) at an expected cost of {spend:,.0f}; send them to a random part first, and learn"
)
RISK = {
    "lower": N_("Coupons were chosen for the 10 % quantile of each one's own profit, not for the expected profit."),
    "tail": N_(
        "Coupons were chosen for the profit in the worst tenth of what is credible, not for the expected profit."
    ),
    "worst": N_(
        "Coupons were chosen for the profit under the effects that hurt most among the credible ones, not for the "
        "expected profit."
    ),
}
COUNTED = (
    "Expected profit of the plan: {expected:,.0f}; in the worst tenth: {tail:,.0f}; under the effects that hurt most: "
    "{worst:,.0f}."
)
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CouponResult:
    """The coupon plan with what speaks for or against it; `plan` is None where there was nothing to plan with."""

    response: CouponResponse | None
    problem: CouponProblem | None
    plan: CouponPlan | None
    lines: tuple[CouponLine, ...]
    reason: Reason | None
    """Why nothing is sent, where nothing is."""
    robust: RobustCoupons | None
    """What each risk setting counts of the plan; None where coupons are chosen by their mean."""
    value: PolicyValue | None
    """What the plan is expected to earn, with the errors of all customers taken together; None without a plan."""
    profit_current: float | None
    """Expected profit of one wave in which nobody is sent a coupon, money; None where the history cannot tell."""
    evidence: Mapping[str, Any]


def propose_coupons(shop: Shop, settings: Settings, watch: Stopwatch) -> CouponResult:
    """Estimate the response to coupons and allocate them.

    Raises:
        ConfigurationError: a setting names an offer that the history, or a column that the customers do not hold.
        InfeasibleError: the limits contradict each other.
    """
    check_offers(shop, settings)
    names = protected_attributes(shop, settings)
    with watch.stage("coupon response"):
        profiles = None if shop.has("customers") or not shop.has("transactions") else build_profiles(shop, settings)
        response = estimate_coupon_response(
            shop, settings, profiles=profiles, seed=settings.seed, excluded_attributes=names
        )
    if response is None:
        return CouponResult(None, None, None, (), NO_HISTORY, None, None, None, {"reason": NO_HISTORY})
    with watch.stage("coupon plan"):
        problem = coupon_problem(shop, response, settings)
        failed = failed_offers(response, settings)
        plan, robust = _allocate(problem, response, failed, settings)
    reason = _reason(response, settings)
    evidence = _evidence(response, plan, reason)
    evidence["parity"] = report_parity(problem, plan, read_protected(shop, response, names))
    evidence["exploration"] = _exploration(plan, settings)
    value = plan_value(response, plan, failed)
    evidence["uncertain"] = None if reason else _uncertain(value, plan)
    evidence["risk"] = None if robust is None or plan.sent == 0 else _risk_words(robust)
    return CouponResult(
        response,
        problem,
        plan,
        coupon_lines(response, plan, failed),
        reason,
        robust,
        value,
        profit_without_coupons(shop),
        evidence,
    )


def _allocate(
    problem: CouponProblem, response: CouponResponse, failed: Bools, settings: Settings
) -> tuple[CouponPlan, RobustCoupons | None]:
    """Allocate by the risk of the settings, and check again."""
    limits = settings.coupons
    effort: dict[str, Any] = {"gap": limits.gap, "seconds": limits.seconds, "seed": settings.seed}
    robust = None
    if limits.risk == "mean" or response.errors is None:
        plan = allocate_coupons(problem, limits.method, **effort)
    else:
        errors = CredibleErrors(response.errors, failed)
        robust = solve_robust_coupons(problem, errors, limits.risk, method=limits.method, **effort)
        plan = robust.plan
    check_coupons(problem, plan)
    return plan, robust


def _risk_words(robust: RobustCoupons) -> Reason:
    """What was maximised, and what each way of counting makes of the plan."""
    values = {name: getattr(robust, name) for name in ("expected", "tail", "worst")}
    return Reason("{chosen} {counted}", {"chosen": RISK[robust.risk], "counted": Reason(COUNTED, values)})


def _reason(response: CouponResponse, settings: Settings) -> Reason | None:
    if response.credible or settings.coupons.send_unless_credible:
        return None
    return NOT_CREDIBLE if settings.coupons.explore == 0 else ONLY_EXPLORED


def _uncertain(value: PolicyValue, plan: CouponPlan) -> Reason | None:
    """That the plan may as well lose money; None where its interval lies above nothing, or nothing is sent."""
    if plan.sent == 0 or value.low > 0:
        return None
    return Reason(NOT_TOLD_APART, {"mean": value.mean, "low": value.low, "high": value.high, "spend": plan.spend})


def _exploration(plan: CouponPlan, settings: Settings) -> dict[str, Any] | None:
    """What was drawn at random, in figures and in words; None without an exploration share."""
    if plan.explored is None:
        return None
    drawn = int(plan.explored.sum())
    sent = int((plan.explored & (plan.choice > 0)).sum())
    values = {"share": settings.coupons.explore, "drawn": drawn, "sent": sent}
    return {**values, "sentence": Reason(EXPLORED, values)}


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


def coupon_lines(response: CouponResponse, plan: CouponPlan, failed: Bools) -> tuple[CouponLine, ...]:
    """One line for each customer who is sent an offer or was drawn to be explored, in the order of the customers.

    An explored customer who was drawn no coupon has a line with an empty offer: the draw is logged as it was.
    """
    explored = np.zeros(len(plan.choice), dtype=np.bool_) if plan.explored is None else plan.explored
    chance = np.ones(len(plan.choice)) if plan.propensity is None else plan.propensity
    worth = _worth(response, failed)
    return tuple(
        CouponLine(
            customer_id=str(response.customer_ids[n]),
            offer_id=str(response.offer_ids[plan.choice[n]]),
            expected_incremental_profit=float(worth[n, plan.choice[n]]),
            expected_cost=float(response.cost[n, plan.choice[n]]),
            explored=bool(explored[n]),
            propensity=float(chance[n]),
        )
        for n in np.flatnonzero((plan.choice > 0) | explored)
    )


def plan_value(response: CouponResponse, plan: CouponPlan, failed: Bools) -> PolicyValue:
    """What the plan is expected to earn; offers that failed their checks are counted at their cost."""
    value = response.value_of(plan.choice)
    people = np.arange(len(plan.choice))
    less = (response.profit - _worth(response, failed))[people, plan.choice].sum()
    return PolicyValue.of(value.mean - float(less), value.se, value.sent)


def _worth(response: CouponResponse, failed: Bools) -> npt.NDArray[np.float64]:
    """(N, O) what each offer is promised to bring: minus its cost where its effect failed the checks."""
    return np.where(failed[None, :], -response.cost, response.profit)


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
