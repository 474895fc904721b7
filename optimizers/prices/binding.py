"""Which rule kept each product from its best price, found by asking what it would do if the rule were dropped."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from optimizers.prices.ladder import LADDER_RULES, Ladder, LadderRules, candidates
from optimizers.prices.model import RungModel, index_parts
from optimizers.prices.problem import PriceProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MATERIAL = 0.01
"""A rule is named only where dropping it would gain the product at least this share more."""


def binding_rules(
    problem: PriceProblem, ladder: Ladder, model: RungModel, choice: Ints, shadow: Mapping[str, float]
) -> tuple[Floats, tuple[Mapping[str, float], ...]]:
    """Find each product's best price on its own ladder, and the rules that kept it from its best price.

    Args:
        problem: the problem.
        ladder: its ladders.
        model: the last linearisation.
        choice: (P,) chosen rungs.
        shadow: shadow prices of the coupling rules.

    Returns:
        (P,) free prices, and for each product the names of the rules, each with the money that the product would gain
        by its best price without that rule, the other prices standing still.
    """
    products = len(choice)
    if not products:
        return np.empty(0), ()
    rows = np.arange(products)
    best = _best_rung(model.gain, ladder.today)
    free = ladder.price[rows, best]
    names: list[dict[str, float]] = [{} for _ in rows]
    _name_coupling(names, problem, ladder, model, choice, best, shadow)
    _name_own_rules(names, problem, model, model.gain[rows, best])
    for product in np.flatnonzero(~problem.movable):
        names[product] = {"held": 0.0}
    return free, tuple(names)


def _best_rung(gain: Floats, today: int) -> Ints:
    """Return the rung of largest gain, today's where nothing beats it."""
    best = np.argmax(gain, axis=1)
    rows = np.arange(len(gain))
    return np.asarray(np.where(gain[rows, best] > gain[:, today], best, today), dtype=np.int64)


def _name_coupling(
    names: list[dict[str, float]],
    problem: PriceProblem,
    ladder: Ladder,
    model: RungModel,
    choice: Ints,
    best: Ints,
    shadow: Mapping[str, float],
) -> None:
    """Tell index band from limit on changes: which, at its shadow price, makes the product leave its best rung."""
    per_index = (shadow.get("index_up", 0.0) - shadow.get("index_down", 0.0)) * 1e3
    priced = model.gain - per_index * np.nan_to_num(index_parts(problem, ladder.price))
    leaves = _best_rung(priced, ladder.today) != best
    rows = np.arange(len(choice))
    cost = (model.gain[rows, best] - model.gain[rows, choice]).tolist()
    for product in np.flatnonzero(choice != best).tolist():
        stays = choice[product] == ladder.today and problem.max_changed is not None
        if problem.index_band is not None and (leaves[product] or not stays):
            names[product]["index"] = cost[product]
        if stays and (shadow.get("max_changed", 0.0) > 0 or not names[product]):
            names[product]["max_changed"] = cost[product]


def _name_own_rules(names: list[dict[str, float]], problem: PriceProblem, model: RungModel, held: Floats) -> None:
    """Add the rules of the ladder: those that the best price would break if it were free to."""
    rules = LadderRules(problem.max_change, problem.step, problem.min_margin, problem.endings)
    wider = candidates(problem.current_price, problem.unit_cost, rules, problem.price_low, problem.price_high)
    gain = model.at(problem, wider.price)
    gain = np.where(np.isfinite(gain), gain, -np.inf)
    enough = held + MATERIAL * np.abs(held)
    # The cheapest excuse first: a price that breaks one rule only names that rule.
    for rule in LADDER_RULES:
        only = wider.breaks[rule].copy()
        for other in LADDER_RULES:
            if other != rule:
                only &= ~wider.breaks[other]
        most = np.where(only, gain, -np.inf).max(axis=1, initial=-np.inf)
        for product in np.flatnonzero(most > np.maximum(enough, 1e-9)).tolist():
            names[product][rule] = float(most[product] - held[product])
