"""The JSON API under /api/v1: proposals with their lines, life and audit; jobs; its own description."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeVar, get_args

from flask import Blueprint, Response, abort, current_app, request
from pydantic import BaseModel, ValidationError

from api import schemas
from api.access import asker, current_time, needs, the_settings, the_store
from api.jobs import JOBS
from engine.errors import InputError, OfferwrightError
from engine.files import to_json
from engine.proposal import State
from engine.store import Answer, Order, Role, Shown

LONGEST_PAGE = 1000
api = Blueprint("api", __name__, url_prefix="/api/v1")
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """What OpenAPI says about a route."""

    summary: str
    answer: type[BaseModel] | None
    role: Role | None = None
    query: tuple[tuple[str, dict[str, Any], str], ...] = ()
    """Name, JSON schema and description of each query parameter."""
    body: type[BaseModel] | None = None


OPERATIONS: dict[str, Operation] = {}
_PAGING = (
    ("page", {"type": "integer", "minimum": 1, "default": 1}, "Which page."),
    ("size", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": 50}, "Items on a page."),
)


def described(operation: Operation) -> Callable[[View], View]:
    """Put a route into OpenAPI."""

    def decorate(view: View) -> View:
        OPERATIONS[f"{api.name}.{view.__name__}"] = operation
        return view

    return decorate


@api.get("/openapi.json")
@described(Operation("This description (OpenAPI 3.1).", None))
def openapi() -> Response:
    """Describe the API."""
    from api.openapi import describe

    return _json(describe(current_app.url_map))


@api.get("/proposals")
@described(
    Operation(
        "List the proposals, newest first.",
        schemas.ProposalsOut,
        Role.VIEWER,
        (*_PAGING, ("state", {"type": "string", "enum": [s.value for s in State]}, "Only those in this state.")),
    )
)
@needs(Role.VIEWER)
def proposals() -> Response:
    """List the proposals."""
    state = _choice("state", [s.value for s in State], None)
    page = the_store().proposals(**_paging(), state=State(state) if state else None)
    return _model(schemas.proposals_out(page))


@api.get("/proposals/<proposal_id>")
@described(Operation("Read a proposal without its lines.", schemas.ProposalOut, Role.VIEWER))
@needs(Role.VIEWER)
def proposal(proposal_id: str) -> Response:
    """Read one proposal."""
    return _model(schemas.ProposalOut.model_validate(the_store().header(proposal_id)))


@api.get("/proposals/<proposal_id>/lines")
@described(
    Operation(
        "Read price lines, sorted and filtered.",
        schemas.PriceLinesOut,
        Role.VIEWER,
        (
            *_PAGING,
            ("order", {"type": "string", "enum": list(get_args(Order)), "default": "position"}, "What to sort by."),
            ("descending", {"type": "boolean", "default": False}, "Largest first."),
            ("contains", {"type": "string"}, "Text in the product's identifier, title or category."),
            (
                "shown",
                {"type": "string", "enum": list(get_args(Shown)), "default": "all"},
                "Changed or held lines only.",
            ),
        ),
    )
)
@needs(Role.VIEWER)
def price_lines(proposal_id: str) -> Response:
    """Read one page of price lines."""
    order: Any = _choice("order", get_args(Order), "position")
    shown: Any = _choice("shown", get_args(Shown), "all")
    descending = _choice("descending", ("true", "false"), "false") == "true"
    page = the_store().price_lines(
        proposal_id,
        **_paging(),
        order=order,
        descending=descending,
        contains=request.args.get("contains", ""),
        shown=shown,
    )
    return _model(schemas.price_lines_out(page))


@api.get("/proposals/<proposal_id>/coupons")
@described(Operation("Read the customers who are sent a coupon.", schemas.CouponLinesOut, Role.VIEWER, _PAGING))
@needs(Role.VIEWER)
def coupon_lines(proposal_id: str) -> Response:
    """Read one page of coupon lines."""
    return _model(schemas.coupon_lines_out(the_store().coupon_lines(proposal_id, **_paging())))


@api.get("/proposals/<proposal_id>/audit")
@described(Operation("Read everything that happened to a proposal.", schemas.AuditOut, Role.VIEWER))
@needs(Role.VIEWER)
def audit(proposal_id: str) -> Response:
    """Read the audit of a proposal."""
    return _model(schemas.audit_out(the_store().audit(proposal_id)))


@api.post("/proposals/<proposal_id>/submit")
@described(Operation("Submit a draft for approval.", schemas.ProposalOut, Role.ANALYST, body=schemas.ChangeIn))
@needs(Role.ANALYST)
def submit(proposal_id: str) -> Response:
    """Submit a draft."""
    return _change(proposal_id, State.SUBMITTED)


@api.post("/proposals/<proposal_id>/approve")
@described(
    Operation("Approve what somebody else submitted.", schemas.ProposalOut, Role.APPROVER, body=schemas.ChangeIn)
)
@needs(Role.APPROVER)
def approve(proposal_id: str) -> Response:
    """Approve a submitted proposal."""
    return _change(proposal_id, State.APPROVED)


@api.post("/proposals/<proposal_id>/reject")
@described(
    Operation("Reject a submitted proposal, with a reason.", schemas.ProposalOut, Role.APPROVER, body=schemas.ChangeIn)
)
@needs(Role.APPROVER)
def reject(proposal_id: str) -> Response:
    """Reject a submitted proposal."""
    return _change(proposal_id, State.REJECTED)


@api.post("/proposals/<proposal_id>/request-changes")
@described(
    Operation(
        "Ask for changes to a submitted proposal, with a reason.",
        schemas.ProposalOut,
        Role.APPROVER,
        body=schemas.ChangeIn,
    )
)
@needs(Role.APPROVER)
def request_changes(proposal_id: str) -> Response:
    """Ask for changes."""
    return _change(proposal_id, State.CHANGES_REQUESTED)


@api.get("/jobs")
@described(Operation("List the scheduled jobs with their latest runs.", schemas.JobsOut, Role.VIEWER))
@needs(Role.VIEWER)
def jobs() -> Response:
    """List the jobs."""
    items = [
        schemas.JobOut(
            name=job.name,
            does=job.does,
            schedule=job.schedule(the_settings()),
            runs=schemas.job_runs_out(the_store().jobs.recent(job.name, limit=10)),
        )
        for job in JOBS.values()
    ]
    return _model(schemas.JobsOut(items=items))


def _change(proposal_id: str, to: State) -> Response:
    change = _body(schemas.ChangeIn)

    def work() -> Response:
        header = the_store().change_state(proposal_id, to, by=asker().name, why=change.why, now=current_time())
        return _model(schemas.ProposalOut.model_validate(header))

    return _once(work)


def _once(work: Callable[[], Response]) -> Response:
    """Do a write, or repeat the answer it was given before under the same Idempotency-Key."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return work()
    if not 1 <= len(key) <= 255:
        abort(HTTPStatus.BAD_REQUEST, f"Idempotency-Key has {len(key)} characters; take 1 to 255.")
    caller, answers = asker().name, the_store().answers
    asked = hashlib.sha256(request.full_path.encode() + b"\0" + request.get_data()).hexdigest()
    known = answers.claim(caller, key, asked, now=current_time())
    if known is not None:
        return Response(known.body, known.status, {"Idempotent-Replay": "true"}, mimetype="application/json")
    try:
        answer = work()
    except OfferwrightError:
        answers.release(caller, key)
        raise
    answers.remember(caller, key, Answer(answer.status_code, answer.get_data(as_text=True)))
    return answer


Read = TypeVar("Read", bound=BaseModel)


def _body(model: type[Read]) -> Read:
    """Read the body of a request; nothing sent counts as {}.

    Raises:
        InputError: it is not JSON, or not what the operation takes.
    """
    sent = request.get_data() or b"{}"
    try:
        return model.model_validate_json(sent)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors())
        raise InputError(f"the request's body is refused: {faults}") from error


def _paging() -> dict[Literal["page", "size"], int]:
    return {"page": _whole("page", 1, 10**9), "size": _whole("size", 50, LONGEST_PAGE)}


def _whole(name: str, default: int, most: int) -> int:
    text = request.args.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        abort(HTTPStatus.BAD_REQUEST, f"{name}={text!r} is refused; take a whole number from 1 to {most}.")
    return int(text)


def _choice(name: str, allowed: Any, default: str | None) -> str | None:  # noqa: ANN401 - any collection of words
    text = request.args.get(name, default)
    if text is not None and text not in allowed:
        abort(HTTPStatus.BAD_REQUEST, f"{name}={text!r} is refused; take one of {', '.join(allowed)}.")
    return text


def _model(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), mimetype="application/json")


def _json(value: object) -> Response:
    return Response(to_json(value), mimetype="application/json")
