"""What a column means as a whole: identifiers that became floats, weeks written as numbers, times with a time zone."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import contract_shops as shops
import pandas as pd
import pytest

from engine.errors import DataError
from engine.settings import Settings, load_settings
from engine.shop import Shop
from engine.sources import open_shop

TODAY = date(2025, 6, 2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(overrides=[f"data.home={tmp_path / 'home'}", "data.threads=1"])


def landed(folder: Path, settings: Settings, table: str) -> pd.DataFrame:
    return pd.read_parquet(opened(folder, settings).tables[table])


def opened(folder: Path, settings: Settings) -> Shop:
    return open_shop(str(folder), settings, today=TODAY)


def weekly(change: dict[str, object]) -> dict[str, pd.DataFrame]:
    return {"prices_weekly": shops.prices().assign(**change), "sales_weekly": shops.sales().assign(**change)}


def test_identifiers_that_a_missing_one_made_floats_are_whole_again(tmp_path: Path, settings: Settings) -> None:
    lines = shops.transactions().assign(product_id="1001", customer_id=[None, *[17.0] * 399])
    people = pd.DataFrame({"customer_id": [17], "age": [40]})
    folder = shops.write(tmp_path / "shop", {"transactions": lines, "customers": people})
    shop = opened(folder, settings)
    customers = [pd.read_parquet(shop.tables[name])["customer_id"] for name in ("transactions", "customers")]
    assert set(customers[0].dropna()) == set(customers[1]) == {"17"}


def test_identifiers_that_are_versions_stay_as_they_are(tmp_path: Path, settings: Settings) -> None:
    lines = shops.transactions().replace({"product_id": {"1001": "1.0", "1002": "1.1", "可乐330": "2.0"}})
    folder = shops.write(tmp_path / "shop", {"transactions": lines})
    assert set(landed(folder, settings, "transactions")["product_id"]) == {"1.0", "1.1", "2.0"}


def test_lost_zeros_are_told(tmp_path: Path, settings: Settings) -> None:
    products, lines = shops.products().assign(product_id=["007", "1002", "可乐330"]), shops.transactions()
    lines["product_id"] = lines["product_id"].replace("1001", "7")
    with pytest.raises(DataError, match=r"7'.*lost its leading zeros"):
        opened(shops.write(tmp_path / "shop", {"products": products, "transactions": lines}), settings)


@pytest.mark.parametrize("form", ["%G%V", "%Y%m%d"])
def test_weeks_written_as_one_number_are_dates(form: str, tmp_path: Path, settings: Settings) -> None:
    monday = pd.to_datetime(shops.prices()["week"]) - pd.Timedelta(weeks=20)  # the new year lies within
    by_date = weekly({"week": monday.dt.strftime("%Y-%m-%d")})
    by_number = weekly({"week": monday.dt.strftime(form).astype(int)})
    wanted = landed(shops.write(tmp_path / "dates", by_date), settings, "sales_weekly")
    for folder in (shops.write(tmp_path / "csv", by_number), shops.write(tmp_path / "parquet", by_number, ".parquet")):
        pd.testing.assert_frame_equal(landed(folder, settings, "sales_weekly"), wanted)
        assert opened(folder, settings).first_monday == "2023-08-14"


def test_running_numbers_that_look_like_weeks_of_a_year_run_on(tmp_path: Path, settings: Settings) -> None:
    number = pd.Series(range(shops.WEEKS)).add(202430).tolist() * 3
    found = landed(shops.write(tmp_path / "shop", weekly({"week": number})), settings, "sales_weekly")
    assert sorted(set(found["week"])) == list(range(202430, 202460))


def test_a_day_that_no_calendar_has_is_set_aside(tmp_path: Path, settings: Settings) -> None:
    numbers = pd.to_datetime(shops.prices()["week"]).dt.strftime("%Y%m%d").astype(int)
    tables = weekly({"week": numbers})
    tables["sales_weekly"].loc[4, "week"] = 20240299
    (fault,) = opened(shops.write(tmp_path / "shop", tables), settings).faults
    assert (fault.table, fault.column, fault.row, fault.value) == ("sales_weekly", "week", 5, "20240299")


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "+08:00", "America/New_York"])
def test_times_are_read_by_the_clock_of_their_zone(zone: str, tmp_path: Path, settings: Settings) -> None:
    local = shops.transactions()
    local["timestamp"] = pd.to_datetime(local["timestamp"].str.replace("T10", "T00"))
    aware = local.assign(timestamp=local["timestamp"].dt.tz_localize(zone))
    wanted = landed(shops.write(tmp_path / "local", {"transactions": local}, ".parquet"), settings, "transactions")
    for folder in (
        shops.write(tmp_path / "parquet", {"transactions": aware}, ".parquet"),
        shops.write(tmp_path / "csv", {"transactions": aware}),
    ):
        found = landed(folder, settings, "transactions")
        assert found[["timestamp", "week"]].to_numpy().tolist() == wanted[["timestamp", "week"]].to_numpy().tolist()


def test_rows_that_are_all_refused_are_not_asked_what_they_mean(tmp_path: Path, settings: Settings) -> None:
    tables = weekly({})
    tables["prices_weekly"]["price"] = tables["prices_weekly"]["price"].map("{:.2f}".format).str.replace(".", ",")
    with pytest.raises(DataError) as refused:
        opened(shops.write(tmp_path / "shop", tables), settings)
    said = str(refused.value).splitlines()
    assert [line.split(":")[0].strip() for line in said[1:]] == ["refused", "also"]
    assert "90 of 90" in said[1]
    assert "'1,00'" in said[2]


def test_an_everyday_price_below_the_price_is_set_aside_unless_the_price_was_moved_at_random(
    tmp_path: Path, settings: Settings
) -> None:
    prices = shops.prices().assign(regular_price=2.5, experiment=0)
    prices.loc[:, "price"] = 2.4
    prices.loc[[3, 4], "price"] = 2.7
    prices.loc[4, "experiment"] = 1
    shop = opened(shops.write(tmp_path / "shop", weekly({}) | {"prices_weekly": prices}), settings)
    told = [(fault.column, fault.row, fault.count) for fault in shop.faults if fault.row]
    assert told == [("regular_price", 4, 1)]
    kept = pd.read_parquet(shop.tables["prices_weekly"])
    assert kept.index[kept["regular_price"].isna()].tolist() == [3]
    assert len(kept) == len(prices)


def test_an_absurd_coupon_profit_is_set_aside(tmp_path: Path, settings: Settings) -> None:
    history = shops.coupon_history()
    history.loc[2, "profit"] = -1e9
    tables = {"transactions": shops.transactions(), "coupon_history": history}
    shop = opened(shops.write(tmp_path / "shop", tables), settings)
    assert [(fault.column, fault.row, fault.value) for fault in shop.faults] == [("profit", 3, "-1000000000.0")]
    kept = pd.read_parquet(shop.tables["coupon_history"])["profit"]
    assert kept.isna().tolist() == [row == 2 for row in range(len(history))]
