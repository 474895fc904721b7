"""What past weeks say of a proposal's products or customers: what the test of the proposal is sized on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.errors import DataError, InputError
from engine.proposal import Proposal, Reason
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.shop import Shop
    from experiments.history import Outcome
    from experiments.proposal_design import WeeklyHistory
    from experiments.proposal_stores import StoreHistory

Floats = npt.NDArray[np.float64]
_TWICE = "{unit} {name} has two rows in week {week}; add them up first"
_NO_STORES = "{data} does not say which store sold; hand in a table with store_id, week and profit instead"
_NO_TRANSACTIONS = "{data} has no transactions; hand in a table of customers with their profit instead"
_NO_CUSTOMERS = "{data}: transactions carry no customer_id; hand in a table of customers with their profit instead"
_TOO_FEW_WEEKS = (
    "{data} has fewer than {weeks} weeks of transactions; hand in a table of customers with their profit instead"
)
_OTHER_DATA = (
    "proposal {proposal} was made from {data}, which cannot be opened from here; the settings name {settings}. Set "
    "data.source to its data, or hand in past weeks as a table"
)


def history_of_table(table: pd.DataFrame) -> WeeklyHistory:
    """Weekly profit by product from rows with product_id, week and profit; NaN where a product has no row.

    Raises:
        DataError: a product has two rows in one week.
    """
    from experiments.proposal_design import WeeklyHistory

    wide = _by_week(table, "product_id")
    return WeeklyHistory(tuple(wide.index), wide.to_numpy(dtype=np.float64))


def stores_of_table(table: pd.DataFrame) -> StoreHistory:
    """Weekly profit by store from rows with store_id, week and profit; NaN where a store has no row.

    Raises:
        DataError: a store has two rows in one week.
    """
    from experiments.proposal_stores import StoreHistory

    wide = _by_week(table, "store_id")
    return StoreHistory(tuple(wide.index), wide.to_numpy(dtype=np.float64))


def _by_week(table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Profit by unit and week.

    Raises:
        DataError: a unit has two rows in one week.
    """
    named = table.assign(**{unit: table[unit].astype(str)})
    twice = named.duplicated([unit, "week"])
    if twice.any():
        row = table[twice].iloc[0]
        raise DataError(Reason(_TWICE, {"unit": unit, "name": str(row[unit]), "week": str(row["week"])}))
    return named.pivot_table(index=unit, columns="week", values="profit", dropna=False)


def history_of_stores(settings: Settings, proposal: Proposal) -> StoreHistory:
    """Weekly profit by store of the products whose price the proposal changes, at the prices then in force.

    Raises:
        DataError: the data cannot be read, or do not say which store sold.
    """
    from engine.panel import build_panel
    from experiments.proposal_stores import StoreHistory

    panel = build_panel(shop_of(settings, proposal), settings)
    stores, place = np.unique(panel.series_store.astype(str), return_inverse=True)
    if stores.size < 2:
        raise DataError(Reason(_NO_STORES, {"data": proposal.data}))
    changed = {line.product_id for line in proposal.prices if line.proposed_price != line.current_price}
    names = np.array(panel.product_ids, dtype=object)[panel.series_product]
    tested = np.array([name in changed for name in names])
    cost = panel.products["unit_cost"].to_numpy(dtype=np.float64)[panel.series_product]
    profit = np.zeros((stores.size, panel.units.shape[1]))
    np.add.at(profit, place[tested], np.nan_to_num(panel.units * (panel.price - cost[:, None]))[tested])
    return StoreHistory(tuple(stores.tolist()), profit)


def history_of_products(settings: Settings, proposal: Proposal) -> WeeklyHistory:
    """Weekly profit by product from the data of the proposal, at the prices then in force.

    Raises:
        DataError: the data cannot be read, or hold none of the products.
    """
    from engine.panel import build_panel
    from experiments.proposal_design import WeeklyHistory

    panel = build_panel(shop_of(settings, proposal), settings)
    cost = panel.products["unit_cost"].to_numpy(dtype=np.float64)[panel.series_product]
    cells = panel.units * (panel.price - cost[:, None])
    rows = panel.series_product.max() + 1
    profit = np.zeros((rows, cells.shape[1]))
    np.add.at(profit, panel.series_product, np.nan_to_num(cells))
    return WeeklyHistory(panel.product_ids[:rows], profit)


