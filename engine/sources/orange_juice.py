"""Adapter for Dominick's orange juice: 83 stores, 11 brands, 121 weeks, with the shop's real margin.

Read from `orangeJuice.rda` of Debian's `r-cran-bayesm` (Montgomery 1997), which `make data` fetches. `price1`…`price11`
are dollars an ounce of each brand, `logmove` is the log of ounces sold, `profit` is the gross margin in per cent of the
price: so cost = price × (1 - profit / 100), which varies by week. Everything is brought to units of 64 ounces.
`feat` (leaflet, 0…1) lands as mailer, `deal` (promotion in the store) as display. Dominick's weeks begin on
Thursday; the Monday of the same calendar week stands for them.
"""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.errors import DataError
from engine.frames import DuckDbBackend, quoted
from engine.proposal import N_
from engine.settings import Settings
from engine.sources.staged import Staged

VERSION = 1
FILE = "orangeJuice.rda"
PACKAGED = Path("/usr/lib/R/site-library/bayesm/data") / FILE
OUNCES = 64
FIRST_WEEK = 40
FIRST_MONDAY = "1990-06-11"
"""Week 1 of Dominick's began on Thursday, 14 September 1989."""
RECENT_WEEKS = 8

BRANDS: tuple[tuple[str, str, int, str, int], ...] = (
    ("Tropicana Premium 64 oz", "Tropicana", 0, "premium", 64),
    ("Tropicana Premium 96 oz", "Tropicana", 0, "premium", 96),
    ("Florida's Natural 64 oz", "Florida's Natural", 0, "premium", 64),
    ("Tropicana 64 oz", "Tropicana", 0, "national", 64),
    ("Minute Maid 64 oz", "Minute Maid", 0, "national", 64),
    ("Minute Maid 96 oz", "Minute Maid", 0, "national", 96),
    ("Citrus Hill 64 oz", "Citrus Hill", 0, "national", 64),
    ("Tree Fresh 64 oz", "Tree Fresh", 0, "national", 64),
    ("Florida Gold 64 oz", "Florida Gold", 0, "national", 64),
    ("Dominick's 64 oz", "Dominick's", 1, "store brand", 64),
    ("Dominick's 128 oz", "Dominick's", 1, "store brand", 128),
)
"""Title, brand, private label, tier and ounces of the brands numbered 1…11."""

NOTES = (
    N_("Dominick's orange juice (Montgomery 1997): all prices, costs and units are per 64 ounces."),
    N_("Dominick's weeks begin on Thursday; the Monday of the same calendar week stands for them."),
)


def files(settings: Settings) -> Sequence[Path]:
    """The file that the landed tables depend on.

    Raises:
        DataError: it was not fetched.
    """
    fetched = settings.home / "data" / FILE
    found = next((path for path in (fetched, PACKAGED) if path.is_file()), None)
    if found is None:
        raise DataError(
            f"orange_juice: {FILE} is not in {fetched.parent}; run `make data`, or `apt-get install r-cran-bayesm`, "
            "or copy the file there from the R package bayesm"
        )
    return (found,)


def stage(target: Path, settings: Settings, backend: DuckDbBackend) -> Staged:
    """Write the contract's tables as Parquet into `target`.

    Raises:
        DataError: the file was not fetched, or is not the one that is meant.
    """
    path = files(settings)[0]
    _register(backend, path)
    run = backend.connection.execute
    for name, sql in (("prices_weekly", _PRICES), ("sales_weekly", _SALES), ("products", _PRODUCTS)):
        run(f"COPY ({sql}) TO {quoted(str(target / (name + '.parquet')))} (FORMAT parquet, COMPRESSION zstd)")
    return Staged(
        tables={name: target / f"{name}.parquet" for name in ("products", "prices_weekly", "sales_weekly")},
        notes=NOTES,
        first_monday=FIRST_MONDAY,
        first_week=FIRST_WEEK,
    )


def _register(backend: DuckDbBackend, path: Path) -> None:
    """The views `oj` (one row for each store, brand and week, per 64 ounces) and `oj_brands`."""
    import pandas as pd

    table = _read(path)
    wide = table[[f"price{brand}" for brand in range(1, len(BRANDS) + 1)]].to_numpy(dtype=float)
    brand = table["brand"].to_numpy(dtype=int)
    price = wide[range(len(table)), brand - 1] * OUNCES
    rows = pd.DataFrame(
        {name: table[name].to_numpy(dtype=float) for name in ("store", "week", "deal", "feat", "profit", "logmove")}
    )
    rows = rows.assign(brand=brand, price=price)
    names = ("title", "brand_name", "private_label", "tier", "ounces")
    brands = pd.DataFrame(BRANDS, columns=list(names)).assign(brand=range(1, len(BRANDS) + 1))
    backend.connection.register("oj_rows", rows)
    backend.connection.register("oj_brands", brands)
    backend.connection.execute(f"CREATE OR REPLACE TEMP TABLE oj AS {_ROWS}")


def _read(path: Path) -> Any:  # noqa: ANN401 - a pandas frame; pandas is imported late
    import warnings

    import rdata

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rdata remarks on R attributes that play no part here
            return rdata.read_rda(path)["orangeJuice"]["yx"]
    except Exception as error:
        raise DataError(f"{path.name}: not the data set that is meant ({error}); run `make data` again") from error


_ROWS = f"""
SELECT store::BIGINT::VARCHAR AS store_id, brand::VARCHAR AS product_id, week::BIGINT AS week,
    round(exp(logmove) / {OUNCES}, 4) AS units, round(price, 6) AS price,
    round(price * (1 - profit / 100), 6) AS unit_cost,
    least(greatest(feat, 0), 1) AS mailer, deal AS display
FROM oj_rows
"""

_PRICES = """
SELECT product_id, week, store_id, price, mailer, display, unit_cost FROM oj
ORDER BY product_id::INTEGER, store_id::INTEGER, week
"""

_SALES = """
SELECT product_id, week, store_id, units, round(units * price, 4) AS revenue FROM oj
ORDER BY product_id::INTEGER, store_id::INTEGER, week
"""

_PRODUCTS = f"""
WITH recent AS (
    SELECT product_id, round(median(unit_cost), 4) AS unit_cost FROM oj
    WHERE week > (SELECT max(week) FROM oj) - {RECENT_WEEKS} GROUP BY product_id
), listed AS (
    SELECT product_id, round(median(price), 4) AS list_price FROM oj GROUP BY product_id
)
SELECT product_id, title, 'refrigerated orange juice' AS description, 'orange juice' AS category, tier,
    'dairy' AS department, brand_name AS brand, private_label, ounces::DOUBLE AS pack_size, 'oz' AS unit,
    unit_cost, list_price
FROM oj_brands JOIN recent ON recent.product_id = brand::VARCHAR JOIN listed USING (product_id)
ORDER BY product_id::INTEGER
"""
