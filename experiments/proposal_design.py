"""From a stored proposal to the experiment that tests it.

A price plan is tested over its products: categories draw how many of their products move (experiments.price_test),
or, where there are too few categories for that, products are drawn in balance within them. A coupon plan is tested
over its customers: a share of those who were to get a coupon gets none. Size and length follow from what the plan
promised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import N_, PriceLine, Proposal, Reason
from experiments.assign import Split
from experiments.decide import Guardrail
from experiments.design import SHORT, Assigned, Design, Draw, Unit, notes_on, plan_for, sooner, usual_rule
from experiments.history import Outcome, left_over, panel_outcome, with_clusters
from experiments.known_units import COMPARED, draw_known
from experiments.power import (
    Sizing,
    detectable_effect,
    detectable_watched,
    duration_watched,
    power_at,
    power_watched,
)
from experiments.sequential import AnalysisPlan, Method, Spending

Floats = npt.NDArray[np.float64]

FEWEST_PRODUCTS = 8
LONGEST_WEEKS = 26
PRICE_GUARDRAILS: Mapping[str, float] = MappingProxyType({"units": 0.05})
"""Units sold may not fall by more than this share."""
_NET_PROFIT = {
    "kind": "profit",
    "name": "profit",
    "column": "margin",
    "cost": "coupon_cost",
    "covariate": "profit_before",
}
PRICE_PROFIT = {"name": "profit", "column": "profit", "covariate": "profit_before"}

_ONE_BY_ONE = N_(
    "Drawn one by one, without regard to substitution, the products would reach {power:.0%} in {weeks} weeks."
)
_REMEDY = N_("Test it over stores or as a switchback, or together with the next proposals.")
_PRODUCTS = N_("{products} products with a new price are tested, out of {all} in the proposal.")
_NOTHING = "proposal {proposal} promises {promised:,.2f} for these products; nothing to show"
_TOO_LONG = (
    "a test of {asked} weeks: history of {history} weeks judges one to {longest} weeks; ask for as many, or give a "
    "longer history"
)
_HELD_BACK = N_(
    "{share:.0%} of the {customers} customers who were to get a coupon get none, so that its effect is seen."
)


@dataclass(frozen=True)
class Terms:
    """How long the prices of a proposal are tested, what may not suffer meanwhile, and how the test is read."""

    weeks: int | None = None
    """How long it runs; None: the shortest time with power enough."""
    guardrails: Mapping[str, float] = field(default_factory=lambda: PRICE_GUARDRAILS)
    """Columns that may not fall by more than a share."""
    method: Method = "fixed"
    looks: int = 5
    """Planned readings, unless it is read once."""
    spending: Spending = "obrien_fleming"
    """How a group-sequential plan spends its error over the looks."""
    alpha: float = 0.05
    """1 - confidence."""
    power: float = 0.8
    """Wanted on the promised profit."""

    def plan(self, units: int) -> AnalysisPlan:
        """How a test of so many units is read."""
        return plan_for(self.method, alpha=self.alpha, units=units, looks=self.looks, spending=self.spending)


USUAL = Terms()


@dataclass(frozen=True)
class WeeklyHistory:
    """What a product earned and sold in past weeks."""

    products: tuple[str, ...]
    profit: Floats
    """(products, weeks) profit at the prices then in force, money; NaN where the product was not there."""


def design_of_prices(proposal: Proposal, history: WeeklyHistory, *, name: str, terms: Terms = USUAL) -> Design:
    """Design the test of a price plan over its products.

    Args:
        proposal: with its price lines.
        history: weekly profit of at least the products that change.
        name: of the experiment; it seeds the draw.
        terms: length, guardrails and reading.

    Raises:
        ProblemError: fewer than `FEWEST_PRODUCTS` products change or have a history, nothing is promised for them, or
            history is too short for the weeks.
    """
    tested, profit = _tested(proposal, history)
    promised = promised_by(proposal, tested, _NOTHING)
    scale = float(len(tested) * proposal.horizon_weeks)
    effect = promised / scale
    units, categories = [line.product_id for line in tested], [line.category or "none" for line in tested]
    draw, assigned, drawn_notes = draw_known(name, units, past_levels(profit), categories=categories)
    clusters, share = (np.array(categories), COMPARED) if draw == "two_stage" else (None, 1.0)
    plan = terms.plan(len(tested))
    outcome, sizing = length_of_test(profit, effect, clusters, share, plan, terms)
    notes = [
        Reason(_PRODUCTS, {"products": len(tested), "all": len(proposal.prices)}),
        *drawn_notes,
        *sooner(plan, duration_watched(outcome, effect, int(len(tested) * share), plan)),
        *notes_on(outcome),
    ]
    if sizing.power < terms.power:
        alone = length_of_test(profit, effect, None, 1.0, plan, terms)[1] if draw == "two_stage" else None
        notes += _too_short(sizing, alone)
    made = price_test(name, "product", draw, assigned, terms, plan, outcome, sizing)
    return replace(made, promise_scale=scale, notes=tuple(notes))


def promised_by(proposal: Proposal, lines: Sequence[PriceLine], nothing: str) -> float:
    """What new prices are to bring over the horizon, money.

    Raises:
        ProblemError: nothing; `nothing` says so of the proposal and what is promised.
    """
    promised = sum(line.profit_proposed - line.profit_current for line in lines)
    if not promised > 0:
        raise ProblemError(Reason(nothing, {"proposal": proposal.proposal_id, "promised": promised}))
    return promised


def price_test(
    name: str,
    unit: Unit,
    draw: Draw,
    assigned: Assigned | None,
    terms: Terms,
    plan: AnalysisPlan,
    outcome: Outcome,
    sizing: Sizing,
) -> Design:
    """A test of prices over units that were drawn, read by profit under guardrails."""
    return Design(
        name=name,
        treatment="price",
        unit=unit,
        draw=draw,
        metrics=(PRICE_PROFIT, *guarded_columns(terms.guardrails)),
        split=Split(name),
        plan=plan,
        rule=usual_rule("profit", sizing.effect, guardrails_of(terms.guardrails)),
        sizing=sizing,
        outcome=outcome,
        assigned=assigned,
    )


def guarded_columns(guardrails: Mapping[str, float]) -> list[dict[str, Any]]:
    """The guardrails' columns as metrics."""
    return [{"name": column, "column": column} for column in guardrails]