@dataclass(frozen=True)
class CustomerHistory:
    """What customers brought in the last horizon of a proposal, and in the one before."""

    profit: Floats
    """(customers,) money."""
    before: Floats

    def outcome(self) -> Outcome:
        """The profit as a metric, with what the horizon before explains of it."""
        from experiments.history import mean_outcome, with_covariates

        return with_covariates(mean_outcome("profit", self.profit), self.profit, self.before)


def history_of_customers(settings: Settings, proposal: Proposal) -> CustomerHistory:
    """A customer's profit over the proposal's horizon, and over the horizon before it.

    Sales count with the default margin; every customer of both periods is a unit, with 0 where nothing was bought.

    Raises:
        DataError: the data cannot be read, or have no transactions with customers.
    """
    from engine.frames import open_backend
    from engine.panel.read import Reader, Scope

    shop = shop_of(settings, proposal)
    if not shop.has("transactions"):
        raise DataError(Reason(_NO_TRANSACTIONS, {"data": shop.name}))
    with open_backend(settings) as backend:
        reader = Reader(shop, backend)
        lines = reader.transactions(Scope())
        if "customer_id" not in lines.collect_schema().names():
            raise DataError(Reason(_NO_CUSTOMERS, {"data": shop.name}))
        frame = reader.collect(lines.select("customer_id", "week", "sales_value").drop_nulls())
    last, span = int(frame["week"].max()), proposal.horizon_weeks
    recent = frame[frame["week"] > last - 2 * span]
    after = recent["week"] > last - span
    sums = recent.assign(after=after).pivot_table(
        index="customer_id", columns="after", values="sales_value", aggfunc="sum", fill_value=0.0
    )
    if sums.shape[1] < 2 or len(sums) < 3:
        raise DataError(Reason(_TOO_FEW_WEEKS, {"data": shop.name, "weeks": 2 * span}))
    margin = settings.data.default_margin or 1.0
    return CustomerHistory(*(margin * sums[late].to_numpy(dtype=np.float64) for late in (True, False)))


def outcome_of(table: pd.DataFrame, asked: Mapping[str, Any]) -> Outcome:
    """What past units say of the metric that was asked for, with its covariates and clusters.

    Raises:
        InputError: cost and kind contradict each other, or a ratio has no denominator.
        ProblemError: a value is missing, or nothing varies.
    """
    from experiments.history import (
        left_over,
        linearised,
        mean_outcome,
        proportion_outcome,
        ratio_outcome,
        with_clusters,
        with_covariates,
    )

    values = table[asked["metric"]].to_numpy()
    if (asked["kind"] == "profit") != (asked["cost"] is not None):
        raise InputError("--kind profit and --cost go together: profit is the metric's column less its cost")
    if asked["kind"] == "profit":
        values = values - table[asked["cost"]].to_numpy()
    if asked["kind"] == "ratio":
        if not asked["denominator"]:
            raise InputError("--kind ratio needs --denominator")
        below = table[asked["denominator"]].to_numpy()
        outcome, linear = ratio_outcome(asked["metric"], values, below), linearised(asked["metric"], values, below)[1]
    else:
        describe = proportion_outcome if asked["kind"] == "proportion" else mean_outcome
        outcome, linear = describe(asked["metric"], values), values
    if asked["covariates"]:
        past = table[list(asked["covariates"])].to_numpy()
        outcome, linear = with_covariates(outcome, linear, past), left_over(linear, past)
    return with_clusters(outcome, linear, table[asked["cluster"]].to_numpy()) if asked["cluster"] else outcome


def shop_of(settings: Settings, proposal: Proposal) -> Shop:
    """Open the data that the proposal was made from: from where it was read then, or where the settings say.

    Raises:
        DataError: neither holds them, or what the settings name cannot be read.
    """
    from engine.sources import open_shop

    then = (proposal.evidence.get("settings") or {}).get("data", {}).get("source")
    for source in dict.fromkeys(filter(None, (then, settings.data.source))):
        try:
            shop = open_shop(source, settings)
        except InputError:
            if source == settings.data.source:
                raise
            continue
        if shop.name == proposal.data:
            return shop
    values = {"proposal": proposal.proposal_id, "data": proposal.data, "settings": settings.data.source}
    raise DataError(Reason(_OTHER_DATA, values))
