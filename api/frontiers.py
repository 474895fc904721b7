"""The frontiers of a stored proposal: those that came with it and those asked for since, for pages and JSON API."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from flask import current_app

from api.access import asker, current_time, the_store
from api.frontier_plans import draft_of_point
from engine.errors import ConflictError, InputError
from engine.proposal import FrontierPlan, Proposal, Reason
from engine.store import FrontierRequest, Store

MEASURES = ("index", "units", "revenue", "investment")
"""What can be limited; the same as `optimizers.budget.frontier.MEASURES`, which a page need not load."""
AT_LEAST_NOTHING = ("index", "investment")
MOST_LEVELS = 12
NO_PRICES = "proposal {proposal} holds no prices, so it has no frontier"
UNKNOWN_MEASURE = "the measure {measure!r} is unknown; choose {known}"
TOO_MANY_LEVELS = "{count} levels are asked for; give {most} at most"
BAD_LEVEL = "level {level} is refused; give a finite number, 0 or more for the index and money given away"


def all_points(store: Store, proposal_id: str) -> tuple[FrontierPlan, ...]:
    """Every point that can be taken: the proposal's own, then those asked for, as they were done.

    Raises:
        NotFoundError: there is no such proposal.
    """
    return (*store.frontier(proposal_id), *asked_points(store.frontier_requests.of(proposal_id)))


def asked_points(requests: Sequence[FrontierRequest]) -> tuple[FrontierPlan, ...]:
    """The points of requests, in the order in which those were done."""
    return tuple(point for request in requests for point in request.points)


def point_draft(store: Store, proposal_id: str, number: int, *, by: str, now: datetime) -> Proposal:
    """The plan of one point as a draft, not stored yet.

    Raises:
        NotFoundError: there is no such proposal.
        ConflictError: it has no such point.
    """
    base = replace(store.proposal(proposal_id), frontier=all_points(store, proposal_id))
    return draft_of_point(base, number, now=now, created_by=by)


def ask_frontier(proposal_id: str, measure: str, levels: Sequence[float]) -> str:
    """Ask for a frontier of a stored proposal and have somebody work on it; the request's identifier.

    Raises:
        NotFoundError: there is no such proposal.
        InputError: a measure or level that is none.
        ConflictError: the proposal holds no prices, the same was asked for already, or too many wait.
    """
    _require_levels(measure, levels)
    store = the_store()
    if not store.header(proposal_id).summary.get("price"):
        raise ConflictError(Reason(NO_PRICES, {"proposal": proposal_id}))
    request_id = store.frontier_requests.ask(proposal_id, measure, levels, by=asker().name, now=current_time())
    cast("Callable[[], None]", current_app.extensions["offerwright_start_frontiers"])()
    return request_id


def _require_levels(measure: str, levels: Sequence[float]) -> None:
    if measure not in MEASURES:
        raise InputError(Reason(UNKNOWN_MEASURE, {"measure": measure, "known": ", ".join(MEASURES)}))
    if len(levels) > MOST_LEVELS:
        raise InputError(Reason(TOO_MANY_LEVELS, {"count": len(levels), "most": MOST_LEVELS}))
    for level in levels:
        if not math.isfinite(level) or (level < 0 and measure in AT_LEAST_NOTHING):
            raise InputError(Reason(BAD_LEVEL, {"level": f"{level:g}"}))
