"""Writing a simulated shop: the tables of the contract, and the truth beside them, at once or not at all."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.errors import ConfigurationError, DataError, StorageError
from engine.simulation.catalogue import Catalogue, make_catalogue
from engine.simulation.coupons import make_customers, make_history, make_response
from engine.simulation.demand import Sales, make_sales
from engine.simulation.market import make_market
from engine.simulation.paths import Paths, make_paths
from engine.simulation.scenario import Scenario, make_scenario
from engine.simulation.shoppers import make_transactions
from engine.simulation.truth import Truth, make_truth, save_truth

_STREAMS = ("catalogue", "market", "paths", "sales", "customers", "response", "history", "transactions")


@dataclass(frozen=True)
class SimulatedShop:
    """The tables of the contract by name, and the truth."""

    tables: dict[str, pd.DataFrame]
    truth: Truth


def simulate_shop(folder: Path, *, seed: int = 1, scenario: str = "default", **overrides: object) -> None:
    """Write a shop with known truth into `folder`, as Parquet in the contract's form, and `folder`/truth beside it.

    The same seed, scenario and overrides give the same bytes. A simulated shop that is already there is replaced.

    Raises:
        ConfigurationError: unknown scenario or parameter, or a value out of range.
        DataError: the folder holds something that is not a simulated shop.
        StorageError: the disk did not take it; what was there before still stands.
    """
    folder = Path(folder)
    parameters = make_scenario(scenario, overrides)
    if folder.exists() and not _may_replace(folder):
        raise DataError(f"{folder}: not empty and not a simulated shop; name a new or empty folder")
    shop = make_shop(parameters, seed=seed, name=scenario)
    try:
        _write(shop, folder)
    except OSError as error:
        raise StorageError(f"{folder}: the simulated shop could not be written ({error}); free some room") from error


def make_shop(scenario: Scenario, *, seed: int, name: str = "default") -> SimulatedShop:
    """Make the shop in memory. Each part draws from its own stream, so that changing one leaves the others alone."""
    if seed < 0:
        raise ConfigurationError(f"simulation: seed = {seed} is refused; allowed: a whole number, at least 0")
    rng = {part: np.random.default_rng(np.random.SeedSequence([seed, i])) for i, part in enumerate(_STREAMS)}
    catalogue = make_catalogue(scenario, rng["catalogue"])
    market = make_market(scenario, catalogue, rng["market"])
    paths = make_paths(scenario, catalogue, market, rng["paths"])
    sales = make_sales(scenario, catalogue, market, paths, rng["sales"])
    customers = make_customers(scenario, rng["customers"])
    tables = {
        "products": _products(catalogue, paths),
        "prices_weekly": _prices(scenario, catalogue, paths, sales),
        "sales_weekly": _sales(scenario, catalogue, paths, sales),
        "customers": customers,
    }
    if scenario.transactions:
        tables["transactions"] = make_transactions(scenario, catalogue, paths, sales, customers, rng["transactions"])
    coupons = None
    if scenario.coupon_waves > 0:
        response = make_response(scenario, customers, rng["response"])
        tables["coupon_history"] = make_history(scenario, customers, response, rng["history"])
        coupons = response.truth(tuple(customers["customer_id"]))
    return SimulatedShop(tables, make_truth(scenario, name, seed, catalogue, market, paths, coupons))


def _products(catalogue: Catalogue, paths: Paths) -> pd.DataFrame:
    listed = paths.everyday[:, -52:].max(axis=1)
    return catalogue.table.assign(unit_cost=paths.unit_cost[:, -1], list_price=listed)


def _week_labels(scenario: Scenario) -> npt.NDArray[Any]:
    if not scenario.week_dates:
        return np.arange(1, scenario.weeks + 1)
    mondays = pd.date_range(scenario.first_monday, periods=scenario.weeks, freq="7D")
    return np.array([day.date() for day in mondays], dtype=object)


def _prices(scenario: Scenario, catalogue: Catalogue, paths: Paths, sales: Sales) -> pd.DataFrame:
    """Prices of the weeks in which the product was listed."""
    product, week = np.nonzero(sales.listed)
    moves_along = (paths.experiment == 1) & (not scenario.experiment_keeps_regular)
    columns: dict[str, Any] = {
        "product_id": catalogue.table["product_id"].to_numpy(dtype=object)[product],
        "week": _week_labels(scenario)[week],
        "price": paths.shelf[product, week],
    }
    if scenario.logs_regular:
        columns["regular_price"] = np.where(moves_along, paths.shelf, paths.everyday)[product, week]
    for name, flag in (("mailer", paths.mailer), ("display", paths.display), ("stock_out", sales.flagged),
                       ("experiment", paths.experiment)):  # fmt: skip
        columns[name] = flag[product, week].astype(np.int64)
    return pd.DataFrame(columns)


def _sales(scenario: Scenario, catalogue: Catalogue, paths: Paths, sales: Sales) -> pd.DataFrame:
    """Sales of the weeks in which the product was listed; a week without a sale is a row with 0 units."""
    product, week = np.nonzero(sales.listed)
    units = sales.units[product, week]
    return pd.DataFrame(
        {
            "product_id": catalogue.table["product_id"].to_numpy(dtype=object)[product],
            "week": _week_labels(scenario)[week],
            "units": units,
            "revenue": np.round(units * paths.shelf[product, week], 2),
        }
    )


def _may_replace(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return (folder / "truth" / "scenario.json").exists() or not any(folder.iterdir())


def _write(shop: SimulatedShop, folder: Path) -> None:
    """Write beside the target, then rename: a reader sees the old shop or the new one, never half of one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh = work / "new"
        fresh.mkdir()
        for name, table in shop.tables.items():
            table.to_parquet(fresh / f"{name}.parquet", index=False)
        save_truth(shop.truth, fresh / "truth")
        if folder.exists():
            folder.rename(work / "old")
        try:
            fresh.rename(folder)
        except OSError:
            if (work / "old").exists():
                (work / "old").rename(folder)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
