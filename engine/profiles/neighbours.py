"""The household layer's second half: how the nearest households behave."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.profiles.record import Floats

Rows = npt.NDArray[np.int64]

NEIGHBOURS = 20
LANDMARKS = 2000
"""Neighbours are looked for among this many customers, chosen by a stable hash: the work grows with N, not with N²."""
BORROWED = ("behaviour.spend_4", "behaviour.baskets_4", "behaviour.discount_share")
_BLOCK = 4096


def neighbour_features(scaled: pd.DataFrame) -> pd.DataFrame:
    """Mean behaviour of the twenty nearest customers, in what they are and what they buy.

    Args:
        scaled: (N, F) scaled features; index customer_id.

    Returns:
        (N, 3) ``household.neighbours …``; no columns for fewer than four customers.
    """
    described = [name for name in map(str, scaled.columns) if _describes(name)]
    borrowed = [name for name in BORROWED if name in scaled]
    if len(scaled) < 4 or not described or not borrowed:
        return pd.DataFrame(index=scaled.index)
    points = scaled[described].to_numpy(dtype=np.float64)
    landmarks = _landmarks(list(scaled.index))
    values = scaled[borrowed].to_numpy(dtype=np.float64)[landmarks]
    out = np.empty((len(points), len(borrowed)))
    for begin in range(0, len(points), _BLOCK):
        rows = np.arange(begin, min(begin + _BLOCK, len(points)))
        out[rows] = values[_nearest(points[rows], points[landmarks], rows[:, None] == landmarks)].mean(axis=1)
    return pd.DataFrame(out, index=scaled.index, columns=[f"household.neighbours {n.split('.')[1]}" for n in borrowed])


def _describes(name: str) -> bool:
    """Whether a feature says who a customer is or what is bought, rather than how much."""
    return name.startswith(("household.", "basic.", "behaviour.share ", "behaviour.text_"))


def _landmarks(names: Sequence[object]) -> Rows:
    order = sorted(range(len(names)), key=lambda i: hashlib.blake2b(str(names[i]).encode(), digest_size=8).digest())
    return np.sort(np.array(order[:LANDMARKS], dtype=np.int64))


def _nearest(points: Floats, others: Floats, self_pairs: npt.NDArray[np.bool_]) -> Rows:
    """Row numbers (n, k) of the nearest others by Euclidean distance, in no order."""
    squared = (others**2).sum(axis=1)[None, :] - 2 * points @ others.T
    squared[self_pairs] = np.inf
    k = min(NEIGHBOURS, len(others) - 2)
    return np.argpartition(squared, k, axis=1)[:, :k]
