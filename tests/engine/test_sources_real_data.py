"""The data sets that come with the product land as evidence says they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.proposal import english
from engine.settings import Settings, load_settings
from engine.shop import Shop
from engine.sources import complete_journey, open_shop, orange_juice, ta_feng

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh home that sees the fetched files of the usual one."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "data").mkdir()
    for name in (orange_juice.FILE, ta_feng.FILE):
        fetched = load_settings().home / "data" / name
        if fetched.is_file():
            (folder / "data" / name).symlink_to(fetched.resolve())
    return folder


@pytest.fixture(scope="module")
def settings(home: Path) -> Settings:
    return load_settings(overrides=[f"data.home={home}", "data.threads=1"])


@pytest.fixture(scope="module")
def journey(settings: Settings) -> Iterator[dict[str, pd.DataFrame]]:
    shop = open_shop("complete_journey", settings)
    yield {name: pd.read_parquet(path) for name, path in shop.tables.items()}


@pytest.fixture(scope="module")
def journey_shop(settings: Settings, journey: dict[str, pd.DataFrame]) -> Shop:
    return open_shop("complete_journey", settings)


def test_complete_journey_has_the_published_size(journey: dict[str, pd.DataFrame], journey_shop: Shop) -> None:
    unlisted = next(fault for fault in journey_shop.faults if fault.column == "product_id")
    assert len(journey["transactions"]) + unlisted.count == 1_469_307
    assert journey["transactions"]["customer_id"].nunique() == len(journey["customers"]) == 2_469
    assert (journey["customers"]["age"] != "unknown").sum() == 801
    assert not any(fault.refuses for fault in journey_shop.faults)


def test_complete_journey_says_what_must_not_be_believed(journey_shop: Shop) -> None:
    assert journey_shop.prices_reconstructed
    assert journey_shop.costs_assumed
    said = " ".join(map(english, journey_shop.notes))
    assert [
        word for word in ("rebuilt", "margins by department are assumed", "targeted", "weight") if word not in said
    ] == []


def test_week_1_of_two_days_is_left_out_and_weeks_begin_on_monday(
    journey: dict[str, pd.DataFrame], journey_shop: Shop
) -> None:
    for name in ("prices_weekly", "sales_weekly"):
        assert (journey[name]["week"].min(), journey[name]["week"].max()) == (2, 53)
    lines = journey["transactions"]
    monday = pd.Timestamp(journey_shop.first_monday)
    own = (lines["timestamp"] - monday).dt.days // 7 + journey_shop.first_week
    assert (own == lines["week"]).mean() > 0.9999


def test_fuel_and_items_sold_by_weight_are_not_priced(journey: dict[str, pd.DataFrame]) -> None:
    products = journey["products"].set_index("product_id")
    assert products.loc[products["department"] == "FUEL", "priceable"].sum() == 0
    assert products.loc["1082185", "priceable"] == 0  # bananas
    assert products.loc["995242", "priceable"] == 1  # milk
    revenue = journey["transactions"].groupby("product_id")["sales_value"].sum()
    top = products.loc[revenue.nlargest(2_600).index]
    fresh = top["department"].isin(["MEAT", "DELI", "PRODUCE", "SEAFOOD", "SALAD BAR"])
    assert 285 <= (fresh & (top["priceable"] == 0)).sum() <= 315
    printed = top["category"].isin(complete_journey.SET_ELSEWHERE)
    assert top.loc[printed, "priceable"].eq(0).all()
    assert (~fresh & ~printed & (top["priceable"] == 0)).sum() <= 50
    priced = journey["prices_weekly"]["product_id"].unique()
    assert products.loc[priced, "priceable"].eq(1).all()


def test_rebuilt_prices_are_the_modal_shelf_prices(journey: dict[str, pd.DataFrame]) -> None:
    lines = journey["transactions"]
    lines = lines[(lines["product_id"] == "995242") & (lines["quantity"] > 0) & (lines["week"] > 1)]
    shelf = ((lines["sales_value"] + lines["coupon_discount"]) / lines["quantity"]).round(2)
    prices = journey["prices_weekly"].query("product_id == '995242'").set_index("week")["price"]
    middle = shelf.groupby(lines["week"]).median()
    assert (prices - middle).abs().median() < 0.05
    assert prices.between(shelf.groupby(lines["week"]).min() - 1e-3, shelf.groupby(lines["week"]).max() + 1e-3).all()


def test_assumed_costs_realise_the_margins_of_their_sources(journey: dict[str, pd.DataFrame]) -> None:
    products = journey["products"].set_index("product_id")
    sold = journey["sales_weekly"].groupby("product_id")[["units", "revenue"]].sum().join(products)
    for department, margin in (("PASTRY", 0.55), ("DRUG GM", 0.30)):
        part = sold[sold["department"] == department]
        realised = 1 - (part["units"] * part["unit_cost"]).sum() / part["revenue"].sum()
        assert realised == pytest.approx(margin, abs=0.01)


def test_campaigns_are_told_of_all_households_and_all_recipients(journey: dict[str, pd.DataFrame]) -> None:
    history = journey["coupon_history"]
    assert history.groupby("wave").size().eq(2_469).all()
    assert history["randomised"].eq(0).all()
    assert set(history["offer_id"]) == {"TypeA", "TypeB", "TypeC"}
    assert (history.loc[history["sent"] == 1, "redeemed"] == 0).sum() > 4_000
    assert history["profit"].abs().max() < 500


def test_a_margin_in_the_settings_wins(settings: Settings, home: Path) -> None:
    from engine.frames import open_backend
    from engine.sources.complete_journey import margin_sql

    own = load_settings(overrides=[f"data.home={home}", "data.margin_by_department={grocery: 0.5}"])
    with open_backend(settings) as backend:
        rows = "(VALUES ('GROCERY', 'FRZN ICE'), ('PASTRY', 'BREAD'), ('TOYS', 'X')) AS t(department, product_category)"
        found = backend.connection.execute(f"SELECT {margin_sql(own)}::DOUBLE FROM {rows}").fetchall()  # noqa: S608
    assert [row[0] for row in found] == [0.5, 0.55, 0.28]


@pytest.fixture(scope="module")
def juice(settings: Settings) -> dict[str, pd.DataFrame]:
    if not (settings.home / "data" / orange_juice.FILE).exists() and not orange_juice.PACKAGED.exists():
        pytest.skip("orangeJuice.rda was not fetched: run `make data`")
    shop = open_shop("orange_juice", settings)
    assert shop.faults == ()
    return {name: pd.read_parquet(path) for name, path in shop.tables.items()}


def test_orange_juice_has_real_costs_and_known_elasticities(juice: dict[str, pd.DataFrame]) -> None:
    prices, sales = juice["prices_weekly"], juice["sales_weekly"]
    assert len(prices) == len(sales) == 106_139
    assert (prices["store_id"].nunique(), prices["product_id"].nunique(), prices["week"].nunique()) == (83, 11, 121)
    cells = prices.merge(sales, on=["product_id", "store_id", "week"])
    elasticity = pd.Series({brand: own_elasticity(rows) for brand, rows in cells.groupby("product_id")})
    assert elasticity.lt(0).all()
    assert elasticity.median() == pytest.approx(-2.5, abs=0.3)
    margin = 1 - prices["unit_cost"] / prices["price"]
    assert margin.median() == pytest.approx(0.27, abs=0.05)


def own_elasticity(cells: pd.DataFrame) -> float:
    """Log-log with store effects, leaflet and display: what evidence.md calls the reference."""
    table = cells.assign(price=np.log(cells["price"]), units=np.log(cells["units"]))
    names = ["price", "mailer", "display", "units"]
    within = table[names] - table.groupby("store_id")[names].transform("mean")
    slopes, *_ = np.linalg.lstsq(within[names[:3]].to_numpy(), within["units"].to_numpy(), rcond=None)
    return float(slopes[0])


def test_ta_feng_has_the_published_size_and_its_losses(settings: Settings) -> None:
    if not (settings.home / "data" / ta_feng.FILE).exists():
        pytest.skip("ta_feng.csv.zip was not fetched: run `make data`")
    shop = open_shop("ta_feng", settings)
    lines = pd.read_parquet(shop.tables["transactions"])
    assert (len(lines), lines["customer_id"].nunique()) == (817_741, 32_266)
    assert "7.6 % of the lines were sold below cost" in " ".join(map(english, shop.notes))
    margin = 1 - lines["unit_cost"] * lines["quantity"] / lines["sales_value"].where(lines["sales_value"] > 0)
    assert margin.median() == pytest.approx(0.19, abs=0.01)
    assert shop.first_monday == "2000-10-30"
