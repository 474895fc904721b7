"""What past weeks say of a proposal's products or customers: what the test of the proposal is sized on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from engine.errors import DataError
from engine.proposal import Proposal
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.shop import Shop
    from experiments.history import Outcome
    from experiments.proposal_design import WeeklyHistory


def history_of_table(table: pd.DataFrame) -> WeeklyHistory:
    """Weekly profit by product from rows with product_id, week and profit; NaN where a product has no row.

    Raises:
        DataError: a product has two rows in one week.
    """
    from experiments.proposal_design import WeeklyHistory

    names = table["product_id"].astype(str)
    twice = table.assign(product_id=names).duplicated(["product_id", "week"])
    if twice.any():
        row = table[twice].iloc[0]
        raise DataError(f"product {row['product_id']} has two rows in week {row['week']}; add them up first")
    wide = table.assign(product_id=names).pivot_table(index="product_id", columns="week", values="profit", dropna=False)
    return WeeklyHistory(tuple(wide.index), wide.to_numpy(dtype=np.float64))


def history_of_products(settings: Settings, proposal: Proposal) -> WeeklyHistory:
    """Weekly profit by product from the data of the proposal, at the prices then in force.

    Raises:
        DataError: the data cannot be read, or hold none of the products.
    """
    from engine.panel import build_panel
    from experiments.proposal_design import WeeklyHistory

    panel = build_panel(_shop_of(settings, proposal), settings)
    cost = panel.products["unit_cost"].to_numpy(dtype=np.float64)[panel.series_product]
    cells = panel.units * (panel.price - cost[:, None])
    rows = panel.series_product.max() + 1
    profit = np.zeros((rows, cells.shape[1]))
    np.add.at(profit, panel.series_product, np.nan_to_num(cells))
    return WeeklyHistory(panel.product_ids[:rows], profit)


def history_of_customers(settings: Settings, proposal: Proposal) -> Outcome:
    """A customer's profit over the proposal's horizon, with what the horizon before it explains.

    Sales count with the default margin; every customer of both periods is a unit, with 0 where nothing was bought.

    Raises:
        DataError: the data cannot be read, or have no transactions with customers.
    """
    from engine.frames import open_backend
    from engine.panel.read import Reader, Scope
    from experiments.history import mean_outcome, with_covariates

    shop = _shop_of(settings, proposal)
    if not shop.has("transactions"):
        raise DataError(f"{shop.name} has no transactions; hand in a table of customers with their profit instead")
    with open_backend(settings) as backend:
        reader = Reader(shop, backend)
        lines = reader.transactions(Scope())
        if "customer_id" not in lines.collect_schema().names():
            raise DataError(f"{shop.name}: transactions carry no customer_id; hand in a table of customers instead")
        frame = reader.collect(lines.select("customer_id", "week", "sales_value").drop_nulls())
    last, span = int(frame["week"].max()), proposal.horizon_weeks
    recent = frame[frame["week"] > last - 2 * span]
    after = recent["week"] > last - span
    sums = recent.assign(after=after).pivot_table(
        index="customer_id", columns="after", values="sales_value", aggfunc="sum", fill_value=0.0
    )
    if sums.shape[1] < 2 or len(sums) < 3:
        raise DataError(f"{shop.name} has fewer than {2 * span} weeks of transactions; hand in a table of customers")
    margin = settings.data.default_margin or 1.0
    values = margin * sums[True].to_numpy(dtype=np.float64)
    return with_covariates(mean_outcome("profit", values), values, sums[False].to_numpy(dtype=np.float64))


def _shop_of(settings: Settings, proposal: Proposal) -> Shop:
    """Open the data that the proposal was made from.

    Raises:
        DataError: the settings name other data.
    """
    from engine.sources import open_shop

    shop = open_shop(settings.data.source, settings)
    if shop.name != proposal.data:
        raise DataError(
            f"proposal {proposal.proposal_id} was made from {proposal.data}, the settings name {shop.name}; "
            "give its data with --set data.source=…, or a HISTORY file"
        )
    return shop
