"""Scenarios: what kind of shop is simulated. Every number that shapes the shop stands here, with its unit."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import ConfigurationError


@dataclass(frozen=True)
class Scenario:
    """The parameters of a simulated shop. docs/simulator.md says how they enter the model."""

    products: int = 300
    weeks: int = 104
    customers: int = 4000
    categories: int = 12
    first_monday: str = "2024-01-01"
    week_dates: bool = True
    """True: weeks are written as dates (Mondays); False: as running integers from 1."""
    transactions: bool = True
    """Write the tables of customers' purchases, which add up to sales_weekly; they are the largest."""

    weekly_units: float = 20.0
    """Median over products of the expected units per week."""
    weekly_units_spread: float = 1.0
    """Standard deviation of log expected units over products."""
    dispersion: float = 12.0
    """Size k of the negative binomial: variance = mean + mean² / k."""
    new_share: float = 0.06
    """Share of products that were first listed in the last tenth to half of the weeks."""

    promotion_elasticity: float = -2.4
    """Median over products of the elasticity to temporary discounts."""
    regular_ratio: float = 0.8
    """Everyday-price elasticity divided by promotion elasticity, median over products."""
    ratio_spread: float = 0.20
    """Standard deviation over products of log(everyday / promotion elasticity)."""
    category_spread: float = 0.20
    """Standard deviation of log |elasticity| between categories."""
    product_spread: float = 0.25
    """Standard deviation of log |elasticity| between products that look alike."""
    attribute_effect: float = 0.20
    """Shift of log |elasticity| by what titles and columns show: value or premium wording, private label, big packs."""
    cross_elasticity: float = 0.25
    """Mean elasticity to the price index of the rest of the category."""
    stockpiling: float = 0.6
    """Fall of log demand per unit of log discount one week before; 0.6 of that a week later, and so on for 3 weeks."""

    season_sd: float = 0.22
    """Standard deviation over weeks of a category's yearly season, in log demand."""
    category_noise_sd: float = 0.08
    """Standard deviation of the category-week shock (autoregressive) in log demand."""
    hidden_sd: float = 0.10
    """Standard deviation of the product-week shock (autoregressive) in log demand, which no column shows."""
    hidden_persistence: float = 0.8
    """Autoregression of that shock from week to week."""
    observed_confounding: float = 1.0
    """Log-odds of a promotion per standard deviation of the category-week demand."""
    hidden_promotion: float = 0.0
    """Log-odds of a promotion per standard deviation of the product-week shock, on average: buyers of goods differ, so
    each product has from none to twice of this."""
    hidden_regular: float = 0.0
    """Move of the log everyday price per standard deviation of the product-week shock, when the price is reset; again
    from none to twice of it, so that the bias differs between products and spoils their order, not only the level."""

    regular_changes: float = 5.0
    """Resets of a product's everyday price a year."""
    regular_change_sd: float = 0.08
    """Standard deviation of the log everyday price around its own level, apart from cost."""
    cost_sd: float = 0.08
    """Standard deviation of log unit cost over the weeks (category and product)."""
    cost_pass_through: float = 0.5
    """Share of a log cost move that enters the everyday price at the next reset."""
    margin_low: float = 0.15
    margin_high: float = 0.55
    """Gross margins at the everyday price lie between these shares of it."""
    margin_alignment: float = 0.6
    """Correlation of margins with price-insensitivity: how far the shop already earns where buyers do not mind. The
    more it does, the less is left to gain and the more a wrong elasticity costs."""

    promotions_low: int = 4
    promotions_high: int = 8
    """Promotions of a product a year."""
    depth_low: float = 0.10
    depth_high: float = 0.35
    """Depth of a promotion as a share of the everyday price."""
    mailer_lift: float = 0.20
    """Rise of log demand in the leaflet."""
    display_lift: float = 0.30
    """Rise of log demand on a display."""

    experiment_share: float = 0.0
    """Share of product-weeks whose price is moved at random, and logged."""
    experiment_size: float = 0.15
    """Largest random move, as a share of the everyday price."""
    experiment_keeps_regular: bool = True
    """True: regular_price stays the price before the random move; False: it moves along with price."""

    stock_out_rate: float = 0.003
    """Chance a week that a product runs short (higher when it sells more than usual), for 1 to 3 weeks."""
    stock_out_flagged: float = 0.8
    """Share of the stock-outs that are logged."""
    logs_regular: bool = True
    """Write the regular_price column."""
    chinese_share: float = 0.12
    """Share of products with Chinese titles and descriptions."""

    coupon_waves: int = 8
    coupon_faces: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Face value of each offer, money."""
    coupon_randomised: float = 0.2
    """Share of customer-waves in which sending is drawn at random; the rest are targeted by predicted redemption."""
    coupon_effect: float = 1.0
    """Scale of the rise in purchase probability that a coupon brings."""
    coupon_hidden_targeting: float = 0.0
    """How far targeting follows an intention to buy that no column shows, in standard deviations."""

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            _refuse_outside(name, getattr(self, name), low, high, whole=isinstance(getattr(type(self), name), int))
        _refuse_calendar(self.first_monday)
        for low_name, high_name in ORDERED:
            if getattr(self, low_name) > getattr(self, high_name):
                raise ConfigurationError(
                    f"simulation: {low_name} = {getattr(self, low_name)!r} is above {high_name} = "
                    f"{getattr(self, high_name)!r}; give both in order"
                )
        if not self.coupon_faces or min(self.coupon_faces) <= 0:
            raise ConfigurationError(
                f"simulation: coupon_faces = {self.coupon_faces!r} is refused; give amounts above 0"
            )


def _refuse_outside(name: str, value: object, low: float, high: float, *, whole: bool) -> None:
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]
        kind = "a whole number, " if whole else ""
        raise ConfigurationError(f"simulation: {name} = {value!r} is refused; allowed: {kind}{low:g} to {high:g}")


def _refuse_calendar(first_monday: str) -> None:
    try:
        monday = datetime.date.fromisoformat(first_monday).weekday() == 0
    except (TypeError, ValueError):
        monday = False
    if not monday:
        raise ConfigurationError(f"simulation: first_monday = {first_monday!r} is refused; give a Monday as YYYY-MM-DD")


BOUNDS: Mapping[str, tuple[float, float]] = {
    "products": (1, 100_000),
    "weeks": (2, 1040),
    "customers": (1, 1_000_000),
    "categories": (1, 1000),
    "weekly_units": (0.01, 10_000),
    "weekly_units_spread": (0, 3),
    "dispersion": (0.05, 1e6),
    "new_share": (0, 1),
    "promotion_elasticity": (-10, -0.05),
    "regular_ratio": (0.05, 2),
    "ratio_spread": (0, 1),
    "category_spread": (0, 1),
    "product_spread": (0, 1),
    "attribute_effect": (0, 1),
    "cross_elasticity": (0, 2),
    "stockpiling": (0, 3),
    "season_sd": (0, 1),
    "category_noise_sd": (0, 1),
    "hidden_sd": (0, 1),
    "hidden_persistence": (0, 0.99),
    "observed_confounding": (-5, 5),
    "hidden_promotion": (-5, 5),
    "hidden_regular": (-0.5, 0.5),
    "regular_changes": (0, 26),
    "regular_change_sd": (0, 0.3),
    "cost_sd": (0, 0.3),
    "cost_pass_through": (0, 1),
    "margin_low": (0, 0.9),
    "margin_high": (0, 0.9),
    "margin_alignment": (0, 1),
    "promotions_low": (0, 26),
    "promotions_high": (0, 26),
    "depth_low": (0.01, 0.8),
    "depth_high": (0.01, 0.8),
    "mailer_lift": (-1, 2),
    "display_lift": (-1, 2),
    "experiment_share": (0, 1),
    "experiment_size": (0.01, 0.4),
    "stock_out_rate": (0, 0.5),
    "stock_out_flagged": (0, 1),
    "chinese_share": (0, 1),
    "coupon_waves": (0, 200),
    "coupon_randomised": (0, 1),
    "coupon_effect": (0, 4),
    "coupon_hidden_targeting": (0, 3),
}
"""Smallest and largest value of the parameters that are numbers."""

ORDERED = (("margin_low", "margin_high"), ("promotions_low", "promotions_high"), ("depth_low", "depth_high"))

_HIDDEN = {
    "hidden_sd": 0.30,
    "hidden_persistence": 0.95,
    "hidden_promotion": 1.5,
    "hidden_regular": 0.06,
    "regular_change_sd": 0.04,
    "cost_pass_through": 0.3,
    "ratio_spread": 0.25,
    "coupon_hidden_targeting": 0.8,
}

SCENARIOS: Mapping[str, Scenario] = {
    "default": Scenario(),
    "hidden_confounding": Scenario(**_HIDDEN),  # type: ignore[arg-type]
    "sparse": Scenario(weekly_units=1.5, dispersion=2.0, weekly_units_spread=0.9),
    "promo_not_price": Scenario(regular_ratio=0.4, ratio_spread=0.4),
    "price_experiments": Scenario(**_HIDDEN, experiment_share=0.2),  # type: ignore[arg-type]
    "stock_outs": Scenario(stock_out_rate=0.05, stock_out_flagged=0.6),
}
"""The named scenarios; docs/simulator.md says what each of them is there to break."""


def make_scenario(name: str, overrides: Mapping[str, object]) -> Scenario:
    """Look up the scenario called `name` and replace some of its parameters.

    Raises:
        ConfigurationError: no such scenario or parameter (the nearest is named), or a value out of range.
    """
    if name not in SCENARIOS:
        known_names = ", ".join(SCENARIOS)
        raise ConfigurationError(f"unknown scenario '{name}'{_nearest(name, SCENARIOS)}; there are: {known_names}")
    known = {field.name: field.type for field in dataclasses.fields(Scenario)}
    for key in overrides:
        if key not in known:
            raise ConfigurationError(f"simulation: unknown parameter '{key}'{_nearest(key, known)}")
    return dataclasses.replace(SCENARIOS[name], **dict[str, Any](overrides))


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"; did you mean '{close[0]}'?" if close else ""
