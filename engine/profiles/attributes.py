"""What customers told the shop about themselves: numbers as they are, categories as indicators."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from engine.panel.read import Reader

MAX_LEVELS = 30
"""A text column with more levels is an identifier or free text, and says nothing about similar customers."""
KEPT_LEVELS = 6
HOUSEHOLD = re.compile(r"household|hh_|family|kid|child|marital|home|partner|家庭|婚|孩|子女|住房", re.IGNORECASE)
"""Attributes of the people somebody lives with, rather than of the customer."""


def attribute_features(reader: Reader) -> pd.DataFrame:
    """Encode the customers table.

    Returns:
        index customer_id in alphabetical order; columns ``basic.…`` and ``household.…``; no rows without the table.
    """
    if not reader.columns("customers"):
        return pd.DataFrame(index=pd.Index([], dtype=object))
    table = reader.collect(reader.table("customers"))
    table.index = pd.Index(table.pop("customer_id").astype(str), dtype=object)
    table = table[~table.index.duplicated()].sort_index()
    columns: dict[str, pd.Series[float]] = {}
    for name in sorted(table.columns):
        columns |= _encoded(str(name), table[name])
    return pd.DataFrame(columns, index=table.index, dtype=np.float64)


def _encoded(name: str, values: pd.Series) -> dict[str, pd.Series[float]]:
    """A number with its gaps at the median; else the commonest levels as 0/1."""
    layer = "household" if HOUSEHOLD.search(name) else "basic"
    if pd.api.types.is_datetime64_any_dtype(values):
        return {}
    if pd.api.types.is_numeric_dtype(values):
        number = pd.to_numeric(values, errors="coerce").astype(np.float64).replace([np.inf, -np.inf], np.nan)
        return {f"{layer}.{name}": number.fillna(number.median() if number.notna().any() else 0.0)}
    words = values.astype(object).where(values.notna(), "unknown").astype(str)
    counts = words.value_counts()
    if len(counts) < 2 or len(counts) > MAX_LEVELS:
        return {}
    levels = sorted(counts.index, key=lambda level: (-counts[level], level))[:KEPT_LEVELS]
    return {f"{layer}.{name}={level}": (words == level).astype(np.float64) for level in sorted(levels)}
