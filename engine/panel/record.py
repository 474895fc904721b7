"""The record of the weekly product panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Panel:
    """S series (a product in the whole chain, or a product in one store) over T consecutive weeks.

    All matrices are (S, T). A cell where `observed` is False carries the last known price and must not be used to
    estimate anything; its `units` are what was recorded, 0 as a rule, which does not mean that nothing was wanted.
    """

    products: pd.DataFrame
    """(P,) rows, index 0…P-1: product_id, title, description, category, department, brand, private_label (0/1),
    unit_cost (money), cost_assumed (bool); missing texts are ''."""
    series_product: Ints
    """(S,) row number in `products`."""
    series_store: npt.NDArray[Any]
    """(S,) store identifier; '' for the whole chain."""
    weeks: Ints
    """(T,) running week numbers."""
    week_start: npt.NDArray[np.datetime64]
    """(T,) Mondays; NaT where the calendar is unknown."""
    units: Floats
    price: Floats
    """Shelf price per unit that was in force, money: discounts included, coupons not."""
    regular_price: Floats
    """The everyday price without temporary discounts; where the shop does not log it, the price path
    with dips of up to four weeks filled in (a cut in the last four weeks still counts as a dip)."""
    mailer: Floats
    """Share of sales or stores in the weekly leaflet, 0…1."""
    display: Floats
    stock_out: Floats
    """1 where the product was known not to be there: units are a lower limit of demand. See `stock_out_logged`."""
    experiment: Floats
    """1 where the price was moved at random, and logged."""
    observed: Bools
    regular_logged: bool
    """False where `regular_price` is our own reconstruction."""
    price_caveats: tuple[str, ...] = ()
    prices_reconstructed: bool = False
    """True where prices were rebuilt from purchases: they wobble with who bought where, and a week without a sale
    shows no price of its own (the trailing everyday price stands in for it)."""
    stock_out_logged: bool = True
    """False where `stock_out` was read off the sales themselves: such cells may be left out of a fit, but not out of
    the test of a forecast, for they were chosen by their outcome."""

    @property
    def n_products(self) -> int:
        """P, the number of products."""
        return len(self.products)

    @property
    def product_ids(self) -> tuple[str, ...]:
        """(P,) identifiers."""
        return tuple(self.products["product_id"])

    @property
    def category_code(self) -> Ints:
        """(P,) category as a code 0…C-1 in order of first appearance."""
        return pd.factorize(self.products["category"])[0].astype(np.int64)
