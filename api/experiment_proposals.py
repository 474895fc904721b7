"""The test of a stored proposal: its prices over products, stores or time, its coupons over customers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from api.experiment_options import refuse_idle
from api.experiment_replay import units_of, with_replay
from engine.errors import InputError
from engine.proposal import Reason

if TYPE_CHECKING:
    import pandas as pd

    from engine.proposal import Proposal
    from engine.settings import Settings
    from engine.store import Store
    from experiments.design import Design
    from experiments.proposal_design import Terms
    from experiments.proposal_stores import StoreHistory

Asked = Mapping[str, Any]
Past = Callable[[Sequence[str], tuple[str, ...]], "pd.DataFrame"]
NO_WEEKS = "a switchback of prices needs the weeks that it runs"


def design_for_proposal(settings: Settings, store: Store, history: Past | None, name: str, asked: Asked) -> Design:
    """Design the test of a proposal.

    Args:
        settings: for the data of the proposal.
        store: where it is.
        history: past units; None: the proposal's own data.
        name: of the experiment.
        asked: `DEFAULTS` with what was asked for, and `proposal_id`.

    Raises:
        NotFoundError: there is no such proposal.
        InputError: something has no meaning there, or what the designs refuse.
        InfeasibleError: no switchback or balanced draw is possible.
    """
    proposal = store.proposal(asked["proposal_id"])
    changed = any(line.proposed_price != line.current_price for line in proposal.prices)
    part = asked["part"] or ("prices" if changed else "coupons")
    if part == "coupons":
        return _coupons(settings, proposal, history, name, asked)
    over = {"store": _over_stores, "time": _over_time}.get(asked["randomise"], _over_products)
    return over(settings, proposal, history, name, asked)


def _over_products(settings: Settings, proposal: Proposal, history: Past | None, name: str, asked: Asked) -> Design:
    from api.experiment_history import history_of_products, history_of_table
    from experiments.proposal_design import design_of_prices
    from experiments.replay_design import PastPeriods

    refuse_idle("a proposal's prices", asked)
    past = (
        history_of_table(history(["product_id", "week", "profit"], ("product_id",)))
        if history is not None
        else history_of_products(settings, proposal)
    )
    made = design_of_prices(proposal, past, name=name, terms=_terms(asked))
    place = {product: row for row, product in enumerate(past.products)}
    drawn = made.assigned
    if drawn is None:
        return made
    values = past.profit[[place[unit] for unit in drawn.units]]
    return with_replay(made, PastPeriods(values, _array(drawn.cluster)), asked["replay"])


def _over_stores(settings: Settings, proposal: Proposal, history: Past | None, name: str, asked: Asked) -> Design:
    from experiments.proposal_stores import design_of_prices_over_stores
    from experiments.replay_design import PastPeriods

    refuse_idle("a proposal's prices over stores", asked)
    past = _stores(settings, proposal, history)
    made = design_of_prices_over_stores(proposal, past, name=name, terms=_terms(asked))
    return with_replay(made, PastPeriods(past.profit), asked["replay"])


def _over_time(settings: Settings, proposal: Proposal, history: Past | None, name: str, asked: Asked) -> Design:
    from experiments.proposal_stores import design_of_prices_over_time
    from experiments.replay_design import PastPeriods

    refuse_idle("a proposal's prices over time", asked)
    if not asked["weeks"]:
        raise InputError(Reason(NO_WEEKS))
    past = _stores(settings, proposal, history)
    made = design_of_prices_over_time(
        proposal,
        past,
        name=name,
        periods=asked["periods"] or None,
        carry_over=asked["carry_over"],
        terms=_terms(asked),
    )
    return with_replay(made, PastPeriods(past.profit), asked["replay"])


def _stores(settings: Settings, proposal: Proposal, history: Past | None) -> StoreHistory:
    from api.experiment_history import history_of_stores, stores_of_table

    if history is None:
        return history_of_stores(settings, proposal)
    return stores_of_table(history(["store_id", "week", "profit"], ("store_id",)))


def _terms(asked: Asked) -> Terms:
    """What every test of prices takes; guardrails only where others than the usual ones were asked for."""
    from experiments.proposal_design import Terms

    guarded = {"guardrails": asked["guardrails"]} if asked["guardrails"] else {}
    return Terms(
        **{name: asked[name] for name in ("weeks", "method", "looks", "spending", "alpha", "power")}, **guarded
    )


def _array(names: Sequence[str]) -> Any:  # noqa: ANN401 - an array of names, or none
    import numpy as np

    return np.array(names) if names else None


def _coupons(settings: Settings, proposal: Proposal, history: Past | None, name: str, asked: Asked) -> Design:
    from api.experiment_history import history_of_customers, outcome_of
    from experiments.proposal_design import design_of_coupons
    from experiments.replay_design import PastUnits

    refuse_idle("a proposal's coupons", asked)
    if history is not None:
        metric = asked["metric"] or "profit"
        table = history([metric, *asked["covariates"]], ())
        wanted = {**asked, "metric": metric}
        outcome, past = replace(outcome_of(table, wanted), name="profit"), units_of(table, wanted)
    else:
        found = history_of_customers(settings, proposal)
        outcome, past = found.outcome(), PastUnits(found.profit, covariate=found.before)
    made = design_of_coupons(
        proposal,
        outcome,
        name=name,
        held_back=asked["held_back"],
        guardrails=asked["guardrails"],
        alpha=asked["alpha"],
        power=asked["power"],
    )
    return with_replay(made, past, asked["replay"])
