"""The choices of a family that a plan can hold: put together product by product, within what the shop's rows leave.

Three changes among a hundred products leave few choices even to a family of twenty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.prices.kernels import TIGHT, Tables
from optimizers.prices.row_set import RowSet, dense_row

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LARGEST = 2000
"""Products of a shop up to which its rows are asked what they leave."""
MOST_ROWS = 12
"""Rows that are asked at most, the ones over most products."""


@dataclass(frozen=True)
class Leeway:
    """What Q hard linear rows over several families leave to P products of K rungs; scaled units."""

    coefficient: Floats
    """(Q, P, K), NaN where a rung may not be taken."""
    least: Floats
    """(Q, P) of the permitted rungs."""
    most: Floats
    low: Floats
    """(Q,)"""
    high: Floats

    def count(self, products: Ints, options: Floats) -> float:
        """No family of these products has more choices; `options` (n,) are their permitted rungs."""
        found = float(np.exp(np.log(options).sum()))
        for q in range(len(self.high)):
            for away, room in (
                (self.coefficient[q] - self.least[q][:, None], self.high[q] - self.least[q].sum()),
                (self.most[q][:, None] - self.coefficient[q], self.most[q].sum() - self.low[q]),
            ):
                found = min(found, _few(away[products], room, options))
        return found

    def choices(self, tables: Tables, products: Ints, most: int) -> Ints | None:
        """(N, n) every choice that the rows leave; None: more than `most`, finished or not."""
        rungs, used = np.zeros((1, 0), dtype=np.int64), np.zeros((1, len(self.high)))
        rest = np.stack([self.least.sum(axis=1), self.most.sum(axis=1)])
        for i in products.tolist():
            rest = rest - np.stack([self.least[:, i], self.most[:, i]])
            open_rungs = np.flatnonzero(tables.allowed[i])
            if len(rungs) * len(open_rungs) > 40 * most:
                return None
            after = used[:, None, :] + self.coefficient[:, i, open_rungs].T
            fits = (after + rest[0] <= self.high + TIGHT) & (after + rest[1] >= self.low - TIGHT)
            before, option = np.nonzero(fits.all(axis=2))
            if len(before) > most:
                return None
            rungs, used = np.column_stack([rungs[before], open_rungs[option]]), after[before, option]
        return rungs


def _few(away: Floats, room: float, options: Floats) -> float:
    """Choices of products whose rungs lie `away` (n, K) from the one that a row likes best, where it leaves `room`."""
    away = np.where(np.isnan(away), np.inf, away)
    if not 0 <= room < np.inf or (np.count_nonzero(away <= TIGHT, axis=1) != 1).any():
        return math.inf
    step = float(np.where(away > TIGHT, away, np.inf).min(initial=np.inf))
    moves = min(len(options), int(room / step + 1e-6)) if np.isfinite(step) else 0
    return float(sum(math.comb(len(options), j) * (options.max() - 1) ** j for j in range(moves + 1)))


def leeway(tables: Tables, joint: RowSet) -> Leeway:
    """Read the rows that are hard, linear, and over products of several families."""
    arrays, shape = joint.arrays, tables.log_move.shape
    owner = np.repeat(np.arange(shape[0]), np.diff(arrays.start))
    several = [
        (np.count_nonzero(arrays.row == r), r)
        for r in np.flatnonzero(np.isinf(arrays.penalty) & (arrays.measured == 0)).tolist()
        if len(np.unique(tables.family[owner[arrays.row == r]])) > 1
    ]
    asked = [r for _, r in sorted(several, reverse=True)[:MOST_ROWS]] if shape[0] <= LARGEST else []
    there = tables.allowed > 0
    dense = [np.where(there, dense_row(arrays, r, tables.log_move), np.nan) for r in asked]
    coefficient = np.stack(dense) if dense else np.zeros((0, *shape))
    numbers = np.array(asked, dtype=np.int64)
    least, most = np.nanmin(coefficient, axis=2), np.nanmax(coefficient, axis=2)
    return Leeway(coefficient, least, most, arrays.low[numbers], arrays.high[numbers])
