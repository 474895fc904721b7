"""Panels with known demand, made by hand for the tests of level and backtest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from engine.panel import Panel

MATRICES = ("units", "price", "regular_price", "mailer", "display", "stock_out", "experiment", "observed")


def make_panel(
    units: np.ndarray, *, price: np.ndarray | None = None, regular: np.ndarray | None = None, **other
) -> Panel:
    """A panel of one series a product; what is not given is quiet: price 2, no promotion, all observed."""
    n, weeks = units.shape
    zeros = np.zeros((n, weeks))
    regular = np.full((n, weeks), 2.0) if regular is None else regular
    products = pd.DataFrame(
        {
            "product_id": [f"P{i}" for i in range(n)],
            "title": "",
            "description": "",
            "category": [f"C{i % 3}" for i in range(n)],
            "department": "D",
            "brand": "",
            "private_label": 0,
            "unit_cost": 1.0,
            "cost_assumed": False,
        }
    )
    known = {
        "series_product": np.arange(n),
        "series_store": np.full(n, "", dtype=object),
        "weeks": np.arange(1, weeks + 1),
        "week_start": np.datetime64("2023-01-02") + 7 * np.arange(weeks),
        "mailer": zeros,
        "display": zeros,
        "stock_out": zeros,
        "experiment": zeros,
        "observed": np.ones((n, weeks), dtype=bool),
        "regular_logged": True,
    }
    return Panel(
        products=products,
        units=units,
        price=regular if price is None else price,
        regular_price=regular,
        **(known | other),
    )


def promoted(seed: int, *, products: int = 40, weeks: int = 60, elasticity: float = -2.0) -> tuple[Panel, np.ndarray]:
    """Poisson sales of products with steady levels and random discounts; and their (P,) mean units at full price."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(2.0, 0.8, products))
    regular = np.repeat(rng.uniform(1.0, 5.0, (products, 1)), weeks, axis=1)
    deal = rng.random((products, weeks)) < 0.2
    discount = np.where(deal, rng.uniform(0.7, 0.9, deal.shape), 1.0)
    mailer = (deal & (rng.random(deal.shape) < 0.5)).astype(float)
    mean = level[:, None] * discount**elasticity * np.exp(0.3 * mailer)
    units = rng.poisson(mean).astype(float)
    return make_panel(units, price=regular * discount, regular=regular, mailer=mailer), level


def with_stores(panel: Panel, stores: int) -> Panel:
    """The same panel with every product in each of several stores, which sell the same."""
    repeated = {name: np.tile(getattr(panel, name), (stores, 1)) for name in MATRICES}
    return replace(
        panel,
        series_product=np.tile(panel.series_product, stores),
        series_store=np.repeat([f"S{k}" for k in range(stores)], panel.n_products),
        **repeated,
    )


def scrambled_after(panel: Panel, week: int, seed: int) -> Panel:
    """The same panel with every series' cells after position `week` shuffled and scaled, matrix by matrix."""
    rng = np.random.default_rng(seed)
    changed = {}
    for name in MATRICES:
        matrix = getattr(panel, name).copy()
        tail = rng.permuted(matrix[:, week + 1 :].ravel()).reshape(matrix[:, week + 1 :].shape)
        matrix[:, week + 1 :] = tail * 3 if name in ("units", "price", "regular_price") else tail
        changed[name] = matrix
    return replace(panel, **changed)
