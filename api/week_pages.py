"""The page on which the weeks that are left are planned again, with what sold."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from flask import Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.access import asker, current_time, needs, the_settings, the_store
from api.exchange import once_under
from api.pages import pages
from api.problems import status_of
from api.week_schemas import MOST_SECONDS
from api.words import tell
from engine.errors import ConflictError, InfeasibleError, InputError
from engine.proposal import N_, Proposal, Reason
from engine.store import Role

if TYPE_CHECKING:
    from api.week_plans import Kind

NO_TEXT = "{table}: cannot be read as UTF-8 text; save it as CSV"
COLUMNS = {
    "markdown": N_(
        "A row for each product and week that is over: week, the price that stood, units sold, and the stock "
        "counted afterwards."
    ),
    "promotions": N_(
        "A row for each product and week that is over: week, units sold, and the option that ran; it stands as planned."
    ),
}
"""What the form asks for."""


@pages.get("/proposals/<proposal_id>/replan")
@needs(Role.ANALYST)
def ask_sold(proposal_id: str) -> str:
    """Show the form, with a row for each product of the week that comes first."""
    from api.week_planning import next_week

    before = the_store().proposal(proposal_id)
    return _page(before, next_week(before))


@pages.post("/proposals/<proposal_id>/replan")
@needs(Role.ANALYST)
def plan_left_weeks(proposal_id: str) -> AnyResponse | tuple[str, int]:
    """Store the plan of the weeks that are left as a draft and go there; sent twice, it is planned once."""
    before = the_store().proposal(proposal_id)
    text = request.form.get("sold", "")
    try:
        text = _sent() or text
        made = once_under(_key(text), text.encode(), lambda: _draft(before, text))
    except (InputError, ConflictError, InfeasibleError) as error:
        return _page(before, text, problem=tell(error.sentence)), status_of(error)
    return redirect(url_for("pages.proposal", proposal_id=made.get_data(as_text=True)))


def _page(before: Proposal, text: str, *, problem: str = "") -> str:
    from api.week_plans import kept_plan

    return render_template(
        "pages/replan.html",
        proposal=before,
        columns=COLUMNS[kept_plan(before).kind],
        text=text,
        key=secrets.token_hex(8),
        problem=problem,
    )


def _key(text: str) -> str:
    """The form that was shown, and what was written into it: another text is another plan."""
    shown = request.form.get("key", "")[:64] or secrets.token_hex(8)
    return f"{shown}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _sent() -> str:
    """The text of an uploaded table; empty where none was chosen.

    Raises:
        InputError: it is no text.
    """
    table = request.files.get("table")
    if table is None or not table.filename:
        return ""
    try:
        sent: bytes = table.read()
        return sent.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Reason(NO_TEXT, {"table": table.filename[:80]})) from error


def _draft(before: Proposal, text: str) -> Response:
    """Plan and store; the answer is the draft's identifier."""
    from api.week_planning import draft_again, sold_text
    from api.week_plans import kept_plan

    kind: Kind = kept_plan(before).kind
    now, by = current_time(), asker().name
    sold = sold_text(text, kind)
    draft = draft_again(before, sold, the_settings(), seconds=MOST_SECONDS, now=now, created_by=by)
    the_store().save_proposal(draft)
    return Response(draft.proposal_id, mimetype="text/plain")
