"""What the panel asks of the dataframe layer comes out the same on Spark, to the last digit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from feature_shops import land, listing, purchases, small_settings

from engine.frames import SparkBackend, open_backend
from engine.panel.read import Reader, Scope, price_cells, sales_cells

KEYS = ["product_id", "store_id", "week"]


def tables() -> dict[str, pd.DataFrame]:
    lines = purchases().drop(columns="week")  # so that both must find the week themselves
    lines["timestamp"] = lines["timestamp"].astype("datetime64[us]")
    weeks = pd.MultiIndex.from_product([[f"P{i}" for i in range(8)], range(20)], names=["product_id", "week"])
    prices = weeks.to_frame(index=False).assign(price=2.5, regular_price=3.0, mailer=0.5)
    return {"transactions": lines, "products": listing(), "prices_weekly": prices}


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_duckdb_and_spark_read_the_same_cells(spark: SparkBackend, tmp_path: Path) -> None:
    shop, late = land(tmp_path / "shop", tables()), Scope(until_week=15)
    questions: list[Callable[[Reader], pd.DataFrame]] = [
        lambda reader: reader.collect(sales_cells(reader, Scope(half="a"), by_store=False)),
        lambda reader: reader.collect(price_cells(reader, late, by_store=False)),
    ]
    with open_backend(small_settings(tmp_path)) as duck:
        for question in questions:
            here, there = (_sorted(question(Reader(shop, backend))) for backend in (duck, spark))
            assert len(here) >= 8
            pd.testing.assert_frame_equal(here, there, check_exact=True, check_dtype=False)


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(KEYS, ignore_index=True)
