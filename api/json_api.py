"""The JSON API under /api/v1: proposals with their lines, life and audit; jobs and their runs; its own description."""

from __future__ import annotations

from typing import Any, get_args

from flask import Response, current_app, request

from api import schemas
from api.access import asker, current_time, needs, the_settings, the_store
from api.exchange import PAGING, Operation, api, body, choice, described, json_answer, model_answer, once, paging
from api.jobs import JOBS
from engine.proposal import State
from engine.store import Order, Role, Shown
from engine.store.jobs import STATES


@api.get("/openapi.json")
@described(Operation("This description (OpenAPI 3.1).", None))
def openapi() -> Response:
    """Describe the API."""
    from api.openapi import describe

    return json_answer(describe(current_app.url_map))


@api.get("/proposals")
@described(
    Operation(
        "List the proposals, newest first.",
        schemas.ProposalsOut,
        Role.VIEWER,
        (*PAGING, ("state", {"type": "string", "enum": [s.value for s in State]}, "Only those in this state.")),
    )
)
@needs(Role.VIEWER)
def proposals() -> Response:
    """List the proposals."""
    state = choice("state", [s.value for s in State], None)
    page = the_store().proposals(**paging(), state=State(state) if state else None)
    return model_answer(schemas.proposals_out(page))


@api.get("/proposals/<proposal_id>")
@described(Operation("Read a proposal without its lines.", schemas.ProposalOut, Role.VIEWER))
@needs(Role.VIEWER)
def proposal(proposal_id: str) -> Response:
    """Read one proposal."""
    return model_answer(schemas.ProposalOut.model_validate(the_store().header(proposal_id)))


@api.get("/proposals/<proposal_id>/lines")
@described(
    Operation(
        "Read price lines, sorted and filtered.",
        schemas.PriceLinesOut,
        Role.VIEWER,
        (
            *PAGING,
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
    order: Any = choice("order", get_args(Order), "position")
    shown: Any = choice("shown", get_args(Shown), "all")
    descending = choice("descending", ("true", "false"), "false") == "true"
    page = the_store().price_lines(
        proposal_id,
        **paging(),
        order=order,
        descending=descending,
        contains=request.args.get("contains", ""),
        shown=shown,
    )
    return model_answer(schemas.price_lines_out(page))


@api.get("/proposals/<proposal_id>/coupons")
@described(Operation("Read the customers who are sent a coupon.", schemas.CouponLinesOut, Role.VIEWER, PAGING))
@needs(Role.VIEWER)
def coupon_lines(proposal_id: str) -> Response:
    """Read one page of coupon lines."""
    return model_answer(schemas.coupon_lines_out(the_store().coupon_lines(proposal_id, **paging())))


@api.get("/proposals/<proposal_id>/audit")
@described(Operation("Read everything that happened to a proposal.", schemas.AuditOut, Role.VIEWER))
@needs(Role.VIEWER)
def audit(proposal_id: str) -> Response:
    """Read the audit of a proposal."""
    return model_answer(schemas.audit_out(the_store().audit(proposal_id)))


def _step(action: str, to: State, least: Role, does: str) -> None:
    """Give the API one step of a proposal's life."""

    @needs(least)
    def view(proposal_id: str) -> Response:
        change = body(schemas.ChangeIn)

        def work() -> Response:
            header = the_store().change_state(proposal_id, to, by=asker().name, why=change.why, now=current_time())
            return model_answer(schemas.ProposalOut.model_validate(header))

        return once(work)

    view.__name__ = action.replace("-", "_")
    operation = Operation(does, schemas.ProposalOut, least, body=schemas.ChangeIn)
    api.post(f"/proposals/<proposal_id>/{action}")(described(operation)(view))


_step("submit", State.SUBMITTED, Role.ANALYST, "Submit a draft for approval.")
_step("approve", State.APPROVED, Role.APPROVER, "Approve what somebody else submitted.")
_step("reject", State.REJECTED, Role.APPROVER, "Reject a submitted proposal, with a reason.")
_step(
    "request-changes",
    State.CHANGES_REQUESTED,
    Role.APPROVER,
    "Ask for changes to a submitted proposal, with a reason.",
)
_step("rework", State.DRAFT, Role.ANALYST, "Take a proposal back to draft after changes were asked for.")


@api.get("/runs")
@described(
    Operation(
        "List the runs of scheduled jobs, newest first.",
        schemas.RunsOut,
        Role.VIEWER,
        (
            *PAGING,
            ("job", {"type": "string", "enum": list(JOBS)}, "Only those of this job."),
            ("state", {"type": "string", "enum": list(STATES)}, "Only those in this state."),
        ),
    )
)
@needs(Role.VIEWER)
def runs() -> Response:
    """List the runs of jobs."""
    page = the_store().jobs.page(**paging(), job=choice("job", JOBS, None), state=choice("state", STATES, None))
    return model_answer(schemas.runs_out(page))


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
    return model_answer(schemas.JobsOut(items=items))
