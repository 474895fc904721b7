"""What the buyers of each product are like: the mean profile, for models of the product's demand."""

from __future__ import annotations

import narwhals as nw
import numpy as np
import pandas as pd

from engine.errors import InputError
from engine.frames import open_backend
from engine.panel import Panel
from engine.panel.read import Reader, Scope, only
from engine.profiles.record import Floats, Profiles
from engine.settings import Settings
from engine.shop import Shop

MIX_FEATURES = (
    "score",
    "basic.tenure",
    "behaviour.recency",
    "behaviour.frequency",
    "behaviour.spend_13",
    "behaviour.basket_value",
    "behaviour.categories",
    "behaviour.discount_share",
    "behaviour.own_label_share",
    "behaviour.price_tier",
    "behaviour.text_0",
    "household.neighbours spend_4",
)
"""The columns of a mix, in this order: few, and the same for every shop."""
PRIOR_BUYERS = 10.0
"""A product's mix counts as if so many average customers had bought it as well."""
WHOLE = 10_000
COLUMNS = tuple(f"m{k}" for k in range(len(MIX_FEATURES)))


def profile_mix(
    shop: Shop, profiles: Profiles, panel: Panel, until_week: int, settings: Settings | None = None
) -> Floats:
    """Mean profile of each product's buyers, each buyer counted once, shrunk towards the average customer.

    Args:
        shop: its transactions say who bought.
        profiles: as of `until_week` or earlier.
        panel: whose products.
        until_week: purchases after this week are not looked at.
        settings: the limits of the dataframe layer; None: the defaults.

    Returns:
        (P, 12) in the order of `MIX_FEATURES`, in standard deviations over customers; 0 (the average customer) where
        nobody known bought, or where the profiles lack the feature.

    Raises:
        InputError: the profiles know weeks after `until_week`.
    """
    if profiles.customer_ids and profiles.as_of > until_week:
        raise InputError(
            f"profile_mix: profiles as of week {profiles.as_of} know more than week {until_week}; "
            f"build them with as_of={until_week}"
        )
    out = np.zeros((panel.n_products, len(MIX_FEATURES)))
    if not profiles.customer_ids or not shop.has("transactions"):
        return out
    with open_backend(settings or Settings()) as backend:
        sums = _sums(Reader(shop, backend), profiles, panel, until_week)
    row = {product: i for i, product in enumerate(panel.product_ids)}
    at = np.array([row[product] for product in sums.index], dtype=np.int64)
    total = sums[list(COLUMNS)].to_numpy(dtype=np.float64) / WHOLE
    out[at] = total / (sums["buyers"].to_numpy(dtype=np.float64) + PRIOR_BUYERS)[:, None]
    return out


def _sums(reader: Reader, profiles: Profiles, panel: Panel, until_week: int) -> pd.DataFrame:
    """Sum the buyers' features by product, in whole ten-thousandths; index product_id."""
    if "customer_id" not in reader.columns("transactions"):
        return pd.DataFrame(columns=[*COLUMNS, "buyers"], index=pd.Index([], dtype=object))
    bought = only(reader.transactions(Scope(until_week=until_week)), panel.product_ids).filter(nw.col("quantity") > 0)
    pairs = bought.select("customer_id", "product_id").unique()
    known = pairs.join(reader.frame(_whole(profiles)), on="customer_id", how="inner")
    totals = [nw.col(name).sum().cast(nw.Int64) for name in COLUMNS]
    found = reader.collect(known.group_by("product_id").agg(*totals, buyers=nw.len()))
    return found.set_index(pd.Index(found.pop("product_id").astype(str), dtype=object)).sort_index()


def _whole(profiles: Profiles) -> pd.DataFrame:
    score = profiles.score
    spread = float(score.std())
    values = {"score": (score - score.mean()) / spread if spread > 0 else np.zeros(len(score))}
    table = {"customer_id": list(profiles.customer_ids)}
    for column, name in zip(COLUMNS, MIX_FEATURES, strict=True):
        feature = profiles.features[name].to_numpy(dtype=np.float64) if name in profiles.features else 0.0
        rounded = np.round(np.broadcast_to(values.get(name, feature), len(score)) * WHOLE)
        table[column] = rounded.astype(np.int64).tolist()
    return pd.DataFrame(table)
