"""Prices as they are asked and answered: the problem, its ladders, a plan, and what prices bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from optimizers.prices.ladder import Ladder, LadderRules, build_ladder

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PriceProblem:
    """P products, D posterior draws of their response, ladders of at most K prices. Money over the horizon.

    Demand of product i when the price vector is p (p0 today's, r = p / p0), for draw d:
        units_i = base_units_i · base_scale_di · exp(own_di · m(r_i)) · (Π_j r_j^w_j)^cross_di
    where m(r) = (r^curvature - 1) / curvature (log r at curvature 0: a constant elasticity), j runs over the other
    products of the family of i, and w_j are their shares in `index_weight` (None: in revenue) among those others.
    """

    product_ids: tuple[str, ...]
    current_price: Floats
    """(P,) everyday price in force, money per unit."""
    unit_cost: Floats
    """(P,) money per unit."""
    base_units: Floats
    """(P,) expected units over the horizon at today's prices."""
    own: Floats
    """(D, P) draws of the own-price elasticity (negative as a rule)."""
    cross: Floats
    """(D, P) draws of the elasticity to the price index of the rest of the family (positive: substitutes)."""
    base_scale: Floats
    """(D, P) draws of the level's relative error, mean 1."""
    family: Ints
    """(P,) family (substitution group) 0…F-1."""
    movable: Bools
    """(P,) False: held at today's price; the reason stands with the estimate, not here."""
    max_change: float
    step: float
    index_band: float | None
    min_margin: float | None
    max_changed: int | None
    endings: tuple[float, ...] | None
    risk: str = "mean"
    """"mean" or "lower" (10 % quantile of each line's gain)."""
    price_low: Floats | None = None
    """(P,) lowest price at which the response is known to hold; None: no limit beyond max_change."""
    price_high: Floats | None = None
    curvature: float = 0.0
    """How elasticities grow with the price, in logs; 0: constant, 1: demand is exponential in the price."""
    curvature_draws: Floats | None = None
    """(D,) curvature of each draw. Plans are searched by `curvature`; `evaluate_prices` counts these where they are."""
    index_weight: Floats | None = None
    """(P,) how much each product's price counts in the index of its family; None: its revenue at today's prices."""
    further: Floats | None = None
    """(P, E) prices besides those of the steps, money per unit, NaN where there is none; the settings hold for them."""


@dataclass(frozen=True)
class PricePlan:
    """What was chosen, why the solver stopped, and what each rule cost."""

    status: str
    """"optimal" (within the gap), "time_limit" or "cancelled" (an incumbent is held, its gap is honest), "gap_limit"
    (the work that was allowed is done; the gap, honest too, stays above the one asked for), or "nothing_to_move"."""
    price: Floats
    """(P,) chosen prices, money per unit."""
    objective: float
    """Gain over today's prices by exact demand, as the risk setting counts it: expected under "mean", the sum of the
    lines' 10 % quantiles under "lower"; less the fines of soft rules; money. The expected gain of any prices is
    `evaluate_prices(…).gain.sum()`."""
    bound: float
    """No prices on the ladder that keep the rules are worth more; same measure and money as `objective`."""
    gap: float
    """(bound - objective) / |bound|; 0 where both are 0."""
    shadow_prices: Mapping[str, float] = field(default_factory=dict)
    """Rule -> money per unit of relaxation (index_up, index_down: per 0.1 % of the index; max_changed: per change)."""
    binding: tuple[tuple[str, ...], ...] = ()
    """(P,) names of the rules that kept the product from its best price: max_change, min_margin, index, max_changed,
    endings, seen_range, held."""
    binding_cost: tuple[tuple[float, ...], ...] = ()
    """(P,) for each of those rules the money that the product would gain over the horizon by its best price without it,
    the other prices standing still; what that does to its family to first order."""
    free_price: Floats | None = None
    """(P,) the price the product would take if only its own ladder bound it (no index, no limit on changes)."""
    seconds: float = 0.0
    build_seconds: float = 0.0
    """Of `seconds`, spent in Pyomo."""
    rounds: int = 0
    """Rounds of column generation."""


@dataclass(frozen=True)
class PriceOutcome:
    """What prices bring under all draws, by exact demand. Money and units over the horizon."""

    units: Floats
    """(P,) expected."""
    profit: Floats
    """(P,) expected."""
    gain: Floats
    """(P,) expected gain over today's prices."""
    gain_draws: Floats
    """(D,) gain of the whole plan under every draw."""
    line_gain_low: Floats
    """(P,) 5 % quantile of the line's gain."""
    line_gain_high: Floats
    """(P,) 95 % quantile."""


def problem_ladder(problem: PriceProblem) -> Ladder:
    """Build the ladders of a problem.

    Raises:
        ProblemError: step or max_change leave no ladder.
    """
    return build_ladder(
        problem.current_price,
        problem.unit_cost,
        problem.movable,
        LadderRules(problem.max_change, problem.step, problem.min_margin, problem.endings),
        problem.price_low,
        problem.price_high,
        problem.further,
    )
