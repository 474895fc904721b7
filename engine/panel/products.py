"""What the products are: their describing columns in a fixed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from engine.panel.read import Reader, only

TEXTS = ("title", "description", "category", "department", "brand")


def describe(reader: Reader, products: Sequence[str]) -> pd.DataFrame:
    """(P,) rows in the order of `products`; missing texts are '', a missing cost is NaN."""
    out = pd.DataFrame({"product_id": pd.Series(list(products), dtype=object)})
    found = _found(reader, products)
    for name in TEXTS:
        out[name] = _texts(found, name, products)
    out["private_label"] = _numbers(found, "private_label", products).fillna(0.0).clip(0, 1).to_numpy().astype(np.int64)
    out["unit_cost"] = _numbers(found, "unit_cost", products).to_numpy(dtype=np.float64)
    out["cost_assumed"] = _numbers(found, "cost_assumed", products).fillna(0.0).to_numpy() > 0
    return out


def _found(reader: Reader, products: Sequence[str]) -> pd.DataFrame:
    if not reader.columns("products"):
        return pd.DataFrame(index=pd.Index([], dtype=object))
    table = reader.collect(only(reader.table("products"), products))
    return (
        table.assign(product_id=table["product_id"].astype(str)).drop_duplicates("product_id").set_index("product_id")
    )


def _texts(found: pd.DataFrame, name: str, products: Sequence[str]) -> pd.Series:
    if name not in found:
        return pd.Series([""] * len(products), dtype=object)
    values = found[name].reindex(list(products))
    return pd.Series(["" if pd.isna(v) else str(v) for v in values], dtype=object)


def _numbers(found: pd.DataFrame, name: str, products: Sequence[str]) -> pd.Series:
    if name not in found:
        return pd.Series(np.nan, index=range(len(products)))
    return pd.to_numeric(found[name].reindex(list(products)), errors="coerce").astype(np.float64)
