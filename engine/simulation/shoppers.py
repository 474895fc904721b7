"""Who bought: the sales of each week handed out to customers, so that the purchases add up to the sales."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.simulation.catalogue import Catalogue
from engine.simulation.demand import Sales
from engine.simulation.paths import Paths
from engine.simulation.scenario import Scenario

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NEW_LINE = 0.3
"""Chance that a further unit of a product is bought by another customer rather than by the one before."""


def make_transactions(
    scenario: Scenario,
    catalogue: Catalogue,
    paths: Paths,
    sales: Sales,
    customers: pd.DataFrame,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw the transactions table; quantities by product and week are exactly those of sales_weekly.

    Customers come as often as they did in the last quarter and have tastes for categories, so that the halves of them
    sell alike and a product's buyers say something about it.
    """
    product, week, quantity = _lines(sales, rng)
    customer = _buyers(scenario, catalogue, customers, product, rng)
    frame = pd.DataFrame({"week": week, "customer": customer, "product": product, "quantity": quantity})
    frame = frame.groupby(["week", "customer", "product"], sort=True)["quantity"].sum().reset_index()
    week, customer = frame["week"].to_numpy(), frame["customer"].to_numpy()
    product, quantity = frame["product"].to_numpy(), frame["quantity"].to_numpy(dtype=np.int64)
    shelf, everyday = paths.shelf[product, week], paths.everyday[product, week]
    visit, first = np.unique(week * scenario.customers + customer, return_inverse=True)
    moment = _moments(scenario, visit // scenario.customers, rng)
    return pd.DataFrame(
        {
            "transaction_id": np.array([f"T{v:09d}" for v in visit], dtype=object)[first],
            "product_id": catalogue.table["product_id"].to_numpy(dtype=object)[product],
            "timestamp": moment[first],
            "quantity": quantity,
            "sales_value": np.round(quantity * shelf, 2),
            "customer_id": customers["customer_id"].to_numpy(dtype=object)[customer],
            "discount": np.round(quantity * np.maximum(everyday - shelf, 0), 2),
        }
    )


def _lines(sales: Sales, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Cut each week's units of a product into lines of one unit or more."""
    product, week = np.nonzero(sales.units)
    units = sales.units[product, week]
    cell = np.repeat(np.arange(len(units)), units)
    opens = rng.random(len(cell)) < NEW_LINE
    opens[np.concatenate([[0], np.cumsum(units)[:-1]]).astype(np.int64)[: len(units)]] = True
    line = np.cumsum(opens) - 1
    quantity = np.bincount(line).astype(np.int64) if len(line) else np.zeros(0, np.int64)
    return product[cell[opens]], week[cell[opens]], quantity


def _buyers(
    scenario: Scenario, catalogue: Catalogue, customers: pd.DataFrame, product: Ints, rng: np.random.Generator
) -> Ints:
    """Draw a customer for each line, by how often they come and their taste for the category."""
    often = 0.3 + customers["visits_last_quarter"].to_numpy(dtype=np.float64)
    family = customers["household_size"].to_numpy(dtype=np.float64)
    buyer = np.zeros(len(product), dtype=np.int64)
    draw = rng.random(len(product))
    for category in range(scenario.categories):
        taste = rng.gamma(1.5, 1.0, len(customers)) * family ** rng.uniform(-0.5, 1.0)
        chance = np.cumsum(often * taste)
        mine = catalogue.category[product] == category
        buyer[mine] = np.searchsorted(chance, draw[mine] * chance[-1], side="right")
    return np.minimum(buyer, len(customers) - 1)


def _moments(scenario: Scenario, week: Ints, rng: np.random.Generator) -> npt.NDArray[np.datetime64]:
    """Draw a day and minute of each visit, within opening hours of its week."""
    day = rng.choice(7, size=len(week), p=[0.12, 0.12, 0.13, 0.14, 0.18, 0.2, 0.11])
    minute = rng.integers(8 * 60, 21 * 60, len(week))
    monday = np.datetime64(scenario.first_monday, "s")
    moment: npt.NDArray[np.datetime64] = (
        monday + (week * 7 + day).astype("timedelta64[D]") + minute.astype("timedelta64[m]")
    )
    return moment