def guardrails_of(guardrails: Mapping[str, float]) -> tuple[Guardrail, ...]:
    """The guardrails of a rule, by column."""
    return tuple(Guardrail(column, margin) for column, margin in guardrails.items())


def _tested(proposal: Proposal, history: WeeklyHistory) -> tuple[list[PriceLine], Floats]:
    """Lines with a new price whose products have a history, and that history."""
    lines = [line for line in proposal.prices if line.proposed_price != line.current_price]
    place = {product: row for row, product in enumerate(history.products)}
    tested = [line for line in lines if line.product_id in place]
    if len(tested) < FEWEST_PRODUCTS:
        raise ProblemError(
            Reason(
                "proposal {proposal} changes {changed} prices, {tested} of them of products "
                "with a history; a test over products needs {fewest}: test it over stores or as a "
                "switchback",
                {
                    "proposal": proposal.proposal_id,
                    "changed": len(lines),
                    "tested": len(tested),
                    "fewest": FEWEST_PRODUCTS,
                },
            )
        )
    return tested, history.profit[[place[line.product_id] for line in tested]]


def _too_short(sizing: Sizing, alone: Sizing | None) -> list[Reason]:
    """Say that the promise is too small to be seen, and what else could be done."""
    notes = [short_of_power(sizing)]
    if alone is not None:
        notes.append(Reason(_ONE_BY_ONE, {"weeks": alone.weeks, "power": alone.power}))
    return [*notes, Reason(_REMEDY)]


def short_of_power(sizing: Sizing) -> Reason:
    """Say that so many weeks do not show the promise for sure."""
    return Reason(SHORT, {"weeks": sizing.weeks, "power": sizing.power, "detectable": sizing.detectable})


