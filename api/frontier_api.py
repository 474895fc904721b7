"""The JSON API of frontiers: the points of a proposal, asking for more of them, and taking one as a draft."""

from __future__ import annotations

from contextlib import suppress

from flask import Response

from api import frontier_schemas as schemas
from api.access import asker, current_time, needs, the_store
from api.exchange import Operation, api, body, described, model_answer, once
from api.frontiers import all_points, ask_frontier, point_draft
from api.schemas import ProposalOut
from engine.errors import ConflictError, NotFoundError
from engine.proposal import Reason
from engine.store import Role
from engine.store.frontier_requests import NO_REQUEST

NO_POINT = "proposal {proposal} has no point {number} on its frontier; it has {points}"


@api.get("/proposals/<proposal_id>/frontiers")
@described(
    Operation(
        "List the points of a proposal's frontiers without their prices, and what was asked for.",
        schemas.FrontiersOut,
        Role.VIEWER,
    )
)
@needs(Role.VIEWER)
def frontiers(proposal_id: str) -> Response:
    """List points and requests."""
    points = all_points(the_store(), proposal_id)
    requests = the_store().frontier_requests.of(proposal_id)
    return model_answer(schemas.frontiers_out(points, requests))


@api.get("/proposals/<proposal_id>/frontiers/<int:number>")
@described(
    Operation("Read a point with the products that it prices or sells otherwise.", schemas.PointOut, Role.VIEWER)
)
@needs(Role.VIEWER)
def frontier_point(proposal_id: str, number: int) -> Response:
    """Read one point."""
    points = all_points(the_store(), proposal_id)
    if not 1 <= number <= len(points):
        values = {"proposal": proposal_id, "number": number, "points": len(points)}
        raise NotFoundError(Reason(NO_POINT, values))
    return model_answer(schemas.point_out(number, points[number - 1]))


@api.post("/proposals/<proposal_id>/frontiers")
@described(
    Operation(
        "Ask for the frontier of a measure; it is computed outside the request.",
        schemas.RequestOut,
        Role.ANALYST,
        body=schemas.FrontierIn,
    )
)
@needs(Role.ANALYST)
def compute_frontier(proposal_id: str) -> Response:
    """Ask for a frontier."""
    asked = body(schemas.FrontierIn)

    def work() -> Response:
        request_id = ask_frontier(proposal_id, asked.measure, asked.levels)
        return model_answer(schemas.request_out(the_store().frontier_requests.get(request_id)))

    return once(work)


@api.get("/proposals/<proposal_id>/frontiers/requests/<request_id>")
@described(Operation("Read how far a frontier is that was asked for.", schemas.RequestOut, Role.VIEWER))
@needs(Role.VIEWER)
def frontier_request(proposal_id: str, request_id: str) -> Response:
    """Read one request."""
    one = the_store().frontier_requests.get(request_id)
    if one.proposal_id != proposal_id:
        raise NotFoundError(Reason(NO_REQUEST, {"request": request_id}))
    return model_answer(schemas.request_out(one))


@api.post("/proposals/<proposal_id>/frontiers/<int:number>/take")
@described(
    Operation(
        "Take a point as a draft of its own; taken twice on one day it is one draft.",
        ProposalOut,
        Role.ANALYST,
        body=schemas.TakeIn,
    )
)
@needs(Role.ANALYST)
def take_frontier_point(proposal_id: str, number: int) -> Response:
    """Store the plan of a point as a draft."""
    body(schemas.TakeIn)

    def work() -> Response:
        draft = point_draft(the_store(), proposal_id, number, by=asker().name, now=current_time())
        with suppress(ConflictError):  # it was taken today already
            the_store().save_proposal(draft)
        return model_answer(ProposalOut.model_validate(the_store().header(draft.proposal_id)))

    return once(work)
