"""Rules between prices as arrays: coefficients by product, in units in which the largest is 1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError
from optimizers.prices.kernels import TIGHT, RowArrays, Tables
from optimizers.prices.ladder import Ladder
from optimizers.prices.problem import PriceProblem
from optimizers.prices.rows import LinearRow

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HAIR = 0.5
"""A row narrower than this share of a typical coefficient is met by cancelling moves, not by columns."""


@dataclass(frozen=True)
class RawRow:
    """A row before it is scaled: products in the system's order."""

    name: str
    product: Ints
    """(n,) each once."""
    coefficient: Floats
    """(n, K)"""
    low: float
    high: float
    penalty: float
    measured: bool


@dataclass(frozen=True)
class RowSet:
    """Rows in scaled units, with their names."""

    name: tuple[str, ...]
    """(R,)"""
    arrays: RowArrays
    scale: Floats
    """(R,) the row's own units per scaled unit."""
    number: Ints
    """(R,) number of each row among all rows that couple products."""

    def __len__(self) -> int:
        return len(self.name)


def expanded_rows(problem: PriceProblem, ladder: Ladder, rows: Iterable[LinearRow], back: Ints) -> list[RawRow]:
    """Write every row with one block of coefficients for each of its products."""
    found = []
    for row in rows:
        if row.low == -np.inf and row.high == np.inf:
            continue
        penalty = np.inf if row.penalty is None else row.penalty
        if row.measure == "linear":
            product, place = np.unique(back[row.product], return_inverse=True)
            coefficient = np.zeros((len(product), ladder.price.shape[1]))
            np.add.at(coefficient, (place, row.rung), row.coefficient)
            found.append(RawRow(row.name, product, coefficient, row.low, row.high, penalty, measured=False))
            continue
        product = np.unique(back[row.product])
        outside = np.argsort(back)[product]
        price = np.where(ladder.rungs, ladder.price, problem.current_price[:, None])[outside]
        margin = price - problem.unit_cost[outside][:, None]
        if row.measure == "margin":
            sides = ((row.low, 0.0, np.inf), (row.high, -np.inf, 0.0))
            found += [
                RawRow(row.name, product, margin - share * price, low, high, penalty, measured=True)
                for share, low, high in sides
                if np.isfinite(share)
            ]
            continue
        coefficient = {"units": np.ones_like(price), "revenue": price, "profit": margin}[row.measure]
        found.append(RawRow(row.name, product, coefficient, row.low, row.high, penalty, measured=True))
    return found


def split_fines(rows: list[RawRow], shape: tuple[int, ...]) -> tuple[list[RawRow], Floats]:
    """Tell the rows that couple products from soft rows whose fine is a sum over products: the fines (P, K) of those.

    Such are soft linear rows over one product, and those that only add up what each product breaks. No multiplier is
    needed for them: each rung pays its fine.
    """
    fine = np.zeros(shape)
    left = []
    for row in rows:
        if not len(row.product):
            _settle(row, fine)
            continue
        adds_up = row.low == -np.inf and row.high == 0.0 and bool((row.coefficient >= 0).all())
        if row.measured or np.isinf(row.penalty) or not (adds_up or len(row.product) == 1):
            left.append(row)
            continue
        off = np.maximum(np.maximum(row.coefficient - row.high, row.low - row.coefficient), 0.0)
        fine[row.product] += row.penalty * off
    return left, fine


def _settle(row: RawRow, fine: Floats) -> None:
    """A row that no choice changes is kept by all or by none: its fine is paid whatever is chosen.

    Raises:
        InfeasibleError: it is hard, and broken.
    """
    off = max(row.low, -row.high, 0.0)
    if np.isinf(row.penalty) and off > TIGHT:
        raise InfeasibleError(f"no prices satisfy the rules: no price that may change counts in {row.name!r}; relax it")
    if np.isfinite(row.penalty):
        fine[:1] += row.penalty * off


def row_set(rows: list[RawRow], tables: Tables, number: Ints) -> RowSet:
    """Scale rows, of these numbers, so that their largest coefficient is 1, and sort their blocks by product."""
    products, rungs = tables.log_move.shape
    sizes, blocks = [], []
    for row in rows:
        weight = np.abs(row.coefficient) * (tables.allowed[row.product] > 0)
        if row.measured:
            weight = weight * np.abs(tables.units[row.product]).sum(axis=2)
        size = float(weight.max(initial=0.0))
        sizes.append(size if size > 0 else 1.0)
        blocks.append(row.coefficient / sizes[-1])
    scale = np.array(sizes, dtype=np.float64)
    product = np.concatenate([row.product for row in rows]) if rows else np.empty(0, dtype=np.int64)
    owner = np.repeat(np.arange(len(rows)), [len(row.product) for row in rows]).astype(np.int64)
    coefficient = np.concatenate(blocks) if rows else np.empty((0, rungs))
    order = np.lexsort((owner, product))
    start = np.searchsorted(product[order], np.arange(products + 1)).astype(np.int64)
    arrays = RowArrays(
        start,
        owner[order],
        np.ascontiguousarray(coefficient[order]),
        np.array([row.low for row in rows], dtype=np.float64) / scale,
        np.array([row.high for row in rows], dtype=np.float64) / scale,
        np.array([row.penalty for row in rows], dtype=np.float64) * scale,
        np.array([row.measured for row in rows], dtype=np.int64),
    )
    return RowSet(tuple(row.name for row in rows), arrays, scale, number)


def narrow_rows(rows: RowArrays) -> Ints:
    """Rows whose sides lie closer together than a typical product moves them."""
    width = rows.high - rows.low
    found = []
    for r in np.flatnonzero(np.isfinite(width) & (rows.measured == 0)):
        parts = np.abs(rows.coefficient[rows.row == r])
        parts = parts[parts > 0]
        if len(parts) and width[r] < HAIR * float(np.median(parts)):
            found.append(r)
    return np.array(found, dtype=np.int64)


def dense_row(rows: RowArrays, number: int, like: Floats) -> Floats:
    """Coefficients of one row, in the shape (P, K) of `like`."""
    found = np.zeros_like(like)
    mine = np.flatnonzero(rows.row == number)
    found[np.searchsorted(rows.start, mine, side="right") - 1] = rows.coefficient[mine]
    return found
