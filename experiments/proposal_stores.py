"""The test of a proposal's prices over stores or over time, for where its products are too few or too dependent.

A store runs all the new prices or none. Over stores each keeps its arm to the end; over time each region switches by a
schedule of its own (experiments.switchback). Both see what a launch of the whole plan does, substitution included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import N_, Proposal, Reason
from experiments.design import Design, notes_on, sooner
from experiments.known_units import draw_known
from experiments.power import duration_watched
from experiments.proposal_design import (
    USUAL,
    Terms,
    guarded_columns,
    guardrails_of,
    length_of_test,
    past_levels,
    price_test,
    promised_by,
    short_of_power,
)
from experiments.switchback_design import design_switchback

Floats = npt.NDArray[np.float64]
FEWEST_STORES = 8
_ALL_PRICES = N_("Each of {stores} stores runs all {products} new prices or none: substitution counts as it will.")
_NOTHING = "proposal {proposal} promises {promised:,.2f} for its prices; nothing to show"
_TOO_FEW = (
    "{stores} stores with a history: a test over stores needs {needed}; test the prices over products, or as a "
    "switchback of the stores that there are"
)


@dataclass(frozen=True)
class StoreHistory:
    """What the products of a proposal earned in past weeks, by store."""

    stores: tuple[str, ...]
    profit: Floats
    """(stores, weeks) profit of all products whose price changes, money; NaN where a store was closed."""


def design_of_prices_over_stores(
    proposal: Proposal, history: StoreHistory, *, name: str, terms: Terms = USUAL
) -> Design:
    """Design the test of a price plan over stores, drawn until their past balances.

    Args:
        proposal: with its price lines.
        history: weekly profit of the products that change.
        name: of the experiment; it seeds the draw.
        terms: length, guardrails and reading.

    Raises:
        ProblemError: nothing is promised, stores are fewer than `FEWEST_STORES`, or history is too short.
        InfeasibleError: no split of the stores balances.
    """
    changed, promised = _promise(proposal)
    count = len(history.stores)
    if count < FEWEST_STORES:
        raise ProblemError(Reason(_TOO_FEW, {"stores": count, "needed": FEWEST_STORES}))
    scale = float(count * proposal.horizon_weeks)
    effect, plan = promised / scale, terms.plan(count)
    draw, assigned, drawn_notes = draw_known(name, history.stores, past_levels(history.profit))
    outcome, sizing = length_of_test(history.profit, effect, None, 1.0, plan, terms)
    ends = duration_watched(outcome, effect, count, plan)
    notes = [_said(history, changed), *drawn_notes, *sooner(plan, ends), *notes_on(outcome)]
    if sizing.power < terms.power:
        notes.append(short_of_power(sizing))
    made = price_test(name, "store", draw, assigned, terms, plan, outcome, sizing)
    return replace(made, promise_scale=scale, notes=tuple(notes))


def design_of_prices_over_time(
    proposal: Proposal,
    history: StoreHistory,
    *,
    name: str,
    periods: Sequence[int] | None = None,
    carry_over: int = 1,
    terms: Terms = USUAL,
) -> Design:
    """Design the test of a price plan as a switchback of stores, a week a step.

    Args:
        proposal: with its price lines.
        history: weekly profit of the products that change, without gaps.
        name: of the experiment; it seeds the schedule.
        periods: weeks of a period to consider; None: all.
        carry_over: longest number of weeks for which the prices before are still felt.
        terms: length, guardrails and reading.

    Raises:
        ProblemError: nothing is promised, or history has gaps or is too short.
        InfeasibleError: no period outlasts the carry-over.
    """
    changed, promised = _promise(proposal)
    scale = float(len(history.stores) * proposal.horizon_weeks)
    made = design_switchback(
        name,
        history.stores,
        history.profit,
        steps=terms.weeks,
        effect=promised / scale,
        felt=[1.0] * carry_over,
        lengths=periods,
        treatment="price",
        metrics=({"name": "profit", "column": "profit"}, *guarded_columns(terms.guardrails)),
        guardrails=guardrails_of(terms.guardrails),
        method=terms.method,
        looks=terms.looks,
        spending=terms.spending,
        alpha=terms.alpha,
        power=terms.power,
    )
    return replace(made, promise_scale=scale, notes=(_said(history, changed), *made.notes))


def _promise(proposal: Proposal) -> tuple[int, float]:
    """How many prices change, and what that is to bring over the horizon."""
    changed = [line for line in proposal.prices if line.proposed_price != line.current_price]
    return len(changed), promised_by(proposal, changed, _NOTHING)


def _said(history: StoreHistory, changed: int) -> Reason:
    return Reason(_ALL_PRICES, {"stores": len(history.stores), "products": changed})
