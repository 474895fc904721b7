"""Shops with known truth as an outside referee would write them, from the evidence and the data contract alone.

Nothing of the product is used here, so that what it earns in these shops was not tuned on its own simulator.
For product i of category c in week t, with today's everyday price P and everyday price R and paid price p of the week:

* log-log (SCAN*PRO: Wittink et al. 1988; elasticities as in Bijmolt, van Heerde and Pieters 2005):
  log m = a + S + β log(R/P) + γ log(p/R) + κ log I, with I the revenue-weighted price index of the category's others.
* semi-log: the same with differences of price relatives for logs (elasticity proportional to price), a dip after a
  promotion that decays by half each week (stockpiling: Hendel and Nevo 2006), and trends.
* nested logit (McFadden 1978; shares inverted as in Berry 1994): the kinds of a category are nests with scale λ, the
  outside good stands alone, utility is linear in price, the season moves the number of shoppers.

S holds seasons of category and product, AR(1) shocks of the category and, in one design, a hidden one of the product.
The pricing team sees S: it promotes, and sets everyday prices lower, when demand is high (Rossi 2014 on why that
misleads). Sales are negative binomial around m. The truth is the expected demand of the coming weeks at everyday
prices: no promotion, empty cupboards, season and trend continuing, shocks at their mean (one, as a factor of demand).

    python -m benchmarks.referee_shops DIR --design evidence --seed 1
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Columns = dict[str, npt.NDArray[Any]]

YEAR, AHEAD, MONDAY = 52, 52, "2023-01-02"
BRANDS = ("Harvest Lane", "Old Mill", "Sunny Acre", "Casa Bella", "Northfield", "Daily Choice", "Green Valley")
# Category: median price, kinds, sizes.
CATALOGUE: dict[str, tuple[float, str, str]] = {
    "pasta": (1.9, "Spaghetti|Penne Rigate|Fusilli|Egg Noodles", "12 oz|16 oz"),
    "cereal": (4.2, "Corn Flakes|Crunchy Granola|Oat Rings|Bran Flakes", "12 oz|18 oz"),
    "coffee": (8.5, "Ground Coffee Medium Roast|Espresso Beans|Decaf Ground Coffee|Coffee Pods", "10 oz|12 oz"),
    "tea": (3.6, "Black Tea Bags|Green Tea Bags|Chamomile Tea|Iced Tea Mix", "20 ct|40 ct"),
    "yogurt": (3.1, "Greek Yogurt Plain|Strawberry Yogurt|Vanilla Yogurt|Peach Yogurt", "24 oz|32 oz"),
    "cheese": (4.4, "Shredded Cheddar|Sliced Swiss|Mozzarella Block|Cream Cheese", "8 oz|12 oz"),
    "milk": (3.3, "Whole Milk|Reduced Fat Milk|Skim Milk|Lactose Free Milk", "half gallon|1 gal"),
    "juice": (3.7, "Orange Juice|Apple Juice|Cranberry Juice|Grape Juice", "52 oz|64 oz"),
    "soft drinks": (5.2, "Cola|Diet Cola|Lemon Lime Soda|Ginger Ale", "6 pk 12 oz|12 pk 12 oz"),
    "snacks": (3.4, "Potato Chips|Tortilla Chips|Pretzel Twists|Cheese Puffs", "8 oz|11 oz"),
    "cookies": (3.5, "Chocolate Chip Cookies|Oatmeal Cookies|Sandwich Cookies|Butter Cookies", "10 oz|14 oz"),
    "crackers": (3.2, "Saltine Crackers|Whole Wheat Crackers|Cheese Crackers|Graham Crackers", "8 oz|14 oz"),
    "canned soup": (2.1, "Tomato Soup|Chicken Noodle Soup|Minestrone|Clam Chowder", "10.5 oz|18 oz"),
    "canned vegetables": (1.4, "Sweet Corn|Green Beans|Black Beans|Diced Tomatoes", "14.5 oz|28 oz"),
    "frozen pizza": (6.1, "Pepperoni Pizza|Four Cheese Pizza|Supreme Pizza|Veggie Pizza", "16 oz|24 oz"),
    "ice cream": (5.0, "Vanilla Ice Cream|Chocolate Ice Cream|Butter Pecan Ice Cream|Mint Ice Cream", "1 pt|48 oz"),
    "bread": (2.9, "White Sandwich Bread|Whole Wheat Bread|Sourdough Loaf|Hamburger Buns", "16 oz|24 oz"),
    "condiments": (3.3, "Tomato Ketchup|Yellow Mustard|Mayonnaise|Barbecue Sauce", "14 oz|20 oz"),
    "detergent": (9.8, "Liquid Laundry Detergent|Laundry Pods|Fabric Softener|Stain Remover", "50 oz|100 oz"),
    "paper goods": (7.4, "Bath Tissue|Paper Towels|Facial Tissue|Paper Napkins", "6 ct|12 ct"),
}


@dataclass(frozen=True)
class Design:
    """Parameters of a shop; rates are per product and week, spreads are standard deviations of logs."""

    form: Literal["log-log", "semi-log", "nested logit"] = "log-log"
    products: int = 300
    weeks: int = 104
    elasticity: float = -2.0
    elasticity_sd: float = 0.6
    ratio: float = 1.0  # regular-price elasticity ÷ promotion elasticity
    promotion_rate: float = 0.12
    confounding: float = 1.0  # log odds of a promotion per standard deviation of the demand that the team sees
    regular_lean: float = 0.02  # fall of the everyday price per standard deviation of the same
    regular_sd: float = 0.06
    shock_sd: float = 0.15
    hidden_sd: float = 0.0
    random_share: float = 0.0  # product-weeks with a logged random price
    dip: float = 0.0  # log demand lost per unit of discount of the week before
    trend_sd: float = 0.0  # log demand a year
    margin_sense: float = 0.1  # correlation of margins with what the elasticities would ask for


DESIGNS: dict[str, Design] = {
    "evidence": Design(),
    "separate": Design(elasticity=-1.4, elasticity_sd=0.5, ratio=0.4, promotion_rate=0.25, margin_sense=-0.2),
    "nested": Design(form="nested logit", elasticity_sd=0.7, margin_sense=-0.3),
    "semilog": Design(form="semi-log", dip=0.9, trend_sd=0.08),
    "experiments": Design(hidden_sd=0.25, random_share=0.2, confounding=1.5),
    "logged": Design(elasticity=-1.4, elasticity_sd=0.5, ratio=0.4, random_share=0.1),
}


@dataclass
class RefereeTruth:
    """A shop's demand and what follows from it; serves `benchmarks.oracle.KnownTruth`."""

    design: Design
    product_ids: tuple[str, ...]
    current_price: Floats
    unit_cost: Floats
    elasticity_regular: Floats  # own, of the coming eight weeks' units at today's prices
    elasticity_promotion: Floats  # of demand (nested logit: of demand at today's prices) to a promotion's discount
    volume: Floats  # weekly units at today's prices, season and shocks apart
    category: Ints
    nest: Ints
    substitution: Floats  # cross elasticity to the category's other prices; not used by the nested logit
    scale: Floats  # λ of the product's nest; nested logit
    outside: Floats  # share of the outside good in the product's category; nested logit
    sensitivity: Floats  # utility lost per unit of relative price; nested logit
    market: Floats  # (AHEAD, P) log demand factors of the category in the coming weeks
    own: Floats  # (AHEAD, P) those of the product

    def __post_init__(self) -> None:
        self._categories = _indicator(self.category)
        self._nests = _indicator(self.nest)
        self.within = self.volume / (self.volume @ self._nests @ self._nests.T)  # today's share of the nest
        self.shoppers = self.volume @ self._categories @ self._categories.T / (1 - self.outside)  # of the category
        mean_of = self._nests / self._nests.sum(axis=0)
        self._odds = self.volume / self.shoppers @ self._nests / (self.outside @ mean_of)  # share ÷ the outside good's
        self._power, self._within = self.scale @ mean_of, (self._nests.T @ self._categories > 0).astype(np.float64)
        self._revenue = self.volume * self.current_price
        self._others = self._revenue @ self._categories @ self._categories.T - self._revenue

    def mean_units(self, price: Floats, regular: Floats, market: Floats, own: Floats) -> Floats:
        """(T, P) expected units of weeks with these paid and everyday prices and demand factors."""
        everyday, paid = regular / self.current_price, price / self.current_price
        if self.design.form == "nested logit":
            pull = self.elasticity_promotion / self.elasticity_regular
            loss = self.sensitivity * (everyday - 1 + pull * (paid - everyday))
            return np.exp(market) * self._volume_share(self.scale * own - loss)
        if self.design.form == "log-log":
            everyday, paid = np.log(everyday), np.log(paid)
        else:
            everyday, paid = everyday - 1, paid - 1
        weighted = self._revenue * paid
        index = ((weighted @ self._categories) @ self._categories.T - weighted) / np.maximum(self._others, 1e-12)
        response = self.elasticity_regular * everyday + self.elasticity_promotion * (paid - everyday)
        return self.volume * np.exp(market + own + response + self.substitution * index)

    def _volume_share(self, utility: Floats) -> Floats:
        """(T, P) shoppers of the category × share of the product, when utilities move by so much from today's."""
        grown = self.within * np.exp(utility / self.scale)
        nest_sum = grown @ self._nests
        odds = self._odds * nest_sum**self._power
        none = 1 / (1 + odds @ self._within)
        return np.asarray(self.shoppers * (none @ self._categories.T) * (odds / nest_sum @ self._nests.T) * grown)

    def units(self, prices: npt.ArrayLike, *, weeks: int = 8) -> Floats:
        """(P,) expected units over the coming weeks at these everyday prices."""
        if not 1 <= weeks <= AHEAD:
            raise ValueError(f"weeks must be 1 … {AHEAD}, not {weeks}")
        price = np.asarray(prices, dtype=np.float64)
        return np.asarray(self.mean_units(price, price, self.market[:weeks], self.own[:weeks]).sum(axis=0))

    def line_profit(self, prices: npt.ArrayLike, *, weeks: int = 8) -> Floats:
        """(P,) expected profit over the coming weeks, money."""
        price = np.asarray(prices, dtype=np.float64)
        return np.asarray((price - self.unit_cost) * self.units(price, weeks=weeks))

    def gain(self, prices: npt.ArrayLike, *, weeks: int = 8) -> float:
        """Expected profit minus that at today's prices, money."""
        return float((self.line_profit(prices, weeks=weeks) - self.line_profit(self.current_price, weeks=weeks)).sum())

    def diversion(self, *, weeks: int = 8, move: float = 1e-4) -> Floats:
        """(P,) part of the units that a dearer product loses which its category's others win."""
        before, moved = self.units(self.current_price, weeks=weeks), np.empty(len(self.volume))
        for i in range(len(moved)):
            price = self.current_price.copy()
            price[i] *= 1 + move
            change = self.units(price, weeks=weeks) - before
            moved[i] = 1 - change.sum() / change[i]
        return moved


