"""The page of a proposal's frontier: plots, points, each to be taken as a draft, and a form that asks for more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import flash, redirect, render_template, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from api.access import asker, current_time, needs, the_store
from api.frontier_chart import AXES, plot_stored
from api.frontier_plans import UNREACHABLE, level_words
from api.frontiers import MEASURES, MOST_LEVELS, all_points, ask_frontier, point_draft
from api.pages import pages
from api.problems import status_of
from api.words import tell, word
from engine.errors import ConflictError, InputError
from engine.proposal import N_, FrontierPlan, Proposal, Reason
from engine.store import FrontierRequest, Role

TAKEN_ALREADY = "this point was taken today already, as proposal {proposal}"
NO_NUMBER = "levels: {text!r} is no number; separate numbers by commas, such as 0.5, 1, 2"
STATES = (N_("waiting"), N_("running"), N_("done"), N_("failed"))
STAGES = (N_("load"), N_("panel"), N_("features"), N_("demand level"), N_("price response"), N_("frontier"))
"""What may be worked on, as the page says it."""
MONEY = "investment"
"""The measure whose levels are money; those of the others are shares, written in per cent."""


@dataclass(frozen=True)
class _Curve:
    """All points of one measure, with their numbers on the proposal's frontier."""

    axis: str
    plot: Markup
    points: tuple[tuple[int, FrontierPlan, str, str], ...]
    """Number, point, level and what it reaches in words."""


@dataclass(frozen=True)
class _Asked:
    """A request as the page tells of it."""

    request: FrontierRequest
    axis: str
    levels: str
    unreachable: Reason | None


@pages.get("/proposals/<proposal_id>/frontier")
@needs(Role.VIEWER)
def frontier(proposal_id: str) -> str:
    """Show what other limits would bring, and how far what was asked for is."""
    return _page(proposal_id)


def _page(proposal_id: str, *, measure: str = "units", levels: str = "", problem: str = "") -> str:
    store = the_store()
    header, points = store.header(proposal_id), all_points(store, proposal_id)
    requests = store.frontier_requests.of(proposal_id)
    may_ask = asker().role.covers(Role.ANALYST)
    return render_template(
        "pages/frontier.html",
        proposal=header,
        curves=[_curve(each, points) for each in dict.fromkeys(point.measure for point in points)],
        asked=[_asked(one) for one in requests if one.state != "done" or one.unreachable],
        open=any(one.state in ("waiting", "running") for one in requests),
        may_take=may_ask,
        may_ask=may_ask and bool(header.summary.get("price")),
        axes={each: AXES[each] for each in MEASURES},
        most=MOST_LEVELS,
        form={"measure": measure, "levels": levels},
        problem=problem,
    )


def _curve(measure: str, points: tuple[FrontierPlan, ...]) -> _Curve:
    numbered = [(number, point) for number, point in enumerate(points, 1) if point.measure == measure]
    drawn = plot_stored(measure, [point for _, point in numbered], word)
    told = tuple((number, point, _level(point), level_words(measure, point.reached)) for number, point in numbered)
    return _Curve(AXES[measure], Markup(drawn), told)  # noqa: S704 - charts escapes every text


def _level(point: FrontierPlan) -> str:
    return word("no limit") if point.level is None else level_words(point.measure, point.level)


def _asked(one: FrontierRequest) -> _Asked:
    beyond = _levels(one.measure, one.unreachable)
    told = Reason(UNREACHABLE, {"levels": beyond}) if beyond else None
    return _Asked(one, AXES[one.measure], _levels(one.measure, one.levels), told)


def _levels(measure: str, levels: Sequence[float]) -> str:
    return ", ".join(level_words(measure, level) for level in levels)


@pages.post("/proposals/<proposal_id>/frontier")
@needs(Role.ANALYST)
def compute_frontier(proposal_id: str) -> AnyResponse | tuple[str, int]:
    """Ask for a frontier of another measure or at other levels; the page then shows how far it is."""
    measure, levels = request.form.get("measure", ""), request.form.get("levels", "")
    try:
        ask_frontier(proposal_id, measure, _read_levels(measure, levels))
    except (InputError, ConflictError) as error:
        page = _page(proposal_id, measure=measure, levels=levels, problem=tell(error.sentence))
        return page, status_of(error)
    return redirect(url_for("pages.frontier", proposal_id=proposal_id))


def _read_levels(measure: str, text: str) -> list[float]:
    """Levels as people write them: shares in per cent."""
    scale = 1.0 if measure == MONEY else 100.0
    try:
        return [float(part) / scale for part in text.replace("%", "").split(",") if part.strip()]
    except ValueError as error:
        raise InputError(Reason(NO_NUMBER, {"text": text[:80]})) from error


@pages.post("/proposals/<proposal_id>/frontier/<int:number>")
@needs(Role.ANALYST)
def take_point(proposal_id: str, number: int) -> AnyResponse:
    """Store the plan of a point as a draft and go there; one that was taken today already is opened."""
    try:
        draft = point_draft(the_store(), proposal_id, number, now=current_time(), by=asker().name)
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
