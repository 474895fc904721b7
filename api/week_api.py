"""The JSON API of plans over weeks: markdowns and promotion calendars, read and planned again with what sold."""

from __future__ import annotations

from flask import Response

from api import week_schemas as schemas
from api.access import asker, current_time, needs, the_settings, the_store
from api.exchange import PAGING, Operation, api, body, described, model_answer, once, paging
from api.language import say
from api.schemas import ProposalOut, ProposalsOut, proposals_out
from engine.errors import NotFoundError
from engine.proposal import Reason
from engine.store import Role


@api.get("/week-plans")
@described(Operation("List the plans over weeks, newest first.", ProposalsOut, Role.VIEWER, PAGING))
@needs(Role.VIEWER)
def week_plans() -> Response:
    """List the proposals that hold a plan over weeks."""
    return model_answer(proposals_out(the_store().week_plans(**paging())))


@api.get("/week-plans/<proposal_id>")
@described(Operation("Read a markdown or a promotion calendar.", schemas.WeekPlanOut, Role.VIEWER))
@needs(Role.VIEWER)
def week_plan(proposal_id: str) -> Response:
    """Read one plan over weeks."""
    from api.week_page import read_week_plan
    from api.week_plans import NO_WEEKS

    record = the_store().evidence(proposal_id).get("weeks")
    if not record:
        raise NotFoundError(Reason(NO_WEEKS, {"proposal": proposal_id}))
    told = [say(reason, str) for reason in record["told"]]
    return model_answer(schemas.week_plan_out(proposal_id, record, read_week_plan(record), told))


@api.post("/week-plans/<proposal_id>/replan")
@described(
    Operation(
        "Plan the weeks that are left, with what sold; the new plan is a draft.",
        ProposalOut,
        Role.ANALYST,
        body=schemas.ReplanIn,
    )
)
@needs(Role.ANALYST)
def replan_weeks(proposal_id: str) -> Response:
    """Store the plan of the weeks that are left."""
    asked = body(schemas.ReplanIn)

    def work() -> Response:
        import pandas as pd

        from api.week_planning import draft_again, sold_rows
        from api.week_plans import kept_plan

        before = the_store().proposal(proposal_id)
        sold = sold_rows(pd.DataFrame(asked.sold), kept_plan(before).kind)
        now, by = current_time(), asker().name
        draft = draft_again(before, sold, the_settings(), seconds=asked.seconds, now=now, created_by=by)
        the_store().save_proposal(draft)
        return model_answer(ProposalOut.model_validate(the_store().header(draft.proposal_id)))

    return once(work)