def simulate_referee_shop(folder: Path | str, *, seed: int, design: str | Design) -> RefereeTruth:
    """Write products, prices_weekly and sales_weekly of a shop to a folder as CSV; returns its truth.

    Args:
        folder: made if it is not there.
        seed: the same seed and design give the same shop.
        design: a name in `DESIGNS`, or parameters of one's own.
    """
    plan = DESIGNS[design] if isinstance(design, str) else design
    rng = np.random.default_rng([seed, 20_261_122])
    count, weeks = plan.products, plan.weeks
    products, category, nest = _assortment(rng, count)

    elasticity = _grouped(rng, category, plan.elasticity, plan.elasticity_sd)
    elasticity = np.clip(elasticity, plan.elasticity - 3.5 * plan.elasticity_sd, -0.4)
    pull = np.exp(rng.normal(0, 0.15, count)) / plan.ratio if plan.ratio < 1 else np.ones(count)
    volume = np.exp(rng.normal(np.log(60), 0.9, count))

    # Demand factors over the past and the coming year; what the team sees of them makes its prices.
    season = _season(rng, 0.16, weeks + AHEAD, category.max() + 1)[:, category]
    own = _season(rng, 0.05, weeks + AHEAD, count)
    own += rng.normal(0, plan.trend_sd, count) * (np.arange(weeks + AHEAD)[:, None] - weeks) / YEAR
    shock = _ar1(rng, weeks, category.max() + 1, plan.shock_sd)[:, category]
    hidden = _ar1(rng, weeks, count, plan.hidden_sd)
    market_past, own_past = season[:weeks] + shock - plan.shock_sd**2 / 2, own[:weeks] + hidden - plan.hidden_sd**2 / 2
    seen = market_past + own_past
    seen = (seen - seen.mean(axis=0)) / seen.std(axis=0)

    regular = _everyday_prices(rng, plan, products["list_price"].to_numpy(np.float64), seen)
    today = regular[-1].copy()
    sense = plan.margin_sense
    drive = sense * (elasticity - elasticity.mean()) / elasticity.std() + np.sqrt(1 - sense**2) * rng.normal(size=count)
    cost = np.round(today * (0.8 - 0.25 * drive.argsort().argsort() / max(count - 1, 1)), 2)
    regular = np.maximum(regular, cost + 0.01)

    odds = np.log(plan.promotion_rate / (1 - plan.promotion_rate)) + plan.confounding * seen
    promoted = rng.random((weeks, count)) < 1 / (1 + np.exp(-odds))
    random = rng.random((weeks, count)) < plan.random_share
    random[-1] = False  # the last week shows today's everyday price
    promoted &= ~random
    discount = rng.choice([0.1, 0.15, 0.2, 0.25, 0.3], (weeks, count)) * promoted
    regular = np.where(random, today, regular)  # a random price is drawn around the list price, not the team's
    factor = np.where(random, 1 + rng.choice([-0.1, -0.05, 0.05, 0.1], (weeks, count)), 1 - discount)
    price = np.maximum(np.round(regular * factor, 2), cost)  # never below cost, which the contract calls a fault
    mailer = rng.random((weeks, count)) < np.where(promoted, 0.5, 0.01)
    display = rng.random((weeks, count)) < np.where(promoted, 0.35, 0.02)
    own_past = own_past + 0.15 * mailer + 0.2 * display - plan.dip * _cupboard(np.maximum(1 - price / regular, 0))

    truth = RefereeTruth(
        design=plan, product_ids=tuple(products["product_id"]), current_price=today, unit_cost=cost,
        elasticity_regular=elasticity, elasticity_promotion=elasticity * pull, volume=volume, category=category,
        nest=nest, substitution=rng.uniform(0.2, 0.6, category.max() + 1)[category],
        scale=rng.uniform(0.6, 0.9, nest.max() + 1)[nest], sensitivity=np.ones(count),
        outside=rng.uniform(0.55, 0.75, category.max() + 1)[category], market=season[weeks:], own=own[weeks:],
    )  # fmt: skip
    if plan.form == "nested logit":
        _set_sensitivity(truth)
    everyday = np.where(random, price, regular)  # a random move is one of the everyday price
    mean = truth.mean_units(price, everyday, market_past, own_past)
    spread = np.exp(rng.normal(np.log(10), 0.4, count))
    units = rng.poisson(rng.gamma(np.broadcast_to(spread, mean.shape), mean / spread))

    products = products.assign(unit_cost=cost, list_price=today)
    columns: Columns = {"price": price, "regular_price": regular, "mailer": mailer * 1, "display": display * 1}
    if plan.random_share:
        columns["experiment"] = random * 1
    _write(Path(folder), products, weeks, columns, {"units": units, "revenue": np.round(units * price, 2)})
    return truth


