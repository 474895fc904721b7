"""What is known about a customer before a wave: attributes, and his own past in the coupon history."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.coupon_response.history import History
from engine.coupon_response.record import Bools, Floats
from engine.shop import Shop

MAX_LEVELS = 50
"""A text column with more distinct values than this is an identifier or free text, and is left out."""
KEPT_LEVELS = 8
FEW_VALUES = 8
"""A number with no more distinct values than this is standardised; others are brought to normal scores first."""
PRIOR_WAVES = 2.0
"""A customer's own past counts as if so many waves at the mean of all had come before."""
Pair = tuple[Floats, Floats]
"""A feature of the rows (R,) and of the customers today (N,)."""
SCORES = np.array([NormalDist().inv_cdf((i + 0.5) / 512) for i in range(512)])


@dataclass(frozen=True)
class Attributes:
    """Standardised features of each row of the history, and of each customer today."""

    names: tuple[str, ...]
    rows: Floats
    """(R, F)"""
    today: Floats
    """(N, F)"""


def build_attributes(shop: Shop, history: History, profiles: Any, excluded: Collection[str] = ()) -> Attributes:  # noqa: ANN401
    """Put together the features.

    Args:
        shop: its customers table, where it has one, gives the attributes.
        history: the rows.
        profiles: Profiles or None. Only the basic layer is taken, and only without a customers table: the other layers
            of a profile drawn up after the waves hold what the coupons did, and to adjust for a consequence biases.
        excluded: names of columns that must not be used (protected attributes).
    """
    blocks = [
        _static(shop, history, excluded),
        _from_profiles(profiles, shop, history, excluded),
        past_behaviour(history),
    ]
    names: list[str] = []
    rows: list[Floats] = []
    today: list[Floats] = []
    for block in blocks:
        for name, (at_rows, at_today) in block.items():
            scaled = _standardise(at_rows, at_today)
            if scaled is not None:
                names.append(name)
                rows.append(scaled[0])
                today.append(scaled[1])
    r, n = len(history.customer), len(history.customer_ids)
    return Attributes(
        tuple(names),
        np.stack(rows, axis=1) if rows else np.zeros((r, 0)),
        np.stack(today, axis=1) if today else np.zeros((n, 0)),
    )


def _standardise(rows: Floats, today: Floats) -> tuple[Floats, Floats] | None:
    """Bring a feature to mean 0 and spread 1; None where it does not vary."""
    if len(np.unique(rows)) > FEW_VALUES:
        grid = np.quantile(rows, (np.arange(len(SCORES)) + 0.5) / len(SCORES))
        # Equal quantiles (ties) share the mean of their scores, so that the map is a function.
        steps, first = np.unique(grid, return_inverse=True)
        score = np.bincount(first, SCORES) / np.bincount(first)
        rows, today = np.interp(rows, steps, score), np.interp(today, steps, score)
    mean, spread = float(rows.mean()), float(rows.std())
    if spread < 1e-9:
        return None
    return (rows - mean) / spread, np.clip((today - mean) / spread, -6, 6)


def _static(shop: Shop, history: History, excluded: Collection[str]) -> dict[str, Pair]:
    if not shop.has("customers"):
        return {}
    table = pd.read_parquet(shop.tables["customers"])
    table.index = pd.Index(table.pop("customer_id").astype(str))
    table = table[~table.index.duplicated()].reindex(history.customer_ids.astype(str))
    columns: dict[str, Floats] = {}
    for name in table.columns:
        if name not in excluded:
            columns.update(_encode(str(name), table[name]))
    return {name: (values[history.customer], values) for name, values in columns.items()}


