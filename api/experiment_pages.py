"""The pages of experiments: the list, and one with its design, looks and versions."""

from __future__ import annotations

from flask import render_template, request
from markupsafe import Markup

from api.access import needs, the_store
from api.drawings import draw_experiment
from api.experiment_plots import plot_segments
from api.pages import page_number, pages
from api.words import word
from engine.store import ExperimentState, Role


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
    drawn = plot_segments((one.reading or {}).get("segments") or (), metric, word)
    return render_template(
        "pages/experiment.html",
        one=one,
        plot=draw_experiment(one, store),
        segments=Markup(drawn),  # noqa: S704 - charts escapes every text
        looks=store.experiments.readings(experiment_id)[::-1],
        versions=store.experiments.versions(experiment_id)[::-1],
    )
