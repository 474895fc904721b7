"""The plots of a proposal's page, drawn from what the store holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from api.experiment_plots import plot_interval_over_time
from api.plots import plot_elasticities, plot_moves, plot_promise
from api.words import word
from engine.proposal import PriceLine
from engine.store import ProposalHeader, Store, StoredExperiment

_BIGGEST = 12


def draw_proposal(header: ProposalHeader, everything: Sequence[PriceLine], store: Store) -> Mapping[str, Markup]:
    """Draw what there are figures for; nothing where a proposal has none."""
    biggest = store.price_lines(header.proposal_id, size=_BIGGEST, order="gain", descending=True, shown="changed").items
    drawn = {
        "promise": plot_promise(header.summary, header.currency, word),
        "elasticity": plot_elasticities(everything, word),
        "moves": plot_moves(biggest, word),
    }
    return {name: Markup(svg) for name, svg in drawn.items() if svg}  # noqa: S704 - charts escapes every text


def draw_experiments(proposal_id: str, store: Store) -> tuple[tuple[StoredExperiment, Markup], ...]:
    """The experiments that test a proposal, each with the interval of its deciding metric over time."""
    return tuple((one, draw_experiment(one, store)) for one in store.experiments.of_proposal(proposal_id))


def draw_experiment(experiment: StoredExperiment, store: Store) -> Markup:
    """The interval of an experiment's deciding metric over time; nothing before the first look."""
    effects = (experiment.reading or {}).get("effects") or ()
    metric = (experiment.design.get("rule") or {}).get("metric") or (effects[0]["metric"] if effects else "")
    looks = [one.reading for one in store.experiments.readings(experiment.experiment_id)]
    return Markup(plot_interval_over_time(looks, metric, word))  # noqa: S704 - charts escapes every text
