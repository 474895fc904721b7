"""A SQL database lands as the same shop as a folder does."""

from __future__ import annotations

import os
import sqlite3
import uuid
from datetime import date
from pathlib import Path

import contract_shops as shops
import pandas as pd
import pytest
import sqlalchemy as sa

from engine.contract import TABLES
from engine.errors import DataError
from engine.settings import Settings, load_settings
from engine.shop import Shop
from engine.sources import database, open_shop

TODAY = date(2025, 6, 2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(overrides=[f"data.home={tmp_path / 'home'}", "data.threads=1"])


def fill(path: Path, tables: dict[str, pd.DataFrame]) -> str:
    url = f"sqlite:///{path}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for name, table in tables.items():
            table.to_sql(name, connection, index=False)
    engine.dispose()
    return url


def landed(shop: Shop, name: str) -> pd.DataFrame:
    """The rows in the order of the key: a database has no other."""
    return pd.read_parquet(shop.tables[name]).sort_values([*TABLES[name].required], ignore_index=True)


def test_rows_in_another_order_are_the_same_data(tmp_path: Path, settings: Settings) -> None:
    turned = {name: table[::-1] for name, table in shops.tables().items()}
    (tmp_path / "turned").mkdir()
    one, other = fill(tmp_path / "shop.db", shops.tables()), fill(tmp_path / "turned" / "shop.db", turned)
    assert open_shop(one, settings, today=TODAY).fingerprint == open_shop(other, settings, today=TODAY).fingerprint


def test_a_database_lands_as_a_folder_does(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHUNK", 70)
    url = fill(tmp_path / "shop.db", shops.tables())
    shop = open_shop(url, settings, today=TODAY)
    folder = open_shop(str(shops.write(tmp_path / "shop", shops.tables())), settings, today=TODAY)
    assert (shop.name, shop.faults, shop.first_monday) == ("shop", (), folder.first_monday)
    for name in folder.tables:
        pd.testing.assert_frame_equal(landed(shop, name), landed(folder, name), check_dtype=False)
    assert open_shop(url, settings, today=TODAY) == shop
    assert not list((settings.home / "cache").glob(".landing-*"))


def test_typed_columns_and_values_against_their_type_are_judged_by_the_contract(
    tmp_path: Path, settings: Settings
) -> None:
    tables = shops.tables()
    prices = tables.pop("prices_weekly")
    url = fill(tmp_path / "shop.db", tables)
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute(
            "CREATE TABLE prices_weekly (product_id TEXT, week DATE, price NUMERIC(10, 2), mailer BOOLEAN)"
        )
        rows = [(*row, 1) for row in prices.itertuples(index=False)]
        connection.executemany("INSERT INTO prices_weekly VALUES (?, ?, ?, ?)", rows)
        connection.execute("UPDATE prices_weekly SET price = 'dear' WHERE rowid = 5")
    connection.close()
    shop = open_shop(url, settings, today=TODAY)
    (fault,) = shop.faults
    assert (fault.file, fault.column, fault.row, fault.value) == ("prices_weekly", "price", 5, "dear")
    landed = pd.read_parquet(shop.tables["prices_weekly"])
    assert landed["mailer"].eq(1).all()
    assert landed["price"].tolist() == prices["price"].drop(4).tolist()


@pytest.mark.postgresql
def test_a_postgresql_database_lands_as_a_folder_does(tmp_path: Path, settings: Settings) -> None:
    server = os.environ.get("OFFERWRIGHT_TEST_POSTGRESQL")
    if server is None:
        pytest.skip("no PostgreSQL server at OFFERWRIGHT_TEST_POSTGRESQL")
    schema = f"shop_{uuid.uuid4().hex[:12]}"
    url = f"{server}?options=-csearch_path%3D{schema}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
        for name, table in shops.tables().items():
            table.to_sql(name, connection, index=False)
        connection.execute(
            sa.text("ALTER TABLE prices_weekly ALTER price TYPE numeric(10, 2), ALTER week TYPE date USING week::date")
        )
        connection.execute(
            sa.text("ALTER TABLE transactions ALTER timestamp TYPE timestamptz USING (timestamp || 'Z')::timestamptz")
        )
    try:
        shop = open_shop(url, settings, today=TODAY)
        folder = open_shop(str(shops.write(tmp_path / "shop", shops.tables())), settings, today=TODAY)
        assert (shop.faults, shop.first_monday) == ((), folder.first_monday)
        for name in folder.tables:
            pd.testing.assert_frame_equal(landed(shop, name), landed(folder, name), check_dtype=False)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
        engine.dispose()


def test_a_database_without_sales_names_its_tables(tmp_path: Path, settings: Settings) -> None:
    url = fill(tmp_path / "shop.db", {"products": shops.products(), "orders": shops.sales()})
    with pytest.raises(DataError, match=r"neither transactions nor sales_weekly.*not in the contract: orders"):
        open_shop(url, settings, today=TODAY)


def test_a_password_is_never_shown(settings: Settings) -> None:
    for url in ("postgresql+nodriver://shop:hunter2@localhost/x", "mysql://shop:hunter2@localhost:1/x"):
        with pytest.raises(DataError) as refused:
            open_shop(url, settings, today=TODAY)
        assert "hunter2" not in str(refused.value)
