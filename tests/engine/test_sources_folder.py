"""Folders: formats, encodings, dates, damage, a full disk, and the cache of landed tables."""

from __future__ import annotations

import gzip
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import contract_shops as shops
import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engine.contract import TABLES
from engine.errors import DataError, StorageError
from engine.landing.types import SQL_TYPES
from engine.proposal import english
from engine.settings import Settings, load_settings
from engine.shop import Shop
from engine.sources import open_shop
from engine.sources.encoding import detect

TODAY = date(2025, 6, 2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(overrides=[f"data.home={tmp_path / 'home'}", "data.threads=1"])


def landed(shop: Shop, table: str) -> pd.DataFrame:
    return pd.read_parquet(shop.tables[table])


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_csv_and_parquet_land_as_the_same_shop(suffix: str, tmp_path: Path, settings: Settings) -> None:
    plain = open_shop(str(shops.write(tmp_path / "a" / "shop", shops.tables())), settings, today=TODAY)
    other = open_shop(str(shops.write(tmp_path / "b" / "shop", shops.tables(), suffix)), settings, today=TODAY)
    for table in plain.tables:
        pd.testing.assert_frame_equal(landed(plain, table), landed(other, table), check_dtype=False)
    assert plain.faults == other.faults == ()


def test_columns_land_with_the_types_of_the_contract(tmp_path: Path, settings: Settings) -> None:
    tables = shops.tables()
    tables["customers"]["zip"] = ["00501", "4000", "8010"]
    shop = open_shop(str(shops.write(tmp_path / "shop", tables)), settings, today=TODAY)
    for name, path in shop.tables.items():
        relation = duckdb.read_parquet(str(path))
        types = {name: str(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}
        known = {c.name: SQL_TYPES[c.kind] for c in TABLES[name].columns if c.name in types}
        assert known == {column: types[column] for column in known}
    assert landed(shop, "customers")["age"].tolist() == [30.0, 41.0, 52.0]
    assert landed(shop, "customers")["zip"].tolist() == ["00501", "4000", "8010"]
    assert shop.attributes == {"customers": ("age", "city", "zip")}


def test_dates_become_running_weeks_from_the_first_monday(tmp_path: Path, settings: Settings) -> None:
    tables = shops.tables()
    tables["sales_weekly"] = tables["sales_weekly"][tables["sales_weekly"]["week"] >= "2024-01-15"]
    shop = open_shop(str(shops.write(tmp_path / "shop", tables)), settings, today=TODAY)
    assert (shop.first_monday, shop.first_week) == ("2024-01-01", 1)
    assert sorted(landed(shop, "prices_weekly")["week"].unique()) == list(range(1, shops.WEEKS + 1))
    assert landed(shop, "sales_weekly")["week"].min() == 3
    lines = landed(shop, "transactions")
    expected = (lines["timestamp"] - pd.Timestamp("2024-01-01")).dt.days // 7 + 1
    assert lines["week"].tolist() == expected.tolist()


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y-%m-%dT00:00:00", "%G-W%V", "%Y%m%d"], ids=["date", "timestamp", "iso week", "compact"]
)
def test_any_iso_form_of_a_week_is_read(form: str, tmp_path: Path, settings: Settings) -> None:
    tables = {name: shops.tables()[name] for name in ("sales_weekly", "prices_weekly")}
    for table in tables.values():
        table["week"] = pd.to_datetime(table["week"]).dt.strftime(form)
    shop = open_shop(str(shops.write(tmp_path / "shop", tables)), settings, today=TODAY)
    assert (shop.first_monday, shop.faults) == ("2024-01-01", ())
    assert sorted(landed(shop, "prices_weekly")["week"].unique()) == list(range(1, shops.WEEKS + 1))


def test_running_weeks_stay_and_are_matched_with_dated_purchases(tmp_path: Path, settings: Settings) -> None:
    tables = shops.tables()
    for name in ("sales_weekly", "prices_weekly"):
        tables[name]["week"] = list(range(7, 7 + shops.WEEKS)) * 3
    shop = open_shop(str(shops.write(tmp_path / "shop", tables)), settings, today=TODAY)
    assert (shop.first_monday, shop.first_week) == ("2024-01-01", 7)
    assert "Week 7 is taken to begin on 2024-01-01" in " ".join(map(english, shop.notes))
    assert landed(shop, "transactions")["week"].between(7, 36).all()


def test_waves_are_ranked_where_they_are_not_numbers(tmp_path: Path, settings: Settings) -> None:
    shop = open_shop(str(shops.write(tmp_path / "shop", shops.tables())), settings, today=TODAY)
    assert landed(shop, "coupon_history")["wave"].tolist() == [1, 1, 1, 2, 2, 2]


def test_a_byte_order_mark_and_chinese_headers_and_values_are_read(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    for path in folder.glob("*.csv"):
        text = path.read_text(encoding="utf-8").replace("department", "部门").replace("\n", "\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    shop = open_shop(str(folder), settings, today=TODAY)
    assert shop.attributes["products"] == ("部门",)
    assert landed(shop, "products")["title"].tolist()[2] == "可口可乐 330毫升"
    assert shop.faults == ()


def test_gb18030_is_read_with_a_note(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    for name in ("products", "prices_weekly", "sales_weekly", "transactions"):
        path = folder / f"{name}.csv"
        path.write_bytes(path.read_text(encoding="utf-8").encode("gb18030"))
    shop = open_shop(str(folder), settings, today=TODAY)
    assert landed(shop, "products")["title"].tolist()[2] == "可口可乐 330毫升"
    assert "products.csv is not UTF-8; it was read as GB18030 (Chinese)." in map(english, shop.notes)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("customer_id,city\nc1,上海\nc2,".encode() + "北京\n".encode("gb18030"), ["row 2", "mixed", "0xb1"]),
        ("customer_id,city\nc1,Málaga\n".encode("latin-1"), ["row 1", "not UTF-8", "0xe1"]),
        ("customer_id,city\nc1,Graz\n".encode("utf-16"), ["UTF-16"]),
        (b"", ["empty"]),
    ],
)
def test_what_cannot_be_read_as_text_is_refused(
    content: bytes, words: list[str], tmp_path: Path, settings: Settings
) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    (folder / "customers.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"customers\.csv") as refused:
        open_shop(str(folder), settings, today=TODAY)
    assert [word for word in words if word not in str(refused.value)] == []


HANZI = st.builds(
    lambda row, cell: bytes([row, cell]).decode("gb2312"), st.integers(0xB0, 0xD6), st.integers(0xA1, 0xFE)
)


@given(st.lists(st.text(HANZI, min_size=2, max_size=8), min_size=3, max_size=6))
@examples(deadline=None, max_examples=50)
def test_common_chinese_text_is_told_apart_by_encoding(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "names.csv"
        path.write_bytes("\n".join(["name", *names]).encode())
        assert detect(path).name == "utf-8"
        path.write_bytes("\n".join(["name", *names]).encode("gb18030"))
        assert detect(path).name == "gb18030" or any(accident(name) for name in names)
        path.write_bytes(b"\n".join([b"name", "可口可乐".encode(), *(name.encode("gb18030") for name in names)]))
        assert "mixed" in detect(path).problem or all(accident(name) for name in names)


def accident(name: str) -> bool:
    """Whether the GB18030 bytes happen to be UTF-8 as well."""
    try:
        name.encode("gb18030").decode()
    except UnicodeDecodeError:
        return False
    return True


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[40:400] = bytes(360)
    path.write_bytes(content)


@pytest.mark.parametrize(("suffix", "spoil"), [(".parquet", truncate), (".parquet", damage), (".csv.gz", truncate)])
def test_a_damaged_file_is_refused_by_name(
    suffix: str, spoil: Callable[[Path], None], tmp_path: Path, settings: Settings
) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables(), suffix)
    spoil(folder / f"prices_weekly{suffix}")
    with pytest.raises(DataError, match=r"prices_weekly.*cannot be read") as refused:
        open_shop(str(folder), settings, today=TODAY)
    assert str(tmp_path) not in str(refused.value).split(":", maxsplit=1)[1]


def test_lines_that_do_not_fit_the_header_are_set_aside_with_their_true_row(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    path = folder / "transactions.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[4] += ",7"
    lines[8] = "x,y"
    lines[12] = lines[12].replace("T10", "?")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shop = open_shop(str(folder), settings, today=TODAY)
    assert [(fault.row, fault.count) for fault in shop.faults] == [(4, 2), (12, 1)]
    assert shop.quarantine is not None
    assert pd.read_csv(shop.quarantine / "transactions.csv")["row"].tolist() == [4, 8, 12]
    assert len(landed(shop, "transactions")) == 397


def test_a_table_may_be_a_folder_of_parts(tmp_path: Path, settings: Settings) -> None:
    tables = shops.tables()
    lines = tables.pop("transactions")
    folder = shops.write(tmp_path / "shop", tables)
    (folder / "transactions").mkdir()
    lines[:150].to_parquet(folder / "transactions" / "part-0.parquet")
    lines[150:].assign(sales_value=lambda t: t["sales_value"].where(t.index != 160, -1)).to_csv(
        folder / "transactions" / "part-1.csv", index=False
    )
    shop = open_shop(str(folder), settings, today=TODAY)
    (fault,) = shop.faults
    assert (fault.file, fault.row) == (str(Path("transactions", "part-1.csv")), 11)
    assert landed(shop, "transactions")["transaction_id"].tolist() == lines["transaction_id"].drop(160).tolist()


def test_a_table_that_is_there_twice_is_refused(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    shops.products().to_parquet(folder / "products.parquet")
    with pytest.raises(DataError, match=r"more than once \(products\.parquet, products\.csv\)"):
        open_shop(str(folder), settings, today=TODAY)


def test_semicolons_and_quoted_separators_are_understood(tmp_path: Path, settings: Settings) -> None:
    tables = shops.tables()
    tables["products"]["title"] = ['Cola; "big", 330', "Crisps\nsalted", "可乐"]
    folder = shops.write(tmp_path / "shop", {})
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, sep=";")
    shop = open_shop(str(folder), settings, today=TODAY)
    assert landed(shop, "products")["title"].tolist() == tables["products"]["title"].tolist()


def test_identifiers_keep_leading_zeros_and_lose_the_point_of_floats(tmp_path: Path, settings: Settings) -> None:
    tables = shops.tables()
    codes = {"1001": 17.0, "1002": 18.0, "可乐330": 19.0}
    for name in ("products", "prices_weekly", "sales_weekly", "transactions"):
        tables[name]["product_id"] = tables[name]["product_id"].map(codes)
    tables["transactions"]["customer_id"] = "007"
    shop = open_shop(str(shops.write(tmp_path / "shop", tables, ".parquet")), settings, today=TODAY)
    assert landed(shop, "products")["product_id"].tolist() == ["17", "18", "19"]
    assert set(landed(shop, "transactions")["customer_id"]) == {"007"}


def test_returns_stay_in_transactions(tmp_path: Path, settings: Settings) -> None:
    tables = shops.tables()
    tables["transactions"].loc[5, ["quantity", "sales_value"]] = [-2, -2.4]
    shop = open_shop(str(shops.write(tmp_path / "shop", tables)), settings, today=TODAY)
    assert shop.faults == ()
    assert landed(shop, "transactions")["quantity"].min() == -2


def test_missing_costs_are_assumed_and_said_to_be(tmp_path: Path, settings: Settings) -> None:
    tables = shops.tables()
    tables["products"] = tables["products"].drop(columns="unit_cost")
    shop = open_shop(str(shops.write(tmp_path / "shop", tables)), settings, today=TODAY)
    assert shop.costs_assumed
    assert any("margin is assumed" in note and "28%" in note for note in map(english, shop.notes))


def test_the_second_opening_reads_nothing_and_a_change_is_seen(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    first = open_shop(str(folder), settings, today=TODAY)
    stamps = {path: path.stat().st_mtime_ns for path in first.tables.values()}
    again = open_shop(str(folder), settings, today=TODAY)
    assert again == first
    assert stamps == {path: path.stat().st_mtime_ns for path in again.tables.values()}
    tables = shops.tables()
    tables["sales_weekly"].loc[0, "units"] += 1
    changed = open_shop(str(shops.write(folder, tables)), settings, today=TODAY)
    assert changed.fingerprint != first.fingerprint


def test_the_same_data_give_the_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    prints = set()
    for threads in (1, 2, 4):
        own = load_settings(overrides=[f"data.home={tmp_path / str(threads)}", f"data.threads={threads}"])
        prints.add(open_shop(str(folder), own, today=TODAY).fingerprint)
    assert len(prints) == 1


def test_a_cache_that_lost_a_table_is_landed_again(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    first = open_shop(str(folder), settings, today=TODAY)
    first.tables["products"].unlink()
    assert open_shop(str(folder), settings, today=TODAY) == first
    assert first.tables["products"].exists()


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond `room` bytes: the kernel says so as it says that a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [100, 3_000])
def test_a_disk_that_fills_leaves_nothing_half_written(room: int, tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    with full_disk(room), pytest.raises(StorageError, match="not written"):
        open_shop(str(folder), settings, today=TODAY)
    assert list(settings.home.rglob("*.parquet")) == []
    assert open_shop(str(folder), settings, today=TODAY).faults == ()


def test_a_compressed_file_inside_may_be_chinese_too(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    text = (folder / "products.csv").read_text(encoding="utf-8")
    (folder / "products.csv").unlink()
    with gzip.open(folder / "products.csv.gz", "wb") as stream:
        stream.write(text.encode("gb18030"))
    for name in ("prices_weekly", "sales_weekly", "transactions"):
        path = folder / f"{name}.csv"
        path.write_bytes(path.read_text(encoding="utf-8").encode("gb18030"))
    shop = open_shop(str(folder), settings, today=TODAY)
    assert landed(shop, "products")["product_id"].tolist() == list(shops.PRODUCTS)


def test_what_killed_runs_left_and_old_shops_are_removed(tmp_path: Path, settings: Settings) -> None:
    cache = settings.home / "cache"
    old = [
        cache / ".landing-dead",
        cache / "shops" / ".shop-x.part",
        *(cache / "shops" / f"shop-{i:016d}" for i in range(4)),
    ]
    young = [cache / ".landing-busy", cache / "shops" / ".shop-y.part"]
    for folder in [*old, *young]:
        folder.mkdir(parents=True)
    for rank, folder in enumerate(old):
        os.utime(folder, (1e9 + rank, 1e9 + rank))
    open_shop(str(shops.write(tmp_path / "shop", shops.tables())), settings, today=TODAY)
    assert [folder for folder in young if not folder.exists()] == []
    assert [folder.name for folder in old if folder.exists()] == ["shop-0000000000000002", "shop-0000000000000003"]


def test_lines_that_end_in_carriage_returns_alone_are_refused(tmp_path: Path, settings: Settings) -> None:
    folder = shops.write(tmp_path / "shop", shops.tables())
    path = folder / "products.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    with pytest.raises(DataError, match=r"products\.csv: .*carriage returns alone"):
        open_shop(str(folder), settings, today=TODAY)
