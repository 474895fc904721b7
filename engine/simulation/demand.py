"""Demand: the expected units of every product-week, the units that were wanted, and those that were there to sell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.simulation.catalogue import Catalogue
from engine.simulation.market import FUTURE_WEEKS, Market
from engine.simulation.paths import Paths
from engine.simulation.scenario import Scenario

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

STOCKPILING_FADE = (1.0, 0.6, 0.36)
"""Weight of the discount one, two and three weeks ago."""


@dataclass(frozen=True)
class Sales:
    """(P, T) what was sold."""

    expected: Floats
    """Expected units had the shelf been full."""
    units: Ints
    """Units sold: what was wanted, or less where the shelf ran empty."""
    short: Bools
    """The product ran short."""
    flagged: Bools
    """It ran short and that was logged."""
    listed: Bools
    """The product was in the range."""


def others_index(log_ratio: Floats, weight: Floats, category: Ints) -> Floats:
    """(P, …) log price index of the other products of each product's category, weighted; 0 where there is no other."""
    shape = (-1, *([1] * (log_ratio.ndim - 1)))
    heavy = np.broadcast_to(weight.reshape(weight.shape + (1,) * (log_ratio.ndim - weight.ndim)), log_ratio.shape)
    count = int(category.max()) + 1 if len(category) else 0
    total, mass = np.zeros((count, *log_ratio.shape[1:])), np.zeros((count, *log_ratio.shape[1:]))
    np.add.at(total, category, heavy * log_ratio)
    np.add.at(mass, category, heavy)
    alone = (np.bincount(category, minlength=count)[category] < 2).reshape(shape)
    rest = np.where(alone, 1.0, np.maximum(mass[category] - heavy, 1e-12))
    index: Floats = np.where(alone, 0.0, (total[category] - heavy * log_ratio) / rest)
    return index


def stockpiling_dip(scenario: Scenario, discount: Floats) -> Floats:
    """(P, T) what the discounts of the three weeks before take from log demand (zero or negative)."""
    dip = np.zeros_like(discount)
    for lag, fade in enumerate(STOCKPILING_FADE, start=1):
        dip[:, lag:] += scenario.stockpiling * fade * discount[:, :-lag]
    return dip


def log_response(scenario: Scenario, catalogue: Catalogue, paths: Paths, listed: Bools) -> Floats:
    """(P, T) log demand that prices and promotions add to the level at base prices."""
    regular = np.log(paths.everyday / catalogue.base_price[:, None]) + paths.regular_move
    total = np.log(paths.shelf / catalogue.base_price[:, None])
    others = others_index(total, catalogue.weight[:, None] * listed, catalogue.category)
    log_demand = catalogue.regular[:, None] * regular + catalogue.promotion[:, None] * paths.discount
    log_demand = log_demand + catalogue.cross[:, None] * others + stockpiling_dip(scenario, paths.discount)
    response: Floats = log_demand + scenario.mailer_lift * paths.mailer + scenario.display_lift * paths.display
    return response


def make_sales(
    scenario: Scenario, catalogue: Catalogue, market: Market, paths: Paths, rng: np.random.Generator
) -> Sales:
    """Draw the sales of every week."""
    listed = np.arange(scenario.weeks)[None, :] >= catalogue.first_week[:, None]
    log_demand = market.steady + market.category[catalogue.category] + market.hidden
    log_demand = log_demand + log_response(scenario, catalogue, paths, listed)
    expected = np.where(listed, np.exp(log_demand), 0.0)
    wanted = draw_units(expected, scenario.dispersion, rng)
    usual = np.exp(market.steady)
    cap, short, flagged = _shortages(scenario, expected, usual, rng)
    units = np.where(short, np.minimum(wanted, cap), wanted)
    return Sales(expected, units, short & listed, flagged & listed, listed)


def draw_units(expected: Floats, dispersion: float, rng: np.random.Generator) -> Ints:
    """Negative binomial counts with the given means; variance = mean + mean² / dispersion."""
    rate = rng.gamma(dispersion, 1.0 / dispersion, expected.shape) * expected
    return rng.poisson(rate).astype(np.int64)


def _shortages(
    scenario: Scenario, expected: Floats, usual: Floats, rng: np.random.Generator
) -> tuple[Ints, Bools, Bools]:
    """How much was there, whether it ran short, and whether that was logged. Brisk weeks run short more often."""
    chance = np.clip(scenario.stock_out_rate * np.clip(expected / usual, 0.5, 3.0), 0, 1)
    start = rng.random(expected.shape) < chance
    length = rng.integers(1, 4, expected.shape)
    logged = rng.random(expected.shape) < scenario.stock_out_flagged
    short, flagged = start.copy(), start & logged
    for lag in (1, 2):
        reaches = start[:, :-lag] & (length[:, :-lag] > lag)
        short[:, lag:] |= reaches
        flagged[:, lag:] |= reaches & logged[:, :-lag]
    cap = np.floor(rng.uniform(0, 0.6, expected.shape) * expected).astype(np.int64)
    return cap, short, flagged


def future_units(scenario: Scenario, catalogue: Catalogue, market: Market, paths: Paths) -> Floats:
    """(P, 52) expected units of the weeks to come at the last everyday prices, without promotions or shortages.

    The dip that the last promotions leave behind is in it: it comes whatever the plan.
    """
    log_ratio = np.log(paths.everyday[:, -1] / catalogue.base_price)
    own = catalogue.regular * log_ratio + catalogue.cross * others_index(
        log_ratio, catalogue.weight, catalogue.category
    )
    silence = np.zeros((len(log_ratio), FUTURE_WEEKS))
    dip = stockpiling_dip(scenario, np.concatenate([paths.discount, silence], axis=1))[:, -FUTURE_WEEKS:]
    units: Floats = np.exp(market.future + own[:, None] + dip)
    return units
