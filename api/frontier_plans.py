"""The points of a frontier as they are stored with a proposal, and the draft that one of them becomes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from api.frontier_chart import AXES
from api.price_choice import as_solved
from api.price_evidence import MARGIN_FACTORS
from engine.errors import ConflictError
from engine.proposal import N_, FrontierLine, FrontierPlan, PriceLine, Proposal, Reason, State
from optimizers.budget.frontier import Frontier
from optimizers.prices import PricePlan, PriceProblem, evaluate_prices
from optimizers.prices.check import price_index_change

Floats = npt.NDArray[np.float64]

LOW, HIGH = 0.05, 0.95
NOTHING = 1e-9
"""Share of a line's profit that is rounding."""
POINT = N_("price of the plan with: {axis} {level}")
FREE = N_("price of the plan without a limit")
UNREACHABLE = N_("no prices under the rules keep: {levels}")
TAKEN = N_(
    "taken from the frontier of proposal {proposal}: demand is judged there, but this plan was not compared with "
    "held-out sales or hidden confounders"
)
NOT_ITS_POINT = "proposal {proposal} has no point {number} on its frontier; it has {points}"
ACCEPTED_GAP = 1e-3
"""Relative gap up to which a point counts as optimal: that at which frontiers are looked for."""


# --- points


def index_plans(
    problem: PriceProblem, points: Iterable[tuple[float | None, PricePlan | None]]
) -> tuple[FrontierPlan, ...]:
    """Plans by width of the index band, without those that the rules leave no prices for."""
    return tuple(
        _point(problem, "index", band, price_index_change(problem, plan.price), plan.price, plan.bound, plan.gap)
        for band, plan in points
        if plan is not None
    )


def measured_plans(problem: PriceProblem, found: Frontier) -> tuple[FrontierPlan, ...]:
    """The points of a frontier of any measure."""
    return tuple(
        _point(as_solved(problem), found.measure, point.level, point.reached, point.price, point.bound, point.gap)
        for point in found.points
    )


def _point(
    problem: PriceProblem,
    measure: str,
    level: float | None,
    reached: float,
    price: Floats,
    bound: float,
    gap: float,
) -> FrontierPlan:
    outcome, current = evaluate_prices(problem, price), evaluate_prices(problem, problem.current_price)
    moved = np.abs(outcome.profit - current.profit) > NOTHING * np.abs(current.profit)
    lines = tuple(
        FrontierLine(
            product_id=problem.product_ids[i],
            price=float(price[i]),
            units=float(outcome.units[i]),
            profit=float(outcome.profit[i]),
            gain_low=float(outcome.line_gain_low[i]),
            gain_high=float(outcome.line_gain_high[i]),
        )
        for i in np.flatnonzero(moved | (price != problem.current_price)).tolist()
    )
    gain = float(outcome.gain.sum())
    low, high = (float(np.quantile(outcome.gain_draws, share)) for share in (LOW, HIGH))
    return FrontierPlan(measure, level, float(reached), gain, low, high, max(float(bound), gain), float(gap), lines)


# --- drafts


def level_words(measure: str, level: float) -> str:
    """Write a level as people read it: a share in per cent, money as money."""
    return f"{level:,.2f}" if measure == "investment" else f"{100 * level:+.2f} %"


def point_reason(measure: str, level: float | None) -> Reason:
    """Why a price stands at a point."""
    if level is None:
        return Reason(FREE)
    return Reason(POINT, {"axis": AXES[measure], "level": level_words(measure, level)})


def draft_of_point(base: Proposal, number: int, *, now: datetime, created_by: str) -> Proposal:
    """The plan of one point as a draft of its own.

    Args:
        base: the proposal whose frontier it is.
        number: of the point, from 1.
        now: time of the draft, UTC.
        created_by: who takes it, for the audit.

    Raises:
        ConflictError: there is no such point.
    """
    if not 1 <= number <= len(base.frontier):
        values = {"proposal": base.proposal_id, "number": number, "points": len(base.frontier)}
        raise ConflictError(Reason(NOT_ITS_POINT, values))
    point = base.frontier[number - 1]
    lines = _lines(base.prices, point)
    summary = _summary(base, point, lines)
    identifier = _identifier(base.proposal_id, number, now)
    return replace(
        base,
        proposal_id=identifier,
        state=State.DRAFT,
        created_at=now,
        created_by=created_by,
        summary={"proposal_id": identifier, **summary},
        evidence=_evidence(base, lines),
        prices=lines,
        coupons=(),
    )