def _set_sensitivity(truth: RefereeTruth) -> None:
    """Price coefficients with the drawn elasticities at today's mean utilities; then the exact ones of eight weeks."""
    drawn, scale = truth.elasticity_regular, truth.scale
    truth.sensitivity = -drawn / (1 / scale - (1 / scale - 1) * truth.within - truth.volume / truth.shoppers)
    market, own, price = truth.market[:8], truth.own[:8], truth.current_price
    weekly, nests = truth.mean_units(price, price, market, own), _indicator(truth.nest)
    shares = weekly / (truth.shoppers * np.exp(market))
    slope = 1 / scale - (1 / scale - 1) * weekly / (weekly @ nests @ nests.T) - shares
    truth.elasticity_regular = -truth.sensitivity * (weekly * slope).sum(axis=0) / weekly.sum(axis=0)
    truth.elasticity_promotion = truth.elasticity_promotion * truth.elasticity_regular / drawn


def _indicator(group: Ints) -> Floats:
    """(P, G) one where the product belongs to the group."""
    return np.asarray(group[:, None] == np.arange(group.max() + 1), dtype=np.float64)


def _assortment(rng: np.random.Generator, count: int) -> tuple[pd.DataFrame, Ints, Ints]:
    """Products with title, category, brand and price level, and their category and nest (kind) as running numbers."""
    weight = rng.dirichlet(np.full(len(CATALOGUE), 8.0))
    category = np.sort(np.concatenate([np.arange(len(CATALOGUE)), rng.choice(len(CATALOGUE), count, p=weight)])[:count])
    rows, nest = [], []
    for number, (name, (median, kind_list, size_list)) in enumerate(CATALOGUE.items()):
        kinds, sizes = kind_list.split("|"), size_list.split("|")
        wanted = int((category == number).sum())
        shelf = [(kind, brand, size) for kind in range(len(kinds)) for brand in BRANDS for size in range(len(sizes))]
        for pick in rng.choice(len(shelf), wanted, replace=False):
            kind, brand, size = shelf[pick]
            level = median * np.exp(rng.normal(0, 0.22)) * (0.85, 1.25)[size]
            rows.append((f"{brand} {kinds[kind]} {sizes[size]}", name, brand, round(level, 2)))
            nest.append(number * 10 + kind)
    frame = pd.DataFrame(rows, columns=["title", "category", "brand", "list_price"])
    frame.insert(0, "product_id", [f"R{i:04d}" for i in range(1, count + 1)])
    return frame, category.astype(np.int64), np.unique(nest, return_inverse=True)[1].astype(np.int64)


