"""Designs over units that are all known before the start, such as products and stores: drawn, not hashed.

Products whose categories are known and many are drawn in two stages, so that substitution inside a category is measured
(experiments.price_test); all others are drawn until their past balances (experiments.randomise).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.assign import Split
from experiments.decide import DecisionRule
from experiments.design import (
    Assigned,
    Design,
    Draw,
    Treatment,
    Unit,
    notes_on,
    plan_for,
    require_lawful,
    share_alpha,
    sooner,
    usual_rule,
)
from experiments.history import Outcome
from experiments.power import Sizing, detectable_watched, duration_watched, power_watched
from experiments.price_test import SATURATION_SHARES, draw_price_test
from experiments.randomise import rerandomised, seeded
from experiments.sequential import Method, Spending

FEWEST_CATEGORIES = 12
"""With fewer categories a two-stage draw leaves too few of them at each saturation."""
ACCEPTANCE = 0.02
"""Share of all splits that is balanced enough."""
COMPARED = SATURATION_SHARES[0] + SATURATION_SHARES[-1]
"""Share of the units on which the launch effect of a two-stage draw rests."""

_SUBSTITUTION = N_(
    "With {categories} categories, substitution between a product and its neighbours cannot be told apart: what the "
    "new prices take from products with old prices counts as a gain. Read the effect as an upper limit."
)
_TWO_STAGE = N_("Categories draw how many of their products move, so that substitution inside a category is measured.")


def draw_known(
    name: str,
    units: Sequence[str],
    past: npt.ArrayLike,
    *,
    categories: Sequence[str] | None = None,
    weights: Sequence[float] = (0.5, 0.5),
) -> tuple[Draw, Assigned, tuple[Reason, ...]]:
    """Draw the variants of known units: in two stages where there are categories enough, else in balance.

    Args:
        name: of the experiment; it seeds the draw.
        units: (n,) all that take part.
        past: (n, k) what the variants are to have alike, from before.
        categories: (n,) category of each product; None: units do not take from one another.
        weights: share of each variant; a two-stage draw has its own.

    Returns:
        How they were drawn, the draw, and what to know about it.

    Raises:
        ProblemError: a unit stands twice, or the past is not finite.
        InfeasibleError: no split balances.
    """
    if len(set(units)) < len(units):
        raise ProblemError(f"{len(units) - len(set(units))} of {len(units)} units stand twice; give each one row")
    rng = seeded(name)
    if categories is None:
        drawn = rerandomised(past, weights, rng, acceptance=ACCEPTANCE)
        return "rerandomised", Assigned(tuple(units), tuple(drawn.variant.tolist())), ()
    names = np.asarray(categories)
    many = np.unique(names).size
    if many < FEWEST_CATEGORIES:
        drawn = rerandomised(past, weights, rng, acceptance=ACCEPTANCE, strata=names)
        assigned = Assigned(tuple(units), tuple(drawn.variant.tolist()), tuple(names.tolist()))
        return "rerandomised", assigned, (Reason(_SUBSTITUTION, {"categories": many}),)
    test = draw_price_test(names, rng)
    saturation = tuple(test.saturation.tolist())
    assigned = Assigned(tuple(units), tuple(test.variant.tolist()), tuple(names.tolist()), saturation)
    return "two_stage", assigned, (Reason(_TWO_STAGE),)


def design_known(
    name: str,
    units: Sequence[str],
    outcome: Outcome,
    effect: float,
    past: npt.ArrayLike,
    *,
    treatment: Treatment,
    unit: Unit,
    metrics: Sequence[Mapping[str, Any]],
    categories: Sequence[str] | None = None,
    weights: Sequence[float] = (0.5, 0.5),
    weeks: int | None = None,
    method: Method = "fixed",
    looks: int = 5,
    spending: Spending = "obrien_fleming",
    alpha: float = 0.05,
    power: float = 0.8,
    rule: DecisionRule | None = None,
) -> Design:
    """Design an experiment over units that are all known.

    Args:
        name: of the experiment; it seeds the draw.
        units: (n,) all that take part.
        outcome: what history says of the deciding metric.
        effect: absolute difference for each unit that must not be missed.
        past: (n, k) what the variants are to have alike, from before.
        treatment: what is tried.
        unit: what is randomised.
        metrics: as data, the deciding one first.
        categories: (n,) of products that take customers from one another; the clusters of the analysis.
        weights: share of each variant; a two-stage draw has its own.
        weeks: that it runs; None: it is read once, and its user knows when.
        method: how it is read.
        looks: planned readings, unless it is read once.
        spending: how a group-sequential plan spends its error over the looks.
        alpha: 1 - confidence.
        power: wanted.
        rule: how the result decides; None: the usual rule.

    Raises:
        ProblemError: prices over customers, a unit twice, several readings of a test without weeks or with too few
            units, or what `power_at` refuses.
        InfeasibleError: no split balances.
    """
    require_lawful(treatment, unit)
    draw, assigned, notes = draw_known(name, units, past, categories=categories, weights=weights)
    sized = plan_for(method, alpha=alpha, units=len(units), looks=looks, spending=spending)
    alpha, shared = (alpha, ()) if draw == "two_stage" else share_alpha(alpha, weights)
    compared = int(len(units) * COMPARED) if draw == "two_stage" else len(units)
    shares = (0.5, 0.5) if draw == "two_stage" else tuple(weights)
    reached = power_watched(outcome, effect, compared, sized, weights=shares)
    smallest = detectable_watched(outcome, compared, sized, power=power, weights=shares)
    ends = duration_watched(outcome, effect, compared, sized, weights=shares)
    higher = bool(metrics[0].get("higher_is_better", True))
    return Design(
        name=name,
        treatment=treatment,
        unit=unit,
        draw=draw,
        metrics=tuple(metrics),
        split=Split(name, shares),
        plan=replace(sized, alpha=alpha),
        rule=rule or usual_rule(str(metrics[0]["name"]), effect, higher_is_better=higher),
        sizing=Sizing(len(units), weeks, effect, reached, smallest),
        outcome=outcome,
        assigned=assigned,
        notes=(*notes, *shared, *sooner(sized, ends), *notes_on(outcome)),
    )
