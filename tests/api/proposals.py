"""Proposals made by hand, for the tests of what shows and stores them."""

from __future__ import annotations

from datetime import UTC, datetime

from engine.proposal import CouponLine, PriceLine, Proposal, Reason, State

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)


def price_line(product_id="P1", title="Oat milk 1 l", current=3.0, proposed=3.15, **changes):
    values = {
        "product_id": product_id,
        "title": title,
        "category": "milk",
        "current_price": current,
        "proposed_price": proposed,
        "unit_cost": 2.0,
        "units_current": 100.0,
        "units_proposed": 92.0,
        "profit_current": 100.0,
        "profit_proposed": 105.8,
        "gain_low": 1.0,
        "gain_high": 9.5,
        "elasticity": -1.7,
        "elasticity_se": 0.4,
        "identified": True,
        "reason": Reason(
            "held at today's price: elasticity not identified ({mean:.1f} ± {se:.1f})", {"mean": -1.1, "se": 0.9}
        ),
    }
    return PriceLine(**(values | changes))


def curve(title):
    grid = [2.7, 3.0, 3.3]
    return {
        "product_id": "P1",
        "title": title,
        "current_price": 3.0,
        "proposed_price": 3.15,
        "price": grid,
        "units": [110.0, 100.0, 90.0],
        "units_low": [105.0, 100.0, 85.0],
        "units_high": [115.0, 100.0, 95.0],
        "profit": [90.0, 100.0, 104.0],
        "profit_low": [85.0, 100.0, 98.0],
        "profit_high": [95.0, 100.0, 110.0],
    }


def proposal(title="Oat milk 1 l", state=State.DRAFT, **changes):
    """A small proposal with every part filled in."""
    summary = {
        "proposal_id": "P20260302-abc",
        "data": "corner_shop",
        "seed": 1,
        "products": 2,
        "customers": 3,
        "promised_gain": 5.8,
        "promised_gain_low": 1.0,
        "promised_gain_high": 9.5,
        "promised_gain_share": 0.029,
        "profit_current": 200.0,
        "raw_predicted_gain": 14.0,
        "price": {
            "status": "optimal",
            "objective": 5.8,
            "bound": 5.81,
            "gap": 1e-5,
            "changed": 1,
            "held_unidentified": 1,
            "index_change": 0.0019,
        },
        "coupons": {"status": "optimal", "gap": 0.0, "shadow_price": 0.4, "sent": 1, "spend": 0.5},
        "fingerprints": {"data": "d1", "plan": "p1"},
    }
    evidence = {
        "notes": ["Unit costs are assumed."],
        "faults": [],
        "prices": {
            "margins": {"0.7": 2.0, "1.3": 9.0},
            "frontier": [
                {"band": 0.0005, "gain": 3.0, "index_change": 0.0},
                {"band": 0.01, "gain": 6.0, "index_change": 0.01},
            ],
            "curves": [curve(title)],
            "backtest": None,
            "caveats": [],
            "warnings": [],
            "diagnostics": [],
            "sensitivity": None,
            "heldout": None,
        },
        "coupons": {
            "reason": None,
            "verdict": [],
            "offers": [
                {"offer_id": "A", "sent": 1, "mean_profit": 0.2, "mean_cost": 0.4, "face_value": 1.0, "credible": True}
            ],
        },
    }
    values = {
        "proposal_id": "P20260302-abc",
        "data": "corner_shop",
        "state": state,
        "created_at": NOW,
        "created_by": "ann",
        "horizon_weeks": 8,
        "currency": "EUR",
        "summary": summary,
        "evidence": evidence,
        "prices": (price_line(title=title), price_line("P2", current=4.0, proposed=4.0, identified=False)),
        "coupons": (CouponLine("C1", "A", 1.2, 0.5),),
    }
    return Proposal(**(values | changes))
