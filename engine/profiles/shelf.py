"""What is known of the products that customers bought, as of a week."""

from __future__ import annotations

from pathlib import Path

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.frames import Frame, parts, ticks
from engine.panel.products import TEXTS
from engine.panel.read import Reader, Scope
from engine.profiles.behaviour import EMBEDDING_AXES, TOP_DEPARTMENTS, WHOLE, Shelf
from engine.text import embed_texts

EMBEDDED_PRODUCTS = 1000
"""Products whose texts are read, by revenue: the same as a panel's by default, so that the text cache serves both."""


def read_shelf(reader: Reader, listing: pd.DataFrame, as_of: int, cache: Path) -> Shelf:
    """Describe the products sold up to and with week `as_of`; `listing` is of `read_listing`."""
    sold = _sold(reader, as_of)
    listed = listing.reindex(sold.index)
    table = pd.DataFrame(index=sold.index)
    for name in ("department", "category"):
        table[name] = _texts(listed, name)
    label = pd.to_numeric(listed["private_label"], errors="coerce") if "private_label" in listed else None
    table["private_label"] = (label.fillna(0).to_numpy() > 0).astype(np.int64) if label is not None else 0
    table["tier"] = _tiers(sold["price"], table["category"])
    for k, column in enumerate(_coordinates(sold, listed, cache).T):
        table[f"e{k}"] = column
    spend = sold.groupby(table["department"].to_numpy())["revenue"].sum()
    named = spend[spend.index != ""]
    ranked = sorted(named.index, key=lambda name: (-int(named[name]), name))
    return Shelf(table.reset_index(names="product_id"), tuple(ranked[:TOP_DEPARTMENTS]))


def _sold(reader: Reader, as_of: int) -> pd.DataFrame:
    """Revenue (ticks) and mean price by product."""
    lines: Frame = reader.transactions(Scope(until_week=as_of))
    lines = lines.select("product_id", _v=ticks(nw.col("sales_value")), _q=parts(nw.col("quantity")))
    found = reader.collect(
        lines.group_by("product_id").agg(nw.col("_v").sum().cast(nw.Int64), nw.col("_q").sum().cast(nw.Int64))
    )
    found.index = pd.Index(found.pop("product_id").astype(str), dtype=object)
    found = found.sort_index()
    quantity = found["_q"].to_numpy(dtype=np.float64)
    price = np.divide(found["_v"].to_numpy(dtype=np.float64), quantity, out=np.zeros(len(found)), where=quantity > 0)
    return pd.DataFrame({"revenue": found["_v"].astype(np.int64), "price": price}, index=found.index)


def read_listing(reader: Reader) -> pd.DataFrame:
    """Read the product table; index product_id, no rows without it."""
    if not reader.columns("products"):
        return pd.DataFrame(index=pd.Index([], dtype=object))
    wanted = [name for name in ("product_id", "private_label", *TEXTS) if name in reader.columns("products")]
    found = reader.collect(reader.table("products").select(*wanted))
    found.index = pd.Index(found.pop("product_id").astype(str), dtype=object)
    return found[~found.index.duplicated()]


def _texts(listed: pd.DataFrame, name: str) -> list[str]:
    if name not in listed:
        return [""] * len(listed)
    return listed[name].astype(object).where(listed[name].notna(), "").astype(str).tolist()


def _tiers(price: pd.Series[float], category: pd.Series[str]) -> npt.NDArray[np.int64]:
    """Rank of the price within the category, 0…WHOLE; the middle for a product alone in its category."""
    groups = price.groupby(category.to_numpy())
    rank, size = groups.rank(method="average").to_numpy(), groups.transform("size").to_numpy()
    share = np.where(size > 1, (rank - 1) / np.maximum(size - 1, 1), 0.5)
    return np.round(share * WHOLE).astype(np.int64)


def _coordinates(sold: pd.DataFrame, listed: pd.DataFrame, cache: Path) -> npt.NDArray[np.int64]:
    """First principal axes of the texts of the products with the largest revenue; zeros for the others."""
    out = np.zeros((len(sold), EMBEDDING_AXES), dtype=np.int64)
    order = np.lexsort((np.arange(len(sold)), -sold["revenue"].to_numpy()))[:EMBEDDED_PRODUCTS]
    pairs = zip(_texts(listed, "title"), _texts(listed, "description"), strict=True)
    texts = [f"{title} {description}".strip() for title, description in pairs]
    chosen = np.array([row for row in order if texts[row]], dtype=np.int64)
    if len(chosen) <= EMBEDDING_AXES:
        return out
    vectors = embed_texts([texts[row] for row in chosen], cache / "text").astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :EMBEDDING_AXES]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(EMBEDDING_AXES)])  # an axis has no direction of its own
    out[chosen] = np.round(centred @ axes * WHOLE).astype(np.int64)
    return out
