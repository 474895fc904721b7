"""Small shops in the contract's landed form, made by hand for the tests of panel and profiles."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from engine.settings import Settings, load_settings
from engine.shop import Shop

FIRST_MONDAY = "2024-01-01"


def land(folder: Path, tables: dict[str, pd.DataFrame], **about: object) -> Shop:
    """Write tables as the landing does: text identifiers, running weeks, naive timestamps."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, digest = {}, hashlib.sha256()
    for name in sorted(tables):
        paths[name] = folder / f"{name}.parquet"
        tables[name].to_parquet(paths[name], index=False)
        digest.update(paths[name].read_bytes())
    known: dict[str, object] = {"first_monday": FIRST_MONDAY, "first_week": 0} | about
    return Shop(name="shop", tables=paths, fingerprint=digest.hexdigest(), **known)  # type: ignore[arg-type]


def small_settings(home: Path, *overrides: str) -> Settings:
    return load_settings(None, [f"data.home={home}", "data.threads=1", *overrides])


def purchases(seed: int = 1, *, products: int = 8, customers: int = 60, weeks: int = 20) -> pd.DataFrame:
    """Transactions with customers and stores; product i costs 2 + i, a tenth off every fifth week."""
    rng = np.random.default_rng(seed)
    n = products * customers * weeks // 4
    product = rng.integers(0, products, n)
    week = rng.integers(0, weeks, n)
    customer = rng.integers(0, customers, n)
    quantity = rng.integers(1, 4, n)
    regular = 2.0 + product
    deal = (week + product) % 5 == 0
    price = np.where(deal, regular * 0.9, regular)
    start = pd.Timestamp(FIRST_MONDAY)
    minutes = week * 7 * 24 * 60 + rng.integers(0, 7 * 24 * 60, n)
    return pd.DataFrame(
        {
            "transaction_id": [f"T{i}" for i in range(n)],
            "product_id": [f"P{i}" for i in product],
            "timestamp": start + pd.to_timedelta(minutes, unit="m"),
            "week": week,
            "quantity": quantity.astype(float),
            "sales_value": (price * quantity).round(2),
            "discount": ((regular - price) * quantity).round(2),
            "coupon_discount": 0.0,
            "customer_id": [f"C{i}" for i in customer],
            "store_id": [f"S{i % 3}" for i in customer],
        }
    )


def listing(products: int = 8) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "product_id": [f"P{i}" for i in range(products)],
            "title": [f"product {i}" for i in range(products)],
            "category": ["tea" if i % 2 else "coffee" for i in range(products)],
            "department": "grocery",
            "unit_cost": [1.0 + 0.5 * i for i in range(products)],
        }
    )