def design_of_coupons(
    proposal: Proposal,
    outcome: Outcome,
    *,
    name: str,
    held_back: float = 0.2,
    guardrails: Mapping[str, float] = MappingProxyType({}),
    alpha: float = 0.05,
    power: float = 0.8,
) -> Design:
    """Design the test of a coupon plan over the customers who were to get one.

    Coupons go out at once and the horizon has to pass before the profit is whole, so it is read once, at its end.

    Args:
        proposal: with its coupon lines.
        outcome: what history says of a customer's profit, net of coupon cost, over the proposal's horizon.
        name: of the experiment; it seeds the split.
        held_back: share of the customers who get no coupon; they are the control.
        guardrails: columns that may not fall by more than a share.
        alpha: 1 - confidence.
        power: wanted on the promised profit.

    Raises:
        ProblemError: no coupons, or nothing is promised for them.
    """
    customers = sum(bool(line.offer_id) for line in proposal.coupons)
    promised = sum(line.expected_incremental_profit for line in proposal.coupons)
    if customers < 4 or not promised > 0:
        raise ProblemError(
            Reason(
                "proposal {proposal} sends {customers} coupons that promise {promised:,.2f}; nothing to show",
                {"proposal": proposal.proposal_id, "customers": customers, "promised": promised},
            )
        )
    plan = AnalysisPlan("fixed", alpha, planned_units=customers)
    effect, weights = promised / customers, (held_back, 1 - held_back)
    reached = power_at(outcome, effect, customers, plan, weights=weights)
    smallest = detectable_effect(outcome, customers, plan, power=power, weights=weights)
    sizing = Sizing(customers, proposal.horizon_weeks, effect, reached, smallest)
    notes = [Reason(_HELD_BACK, {"share": held_back, "customers": customers}), *notes_on(outcome)]
    if reached < power:
        notes.append(short_of_power(sizing))
    return Design(
        name=name,
        treatment="coupon",
        unit="customer",
        draw="hash",
        metrics=(_NET_PROFIT, *guarded_columns(guardrails)),
        split=Split(name, weights),
        plan=plan,
        rule=usual_rule("profit", effect, guardrails_of(guardrails)),
        sizing=sizing,
        outcome=outcome,
        promise_scale=float(customers),
        notes=tuple(notes),
    )


def length_of_test(
    profit: Floats,
    effect: float,
    clusters: npt.NDArray[Any] | None,
    share: float,
    plan: AnalysisPlan,
    terms: Terms,
) -> tuple[Outcome, Sizing]:
    """Shortest test whose power is enough; the longest that history can judge where none is.

    Args:
        profit: (products, weeks).
        effect: for each product and week.
        clusters: (products,) what is randomised together; None: products one by one.
        share: of the products that the comparison rests on.
        plan: how it will be read.
        terms: weeks that are asked for, and the power wanted.
    """
    asked, power = terms.weeks, terms.power
    before = max(1, min(13, profit.shape[1] // 3))
    longest = min(LONGEST_WEEKS, profit.shape[1] - before)
    if longest < 1:
        raise ProblemError(
            Reason(
                "history of {weeks} weeks is too short to plan a test; 4 or more are needed", {"weeks": profit.shape[1]}
            )
        )
    if asked is not None and not 1 <= asked <= longest:
        values = {"asked": asked, "history": profit.shape[1], "longest": longest}
        raise ProblemError(Reason(_TOO_LONG, values))
    units, weeks = int(profit.shape[0] * share), 1 if asked is None else asked
    while True:
        outcome = panel_outcome("profit", profit, weeks=weeks, before=before)
        if clusters is not None:
            outcome = _alike(outcome, profit, clusters, weeks, before)
        reached = power_watched(outcome, effect, units, plan)
        if asked is not None or reached >= power or weeks == longest:
            smallest = detectable_watched(outcome, units, plan, power=power)
            return outcome, Sizing(profit.shape[0], weeks, effect, reached, smallest)
        weeks += 1


def _alike(outcome: Outcome, profit: Floats, clusters: npt.NDArray[Any], weeks: int, before: int) -> Outcome:
    """How alike the products of a category are, in what their past leaves unexplained."""
    window = profit[:, -(weeks + before) :]
    whole = np.isfinite(window).all(axis=1)
    after, past = window[whole, before:].mean(axis=1), window[whole, :before].mean(axis=1)
    return with_clusters(outcome, left_over(after, past), clusters[whole])


def past_levels(profit: Floats) -> Floats:
    """What the arms are to have alike: the level of the last weeks, and its trend."""
    filled = np.nan_to_num(profit, nan=0.0)
    half = max(1, filled.shape[1] // 2)
    level = filled.mean(axis=1)
    return np.column_stack([level, filled[:, half:].mean(axis=1) - filled[:, :half].mean(axis=1)])
