"""Weekly sales, rebuilt prices and promotion shares: what they promise, on DuckDB and on Spark alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engine.frames import Backend, Frame, SparkBackend, connect
from engine.settings import Settings, load_settings
from engine.sources.rebuild import promotion_shares, rebuild_prices, store_weights, weekly_sales


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(overrides=[f"data.home={tmp_path}", "data.threads=1"])


def lines(rows: list[tuple[str, str, int, float, float, float, float]]) -> pd.DataFrame:
    names = ["product_id", "store_id", "week", "quantity", "sales_value", "discount", "coupon_discount"]
    return pd.DataFrame(rows, columns=names)


def run(frame: pd.DataFrame, step: Callable[[Frame], Frame], settings: Settings, tmp_path: Path) -> pd.DataFrame:
    path = tmp_path / "lines.parquet"
    frame.to_parquet(path)
    backend = connect(settings)
    try:
        out: pd.DataFrame = backend.collect(step(backend.scan(path)), ["product_id", "week"]).to_pandas()
    finally:
        backend.close()
    return out


def test_weekly_sales_take_returns_off(settings: Settings, tmp_path: Path) -> None:
    frame = lines([("a", "1", 1, 3, 6.0, 0, 0), ("a", "2", 1, -1, -2.0, 0, 0), ("a", "1", 2, 0.45, 0.9, 0, 0)])
    got = run(frame, weekly_sales, settings, tmp_path)
    assert got.to_numpy().tolist() == [["a", 1, 2.0, 4.0], ["a", 2, 0.45, 0.9]]


def test_a_coupon_is_not_a_price_and_a_discount_is(settings: Settings, tmp_path: Path) -> None:
    frame = lines([("a", "1", 1, 2, 5.0, 1.0, 1.0)])
    got = run(frame, rebuild_prices, settings, tmp_path)
    assert got.to_numpy().tolist() == [["a", 1, 3.0, 3.5]]


def test_lines_without_quantity_or_value_and_returns_say_nothing_about_prices(
    settings: Settings, tmp_path: Path
) -> None:
    rows = [
        ("a", "1", 1, 1, 2.0, 0, 0),
        ("a", "1", 1, 0, 5.0, 0, 0),
        ("a", "1", 1, 1, 0.0, 0, 0),
        ("a", "1", 1, -1, -9.0, 0, 0),
    ]
    got = run(lines(rows), rebuild_prices, settings, tmp_path)
    assert got["price"].tolist() == [2.0]


def test_stores_weigh_by_what_they_sold_so_far_not_by_what_they_will_sell(settings: Settings, tmp_path: Path) -> None:
    rows = [
        ("a", "1", 1, 3, 3.0, 0, 0),
        ("a", "2", 1, 1, 2.0, 0, 0),
        ("a", "1", 2, 1, 1.0, 0, 0),
        ("a", "2", 2, 7, 14.0, 0, 0),
    ]
    got = run(lines(rows), rebuild_prices, settings, tmp_path)
    assert got["price"].tolist() == [1.25, pytest.approx((4 * 1 + 8 * 2) / 12, abs=1e-4)]


@given(st.integers(0, 2**32 - 1))
@examples(deadline=None, max_examples=8)
def test_the_future_changes_no_price_and_no_weight(seed: int) -> None:
    rng = np.random.default_rng(seed)
    own = load_settings(overrides=["data.threads=1"])
    frame = random_lines(rng)
    shuffled = frame.copy()
    late = shuffled["week"] > 6
    shuffled.loc[late, "quantity"] = rng.permutation(shuffled.loc[late, "quantity"].to_numpy()) + 5
    shuffled.loc[late, "sales_value"] = rng.permutation(shuffled.loc[late, "sales_value"].to_numpy()) * 3
    backend = connect(own)
    for step, order in ((rebuild_prices, ["product_id", "week"]), (store_weights, ["store_id", "week"])):
        past = [_collected(backend, step, table, order) for table in (frame, shuffled)]
        pd.testing.assert_frame_equal(*(table[table["week"] <= 6] for table in past), check_exact=True)
    backend.close()


def _collected(backend: Backend, step: Callable[[Frame], Frame], table: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    import narwhals as nw

    lazy = nw.from_native(backend.connection.from_df(table))  # type: ignore[attr-defined]
    out: pd.DataFrame = backend.collect(step(lazy), order).to_pandas()
    return out


@given(st.integers(0, 2**32 - 1))
@examples(deadline=None, max_examples=8)
def test_a_price_lies_between_the_shelf_prices_of_the_week(seed: int) -> None:
    frame = random_lines(np.random.default_rng(seed))
    backend = connect(load_settings(overrides=["data.threads=1"]))
    got = _collected(backend, rebuild_prices, frame, ["product_id", "week"])
    backend.close()
    sold = frame[frame["sales_value"] + frame["coupon_discount"] > 0]
    shelf = ((sold["sales_value"] + sold["coupon_discount"]) / sold["quantity"]).groupby(
        [sold["product_id"], sold["week"]]
    )
    bounds = pd.DataFrame({"low": shelf.min(), "high": shelf.max()}).loc[
        list(zip(got["product_id"], got["week"], strict=True))
    ]
    assert (got["price"].to_numpy() >= bounds["low"].to_numpy() - 2e-4).all()
    assert (got["price"].to_numpy() <= bounds["high"].to_numpy() + 2e-4).all()
    assert (got["regular_price"] >= got["price"]).all()


def random_lines(rng: np.random.Generator, n: int = 600) -> pd.DataFrame:
    quantity = rng.integers(1, 5, n)
    return pd.DataFrame(
        {
            "product_id": rng.choice(["a", "b", "可乐"], n),
            "store_id": rng.choice(["1", "2", "3"], n),
            "week": rng.integers(1, 12, n),
            "quantity": quantity.astype(float),
            "sales_value": np.round(quantity * rng.uniform(0.5, 9, n), 2),
            "discount": np.round(rng.uniform(0, 1, n), 2),
            "coupon_discount": np.round(rng.uniform(0, 1, n), 2),
        }
    )


def random_promotions(rng: np.random.Generator, n: int = 300) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "product_id": rng.choice(["a", "b", "可乐"], n),
            "store_id": rng.choice(["1", "2", "9"], n),
            "week": rng.integers(1, 12, n),
            "mailer": rng.integers(0, 2, n),
            "display": rng.integers(0, 2, n),
        }
    )


def test_promotion_shares_weigh_stores_by_sales_and_count_duplicates_once(settings: Settings, tmp_path: Path) -> None:
    sold = lines([("a", "1", 1, 1, 30.0, 0, 0), ("a", "2", 1, 1, 10.0, 0, 0), ("a", "3", 1, 1, 60.0, 0, 0)])
    sold.to_parquet(tmp_path / "sold.parquet")
    names = ["product_id", "store_id", "week", "mailer", "display"]
    rows = [("a", "1", 1, 1, 0), ("a", "1", 1, 1, 0), ("a", "2", 1, 0, 1), ("b", "2", 1, 1, 1)]
    pd.DataFrame(rows, columns=names).to_parquet(tmp_path / "promotions.parquet")
    backend = connect(settings)
    weights = store_weights(backend.scan(tmp_path / "sold.parquet"))
    shares = promotion_shares(backend.scan(tmp_path / "promotions.parquet"), weights)
    got = backend.collect(shares, ["product_id"]).to_pandas()
    backend.close()
    assert got.to_numpy().tolist() == [["a", 1, 0.75, 0.25], ["b", 1, 0.25, 0.25]]


def test_the_number_of_threads_changes_no_digit(tmp_path: Path) -> None:
    random_lines(np.random.default_rng(3), 300_000).to_parquet(tmp_path / "lines.parquet")
    found = []
    for threads in (1, 2, 4):
        backend = connect(load_settings(overrides=[f"data.home={tmp_path}", f"data.threads={threads}"]))
        frame = backend.scan(tmp_path / "lines.parquet")
        found.append([backend.collect(step(frame), ["product_id", "week"]) for step in (weekly_sales, rebuild_prices)])
        backend.close()
    assert found[0] == found[1] == found[2]


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_duckdb_and_spark_agree_to_the_last_digit(spark: SparkBackend, settings: Settings, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    random_lines(rng).to_parquet(tmp_path / "lines.parquet")
    random_promotions(rng).to_parquet(tmp_path / "promotions.parquet")
    duck = connect(settings)
    sold, promoted = tmp_path / "lines.parquet", tmp_path / "promotions.parquet"
    steps: list[Callable[[Backend], Frame]] = [
        lambda backend: weekly_sales(backend.scan(sold)),
        lambda backend: rebuild_prices(backend.scan(sold)),
        lambda backend: promotion_shares(backend.scan(promoted), store_weights(backend.scan(sold))),
    ]
    for step in steps:
        here, there = (backend.collect(step(backend), ["product_id", "week"]).to_pandas() for backend in (duck, spark))
        assert len(here) > 20
        pd.testing.assert_frame_equal(here, there, check_exact=True)
    spark.write(weekly_sales(spark.scan(sold)), tmp_path / "out", ["product_id", "week"])
    written = duck.collect(duck.scan(tmp_path / "out"), ["product_id", "week"])
    assert written == duck.collect(weekly_sales(duck.scan(sold)), ["product_id", "week"])
    duck.close()