def _grouped(rng: np.random.Generator, group: Ints, mean: float, sd: float) -> Floats:
    """(P,) normal draws, a third of whose variance is common to the group."""
    common, alone = rng.normal(0, sd * np.sqrt(1 / 3), group.max() + 1), rng.normal(0, sd * np.sqrt(2 / 3), len(group))
    return np.asarray(mean + common[group] + alone)


def _season(rng: np.random.Generator, size: float, weeks: int, count: int) -> Floats:
    """(T, N) two harmonics of the year, with about this standard deviation."""
    angle = 2 * np.pi * np.arange(weeks)[:, None, None] / YEAR * np.array([[1.0], [2.0]])
    sine, cosine = rng.normal(0, size, (2, 2, count)) * np.array([[1.0], [0.5]])
    return np.asarray((sine * np.sin(angle) + cosine * np.cos(angle)).sum(axis=1))


def _ar1(rng: np.random.Generator, weeks: int, count: int, sd: float) -> Floats:
    """(T, N) stationary shocks, half of which last into the next week."""
    step: Floats = rng.normal(0, sd, (weeks, count))
    for week in range(1, weeks):
        step[week] = 0.5 * step[week - 1] + np.sqrt(0.75) * step[week]
    return step


def _everyday_prices(rng: np.random.Generator, plan: Design, level: Floats, seen: Floats) -> Floats:
    """(T, P) everyday prices: revised once a quarter on average, lower when the team sees high demand."""
    away = np.clip(rng.normal(-plan.regular_lean * seen, plan.regular_sd), -0.1, 0.1)
    revised = rng.random(seen.shape) < 1 / 13
    for week in range(1, len(seen)):
        away[week] = np.where(revised[week], away[week], away[week - 1])
    return np.round(level * np.exp(away), 2)


