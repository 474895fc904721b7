"""A second kind of shop with known truth, made to share nothing with engine.simulation.

Shoppers of a category choose one product or none (multinomial logit, McFadden 1974), utility falls linearly with price,
so that elasticities change along the curve and every product competes with every other of its category. It comes as an
outsider would bring it: CSV, integer identifiers, weeks as dates, no titles, no everyday price (promotions show in the
price alone), no leaflet or display columns, no customers, costs given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PRODUCTS, WEEKS, CATEGORIES = 240, 104, 15
TASTE_SD = 0.15
"""Standard deviation of the product-week shock to utility."""
DISPERSION = 6.0
TASTE_DRAWS = 64
"""Draws over which the truth averages the shock."""


@dataclass(frozen=True)
class LogitTruth:
    """Demand of the coming weeks.

    Expected units of product i in week h: shoppers_ch · E[exp(u_i) / (1 + Σ exp(u_j))],
    with u = taste - slope · p / base.
    """

    product_ids: tuple[str, ...]
    category: Ints
    current_price: Floats
    unit_cost: Floats
    taste: Floats
    slope: Floats
    base_price: Floats
    shoppers: Floats
    """(C, 8) expected shoppers in each coming week."""
    shocks: Floats
    """(draws, P) to utility."""

    @property
    def elasticity_regular(self) -> Floats:
        """(P,) own-price elasticity at today's prices, the mean over shocks weighted by units."""
        up, down = self.current_price.copy(), self.current_price.copy()
        elasticity = np.empty(len(up))
        step = 1e-4
        for i in range(len(up)):
            up[i], down[i] = self.current_price[i] * np.exp(step), self.current_price[i] * np.exp(-step)
            elasticity[i] = (np.log(self.units(up)[i]) - np.log(self.units(down)[i])) / (2 * step)
            up[i] = down[i] = self.current_price[i]
        return elasticity

    def units(self, prices: npt.ArrayLike, *, weeks: int = 8) -> Floats:
        """(P,) expected units over the coming weeks."""
        share = choice_shares(
            self.taste - self.slope * np.asarray(prices) / self.base_price + self.shocks, self.category
        )
        total: Floats = share.mean(axis=0) * self.shoppers[:, :weeks].sum(axis=1)[self.category]
        return total

    def line_profit(self, prices: npt.ArrayLike, *, weeks: int = 8) -> Floats:
        """(P,) expected profit over the coming weeks, money."""
        profit: Floats = self.units(prices, weeks=weeks) * (np.asarray(prices, dtype=np.float64) - self.unit_cost)
        return profit

    def gain(self, prices: npt.ArrayLike, *, weeks: int = 8) -> float:
        """Expected profit minus that at today's prices, money."""
        today = self.line_profit(self.current_price, weeks=weeks).sum()
        return float(self.line_profit(prices, weeks=weeks).sum() - today)


def choice_shares(utility: Floats, category: Ints) -> Floats:
    """(draws, P) chance that a shopper of the category takes the product; the outside option has utility 0."""
    weight = np.exp(utility)
    total = np.ones((len(utility), int(category.max()) + 1))
    np.add.at(total.T, category, weight.T)
    return weight / total[:, category]


def simulate_logit_shop(folder: Path, *, seed: int) -> LogitTruth:
    """Write the shop into `folder` and return its truth."""
    rng = np.random.default_rng([seed, 77])
    category = rng.integers(0, CATEGORIES, PRODUCTS)
    base = np.round(np.exp(rng.normal(1.6, 0.6, PRODUCTS)), 2) + 0.5
    slope = rng.uniform(1.5, 3.5, CATEGORIES)[category] + rng.uniform(-0.6, 0.6, PRODUCTS)
    taste = slope + rng.normal(-2.3, 0.7, PRODUCTS)
    crowd = np.exp(rng.normal(6.0, 0.4, CATEGORIES))
    phase, week = rng.uniform(0, 1, (CATEGORIES, 1)), np.arange(WEEKS + 8)[None, :]
    season = 0.25 * np.sin(2 * np.pi * (week / 52 + phase))
    shoppers = crowd[:, None] * np.exp(season)
    everyday = everyday_prices(base, rng)
    price = discounted(everyday, season[category, :WEEKS], rng)
    shocks = rng.normal(0, TASTE_SD, (WEEKS, PRODUCTS))
    share = choice_shares((taste[:, None] - slope[:, None] * price / base[:, None]).T + shocks, category).T
    expected = share * shoppers[category, :WEEKS]
    units = rng.poisson(rng.gamma(DISPERSION, 1 / DISPERSION, expected.shape) * expected)
    cost = np.round(base * (1 - rng.uniform(0.2, 0.5, PRODUCTS)), 2)
    write(folder, category, cost, price, units)
    return LogitTruth(
        product_ids=tuple(str(1001 + i) for i in range(PRODUCTS)),
        category=category,
        current_price=everyday[:, -1],
        unit_cost=cost,
        taste=taste,
        slope=slope,
        base_price=base,
        shoppers=shoppers[:, WEEKS:],
        shocks=np.random.default_rng([seed, 78]).normal(0, TASTE_SD, (TASTE_DRAWS, PRODUCTS)),
    )


def everyday_prices(base: Floats, rng: np.random.Generator) -> Floats:
    """(P, T) step-wise everyday prices: about four changes a year of some 6 % around the base price, in cents."""
    change = rng.random((PRODUCTS, WEEKS)) < 4 / 52
    change[:, 0] = True
    level = base[:, None] * np.exp(rng.normal(0, 0.06, (PRODUCTS, WEEKS)))
    last = np.maximum.accumulate(np.where(change, np.arange(WEEKS), 0), axis=1)
    return np.round(np.take_along_axis(level, last, axis=1), 2)


def discounted(everyday: Floats, season: Floats, rng: np.random.Generator) -> Floats:
    """(P, T) prices in force: one week in ten is a promotion, more often in season; never in the last two weeks."""
    chance = 0.1 * np.exp(3 * season)
    on = rng.random(everyday.shape) < chance
    on[:, -2:] = False
    depth = rng.choice(np.array([0.1, 0.15, 0.2, 0.3]), everyday.shape)
    return np.round(np.where(on, everyday * (1 - depth), everyday), 2)


def write(folder: Path, category: Ints, cost: Floats, price: Floats, units: npt.NDArray[np.int64]) -> None:
    """Write products, prices_weekly and sales_weekly as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1001 + np.arange(PRODUCTS)
    dates = pd.date_range("2023-01-02", periods=WEEKS, freq="7D").strftime("%Y-%m-%d").to_numpy()
    pd.DataFrame({"product_id": number, "category": [f"K{c}" for c in category], "unit_cost": cost}).to_csv(
        folder / "products.csv", index=False
    )
    product, week = np.repeat(number, WEEKS), np.tile(dates, PRODUCTS)
    pd.DataFrame({"product_id": product, "week": week, "price": price.ravel()}).to_csv(
        folder / "prices_weekly.csv", index=False
    )
    pd.DataFrame({"product_id": product, "week": week, "units": units.ravel()}).to_csv(
        folder / "sales_weekly.csv", index=False
    )
