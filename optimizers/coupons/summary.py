"""What a plan is worth, ready for JSON and by the table's own names, whichever road it came by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from optimizers.coupons.by_name import Limits
from optimizers.coupons.parity import ParityReport
from optimizers.coupons.problem import Floats


class Told(Protocol):
    """What every plan says of itself."""

    @property
    def sent(self) -> int:
        """Customers who are sent a coupon."""

    @property
    def objective(self) -> float:
        """Money."""

    @property
    def bound(self) -> float:
        """Money."""

    @property
    def gap(self) -> float:
        """Relative."""

    @property
    def spend(self) -> float:
        """Money."""

    @property
    def status(self) -> str:
        """Why the search ended."""

    @property
    def shadow_price(self) -> float:
        """Of the total budget."""

    @property
    def segment_shadow_price(self) -> Floats | None:
        """(S,)."""

    @property
    def offer_shadow_price(self) -> Floats | None:
        """(O,)."""


def summarise(
    plan: Told,
    limits: Limits,
    *,
    customers: int,
    offers: Sequence[str],
    segments: Sequence[str],
    method: str,
    seconds: float,
    out: Path | str | None,
    explored: int | None,
    parity: ParityReport | None,
) -> dict[str, Any]:
    """Write a plan down for its reader.

    Args:
        plan: the plan.
        limits: what was asked for; prices of segments and offers are told where they are limited.
        customers: N.
        offers: (O,) identifiers, the first being that of no coupon.
        segments: (S,) names.
        method: that found it.
        seconds: that it took.
        out: where the coupons are.
        explored: customers drawn at random; None: no share was asked for.
        parity: the report; None: none was asked for.
    """
    told: dict[str, Any] = {
        "customers": customers,
        "offers": len(offers) - 1,
        "sent": plan.sent,
        "objective": plan.objective,
        "bound": plan.bound,
        "gap": plan.gap,
        "budget": limits.budget,
        "spend": plan.spend,
        "shadow_price": plan.shadow_price,
        "segment_shadow_price": {},
        "status": plan.status,
        "method": method,
        "seconds": seconds,
        "out": None if out is None else str(out),
    }
    if limits.segment_budgets and plan.segment_shadow_price is not None:
        told["segment_shadow_price"] = dict(zip(segments, plan.segment_shadow_price.tolist(), strict=True))
    if limits.offer_caps and plan.offer_shadow_price is not None:
        prices = zip(offers[1:], plan.offer_shadow_price[1:].tolist(), strict=True)
        told["offer_shadow_price"] = {name: price if math.isfinite(price) else None for name, price in prices}
    if explored is not None:
        told["explored"] = explored
    if parity is not None:
        told["parity"] = asdict(parity)
    return told
