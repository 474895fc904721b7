"""What customers did up to a week: recency, frequency, spend, breadth, price sensitivity, what they buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import narwhals as nw
import numpy as np
import pandas as pd

from engine.frames import TICKS, Frame, ticks
from engine.panel.read import Reader, Scope, with_nulls
from engine.profiles.record import Floats

WINDOWS = (4, 13)
"""Weeks that "lately" and "this quarter" look back."""
TOP_DEPARTMENTS = 8
EMBEDDING_AXES = 4
WHOLE = 10_000
"""Shares and vector coordinates are summed as whole ten-thousandths, so that no order of summation matters."""


@dataclass(frozen=True)
class Shelf:
    """What is known of the products: joined to each purchase."""

    table: pd.DataFrame
    """product_id, department (text), private_label (0/1), tier (price rank within the category, 0…WHOLE), and e0…e3
    (text coordinates times WHOLE)."""
    departments: tuple[str, ...]
    """The largest by spend; each gets a share of the basket."""


def behaviour_counts(reader: Reader, shelf: Shelf, as_of: int, departments: Sequence[str]) -> pd.DataFrame:
    """Sum up each customer's purchases up to and with week `as_of`; index customer_id in alphabetical order."""
    lines = with_nulls(reader.transactions(Scope(until_week=as_of)), ("discount", "coupon_discount"))
    lines = lines.filter(~nw.col("customer_id").is_null())
    bought = _by_product(lines, as_of).join(reader.frame(shelf.table), on="product_id", how="left")
    tables = (_sums(bought, as_of, departments), _baskets(lines, as_of))
    found = [reader.collect(table) for table in tables]
    for table in found:
        table.index = pd.Index(table.pop("customer_id").astype(str), dtype=object)
    return pd.concat(found, axis=1).sort_index()


def _by_product(lines: Frame, as_of: int) -> Frame:
    """Sum up by customer and product first: counting distinct products afterwards costs nothing."""
    spend = ticks(nw.col("sales_value"))
    lately = {f"spend_{width}": nw.when(nw.col("week") > as_of - width).then(spend).otherwise(0) for width in WINDOWS}
    money = {
        "spend": spend,
        "discount": ticks(nw.col("discount").fill_null(0.0)),
        "coupon": ticks(nw.col("coupon_discount").fill_null(0.0)),
        **lately,
    }
    picked = lines.select("customer_id", "product_id", "week", **money)
    sums = [_total(name).alias(name) for name in money]
    edges = [nw.col("week").min().alias("first"), nw.col("week").max().alias("last")]
    return picked.group_by("customer_id", "product_id").agg(*sums, *edges)


def _sums(bought: Frame, as_of: int, departments: Sequence[str]) -> Frame:
    spend = nw.col("spend")
    weighed = {f"e{k}": nw.col(f"e{k}").fill_null(0) * spend // TICKS for k in range(EMBEDDING_AXES)}
    weighed["own_label"] = nw.col("private_label").fill_null(0) * spend
    weighed["tier_spend"] = nw.col("tier").fill_null(WHOLE // 2) * spend // WHOLE
    for number, department in enumerate(departments):
        weighed[f"department{number}"] = nw.when(nw.col("department") == department).then(spend).otherwise(0)
    for width in WINDOWS:
        weighed[f"products_{width}"] = nw.when(nw.col("last") > as_of - width).then(1).otherwise(0)
    as_they_are = ("spend", "discount", "coupon", *(f"spend_{width}" for width in WINDOWS))
    return (
        bought.with_columns(**weighed)
        .group_by("customer_id")
        .agg(
            *(_total(name).alias(name) for name in (*as_they_are, *weighed)),
            nw.col("first").min(),
            nw.col("last").max(),
            nw.col("category").n_unique().alias("categories"),
        )
    )


def _baskets(lines: Frame, as_of: int) -> Frame:
    counted = {f"baskets_{width}": nw.when(nw.col("week") > as_of - width).then(1).otherwise(0) for width in WINDOWS}
    baskets = lines.select("customer_id", "transaction_id", "week").unique().with_columns(**counted)
    sums = [_total(name).alias(name) for name in counted]
    return baskets.group_by("customer_id").agg(nw.len().alias("baskets"), *sums)


def _total(name: str) -> nw.Expr:
    return nw.col(name).sum().cast(nw.Int64)


def behaviour_features(counts: pd.DataFrame, as_of: int, first_week: int, departments: Sequence[str]) -> pd.DataFrame:
    """Turn the sums into features, not yet scaled.

    Args:
        counts: of `behaviour_counts`; a customer without a purchase has zeros and missing weeks.
        as_of: the last week that was looked at.
        first_week: of the data: nobody's tenure can be seen to be longer.
        departments: names of the ``department…`` columns.

    Returns:
        same index; columns ``behaviour.…`` and ``basic.tenure``.
    """
    money = {
        name: counts[name].to_numpy(dtype=np.float64) / TICKS
        for name in map(str, counts.columns)
        if name.startswith("spend")
    }
    whole = np.maximum(money["spend"], 0.0)
    waited = as_of - counts["last"].fillna(first_week - 1).to_numpy(dtype=np.float64)
    tenure = as_of + 1 - counts["first"].fillna(as_of + 1).to_numpy(dtype=np.float64)
    out = {
        "basic.tenure": np.log1p(tenure),
        "behaviour.recency": np.log1p(waited),
        "behaviour.frequency": np.log1p(counts["baskets"] / np.maximum(tenure, 1.0)),
        "behaviour.spend_week": np.log1p(whole / np.maximum(tenure, 1.0)),
        "behaviour.basket_value": np.log1p(whole / np.maximum(counts["baskets"], 1)),
        "behaviour.categories": np.log1p(counts["categories"]),
        "behaviour.discount_share": _share(counts["discount"], counts["discount"] + counts["spend"]),
        "behaviour.coupon_share": _share(counts["coupon"], counts["coupon"] + counts["spend"]),
        "behaviour.own_label_share": _share(counts["own_label"], counts["spend"]),
        "behaviour.price_tier": _share(counts["tier_spend"], counts["spend"], 0.5),
    }
    for width in WINDOWS:
        out[f"behaviour.spend_{width}"] = np.log1p(np.maximum(money[f"spend_{width}"], 0.0))
        out[f"behaviour.baskets_{width}"] = np.log1p(counts[f"baskets_{width}"])
        out[f"behaviour.products_{width}"] = np.log1p(counts[f"products_{width}"])
    for number, name in enumerate(departments):
        out[f"behaviour.share {name}"] = _share(counts[f"department{number}"], counts["spend"])
    for k in range(EMBEDDING_AXES):
        out[f"behaviour.text_{k}"] = counts[f"e{k}"].to_numpy(dtype=np.float64) / WHOLE / np.maximum(whole, 1.0)
    return pd.DataFrame(
        {name: np.asarray(values, dtype=np.float64) for name, values in out.items()}, index=counts.index
    )


def _share(part: pd.Series[float], whole: pd.Series[float], empty: float = 0.0) -> Floats:
    """Part of the whole, within 0…1; `empty` where there is nothing to divide by."""
    top, bottom = part.to_numpy(dtype=np.float64), whole.to_numpy(dtype=np.float64)
    share: Floats = np.divide(top, bottom, out=np.full(len(top), empty), where=bottom > 0)
    return np.clip(share, 0.0, 1.0)
