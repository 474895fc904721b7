"""The JSON API of plans over weeks: markdowns and promotion calendars, read and planned again with what sold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response

from api import week_schemas as schemas
from api.access import asker, current_time, needs, the_settings, the_store
from api.exchange import PAGING, Operation, api, body, described, model_answer, once, paging
from api.language import say
from api.schemas import ProposalOut, ProposalsOut, proposals_out
from engine.errors import DataError, NotFoundError
from engine.proposal import Reason
from engine.store import Role

if TYPE_CHECKING:
    from api.plan_tables import PlanTable
    from api.week_plans import KeptPlan


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
        from api.week_planning import plan_again
        from api.week_plans import kept_plan, week_proposal

        before = kept_plan(the_store().proposal(proposal_id))
        planned = plan_again(before, _sold(asked, before), seconds=asked.seconds)
        made_of = (planned.plan, planned.inputs, planned.sold, the_settings())
        draft = week_proposal(*made_of, replaces=proposal_id, now=current_time(), created_by=asker().name)
        the_store().save_proposal(draft)
        return model_answer(ProposalOut.model_validate(the_store().header(draft.proposal_id)))

    return once(work)


def _sold(asked: schemas.ReplanIn, before: KeptPlan) -> PlanTable:
    """What sold, as a table.

    Raises:
        DataError: a column is missing.
    """
    from pathlib import Path

    import pandas as pd

    from api.plan_tables import PlanTable
    from api.week_planning import NEEDED

    frame = pd.DataFrame(asked.sold)
    missing = [name for name in NEEDED[before.kind] if name not in frame]
    if missing:
        raise DataError(f"sold: no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    return PlanTable(Path("sold"), frame.assign(product_id=frame["product_id"].astype(str).to_numpy(dtype=object)))
