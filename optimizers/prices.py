"""Prices: which rung of its ladder each product takes, under the rules, so that expected profit is largest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PriceProblem:
    """P products, D posterior draws of their response, ladders of at most K prices. Money over the horizon.

    Demand of product i when the price vector is p (p0 today's, r = p / p0), for draw d:
        units_i = base_units_i · base_scale_di · r_i^own_di · (Π_j r_j^w_j)^cross_di
    where j runs over the other products of the family of i and w_j are their revenue shares among those others.
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


@dataclass(frozen=True)
class PricePlan:
    """What was chosen, why the solver stopped, and what each rule cost."""

    status: str
    """"optimal" (within the gap), "time_limit" (an incumbent is held, its gap is honest), or "nothing_to_move"."""
    price: Floats
    """(P,) chosen prices, money per unit."""
    objective: float
    """Expected gain over today's prices, exact demand (not the linearised one the solver saw), money."""
    bound: float
    """No feasible plan gains more than this under the model the solver saw, money."""
    gap: float
    """(bound - objective of the solver's model) / |bound|; 0 where both are 0."""
    shadow_prices: Mapping[str, float] = field(default_factory=dict)
    """Rule -> money gained per unit of relaxation (index_up/index_down: per 0.1 % of index; max_changed: per change)."""
    binding: tuple[tuple[str, ...], ...] = ()
    """(P,) names of the rules that kept the product from its best price: max_change, min_margin, index, max_changed,
    endings, seen_range, held."""
    free_price: Floats | None = None
    """(P,) the price the product would take if only its own ladder bound it (no index, no limit on changes)."""
    seconds: float = 0.0
