"""What the retailer did: everyday prices, promotions, leaflets, displays and random price moves, week by week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.simulation.catalogue import Catalogue, price_point
from engine.simulation.market import Market, autoregression
from engine.simulation.scenario import Scenario

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

EXPERIMENT_WEEKS = 2
"""A random price move lasts this long; the last such block has none, so that the price in force is an everyday one."""


@dataclass(frozen=True)
class Paths:
    """(P, T) prices in money, flags 0/1."""

    everyday: Floats
    """Everyday price, before any random move."""
    shelf: Floats
    """Price in force."""
    mailer: Floats
    display: Floats
    experiment: Floats
    unit_cost: Floats

    @property
    def discount(self) -> Floats:
        """Log of the shelf price over the everyday price in promotion weeks, 0 elsewhere."""
        return np.where(self.experiment == 1, 0.0, np.log(self.shelf / self.everyday))

    @property
    def regular_move(self) -> Floats:
        """Log of the price that shoppers take for the everyday one over the price `everyday`: the random moves."""
        return np.where(self.experiment == 1, np.log(self.shelf / self.everyday), 0.0)


def make_paths(scenario: Scenario, catalogue: Catalogue, market: Market, rng: np.random.Generator) -> Paths:
    """Draw the retailer's moves, which follow the season and, as far as the scenario says, the hidden shocks."""
    cost = _log_cost(scenario, catalogue, rng)
    everyday = _everyday(scenario, catalogue, market, cost, rng)
    shelf, mailer, display = _promote(scenario, catalogue, market, everyday, rng)
    experiment, moved = _experiments(scenario, everyday, rng)
    base_cost = catalogue.base_price * (1 - catalogue.margin)
    drifting = base_cost[:, None] * np.exp(cost)
    unit_cost: Floats = np.clip(drifting, 0.01, 0.9 * everyday).round(2)
    return Paths(
        everyday=everyday,
        shelf=np.where(experiment == 1, moved, shelf),
        mailer=np.where(experiment == 1, 0.0, mailer),
        display=np.where(experiment == 1, 0.0, display),
        experiment=experiment,
        unit_cost=unit_cost,
    )


def _log_cost(scenario: Scenario, catalogue: Catalogue, rng: np.random.Generator) -> Floats:
    common = autoregression(scenario.categories, scenario.weeks, 0.98, scenario.cost_sd / np.sqrt(2), rng)
    own = autoregression(scenario.products, scenario.weeks, 0.98, scenario.cost_sd / np.sqrt(2), rng)
    return common[catalogue.category] + own


def _everyday(
    scenario: Scenario, catalogue: Catalogue, market: Market, cost: Floats, rng: np.random.Generator
) -> Floats:
    """Everyday prices stay until reset; a reset follows cost, the hidden shock and the buyer's mood."""
    rate = min(scenario.regular_changes / 52.0, 1.0)
    reset = rng.random(cost.shape) < rate
    reset[:, 0] = True
    mood = rng.normal(0, scenario.regular_change_sd, cost.shape)
    hidden = market.hidden / max(scenario.hidden_sd, 1e-12) if scenario.hidden_sd > 0 else np.zeros_like(cost)
    foresight = rng.uniform(0, 2, (scenario.products, 1))
    target = scenario.cost_pass_through * cost + scenario.hidden_regular * foresight * hidden + mood
    wanted = price_point(catalogue.base_price[:, None] * np.exp(np.clip(target, -0.3, 0.3)))
    last_reset = np.maximum.accumulate(np.where(reset, np.arange(scenario.weeks), 0), axis=1)
    in_force: Floats = np.take_along_axis(wanted, last_reset, axis=1)
    return in_force


def _promote(
    scenario: Scenario, catalogue: Catalogue, market: Market, everyday: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Shelf price, leaflet and display. Weeks are drawn without replacement (Gumbel top-k) from the log-odds."""
    busy = _standardised(market.category)[catalogue.category]
    hidden = _standardised(market.hidden)
    foresight = rng.uniform(0, 2, (scenario.products, 1))
    odds = scenario.observed_confounding * busy + scenario.hidden_promotion * foresight * hidden
    key = odds + rng.gumbel(size=everyday.shape)
    rank = np.argsort(np.argsort(-key, axis=1), axis=1)
    years = scenario.weeks / 52.0
    count = np.round(rng.integers(scenario.promotions_low, scenario.promotions_high + 1, scenario.products) * years)
    start = rank < count[:, None]
    goes_on = np.zeros_like(start)
    goes_on[:, 1:] = start[:, :-1] & (rng.random(start[:, 1:].shape) < 0.4)
    depth = rng.uniform(scenario.depth_low, scenario.depth_high, everyday.shape)
    depth[:, 1:] = np.where(goes_on[:, 1:] & ~start[:, 1:], depth[:, :-1], depth[:, 1:])
    cut = price_point(everyday * (1 - depth))
    promoted = (start | goes_on) & (cut < everyday)
    mailer = promoted & (rng.random(everyday.shape) < 0.6)
    display = (promoted & (rng.random(everyday.shape) < 0.4)) | (rng.random(everyday.shape) < 0.01)
    return np.where(promoted, cut, everyday), mailer.astype(np.float64), display.astype(np.float64)


def _experiments(scenario: Scenario, everyday: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Random moves in blocks of two weeks: half or all of the largest move, up or down, in whole cents."""
    products, weeks = everyday.shape
    blocks = -(-weeks // EXPERIMENT_WEEKS)
    on = rng.random((products, blocks)) < scenario.experiment_share
    on[:, -1] = False
    size = rng.choice(np.array([-1.0, -0.5, 0.5, 1.0]), size=(products, blocks)) * scenario.experiment_size
    by_week = np.arange(weeks) // EXPERIMENT_WEEKS
    moved = np.round(everyday * (1 + size[:, by_week]), 2)
    return on[:, by_week].astype(np.float64), np.maximum(moved, 0.01)


def _standardised(values: Floats) -> Floats:
    """Each row with mean 0 and standard deviation 1; a constant row gives zeros."""
    spread = values.std(axis=1, keepdims=True)
    centred = values - values.mean(axis=1, keepdims=True)
    rows: Floats = np.divide(centred, spread, out=np.zeros_like(values), where=spread > 1e-12)
    return rows