def _cupboard(discount: Floats) -> Floats:
    """(T, P) what earlier discounts have left in the cupboards; half is used up each week."""
    stock = np.zeros(discount.shape)
    for week in range(1, len(discount)):
        stock[week] = 0.5 * stock[week - 1] + discount[week - 1]
    return stock


def _write(folder: Path, products: pd.DataFrame, weeks: int, prices: Columns, sales: Columns) -> None:
    """The three tables, product by product, weeks as the dates of Mondays."""
    folder.mkdir(parents=True, exist_ok=True)
    products.to_csv(folder / "products.csv", index=False)
    key = {
        "product_id": np.repeat(products["product_id"].to_numpy(object), weeks),
        "week": np.tile(pd.date_range(MONDAY, periods=weeks, freq="7D").strftime("%Y-%m-%d"), len(products)),
    }
    for name, columns in (("prices_weekly", prices), ("sales_weekly", sales)):
        pd.DataFrame(key | {c: v.T.ravel() for c, v in columns.items()}).to_csv(folder / f"{name}.csv", index=False)


def main(arguments: list[str] | None = None) -> None:
    """Write a shop and print what it is like, without its truth."""
    parser = argparse.ArgumentParser(description="Write a shop with known truth.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--design", choices=sorted(DESIGNS), default="evidence")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    truth = simulate_referee_shop(given.folder, seed=given.seed, design=given.design)
    profit = float(truth.line_profit(truth.current_price).sum())
    print(f"{len(truth.product_ids)} products in {given.folder}; expected profit of the coming 8 weeks {profit:,.0f}")


if __name__ == "__main__":
    main()
