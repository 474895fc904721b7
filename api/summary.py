"""summary.json: the figures of a proposal that other programs read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.demand.diagnostics import OTHER_PRODUCTS
from engine.settings import Settings
from engine.shop import Shop

if TYPE_CHECKING:
    from api.coupon_stage import CouponResult
    from api.price_stage import PriceResult

LOW, HIGH = 0.05, 0.95


def summarise(
    shop: Shop, settings: Settings, prices: PriceResult | None, coupons: CouponResult | None
) -> dict[str, Any]:
    """Figures of the parts that ran; money over the horizon in the shop's currency."""
    promised, low, high = _promise(settings, prices, coupons)
    profit_current = _profit_current(prices, coupons)
    return {
        "data": shop.name,
        "seed": settings.seed,
        "currency": settings.data.currency,
        "products": prices.demand.panel.n_products if prices else 0,
        "customers": len(coupons.response.customer_ids) if coupons and coupons.response else 0,
        "horizon_weeks": settings.demand.horizon_weeks,
        "profit_current": profit_current,
        "promised_gain": promised,
        "promised_gain_low": low,
        "promised_gain_high": high,
        "promised_gain_share": promised / profit_current if profit_current else None,
        "raw_predicted_gain": prices.evidence["raw_predicted_gain"] if prices else None,
        "costs_assumed": shop.costs_assumed,
        "price": _price(prices) if prices else None,
        "coupons": _coupons(settings, coupons) if coupons else None,
        "demand": _demand(prices) if prices else None,
        "sensitivity": _sensitivity(prices) if prices else None,
        "heldout": _heldout(prices) if prices else None,
        "warnings": [reason.english() for reason in prices.evidence["warnings"]] if prices else [],
    }


def _profit_current(prices: PriceResult | None, coupons: CouponResult | None) -> float | None:
    """Profit at today's prices over the horizon; where coupons ran alone, of one wave without any."""
    if prices:
        return float(prices.current.profit.sum())
    return coupons.profit_current if coupons else None


def _promise(
    settings: Settings, prices: PriceResult | None, coupons: CouponResult | None
) -> tuple[float, float, float]:
    """Mean and 90 % interval of the promised gain; prices and coupons err independently."""
    draws = prices.outcome.gain_draws if prices else np.zeros(settings.demand.draws)
    if coupons and coupons.value:
        rng = np.random.default_rng([settings.seed, 2])
        draws = draws + coupons.value.mean + coupons.value.se * rng.standard_normal(draws.size)
    mean = (float(prices.outcome.gain.sum()) if prices else 0.0) + (
        coupons.value.mean if coupons and coupons.value else 0.0
    )
    return mean, float(np.quantile(draws, LOW)), float(np.quantile(draws, HIGH))


def _price(prices: PriceResult) -> dict[str, Any]:
    plan, problem = prices.plan, prices.problem
    proven = prices.robust or plan
    return {
        "status": proven.status,
        "objective": proven.objective,
        "bound": proven.bound,
        "gap": proven.gap,
        "risk": _risk(prices),
        "shadow_prices": dict(plan.shadow_prices),
        "changed": int(np.sum(plan.price != problem.current_price)),
        "held_unidentified": int(np.sum(~prices.demand.response.identified)),
        "index_change": prices.evidence["index_change"],
        "index_band": problem.index_band,
        "index_neutral_gain": prices.evidence["frontier"][0]["gain"],
        "gain_at_margin": prices.evidence["margins"],
    }


def _risk(prices: PriceResult) -> dict[str, Any]:
    """What was maximised, and what each way of counting risk makes of the plan."""
    found = prices.robust
    if found is None:
        return {"setting": prices.problem.risk}
    names = ("expected_gain", "tail_gain", "lower_gain", "worst_gain")
    return {"setting": found.risk} | {name: getattr(found, name) for name in names}


def _coupons(settings: Settings, coupons: CouponResult) -> dict[str, Any]:
    plan, proven = coupons.plan, coupons.robust or coupons.plan
    return {
        "status": proven.status if proven else "no_history",
        "objective": proven.objective if proven else 0.0,
        "bound": proven.bound if proven else 0.0,
        "gap": proven.gap if proven else 0.0,
        "risk": _coupon_risk(coupons),
        "budget": settings.coupons.budget,
        "spend": plan.spend if plan else 0.0,
        "shadow_price": plan.shadow_price if plan else 0.0,
        "floor_shadow_price": plan.floor_shadow_price if plan else 0.0,
        "ceiling_shadow_price": plan.ceiling_shadow_price if plan else 0.0,
        "parity_least_ratio": _least_ratios(coupons),
        "sent": plan.sent if plan else 0,
        "explored": int(plan.explored.sum()) if plan and plan.explored is not None else 0,
        "promised_gain": coupons.value.mean if coupons.value else 0.0,
        "promised_gain_low": coupons.value.low if coupons.value else 0.0,
        "promised_gain_high": coupons.value.high if coupons.value else 0.0,
        "credible": coupons.response.credible if coupons.response else False,
        "reason": coupons.reason.english() if coupons.reason else None,
        "uncertain": uncertain.english() if (uncertain := coupons.evidence.get("uncertain")) else None,
    }


def _coupon_risk(coupons: CouponResult) -> dict[str, Any]:
    """What was maximised, and what each way of counting risk makes of the plan."""
    found = coupons.robust
    if found is None:
        return {"setting": "mean"}
    return {"setting": found.risk, "expected": found.expected, "tail": found.tail, "worst": found.worst}


def _least_ratios(coupons: CouponResult) -> dict[str, float]:
    """By protected attribute, the smallest ratio of a group's send rate to the highest group's."""
    return {report.attribute: report.least_ratio for report in coupons.evidence.get("parity", ())}


def _sensitivity(prices: PriceResult) -> dict[str, Any]:
    found = prices.evidence["sensitivity"]
    return {
        "breaking_bias": found.breaking_bias,
        "robustness_value": found.robustness_value,
        "times_strongest_observed": found.times_strongest,
        "sentence": found.reason.english(),
    }


def _heldout(prices: PriceResult) -> dict[str, Any] | None:
    found = prices.evidence["heldout"]
    if found is None:
        return None
    names = ("split", "promised", "promised_low", "promised_high", "judged", "judged_low", "judged_high")
    share = found.judged / found.promised if found.promised > 0 else None
    told = {"within": found.within, "agrees": found.agrees, "share": share, "sentence": found.reason.english()}
    return {name: getattr(found, name) for name in names} | told


def _demand(prices: PriceResult) -> dict[str, Any]:
    response, tested = prices.demand.response, prices.evidence["backtest"]
    known = response.identified
    checks = {check.name: check.value for check in prices.evidence["diagnostics"]}
    return {
        "wape": tested.wape if tested else None,
        "wape_naive": tested.wape_naive if tested else None,
        "wape_glm": tested.wape_glm if tested else None,
        "elasticity_median": float(np.median(response.elasticity)),
        "elasticity_se_median": float(np.median(response.elasticity_se)),
        "identified_share": float(np.mean(known)),
        "coverage": checks.get(OTHER_PRODUCTS),
        "interval_coverage": tested.coverage.covered if tested and tested.coverage else None,
        "checks": checks,
    }
