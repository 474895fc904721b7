"""The everyday price where the shop does not log it: a trailing reference over the prices seen so far."""

from __future__ import annotations

import numpy as np

from engine.panel.record import Bools, Floats

REFERENCE_WEEKS = 8
REFERENCE_QUANTILE = 0.8


def trailing_reference(price: Floats, seen: Bools) -> Floats:
    """Upper quantile of the prices seen in the last eight weeks, this one included.

    Args:
        price: (S, T) money per unit.
        seen: (S, T) False where the price is not known; those cells do not count.

    Returns:
        (S, T) money per unit; NaN before the first price seen.
    """
    out = np.full(price.shape, np.nan)
    known = np.where(seen, price, np.nan)
    for t in range(price.shape[1]):
        window = known[:, max(0, t - REFERENCE_WEEKS + 1) : t + 1]
        has = np.isfinite(window).any(axis=1)
        out[has, t] = np.nanquantile(window[has], REFERENCE_QUANTILE, axis=1, method="higher")
    return carried_forward(out)


def carried_forward(values: Floats) -> Floats:
    """(S, T) with each NaN replaced by the last finite value before it in its row; leading NaN stay."""
    finite = np.isfinite(values)
    position = np.where(finite, np.arange(values.shape[1]), -1)
    last = np.maximum.accumulate(position, axis=1)
    taken = np.take_along_axis(values, np.maximum(last, 0), axis=1)
    return np.where(last >= 0, taken, np.nan)


def filled(values: Floats) -> Floats:
    """`carried_forward`, with leading NaN replaced by the first finite value of the row."""
    forward = carried_forward(values)
    return carried_forward(forward[:, ::-1])[:, ::-1]
