"""From long cells to dense matrices: which series and weeks a panel has, and where a cell goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.panel.record import Floats, Ints


@dataclass(frozen=True)
class Grid:
    """S series by T weeks."""

    products: tuple[str, ...]
    series_product: Ints
    series_store: npt.NDArray[np.str_]
    weeks: Ints

    @property
    def shape(self) -> tuple[int, int]:
        """(S, T)."""
        return len(self.series_product), len(self.weeks)

    def dense(self, cells: pd.DataFrame, columns: Sequence[str]) -> dict[str, Floats]:
        """(S, T) matrices of `columns`, NaN where there is no cell; chain-wide cells hold for every store."""
        rank = {product: i for i, product in enumerate(self.products)}
        product: Ints = np.asarray(cells["product_id"].map(rank), dtype=np.int64)
        week: Ints = np.asarray(cells["week"], dtype=np.int64) - self.weeks[0]
        row, rows = self._rows(product, cells["store_id"].to_numpy(dtype=object))
        inside = (week >= 0) & (week < len(self.weeks)) & (row >= 0)
        out = {}
        for name in columns:
            matrix = np.full((rows, len(self.weeks)), np.nan)
            matrix[row[inside], week[inside]] = cells[name].to_numpy()[inside]
            out[name] = matrix if rows == self.shape[0] else matrix[self.series_product]
        return out

    def _rows(self, product: npt.NDArray[np.int64], store: npt.NDArray[np.object_]) -> tuple[Ints, int]:
        """Row of each cell, and how many rows there are: one a product where all cells are chain-wide."""
        if (store == "").all():
            by_series = bool((self.series_store == "").all())
            series = {int(p): i for i, p in enumerate(self.series_product)} if by_series else None
            row = np.array([series.get(int(p), -1) for p in product], dtype=np.int64) if series else product
            return row, self.shape[0] if by_series else len(self.products)
        index = pd.MultiIndex.from_arrays([self.series_product, self.series_store.astype(object)])
        return index.get_indexer(pd.MultiIndex.from_arrays([product, store])).astype(np.int64), self.shape[0]


def make_grid(products: Sequence[str], sales: pd.DataFrame, weeks: Ints) -> Grid:
    """Make the grid of the series that were sold; a product that was not has one series all the same."""
    rank = {product: i for i, product in enumerate(products)}
    pairs = sales[["product_id", "store_id"]].drop_duplicates()
    sold = {(rank[p], str(s)) for p, s in zip(pairs["product_id"], pairs["store_id"], strict=True)}
    chain = {(i, "") for i in set(rank.values()) - {p for p, _ in sold}}
    order = sorted(sold | chain)
    return Grid(
        products=tuple(products),
        series_product=np.array([p for p, _ in order], dtype=np.int64),
        series_store=np.array([s for _, s in order], dtype=np.str_),
        weeks=weeks,
    )
