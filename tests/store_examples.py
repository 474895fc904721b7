"""Proposals to store, for the tests of store and pages."""

from __future__ import annotations

from datetime import UTC, datetime

from argon2 import PasswordHasher

from engine.proposal import CouponLine, PriceLine, Proposal, Reason, State

PASSWORD = "correct horse battery"
NOW = datetime(2026, 11, 23, 5, 0, 0, 123456, tzinfo=UTC)


def price_line(product_id="1", *, proposed=2.1, title="Whole milk", category="dairy", elasticity=-1.25):
    reason = Reason("bound by the index band: without it {price:.2f}", {"price": 3.49})
    return PriceLine(
        product_id=product_id,
        title=title,
        category=category,
        current_price=2.0,
        proposed_price=proposed,
        unit_cost=1.4,
        units_current=100.0,
        units_proposed=94.3,
        profit_current=60.0,
        profit_proposed=66.01,
        gain_low=1.5,
        gain_high=10.25,
        elasticity=elasticity,
        elasticity_se=0.31,
        identified=True,
        reason=reason,
    )


def make_proposal(proposal_id="P1", *, prices=None, coupons=None, created_by="cli:ana", state=State.DRAFT):
    return Proposal(
        proposal_id=proposal_id,
        data="complete_journey",
        state=state,
        created_at=NOW,
        created_by=created_by,
        horizon_weeks=8,
        currency="USD",
        summary={"promised_gain": 120.5, "promised_gain_low": 20.0, "promised_gain_high": 210.0, "products": 1},
        evidence={"notes": ["a margin of 28 % is assumed"], "curve": [1, 2.5, None]},
        prices=(price_line(),) if prices is None else tuple(prices),
        coupons=(CouponLine("c1", "A", 1.5, 0.5),) if coupons is None else tuple(coupons),
    )


def cheap_hasher():
    """Argon2id at its lowest cost: tests sign in hundreds of times."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
