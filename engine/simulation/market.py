"""What moves demand besides price: trends, the categories' seasons and shocks, and the products' hidden shocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.simulation.catalogue import Catalogue
from engine.simulation.scenario import Scenario

Floats = npt.NDArray[np.float64]

FUTURE_WEEKS = 52
"""Weeks after the last one for which the truth is written."""
CATEGORY_PERSISTENCE = 0.6


@dataclass(frozen=True)
class Market:
    """Log demand apart from price and promotion; T weeks of data and 52 more."""

    category: Floats
    """(C, T) season and shock of each category in each week."""
    hidden: Floats
    """(P, T) product-week shock that no column shows."""
    steady: Floats
    """(P, T) level and trend of each product."""
    future: Floats
    """(P, 52) log of the expectation, given the last week, of level, trend, season and shocks together."""


def make_market(scenario: Scenario, catalogue: Catalogue, rng: np.random.Generator) -> Market:
    """Draw the shocks of every week and take their expectation for the weeks to come."""
    weeks, n = scenario.weeks, scenario.products
    season = _seasons(scenario, weeks + FUTURE_WEEKS, rng)
    shock = autoregression(scenario.categories, weeks, CATEGORY_PERSISTENCE, scenario.category_noise_sd, rng)
    hidden = autoregression(n, weeks, scenario.hidden_persistence, scenario.hidden_sd, rng)
    years = (np.arange(weeks + FUTURE_WEEKS) - weeks) / 52.0
    trend = (rng.normal(0, 0.06, scenario.categories)[catalogue.category] + rng.normal(0, 0.06, n))[:, None] * years
    steady = catalogue.level[:, None] + trend
    future = steady[:, weeks:] + season[catalogue.category, weeks:]
    future = future + _expected(shock[:, -1], CATEGORY_PERSISTENCE, scenario.category_noise_sd)[catalogue.category]
    future = future + _expected(hidden[:, -1], scenario.hidden_persistence, scenario.hidden_sd)
    return Market(season[:, :weeks] + shock, hidden, steady[:, :weeks], future)


def autoregression(rows: int, weeks: int, persistence: float, sd: float, rng: np.random.Generator) -> Floats:
    """(rows, weeks) stationary AR(1) paths with marginal standard deviation `sd`."""
    step = rng.normal(0, sd, (rows, weeks))
    path = np.empty((rows, weeks))
    path[:, 0] = step[:, 0]
    for week in range(1, weeks):
        path[:, week] = persistence * path[:, week - 1] + np.sqrt(1 - persistence**2) * step[:, week]
    return path


def _expected(last: Floats, persistence: float, sd: float) -> Floats:
    """(rows, 52) log E[exp(x)] of an AR(1) path x, one to 52 weeks after `last`."""
    fade = persistence ** np.arange(1, FUTURE_WEEKS + 1)
    expected: Floats = last[:, None] * fade + 0.5 * sd**2 * (1 - fade**2)
    return expected


def _seasons(scenario: Scenario, weeks: int, rng: np.random.Generator) -> Floats:
    """(C, weeks) two yearly waves and one holiday peak for each category, the same every year."""
    week = np.arange(weeks)[None, :]
    size, phase = rng.uniform(0.4, 1.6, (scenario.categories, 2)), rng.uniform(0, 1, (scenario.categories, 2))
    wave = size[:, :1] * np.sin(2 * np.pi * (week / 52.0 + phase[:, :1]))
    wave = wave + 0.4 * size[:, 1:] * np.sin(4 * np.pi * (week / 52.0 + phase[:, 1:]))
    peak = rng.uniform(-0.5, 2.5, (scenario.categories, 1)) * np.isin(week % 52, (49, 50, 51))
    season: Floats = scenario.season_sd * (wave + peak)
    centred: Floats = season - season[:, :52].mean(axis=1, keepdims=True)
    return centred
