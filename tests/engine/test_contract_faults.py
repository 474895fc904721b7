"""Every bad input of the contract: refused or set aside, named, with a remedy, and nothing half written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random

import contract_shops as shops
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engine.errors import DataError
from engine.settings import Settings, load_settings
from engine.sources import check_data, open_shop

TODAY = date(2025, 6, 2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(overrides=[f"data.home={tmp_path / 'home'}", "data.threads=1"])


def spoiled(table: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, pd.DataFrame]:
    every = shops.tables()
    needed = {"products", "prices_weekly", "sales_weekly", "transactions", table}
    return {name: change(given) if name == table else given for name, given in every.items() if name in needed}


def put(row: int, column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        out = table.copy()
        out[column] = out[column].astype(object)
        out.loc[row, column] = value
        return out

    return change


def nothing_left(settings: Settings) -> bool:
    files = {path.name for path in settings.home.rglob("*") if path.is_file()}
    return files <= {"digests.json"}


REFUSED = {
    "missing column": (
        "products",
        lambda t: t.rename(columns={"product_id": "sku"}),
        ["products.csv", "product_id", "sku"],
    ),
    "missing column, Chinese": (
        "transactions",
        lambda t: t.rename(columns={"quantity": "数量"}),
        ["transactions.csv", "column quantity", "rename '数量' to quantity"],
    ),
    "empty table": ("sales_weekly", lambda t: t.iloc[:0], ["sales_weekly.csv", "empty"]),
    "contradicting keys": (
        "prices_weekly",
        lambda t: pd.concat([t, t.iloc[[4]].assign(price=9.0)]),
        ["prices_weekly.csv", "row 91", "1001, 2024-01-29", "keep one row"],
    ),
    "contradicting products": (
        "products",
        lambda t: pd.concat([t, t.iloc[[1]].assign(unit_cost=9.0)]),
        ["products.csv", "row 4", "1002"],
    ),
    "one week": (
        "sales_weekly",
        lambda t: t.drop_duplicates("product_id").assign(week="2024-01-01"),
        ["sales_weekly.csv", "column week", "same week", "2024-01-01"],
    ),
    "one week of prices": (
        "prices_weekly",
        lambda t: t.drop_duplicates("product_id"),
        ["prices_weekly.csv", "column week", "same week"],
    ),
    "one number for all weeks": (
        "transactions",
        lambda t: t.assign(week=1),
        ["transactions.csv", "column week", "same week", "'1'"],
    ),
    "most costs above prices": ("products", lambda t: t.assign(unit_cost=60), ["unit_cost", "3 of the 3", "row 1"]),
    "too much set aside": (
        "transactions",
        lambda t: t.assign(product_id="x" + t["product_id"]),
        ["400 of 400", "max_quarantined_share", "not listed"],
    ),
    "weeks of two kinds": (
        "sales_weekly",
        lambda t: t.assign(week=list(range(shops.WEEKS)) * 3),
        ["two kinds", "prices_weekly has dates and sales_weekly has numbers"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_the_thing_named_and_nothing_written(case: str, tmp_path: Path, settings: Settings) -> None:
    table, change, words = REFUSED[case]
    folder = shops.write(tmp_path / "shop", spoiled(table, change))
    with pytest.raises(DataError) as refused:
        open_shop(str(folder), settings, today=TODAY)
    assert [word for word in words if word not in str(refused.value)] == []
    assert refused.value.exit_status == 2
    assert nothing_left(settings)


SET_ASIDE = {
    "negative price": ("prices_weekly", put(3, "price", -1), "price", 4, "-1", "negative"),
    "price zero": ("prices_weekly", put(3, "price", 0), "price", 4, "0", "zero"),
    "not a number": ("prices_weekly", put(3, "price", "€3"), "price", 4, "€3", "not a number"),
    "infinite": ("prices_weekly", put(3, "price", "inf"), "price", 4, "inf", "not a number"),
    "absurd price": ("prices_weekly", put(3, "price", 90_000_000), "price", 4, "90000000", "absurdly large"),
    "absurd beside its median": (
        "prices_weekly",
        put(3, "price", 50_000),
        "price",
        4,
        "50000.0",
        "1,000 times the median",
    ),
    "negative units": ("sales_weekly", put(7, "units", -5), "units", 8, "-5", "negative"),
    "negative value": ("transactions", put(7, "sales_value", -5), "sales_value", 8, "-5.0", "negative price"),
    "missing identifier": ("transactions", put(7, "product_id", None), "product_id", 8, "", "missing"),
    "no date": ("transactions", put(9, "timestamp", "31.12.2024"), "timestamp", 10, "31.12.2024", "not a date"),
    "2099": ("transactions", put(9, "timestamp", "2099-01-01"), "timestamp", 10, "2099-01-01 00:00:00", "2026-06-03"),
    "week of 2099": ("sales_weekly", put(9, "week", "2099-01-05"), "week", 10, "2099-01-05", "2026-06-03"),
    "week of 1900": ("sales_weekly", put(9, "week", "1900-01-01"), "week", 10, "1900-01-01", "104 weeks"),
    "unlisted product": ("transactions", put(9, "product_id", "zz"), "product_id", 10, "zz", "products.csv"),
    "copied key": (
        "prices_weekly",
        lambda t: pd.concat([t, t.iloc[[0]]]),
        "product_id, week",
        91,
        "1001, 2024-01-01",
        "before",
    ),
    "copied line": (
        "transactions",
        lambda t: pd.concat([t, t.iloc[[0]].assign(quantity=3)]),
        "transaction_id, product_id",
        401,
        None,
        "before",
    ),
}


@pytest.mark.parametrize("case", SET_ASIDE)
def test_a_row_is_set_aside_counted_and_quarantined(case: str, tmp_path: Path, settings: Settings) -> None:
    table, change, column, row, value, problem = SET_ASIDE[case]
    given = spoiled(table, change)
    shop = open_shop(str(shops.write(tmp_path / "shop", given)), settings, today=TODAY)
    (fault,) = shop.faults
    assert (fault.table, fault.column, fault.row, fault.count, fault.refuses) == (table, column, row, 1, False)
    assert value is None or fault.value == value
    assert problem in fault.problem
    assert fault.remedy
    assert len(pd.read_parquet(shop.tables[table])) == len(given[table]) - 1
    assert shop.quarantine is not None
    quarantined = pd.read_csv(shop.quarantine / f"{table}.csv")
    assert quarantined[["file", "row", "set_aside"]].to_numpy().tolist() == [[f"{table}.csv", row, "row"]]


def test_a_bad_optional_value_is_set_aside_and_its_row_stays(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", spoiled("products", put(1, "unit_cost", "dear")))
    shop = open_shop(str(folder), settings, today=TODAY)
    products = pd.read_parquet(shop.tables["products"]).set_index("product_id")
    assert products["unit_cost"].isna().tolist() == [False, True, False]
    assert "the row stays" in shop.faults[0].remedy
    assert shop.quarantine is not None
    assert pd.read_csv(shop.quarantine / "products.csv")["set_aside"].tolist() == ["value"]


REMARKS = {
    "equal prices": ("prices_weekly", lambda t: t.assign(price=2.0), "no product's price ever changes"),
    "one customer": ("transactions", lambda t: t.assign(customer_id="c1"), "the same customer_id"),
    "one cost above the price": ("products", put(1, "unit_cost", 5), "costs more than its median price"),
    "empty optional table": ("customers", lambda t: t.iloc[:0], "empty"),
    "sold without a price": ("prices_weekly", lambda t: t[t["product_id"] != "1002"], "has no price"),
}


@pytest.mark.parametrize("case", REMARKS)
def test_what_cannot_be_learned_is_remarked_and_the_shop_opens(case: str, tmp_path: Path, settings: Settings) -> None:
    table, change, words = REMARKS[case]
    shop = open_shop(str(shops.write(tmp_path / "shop", spoiled(table, change))), settings, today=TODAY)
    assert [words in fault.sentence() for fault in shop.faults] == [True]
    assert shop.quarantine is None


def test_one_product_opens_with_a_remark(tmp_path: Path, settings: Settings) -> None:
    only = {name: t[t["product_id"] == "1001"] if "product_id" in t else t for name, t in shops.tables().items()}
    shop = open_shop(str(shops.write(tmp_path / "shop", only)), settings, today=TODAY)
    assert {fault.column for fault in shop.faults} == {"product_id"}


def test_all_faults_are_told_at_once(tmp_path: Path, settings: Settings) -> None:
    tables = spoiled("prices_weekly", put(3, "price", -1))
    tables["products"] = tables["products"].drop(columns="product_id")
    tables["transactions"] = put(3, "timestamp", "soon")(tables["transactions"]).drop(columns="quantity")
    folder = shops.write(tmp_path / "shop", tables)
    with pytest.raises(DataError) as refused:
        open_shop(str(folder), settings, today=TODAY)
    places = {(fault.table, fault.column) for fault in check_data(str(folder), settings, today=TODAY)}
    wanted = {
        ("products", "product_id"),
        ("transactions", "quantity"),
        ("transactions", "timestamp"),
        ("prices_weekly", "price"),
    }
    assert places == wanted
    assert all(f"{table}.csv, column {column}" in str(refused.value) for table, column in wanted)


def test_two_faults_in_one_row_are_both_told(tmp_path: Path, settings: Settings) -> None:
    tables = spoiled("transactions", put(3, "timestamp", "soon"))
    tables["transactions"] = put(3, "quantity", "few")(tables["transactions"])
    shop = open_shop(str(shops.write(tmp_path / "shop", tables)), settings, today=TODAY)
    assert [(fault.column, fault.row) for fault in shop.faults] == [("timestamp", 4), ("quantity", 4)]


def test_no_sales_at_all_says_what_was_found(tmp_path: Path, settings: Settings) -> None:
    tables = {name: table for name, table in shops.tables().items() if name not in ("transactions", "sales_weekly")}
    folder = shops.write(tmp_path / "shop", tables)
    (folder / "sells.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"neither transactions nor sales_weekly.*products, prices_weekly.*sells\.csv"):
        open_shop(str(folder), settings, today=TODAY)


def test_sales_without_any_price_are_refused(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", {"sales_weekly": shops.sales()})
    with pytest.raises(DataError, match="no price anywhere"):
        open_shop(str(folder), settings, today=TODAY)


@pytest.mark.parametrize("source", ["no_such_folder", "complete_jorney", "sqlite:///nowhere.db", "nosql://x/y"])
def test_an_unknown_source_is_named(source: str, settings: Settings) -> None:
    with pytest.raises(DataError, match=source.split(":", maxsplit=1)[0]):
        open_shop(source, settings, today=TODAY)


@pytest.mark.parametrize("source", ["", "  "])
def test_an_empty_name_is_not_the_current_folder(source: str, settings: Settings) -> None:
    with pytest.raises(DataError, match="an empty name: no such data set or folder"):
        open_shop(source, settings, today=TODAY)


def test_a_misspelt_data_set_gets_the_nearest_name(settings: Settings) -> None:
    with pytest.raises(DataError, match="did you mean 'complete_journey'"):
        open_shop("complete_jorney", settings, today=TODAY)


UNUSABLE = st.sampled_from([-1, 0, "abc", "€3", 2e9, None, "inf", "1,5"])


@given(st.dictionaries(st.integers(0, 3 * shops.WEEKS - 1), UNUSABLE, min_size=1, max_size=4), st.randoms())
@examples(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow])
def test_every_unusable_price_is_counted_once_and_no_other_row_goes(spoilt: dict[int, object], rng: Random) -> None:
    prices = shops.prices().sample(frac=1, random_state=rng.randrange(2**32))
    prices = prices.reset_index(drop=True)
    clean = prices.drop(index=list(spoilt))
    prices["price"] = prices["price"].astype(object)
    for row, value in spoilt.items():
        prices.loc[row, "price"] = value
    with tempfile.TemporaryDirectory() as folder:
        own = load_settings(overrides=[f"data.home={folder}/home", "data.threads=1", "data.max_quarantined_share=0.1"])
        shops.write(Path(folder) / "shop", {"sales_weekly": shops.sales(), "prices_weekly": prices})
        shop = open_shop(f"{folder}/shop", own, today=TODAY)
        landed = pd.read_parquet(shop.tables["prices_weekly"])
    assert sum(fault.count for fault in shop.faults) == len(spoilt)
    assert min(fault.row or 0 for fault in shop.faults) == min(spoilt) + 1
    assert landed["product_id"].tolist() == clean["product_id"].tolist()
    assert landed["price"].tolist() == clean["price"].tolist()
