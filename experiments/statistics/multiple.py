"""Several metrics and variants at once: adjusted p-values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Correction = Literal["none", "holm", "benjamini_hochberg"]
CORRECTIONS: tuple[Correction, ...] = ("none", "holm", "benjamini_hochberg")


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the chance of any false discovery below alpha (Holm 1979); in the given order."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    adjusted = np.empty(p.size)
    adjusted[order] = stepped
    return [float(value) for value in adjusted]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the expected share of false discoveries below alpha (Benjamini and Hochberg 1995)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")[::-1]
    stepped = np.minimum(1.0, np.minimum.accumulate(p[order] * p.size / np.arange(p.size, 0, -1)))
    adjusted = np.empty(p.size)
    adjusted[order] = stepped
    return [float(value) for value in adjusted]


def adjust(p_values: Sequence[float], correction: Correction) -> list[float]:
    """Adjusted p-values by the named correction; in the given order."""
    if correction == "holm":
        return holm(p_values)
    if correction == "benjamini_hochberg":
        return benjamini_hochberg(p_values)
    return list(p_values)
