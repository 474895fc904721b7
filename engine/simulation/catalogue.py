"""The catalogue of a simulated shop: products with titles, costs and base prices, and how demand answers to price."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.simulation.scenario import Scenario
from engine.simulation.vocabulary import BRANDS, CATEGORIES, PREMIUM, PRIVATE_BRAND, VALUE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Catalogue:
    """P products and the true parameters of their demand."""

    table: pd.DataFrame
    """The products table of the contract, without unit_cost (which belongs to the last week) and list_price."""
    category: Ints
    """(P,) category 0…C-1."""
    level: Floats
    """(P,) log expected units a week at the base price, without season or shocks."""
    base_price: Floats
    """(P,) money, the level around which the everyday price moves."""
    margin: Floats
    """(P,) gross margin at the base price, share."""
    promotion: Floats
    """(P,) elasticity to temporary discounts."""
    regular: Floats
    """(P,) elasticity to the everyday price."""
    cross: Floats
    """(P,) elasticity to the price index of the rest of the category."""
    weight: Floats
    """(P,) expected revenue at base prices: the weights of the category's price index."""
    first_week: Ints
    """(P,) week number (0…) in which the product was first listed."""


def price_point(price: Floats) -> Floats:
    """Nearest price as shops write it: x.x9 below 10, x.49 or x.99 up to 40, whole .99 above."""
    grid = np.where(price < 10, 0.10, np.where(price < 40, 0.50, 1.0))
    rounded: Floats = np.round(np.maximum(np.round((price + 0.01) / grid), 1) * grid - 0.01, 2)
    return rounded


def make_catalogue(scenario: Scenario, rng: np.random.Generator) -> Catalogue:
    """Draw the products, their words, volumes, margins and elasticities."""
    n = scenario.products
    category = np.sort(rng.integers(0, scenario.categories, n))
    words = _draw_words(scenario, category, rng)
    base_price = price_point(np.clip(np.exp(rng.normal(np.log(4.5) + 0.25 * words.lean[:, 0], 0.55)), 0.89, 39.0))
    level = np.log(scenario.weekly_units) + rng.normal(0, scenario.weekly_units_spread, n)
    level -= 0.35 * (np.log(base_price) - np.log(4.5))
    promotion, regular = _draw_elasticities(scenario, category, words.lean, rng)
    cross_of_category = scenario.cross_elasticity * rng.uniform(0.4, 1.6, scenario.categories)
    margin = _draw_margins(scenario, regular, rng)
    return Catalogue(
        table=words.table,
        category=category,
        level=level,
        base_price=base_price,
        margin=margin,
        promotion=promotion,
        regular=regular,
        cross=cross_of_category[category] * np.exp(rng.normal(0, 0.2, n)),
        weight=np.exp(level) * base_price,
        first_week=_draw_first_weeks(scenario, rng),
    )


def _draw_margins(scenario: Scenario, regular: Floats, rng: np.random.Generator) -> Floats:
    """Even over the range, high where demand is insensitive as far as `margin_alignment` says (Gaussian copula)."""
    n = len(regular)
    insensitive = -np.log(-regular)
    spread = insensitive.std()
    insensitive = (insensitive - insensitive.mean()) / spread if spread > 0 else insensitive * 0
    mixed = scenario.margin_alignment * insensitive + np.sqrt(1 - scenario.margin_alignment**2) * rng.normal(0, 1, n)
    place = (np.argsort(np.argsort(mixed)) + rng.random(n)) / n
    margin: Floats = scenario.margin_low + (scenario.margin_high - scenario.margin_low) * place
    return margin


def _draw_first_weeks(scenario: Scenario, rng: np.random.Generator) -> Ints:
    is_new = rng.random(scenario.products) < scenario.new_share
    listed = scenario.weeks - np.ceil(scenario.weeks * rng.uniform(0.1, 0.5, scenario.products)).astype(np.int64)
    return np.where(is_new, np.maximum(listed, 0), 0)


def _draw_elasticities(
    scenario: Scenario, category: Ints, lean: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Log |elasticity| = median + category + what the product looks like + what nobody can see."""
    n = len(category)
    log_size = rng.normal(0, scenario.category_spread, scenario.categories)[category]
    log_size = log_size - scenario.attribute_effect * lean[:, 0] + 0.5 * scenario.attribute_effect * lean[:, 1]
    log_size = log_size + rng.normal(0, scenario.product_spread, n)
    log_size = log_size - np.median(log_size) + np.log(-scenario.promotion_elasticity)
    promotion = -np.exp(np.clip(log_size, np.log(0.2), np.log(6.5)))
    ratio = scenario.regular_ratio * np.exp(rng.normal(0, scenario.ratio_spread, n))
    return promotion, np.clip(promotion * ratio, -6.5, -0.1)


@dataclass(frozen=True)
class _Words:
    table: pd.DataFrame
    lean: Floats
    """(P, 2): premium (1) … value (-1) wording; private label or big pack (1) or not (0)."""


def _draw_words(scenario: Scenario, category: Ints, rng: np.random.Generator) -> _Words:
    n = len(category)
    private = rng.random(n) < 0.2
    tone = rng.choice([-1, 0, 1], size=n, p=[0.25, 0.5, 0.25])
    pack = rng.integers(0, 4, n)
    noun, brand, word = rng.integers(0, 6, n), rng.integers(0, len(BRANDS), n), rng.integers(0, 3, n)
    chinese = rng.random(n) < scenario.chinese_share
    rows = [
        _product_row(
            i,
            int(category[i]),
            int(noun[i]),
            int(brand[i]),
            int(word[i]),
            int(tone[i]),
            int(pack[i]),
            private=bool(private[i]),
            chinese=bool(chinese[i]),
        )
        for i in range(n)
    ]
    lean = np.column_stack([tone.astype(np.float64), (private | (pack == 3)).astype(np.float64)])
    return _Words(pd.DataFrame(rows), lean)


def _product_row(
    i: int, category: int, noun: int, brand: int, word: int, tone: int, pack: int, *, private: bool, chinese: bool
) -> dict[str, object]:
    kind = CATEGORIES[category % len(CATEGORIES)]
    repeat = category // len(CATEGORIES)
    size = kind.sizes[pack]
    maker = PRIVATE_BRAND if private else BRANDS[brand]
    language = 1 if chinese else 0
    tones = PREMIUM[language] if tone > 0 else VALUE[language]
    adjective = tones[word] if tone else ""
    thing = kind.nouns_zh[noun] if chinese else kind.nouns[noun]
    if chinese:
        title = f"{maker.chinese}{adjective}{thing} {size}"
        description = f"{maker.chinese}品牌，{adjective or '日常'}{thing}，{kind.chinese}类，规格{size}。"
    else:
        title = " ".join(filter(None, [maker.name, adjective, thing, size]))
        description = (
            f"{(adjective + ' ' if adjective else '').capitalize()}{thing} by {maker.name}, {size}. {kind.blurb}"
        )
    return {
        "product_id": f"P{i + 1:05d}",
        "title": title,
        "description": description,
        "category": kind.name + (f" {repeat + 1}" if repeat else ""),
        "department": kind.department,
        "brand": maker.name,
        "private_label": int(private),
        "pack_size": float(pack + 1),
        "unit": kind.unit,
    }
