"""What a proposal says first: what to change, where the gain comes from, and what must be known to approve it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.proposal import N_, PriceLine, Reason

DO = {
    "prices": "prices: raise {raised:,}, lower {lowered:,}, keep {kept:,}",
    "keep": "prices: keep all {kept:,}",
    "coupons": "coupons: send to {sent:,} customers",
}
BOTH = N_("{first}; {second}")
PARTS = "new prices bring {prices:,.0f}, coupons {coupons:,.0f}"
UNMOVED = (
    "a plan that leaves the price index where it is would bring {gain:,.0f} by its prices; what these bring beyond "
    "that comes from higher prices as such"
)
LEADER = "one product brings {share:.0%} of what the new prices bring: {product}; look at it first"
MARGINS = "if unit margins were 30 % smaller, the same prices would gain {low:,.0f}; if 30 % larger, {high:,.0f}"
MUCH = 0.2
"""A product that brings this share of the gain, or more, is named."""
ALIKE = 0.02
"""Share of the gain below which a plan with an unmoved index is as good."""


@dataclass(frozen=True)
class Doubts:
    """What speaks for caution, as sentences, fresh or stored."""

    promise: tuple[Any, ...]
    """How sure the figures are, what would void them."""
    data: tuple[Any, ...]
    """What the data cannot say."""


def to_do(lines: Sequence[PriceLine], summary: Mapping[str, Any]) -> Reason | None:
    """What is asked of whoever carries it out; None where nothing is proposed."""
    said = []
    if lines:
        raised = sum(line.proposed_price > line.current_price for line in lines)
        lowered = sum(line.proposed_price < line.current_price for line in lines)
        moved = {"raised": raised, "lowered": lowered} if raised or lowered else {}
        said.append(Reason(DO["prices" if moved else "keep"], {**moved, "kept": len(lines) - raised - lowered}))
    if (summary.get("coupons") or {}).get("sent"):
        said.append(Reason(DO["coupons"], {"sent": summary["coupons"]["sent"]}))
    return Reason(BOTH, {"first": said[0], "second": said[1]}) if len(said) > 1 else next(iter(said), None)


def gain_sources(summary: Mapping[str, Any]) -> tuple[Reason, ...]:
    """Where the promised gain comes from: prices or coupons, and higher prices as such."""
    coupons = _known((summary.get("coupons") or {}).get("promised_gain"))
    prices = summary.get("price") or {}
    total = _known(summary.get("promised_gain"))
    if total is None or not prices:
        return ()
    from_prices = total - (coupons or 0.0)
    said = [Reason(PARTS, {"prices": from_prices, "coupons": coupons})] if coupons else []
    unmoved = _known(prices.get("index_neutral_gain"))
    if unmoved is not None and from_prices - unmoved > ALIKE * from_prices > 0:
        said.append(Reason(UNMOVED, {"gain": unmoved}))
    return tuple(said)


def leading_product(lines: Sequence[PriceLine]) -> Reason | None:
    """The product on which much of the gain rests; None where none stands out."""
    moved = [line for line in lines if line.proposed_price != line.current_price]
    gains = [line.profit_proposed - line.profit_current for line in moved]
    total = math.fsum(gains)
    best = max(range(len(moved)), key=gains.__getitem__, default=None)
    if best is None or len(moved) < 2 or not MUCH * total <= gains[best] or total <= 0:
        return None
    return Reason(LEADER, {"product": moved[best].title or moved[best].product_id, "share": gains[best] / total})


def doubts(evidence: Mapping[str, Any], leader: Reason | None = None) -> Doubts:
    """What must be read before it is approved, the weightiest first.

    Args:
        evidence: of a proposal, fresh or stored.
        leader: what `leading_product` says.
    """
    prices, coupons = evidence.get("prices") or {}, evidence.get("coupons") or {}
    judged = [(prices.get(name) or {}).get("reason") for name in ("heldout", "sensitivity")]
    told = [judged[0], leader, _margins(prices.get("margins") or {}), judged[1]]
    told += [coupons.get("reason"), coupons.get("uncertain"), *(prices.get("warnings") or ())]
    notes = list(evidence.get("notes") or ())
    if evidence.get("weeks"):
        return Doubts((*filter(None, told), *notes), ())
    return Doubts(tuple(filter(None, told)), (*notes, *(prices.get("caveats") or ())))


def _margins(gains: Mapping[str, Any]) -> Reason | None:
    low, high = _known(gains.get("0.7")), _known(gains.get("1.3"))
    return None if low is None or high is None else Reason(MARGINS, {"low": low, "high": high})


def _known(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
