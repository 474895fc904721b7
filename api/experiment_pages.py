"""The pages of experiments: the list, one with its design, looks and versions, and the buttons that move it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TypeVar

from flask import Response, abort, flash, redirect, render_template, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from api.access import asker, current_time, needs, the_settings, the_store
from api.drawings import draw_experiment
from api.experiment_forms import form_values, is_changeable, read_form
from api.experiment_plots import plot_segments
from api.experiments import Asked, design_experiment, drawn_rows, read_now, refuse_known
from api.pages import page_number, pages
from api.words import tell, word
from engine.errors import ConflictError, InfeasibleError, InputError, StateError
from engine.proposal import Reason
from engine.store import ExperimentState, Role

Done = TypeVar("Done")
_ACTIONS: Mapping[ExperimentState, tuple[str, ...]] = {
    ExperimentState.DESIGNED: ("start",),
    ExperimentState.RUNNING: ("look", "end"),
    ExperimentState.ENDED: ("look",),
}
_DRAWN = ("rerandomised", "two_stage", "switchback")
"""Draws that settle the variant of every unit, or of every step, in the design."""
_COMPARED = ("hash", "rerandomised")
"""Draws whose units are compared one with another: these have breakdowns and posteriors."""
_REFUSALS = (InputError, InfeasibleError, StateError, ConflictError)
NO_PROPOSAL = "experiment {experiment!r} tests no proposal; design it anew where its history is: by command or HTTP"
_LONGEST_FLASH = 1_000
"""Characters: what is flashed travels in a cookie, and browsers drop one beyond 4 kB."""


@pages.get("/experiments")
@needs(Role.VIEWER)
def experiments() -> str:
    """List the experiments, newest first."""
    state = request.args.get("state", "")
    chosen = ExperimentState(state) if state in set(ExperimentState) else None
    page = the_store().experiments.page(page=page_number(), size=20, state=chosen)
    return render_template("pages/experiment_list.html", page=page, state=chosen, states=list(ExperimentState))


@pages.get("/experiments/<experiment_id>")
@needs(Role.VIEWER)
def experiment(experiment_id: str) -> str:
    """Show one experiment: design, what was measured, looks, versions."""
    store = the_store()
    one = store.experiments.get(experiment_id)
    metric = (one.design.get("rule") or {}).get("metric", "")
    segments = (one.reading or {}).get("segments") or ()
    drawn = plot_segments(segments, metric, word)
    return render_template(
        "pages/experiment.html",
        one=one,
        plot=draw_experiment(one, store),
        apart={
            (row["metric"], row.get("variant"), row["segment"]): row
            for row in segments
            if row.get("differ_p") is not None
        }.values(),
        modifications=((one.reading or {}).get("analysis") or {}).get("modifications") or (),
        segments=Markup(drawn),  # noqa: S704 - charts escapes every text
        looks=store.experiments.readings(experiment_id)[::-1],
        versions=store.experiments.versions(experiment_id)[::-1],
        actions=_ACTIONS[one.state] if asker().role.covers(Role.ANALYST) else (),
        drawn=one.state is ExperimentState.RUNNING and one.design.get("draw") in _DRAWN,
        values=form_values(one) if asker().role.covers(Role.ANALYST) and is_changeable(one) else None,
        compared=one.design.get("draw") in _COMPARED,
    )


@pages.get("/experiments/<experiment_id>/assignment.csv")
@needs(Role.ANALYST)
def assignment(experiment_id: str) -> Response:
    """Give the variant of every product or store that was drawn with the design, or of its every step, as CSV."""
    one = the_store().experiments.get(experiment_id)
    if one.design.get("draw") not in _DRAWN:
        abort(HTTPStatus.NOT_FOUND)
    rows = drawn_rows(one)
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    answer = Response(text.getvalue(), content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{experiment_id}-assignment.csv"'
    return answer


@pages.post("/experiments/<experiment_id>/<any(start, look, end):action>")
@needs(Role.ANALYST)
def move_experiment(experiment_id: str, action: str) -> AnyResponse:
    """Start an experiment, look at it now, or end it with the decision taken."""
    _unless_refused(_MOVES[action], experiment_id)
    return redirect(url_for("pages.experiment", experiment_id=experiment_id))


@pages.post("/proposals/<proposal_id>/experiments")
@needs(Role.ANALYST)
def design_for_proposal(proposal_id: str) -> AnyResponse:
    """Design the experiment that tests a part of a proposal, on the proposal's own data."""
    the_store().header(proposal_id)
    made = _unless_refused(_design, proposal_id)
    if made is None:
        return redirect(url_for("pages.proposal", proposal_id=proposal_id))
    return redirect(url_for("pages.experiment", experiment_id=made))


@pages.post("/experiments/<experiment_id>/design")
@needs(Role.ANALYST)
def redesign(experiment_id: str) -> AnyResponse:
    """Store a new version of the test of a proposal."""
    _unless_refused(_redesign, experiment_id)
    return redirect(url_for("pages.experiment", experiment_id=experiment_id))


def _redesign(experiment_id: str) -> None:
    store = the_store()
    one = store.experiments.get(experiment_id)
    if one.proposal_id is None:
        raise StateError(Reason(NO_PROPOSAL, {"experiment": experiment_id}))
    asked = read_form({**request.form, "experiment_id": experiment_id}, one.proposal_id).model_dump()
    why = request.form.get("why", "")
    design_experiment(the_settings(), store, experiment_id, asked, None, why=why, by=asker().name, now=current_time())


def _design(proposal_id: str) -> str:
    asked = read_form(request.form, proposal_id)
    store, name = the_store(), asked.experiment_id
    refuse_known(store, name)
    options = asked.model_dump()
    design_experiment(the_settings(), store, name, options, None, why="", by=asker().name, now=current_time())
    return name


def _start(experiment_id: str) -> None:
    the_store().experiments.start(experiment_id, by=asker().name, now=current_time())


def _look(experiment_id: str) -> None:
    from experiments.statistics.posterior import Prior

    form = request.form
    prior = Prior() if form.get("bayesian") else None
    asked = Asked(None, _names(form.get("segments", "")), _names(form.get("modifiers", "")), prior=prior)
    read_now(the_store(), experiment_id, asked, by=asker().name, now=current_time())


def _names(text: str) -> tuple[str, ...]:
    """Names that stand in a field, separated by commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _end(experiment_id: str) -> None:
    why = request.form.get("why", "")
    the_store().experiments.end(experiment_id, why=why, by=asker().name, now=current_time())


_MOVES: Mapping[str, Callable[[str], None]] = {"start": _start, "look": _look, "end": _end}


def _unless_refused(work: Callable[[str], Done], identifier: str) -> Done | None:
    """Do it; where it is refused, the next page says why, and None comes back."""
    try:
        return work(identifier)
    except _REFUSALS as error:
        flash(tell(error.sentence)[:_LONGEST_FLASH])
        return None
