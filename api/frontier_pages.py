"""The page of a proposal's frontier: plots, points, and each point to be taken as a draft."""

from __future__ import annotations

from dataclasses import dataclass

from flask import flash, redirect, render_template, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from api.access import asker, current_time, needs, the_store
from api.frontier_chart import AXES, plot_stored
from api.frontier_plans import draft_of_point, level_words
from api.pages import pages
from api.words import tell, word
from engine.errors import ConflictError
from engine.proposal import FrontierPlan, Proposal, Reason
from engine.store import Role

TAKEN_ALREADY = "this point was taken today already, as proposal {proposal}"


@dataclass(frozen=True)
class _Curve:
    """All points of one measure, with their numbers on the proposal's frontier."""

    axis: str
    plot: Markup
    points: tuple[tuple[int, FrontierPlan, str, str], ...]
    """Number, point, level and what it reaches in words."""


@pages.get("/proposals/<proposal_id>/frontier")
@needs(Role.VIEWER)
def frontier(proposal_id: str) -> str:
    """Show what other limits would bring."""
    store = the_store()
    header, points = store.header(proposal_id), store.frontier(proposal_id)
    return render_template(
        "pages/frontier.html",
        proposal=header,
        curves=[_curve(measure, points) for measure in dict.fromkeys(point.measure for point in points)],
        may_take=asker().role.covers(Role.ANALYST),
    )


def _curve(measure: str, points: tuple[FrontierPlan, ...]) -> _Curve:
    numbered = [(number, point) for number, point in enumerate(points, 1) if point.measure == measure]
    drawn = plot_stored(measure, [point for _, point in numbered], word)
    told = tuple((number, point, _level(point), level_words(measure, point.reached)) for number, point in numbered)
    return _Curve(AXES[measure], Markup(drawn), told)  # noqa: S704 - charts escapes every text


def _level(point: FrontierPlan) -> str:
    return word("no limit") if point.level is None else level_words(point.measure, point.level)


@pages.post("/proposals/<proposal_id>/frontier/<int:number>")
@needs(Role.ANALYST)
def take_point(proposal_id: str, number: int) -> AnyResponse:
    """Store the plan of a point as a draft and go there; one that was taken today already is opened."""
    store = the_store()
    try:
        draft = draft_of_point(store.proposal(proposal_id), number, now=current_time(), created_by=asker().name)
    except ConflictError as error:
        flash(tell(error.sentence))
        return redirect(url_for("pages.frontier", proposal_id=proposal_id))
    return redirect(url_for("pages.proposal", proposal_id=_stored(draft)))


def _stored(draft: Proposal) -> str:
    try:
        the_store().save_proposal(draft)
    except ConflictError:
        flash(tell(Reason(TAKEN_ALREADY, {"proposal": draft.proposal_id})))
    return draft.proposal_id
