"""The plots of a proposal's page, drawn from what the store holds."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from api.plots import plot_elasticities, plot_moves, plot_promise
from api.words import word
from engine.store import ProposalHeader, Store

_MOST_LINES = 5000
_BIGGEST = 12


def draw_proposal(header: ProposalHeader, store: Store) -> Mapping[str, Markup]:
    """Draw what there are figures for; nothing where a proposal has none."""
    everything = store.price_lines(header.proposal_id, size=_MOST_LINES).items
    biggest = store.price_lines(header.proposal_id, size=_BIGGEST, order="gain", descending=True, shown="changed").items
    drawn = {
        "promise": plot_promise(header.summary, header.currency, word),
        "elasticity": plot_elasticities(everything, word),
        "moves": plot_moves(biggest, word),
    }
    return {name: Markup(svg) for name, svg in drawn.items() if svg}  # noqa: S704 - charts escapes every text
