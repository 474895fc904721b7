"""The test of a proposal's prices over stores or over time, for where its products are too few or too dependent.

A store runs all the new prices or none. Over stores each keeps its arm to the end; over time each region switches by a
schedule of its own (experiments.switchback). Both see what a launch of the whole plan does, substitution included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import N_, Proposal, Reason
from experiments.assign import Split
from experiments.design import SHORT, Design, notes_on, plan_for, sooner, usual_rule
from experiments.known_units import draw_known
from experiments.power import duration_watched
from experiments.proposal_design import (
    PRICE_GUARDRAILS,
    PRICE_PROFIT,
    guarded_columns,
    guardrails_of,
    length_of_test,
    past_levels,
)
from experiments.sequential import Method, Spending
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
    proposal: Proposal,
    history: StoreHistory,
    *,
    name: str,
    weeks: int | None = None,
    guardrails: Mapping[str, float] = PRICE_GUARDRAILS,
    method: Method = "fixed",
    looks: int = 5,
    spending: Spending = "obrien_fleming",
    alpha: float = 0.05,
    power: float = 0.8,
) -> Design:
    """Design the test of a price plan over stores, drawn until their past balances.

    Args:
        proposal: with its price lines.
        history: weekly profit of the products that change.
        name: of the experiment; it seeds the draw.
        weeks: how long it runs; None: the shortest time with power enough.
        guardrails: columns that may not fall by more than a share.
        method: how it is read.
        looks: planned readings, unless it is read once.
        spending: how a group-sequential plan spends its error over the looks.
        alpha: 1 - confidence.
        power: wanted on the promised profit.

    Raises:
        ProblemError: nothing is promised, stores are fewer than `FEWEST_STORES`, or history is too short.
        InfeasibleError: no split of the stores balances.
    """
    changed, promised = _promise(proposal)
    if len(history.stores) < FEWEST_STORES:
        raise ProblemError(Reason(_TOO_FEW, {"stores": len(history.stores), "needed": FEWEST_STORES}))
    scale = float(len(history.stores) * proposal.horizon_weeks)
    effect = promised / scale
    draw, assigned, drawn_notes = draw_known(name, history.stores, past_levels(history.profit))
    plan = plan_for(method, alpha=alpha, units=len(history.stores), looks=looks, spending=spending)
    outcome, sizing = length_of_test(history.profit, effect, None, 1.0, plan, power, weeks)
    ends = duration_watched(outcome, effect, len(history.stores), plan)
    notes = [_said(history, changed), *drawn_notes, *sooner(plan, ends), *notes_on(outcome)]
    if sizing.power < power:
        values = {"weeks": sizing.weeks, "power": sizing.power, "detectable": sizing.detectable}
        notes.append(Reason(SHORT, values))
    return Design(
        name=name,
        treatment="price",
        unit="store",
        draw=draw,
        metrics=(PRICE_PROFIT, *guarded_columns(guardrails)),
        split=Split(name),
        plan=plan,
        rule=usual_rule("profit", effect, guardrails_of(guardrails)),
        sizing=sizing,
        outcome=outcome,
        assigned=assigned,
        promise_scale=scale,
        notes=tuple(notes),
    )


def design_of_prices_over_time(
    proposal: Proposal,
    history: StoreHistory,
    *,
    name: str,
    weeks: int,
    periods: Sequence[int] | None = None,
    carry_over: int = 1,
    guardrails: Mapping[str, float] = PRICE_GUARDRAILS,
    method: Method = "fixed",
    looks: int = 5,
    spending: Spending = "obrien_fleming",
    alpha: float = 0.05,
    power: float = 0.8,
) -> Design:
    """Design the test of a price plan as a switchback of stores, a week a step.

    Args:
        proposal: with its price lines.
        history: weekly profit of the products that change, without gaps.
        name: of the experiment; it seeds the schedule.
        weeks: how long it runs.
        periods: weeks of a period to consider; None: all.
        carry_over: longest number of weeks for which the prices before are still felt.
        guardrails: columns that may not fall by more than a share.
        method: how it is read.
        looks: planned readings, unless it is read once.
        spending: how a group-sequential plan spends its error over the looks.
        alpha: 1 - confidence.
        power: wanted on the promised profit.

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
        steps=weeks,
        effect=promised / scale,
        felt=[1.0] * carry_over,
        lengths=periods,
        treatment="price",
        metrics=({"name": "profit", "column": "profit"}, *guarded_columns(guardrails)),
        guardrails=guardrails_of(guardrails),
        method=method,
        looks=looks,
        spending=spending,
        alpha=alpha,
        power=power,
    )
    return replace(made, promise_scale=scale, notes=(_said(history, changed), *made.notes))


def _promise(proposal: Proposal) -> tuple[int, float]:
    """How many prices change, and what that is to bring over the horizon.

    Raises:
        ProblemError: nothing.
    """
    changed = [line for line in proposal.prices if line.proposed_price != line.current_price]
    promised = sum(line.profit_proposed - line.profit_current for line in changed)
    if not promised > 0:
        raise ProblemError(Reason(_NOTHING, {"proposal": proposal.proposal_id, "promised": promised}))
    return len(changed), promised


def _said(history: StoreHistory, changed: int) -> Reason:
    return Reason(_ALL_PRICES, {"stores": len(history.stores), "products": changed})