def _from_profiles(profiles: Any, shop: Shop, history: History, excluded: Collection[str]) -> dict[str, Pair]:  # noqa: ANN401
    """The basic layer, where there is no customers table to take the attributes from."""
    if profiles is None or shop.has("customers"):
        return {}
    table = profiles.features.set_axis(pd.Index([str(one) for one in profiles.customer_ids]), axis=0)
    table = table.reindex(history.customer_ids.astype(str)).fillna(0.0)
    wanted = [name for name in table.columns if str(name).startswith("basic.") and name not in excluded]
    columns = {str(name): table[name].to_numpy(dtype=np.float64) for name in wanted}
    return {name: (values[history.customer], values) for name, values in columns.items()}


def _encode(name: str, column: pd.Series[Any]) -> dict[str, Floats]:
    """A number as it is, categories as indicators of the commonest, a gap as an indicator of its own."""
    missing = column.isna().to_numpy()
    found: dict[str, Floats] = {}
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        values = np.where(np.isfinite(values), values, np.nan)
        missing = np.isnan(values)
        middle = float(np.median(values[~missing])) if (~missing).any() else 0.0
        found[name] = np.where(missing, middle, values)
    else:
        text = column.astype(object).where(~missing, "").astype(str)
        counts = text[~missing].value_counts()
        if len(counts) > MAX_LEVELS:
            return {}
        levels = sorted(counts.sort_index().sort_values(ascending=False, kind="stable").index[:KEPT_LEVELS])
        for level in levels[1:] if len(levels) == len(counts) and not missing.any() else levels:
            found[f"{name}={level}"] = (text == level).to_numpy(dtype=np.float64)
    if 0 < missing.sum() < len(missing):
        found[f"{name} missing"] = missing.astype(np.float64)
    return found


def past_behaviour(history: History) -> dict[str, Pair]:
    """The customer's own past strictly before each wave (R,), and up to today (N,), by name."""
    found: dict[str, Pair] = {}
    unsent = history.arm == 0
    everything = np.ones(len(unsent), dtype=np.bool_)
    if history.n_waves > 1:
        found["past profit"] = _running(history, history.profit, everything)
        found["past profit without coupon"] = _running(history, history.profit, unsent)
        found["past redemptions"] = _running(history, history.redeemed.astype(np.float64), ~unsent)
        found["past coupons"] = _running(history, np.where(unsent, 0.0, 1.0), everything)
        if np.isfinite(history.bought).all():
            found["past purchases"] = _running(history, history.bought, everything)
    if history.before is not None:
        last = np.zeros(len(history.customer_ids))
        last[history.customer] = history.before  # sorted by wave: the last one stays
        found["profit before"] = (history.before, last)
    return found


def _running(history: History, values: Floats, counted: Bools) -> tuple[Floats, Floats]:
    """Shrunken mean of `values` over a customer's counted rows of earlier waves; the same over all his rows."""
    n, w = len(history.customer_ids), history.n_waves
    cell = history.customer * w + history.wave
    sums = np.bincount(cell, np.where(counted, values, 0.0), n * w).reshape(n, w)
    counts = np.asarray(np.bincount(cell[counted], minlength=n * w), dtype=np.float64).reshape(n, w)
    # The prior mean is that of earlier waves as well: nothing later than the wave may enter.
    before_sum, before_count = _before(sums), _before(counts)
    mean = before_sum.sum(axis=0) / np.maximum(before_count.sum(axis=0), 1.0)
    shrunk = (before_sum + PRIOR_WAVES * mean) / (before_count + PRIOR_WAVES)
    # Centring by wave keeps the scale of the first waves, where nothing is known yet, comparable with later ones.
    at_wave = shrunk - mean
    end_mean = sums.sum() / max(counts.sum(), 1.0)
    today = (sums.sum(axis=1) + PRIOR_WAVES * end_mean) / (counts.sum(axis=1) + PRIOR_WAVES) - end_mean
    return at_wave[history.customer, history.wave], today


def _before(matrix: npt.NDArray[Any]) -> Floats:
    """Sums over the waves before each wave."""
    running = np.cumsum(matrix, axis=1)
    return np.concatenate([np.zeros((len(matrix), 1)), running[:, :-1]], axis=1)