def _lines(lines: Sequence[PriceLine], point: FrontierPlan) -> tuple[PriceLine, ...]:
    moved = {line.product_id: line for line in point.lines}
    return tuple(_line(line, moved.get(line.product_id), point) for line in lines)


def _line(line: PriceLine, moved: FrontierLine | None, point: FrontierPlan) -> PriceLine:
    if moved is None:
        earned = line.units_current, line.profit_current
        moved = FrontierLine(line.product_id, line.current_price, *earned, gain_low=0.0, gain_high=0.0)
    same = moved.price == line.proposed_price
    return replace(
        line,
        proposed_price=moved.price,
        units_proposed=moved.units,
        profit_proposed=moved.profit,
        gain_low=moved.gain_low,
        gain_high=moved.gain_high,
        reason=line.reason if same else point_reason(point.measure, point.level),
    )


def _summary(base: Proposal, point: FrontierPlan, lines: Sequence[PriceLine]) -> dict[str, Any]:
    """The figures of the point in the form of a run's; what was not computed for it is left open."""
    kept = ("data", "seed", "currency", "products", "horizon_weeks", "costs_assumed", "demand", "warnings")
    before = base.summary.get("price") or {}
    profit = base.summary.get("profit_current")
    prints = dict(base.summary.get("fingerprints") or {})
    return {
        **{name: base.summary[name] for name in kept if name in base.summary},
        "customers": 0,
        "profit_current": profit,
        "promised_gain": point.gain,
        "promised_gain_low": point.gain_low,
        "promised_gain_high": point.gain_high,
        "promised_gain_share": point.gain / profit if profit else None,
        "raw_predicted_gain": None,
        "price": {
            "status": "optimal" if point.gap <= ACCEPTED_GAP else "gap_limit",
            "objective": point.gain,
            "bound": point.bound,
            "gap": point.gap,
            "changed": sum(line.proposed_price != line.current_price for line in lines),
            "held_unidentified": before.get("held_unidentified"),
            "index_change": point.reached if point.measure == "index" else None,
            "limit": {"measure": point.measure, "level": point.level, "reached": point.reached},
        },
        "coupons": None,
        "taken_from": base.proposal_id,
        "fingerprints": {**prints, "plan": _plan_fingerprint(lines)},
    }


def _plan_fingerprint(lines: Sequence[PriceLine]) -> str:
    text = "".join(f"{line.product_id}\x1f{line.proposed_price:.4f}\n" for line in lines)
    return hashlib.sha256(text.encode()).hexdigest()


def _evidence(base: Proposal, lines: Sequence[PriceLine]) -> Mapping[str, Any]:
    """What speaks of demand; what speaks of the other plan is left out, and that is said."""
    prices = dict(base.evidence.get("prices") or {})
    taken = Reason(TAKEN, {"proposal": base.proposal_id})
    prices |= {"curves": [], "margins": _margins(lines), "heldout": None, "sensitivity": None, "rules": None}
    prices["warnings"] = [taken, *(prices.get("warnings") or ())]
    return {**base.evidence, "prices": prices, "coupons": None}


def _margins(lines: Sequence[PriceLine]) -> dict[str, float]:
    """Gain of the prices if every unit margin were so many times what was assumed."""
    return {f"{factor:g}": sum(_gain_at_margin(line, factor) for line in lines) for factor in MARGIN_FACTORS}


def _gain_at_margin(line: PriceLine, factor: float) -> float:
    cost = max(line.current_price - factor * (line.current_price - line.unit_cost), 0.0)
    gain = line.units_proposed * (line.proposed_price - cost) - line.units_current * (line.current_price - cost)
    return gain if math.isfinite(gain) else 0.0


def _identifier(base: str, number: int, now: datetime) -> str:
    """The same all day, so that a point taken twice is one draft."""
    day = f"{now:%Y%m%d}"
    return f"P{day}-{hashlib.sha256(f'{base}|{number}|{day}'.encode()).hexdigest()[:10]}"
