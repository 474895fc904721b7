"""Small panels with known elasticities, from a generator that shares nothing with engine.simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.panel import Panel


@dataclass(frozen=True)
class Known:
    everyday: np.ndarray
    promotion: np.ndarray


def panel_of(units, price, regular=None, *, category=None, experiment=None, logged=True, **columns) -> Panel:
    """A panel with one series for each product."""
    shape = np.shape(units)
    zeros = np.zeros(shape)
    names = [str(c) for c in (np.zeros(shape[0], dtype=int) if category is None else category)]
    products = pd.DataFrame(
        {
            "product_id": [f"P{i}" for i in range(shape[0])],
            "title": "",
            "description": "",
            "category": names,
            "department": "all",
            "brand": "",
            "private_label": 0,
            "unit_cost": 1.0,
            "cost_assumed": False,
        }
    )
    fields = {
        "products": products,
        "series_product": np.arange(shape[0]),
        "series_store": np.full(shape[0], ""),
        "weeks": np.arange(shape[1]),
        "week_start": np.full(shape[1], np.datetime64("NaT", "D")),
        "units": np.asarray(units, dtype=float),
        "price": np.asarray(price, dtype=float),
        "regular_price": np.asarray(price if regular is None else regular, dtype=float),
        "mailer": zeros,
        "display": zeros,
        "stock_out": zeros,
        "experiment": zeros if experiment is None else np.asarray(experiment, dtype=float),
        "observed": np.ones(shape, dtype=bool),
        "regular_logged": logged,
    }
    return Panel(**{**fields, **columns})


def make_panel(
    seed: int,
    *,
    products: int = 120,
    weeks: int = 104,
    categories: int = 8,
    ratio: float = 1.0,
    hidden: float = 0.0,
    experiments: float = 0.0,
    volume: float = 20.0,
    logged: bool = True,
    spread: float = 0.4,
) -> tuple[Panel, Known]:
    """Season drives promotions; `hidden` makes an unrecorded shock drive promotions and everyday prices too."""
    rng = np.random.default_rng(seed)
    shape = (products, weeks)
    category = np.arange(products) % categories
    promotion = np.clip(rng.normal(-2.0, 0.3, categories)[category] + rng.normal(0, spread, products), -5, -0.3)
    everyday = promotion * ratio
    phase = rng.random((categories, 1))
    season = (0.3 * np.sin(2 * np.pi * (np.arange(weeks) / 52 + phase)))[category]
    shock = np.zeros(shape)
    kick = rng.normal(size=shape)
    persistence = 0.97 if hidden else 0.8
    for t in range(1, weeks):
        shock[:, t] = persistence * shock[:, t - 1] + np.sqrt(1 - persistence**2) * kick[:, t]
    steps = np.repeat(rng.normal(0, 0.07, (products, -(-weeks // 13))), 13, axis=1)[:, :weeks]
    steps = steps + 0.06 * hidden * np.repeat(shock[:, ::13], 13, axis=1)[:, :weeks]
    chance = 1 / (1 + np.exp(2.0 - 4 * season - hidden * shock))
    discount = np.where(rng.random(shape) < chance, np.log1p(-rng.uniform(0.08, 0.3, shape)), 0.0)
    trial = rng.random(shape) < experiments
    move = np.where(trial, rng.choice([-0.1, -0.05, 0.05, 0.1], shape), 0.0)
    discount = np.where(trial, 0.0, discount)
    log_mean = np.log(volume) + rng.normal(0, 0.7, (products, 1)) + season + (0.35 if hidden else 0.2) * shock
    log_mean = log_mean + everyday[:, None] * (steps + np.log1p(move)) + promotion[:, None] * discount
    units = rng.poisson(np.exp(log_mean) * rng.gamma(12, 1 / 12, shape))
    base = rng.uniform(1, 9, (products, 1)) * np.exp(steps)
    price = base * np.exp(discount) * (1 + move)
    panel = panel_of(units, price, base, category=category, experiment=trial, logged=logged)
    return panel, Known(everyday, promotion)
