"""Ladders with further rungs."""

from __future__ import annotations

import numpy as np

from optimizers.prices.ladder import CENTS, Ladder
from optimizers.rules.record import Floats

_SLACK = 1e-9
_SAME = 0.5 / CENTS - _SLACK


def joined(ladder: Ladder, further: Floats) -> Ladder:
    """Add prices (P, E) to a ladder; NaN adds nothing, and what is within half a cent of a rung is that rung."""
    price = np.concatenate([ladder.price, further], axis=1)
    today = ladder.price[:, ladder.today, None]
    down = _packed(-np.where(price < today - _SAME, price, np.nan))[:, ::-1]
    up = _packed(np.where(price > today + _SAME, price, np.nan))
    return Ladder(np.concatenate([-down, today, up], axis=1), down.shape[1])


def _packed(price: Floats) -> Floats:
    """Sort each row, drop repetitions, and drop columns that nobody needs; the empty ones stand last."""
    ordered = np.sort(price, axis=1)
    ordered[:, 1:][np.diff(ordered, axis=1) < _SAME] = np.nan
    ordered = np.sort(ordered, axis=1)
    return ordered[:, np.isfinite(ordered).any(axis=0)]
