"""A small healthy shop as CSV or Parquet, which the tests then spoil."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd

WEEKS = 30
PRODUCTS = ("1001", "1002", "可乐330")
FIRST = dt.date(2024, 1, 1)


def products() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "product_id": PRODUCTS,
            "title": ["Cola 330 ml", "Crisps", "可口可乐 330毫升"],
            "category": ["drinks", "snacks", "drinks"],
            "department": "grocery",
            "unit_cost": [0.6, 1.1, 0.7],
        }
    )


def prices() -> pd.DataFrame:
    rows = [
        (product, (FIRST + dt.timedelta(weeks=week)).isoformat(), round(1.0 + 0.5 * i + 0.1 * (week % 3), 2))
        for i, product in enumerate(PRODUCTS)
        for week in range(WEEKS)
    ]
    return pd.DataFrame(rows, columns=["product_id", "week", "price"])


def sales() -> pd.DataFrame:
    units = np.random.default_rng(1).poisson(20, WEEKS * len(PRODUCTS))
    return prices().drop(columns="price").assign(units=units)


def transactions() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    n = 400
    days = rng.integers(0, 7 * WEEKS, n)
    quantity = rng.integers(1, 4, n)
    return pd.DataFrame(
        {
            "transaction_id": [f"t{i}" for i in range(n)],
            "product_id": rng.choice(PRODUCTS, n),
            "timestamp": [f"{FIRST + dt.timedelta(days=int(day))}T10:00:00" for day in days],
            "quantity": quantity,
            "sales_value": np.round(quantity * rng.choice([1.0, 1.2, 1.4], n), 2),
            "customer_id": rng.choice(["c1", "c2", "c3"], n),
            "store_id": "s1",
        }
    )


def customers() -> pd.DataFrame:
    return pd.DataFrame({"customer_id": ["c1", "c2", "c3"], "age": [30, 41, 52], "city": ["上海", "Lyon", "Graz"]})


def coupon_history() -> pd.DataFrame:
    rows = [
        (c, wave, int((i + w) % 2))
        for w, wave in enumerate(("2024-01", "2024-02"))
        for i, c in enumerate(("c1", "c2", "c3"))
    ]
    return pd.DataFrame(rows, columns=["customer_id", "wave", "sent"]).assign(profit=1.5, randomised=1)


def tables() -> dict[str, pd.DataFrame]:
    return {
        "products": products(),
        "prices_weekly": prices(),
        "sales_weekly": sales(),
        "transactions": transactions(),
        "customers": customers(),
        "coupon_history": coupon_history(),
    }


def write(folder: Path, given: dict[str, pd.DataFrame], suffix: str = ".csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in given.items():
        if suffix == ".parquet":
            table.to_parquet(folder / f"{name}.parquet", index=False)
        else:
            table.to_csv(folder / f"{name}{suffix}", index=False)
    return folder
