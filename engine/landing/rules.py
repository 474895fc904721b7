"""Rules that look at more than one row: repeated keys, absurd prices and dates, unlisted products, costs, variation."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise

from engine.contract import ABSURD_RATIO, SALES_TABLES
from engine.frames import DuckDbBackend
from engine.landing.rows import blank_values, drop_rows, first_row
from engine.landing.stage import Stage
from engine.landing.weeks import EPOCH
from engine.proposal import N_, Reason
from engine.shop import Fault

LONE_SHARE = 0.05
"""Rows after a gap are taken for a mistyped date when they are no more than this share of the table…"""
GAP_WEEKS = 104
"""…and the gap is longer than this."""
DAYS_AHEAD = 366
"""Dates further in the future than this are mistakes."""
COST_REFUSES = 0.5
"""When more than this share of the products cost more than they sell for, the costs are in another unit."""
MIN_FOR_RATIO = 3
ABSURD_PROFITS = 10_000.0
"""A profit this many times the median one of the coupon history is taken for a mistake."""

Stages = Mapping[str, Stage]


def repeated_keys(stage: Stage, backend: DuckDbBackend) -> list[Fault]:
    """Rows whose key was there before: copies are set aside, contradictions refuse (where the table says so)."""
    key = [name for name in stage.table.key if stage.has(name)]
    if not key:
        return []
    listed, content = ", ".join(_key_columns(stage, key)), _content(stage)
    run = backend.connection.execute
    run(
        f"CREATE OR REPLACE TEMP TABLE repeats AS WITH twice AS ("
        f"SELECT hash({listed}) AS h FROM {stage.view} GROUP BY h HAVING count(*) > 1), "
        f"candidates AS (SELECT *, hash({listed}) AS h FROM {stage.view} SEMI JOIN twice ON hash({listed}) = twice.h) "
        f"SELECT __id, row_number() OVER (PARTITION BY {listed} ORDER BY __id) AS copy, "
        f"hash({content}) <> first_value(hash({content})) OVER (PARTITION BY {listed} ORDER BY __id) AS differs "
        "FROM candidates"
    )
    shown = " || ', ' || ".join(f"coalesce({name}::VARCHAR, '')" for name in _key_columns(stage, key))
    column = ", ".join(key)
    faults: list[Fault] = []
    if stage.table.repeats_refuse:
        where = "__id IN (SELECT __id FROM repeats WHERE copy > 1 AND differs)"
        if found := first_row(stage, backend, where, shown):
            count, file, row, value = found
            problem = "the key was there before, with other values, and nobody can say which row is right"
            remedy = N_("keep one row for each key")
            faults.append(Fault(stage.table.name, file, column, row, value, problem, remedy, refuses=True, count=count))
    where = "__id IN (SELECT __id FROM repeats WHERE copy > 1)"
    if stage.table.repeats_refuse:
        where = "__id IN (SELECT __id FROM repeats WHERE copy > 1 AND NOT differs)"
    fault = drop_rows(
        stage, backend, column, where, shown, N_("the key was there before"), N_("keep one row for each key")
    )
    return [*faults, *([fault] if fault else [])]


def _key_columns(stage: Stage, key: list[str]) -> list[str]:
    """Key columns as SQL; a week may stand as a date."""
    dated = stage.has("week") and stage.table.name != "transactions"
    return ["coalesce(__day_week::VARCHAR, week::VARCHAR)" if name == "week" and dated else name for name in key]


def _content(stage: Stage) -> str:
    names = [name for name in stage.present if name != "week"]
    return ", ".join([*names, *(["week", "__day_week"] if stage.has("week") else [])])


def absurd_prices(stage: Stage, backend: DuckDbBackend) -> list[Fault]:
    """Prices beyond a thousand times the median of their product, and sold units with a negative value."""
    if stage.table.name == "prices_weekly":
        price, where, column = "price", "price IS NOT NULL", "price"
    elif stage.table.name == "transactions":
        price, where, column = "sales_value / quantity", "quantity > 0 AND sales_value > 0", "sales_value"
    else:
        return []
    faults: list[Fault | None] = []
    if column == "sales_value":
        problem = N_("a negative value for units that were sold, that is a negative price")
        remedy = N_("correct the sign; a return has a negative quantity")
        faults.append(drop_rows(stage, backend, column, "sales_value < 0 AND quantity > 0", column, problem, remedy))
    run = backend.connection.execute
    run(
        f"CREATE OR REPLACE TEMP TABLE usual AS SELECT product_id, median({price}) AS typical FROM {stage.view} "
        f"WHERE {where} GROUP BY product_id "
        f"HAVING count(*) >= {MIN_FOR_RATIO} AND max({price}) > {ABSURD_RATIO} * median({price})"
    )
    far = (
        f"{where} AND __id IN (SELECT __id FROM {stage.view} JOIN usual USING (product_id) "
        f"WHERE {where} AND {price} > {ABSURD_RATIO} * typical)"
    )
    absurd = Reason("an absurd price: more than {times:,.0f} times the median of the product", {"times": ABSURD_RATIO})
    faults.append(
        drop_rows(stage, backend, column, far, column, absurd, N_("check the unit and the decimal separator"))
    )
    return [fault for fault in faults if fault]


def absurd_values(stage: Stage, backend: DuckDbBackend) -> list[Fault]:
    """Optional values that cannot be meant: everyday prices below the price, profits beyond all others."""
    if stage.table.name == "prices_weekly" and stage.has("regular_price"):
        # A price that was moved at random may lie above the everyday one.
        usual = "coalesce(experiment, 0) = 0 AND " if stage.has("experiment") else ""
        where = f"{usual}regular_price < 0.99 * price - 0.01"
        problem = N_("the everyday price is below the price")
        remedy = N_("give the price without temporary discounts, or leave it out")
        return _found(blank_values(stage, backend, "regular_price", where, problem, remedy))
    if stage.table.name == "coupon_history" and stage.has("profit"):
        typical = f"SELECT median(abs(profit)) FROM {stage.view} WHERE profit <> 0"
        where = f"abs(profit) > {ABSURD_PROFITS} * ({typical})"
        absurd = Reason("an absurd profit: more than {times:,.0f} times the median one", {"times": ABSURD_PROFITS})
        remedy = N_("check the unit and the decimal separator")
        return _found(blank_values(stage, backend, "profit", where, absurd, remedy))
    return []


def _found(fault: Fault | None) -> list[Fault]:
    return [fault] if fault else []


def absurd_times(stage: Stage, backend: DuckDbBackend, today: date) -> list[Fault]:
    """Dates in the future, and a few dates (or week numbers) years away from all others."""
    faults: list[Fault | None] = []
    if stage.has("timestamp"):
        faults += _absurd_days(stage, backend, "timestamp", today)
    if stage.has("week") and stage.table.name != "transactions":
        faults += _absurd_days(stage, backend, "week", today)
    return [fault for fault in faults if fault]


def _absurd_days(stage: Stage, backend: DuckDbBackend, column: str, today: date) -> list[Fault | None]:
    day = "timestamp::DATE" if column == "timestamp" else "__day_week"
    shown = "timestamp" if column == "timestamp" else "coalesce(__day_week::VARCHAR, week::VARCHAR)"
    latest = (today + timedelta(days=DAYS_AHEAD)).isoformat()
    future = drop_rows(
        stage,
        backend,
        column,
        f"{day} > DATE '{latest}'",
        shown,
        Reason("the date lies after {day}", {"day": latest}),
        N_("correct the date"),
    )
    number = f"({day} - {EPOCH}) // 7"
    if column == "week":
        number = f"coalesce({number}, week)"
    lone = _lone_weeks(stage, backend, number)
    if not lone:
        return [future]
    where = " OR ".join(f"{number} {test}" for test in lone)
    problem = Reason("the date lies more than {weeks} weeks away from all others", {"weeks": GAP_WEEKS})
    return [future, drop_rows(stage, backend, column, where, shown, problem, N_("correct the date"))]


def _lone_weeks(stage: Stage, backend: DuckDbBackend, number: str) -> list[str]:
    """Conditions on the week number for rows cut off from the bulk by a gap of years."""
    weeks = backend.connection.execute(
        f"SELECT {number} AS number, count(*) FROM {stage.view} WHERE {number} IS NOT NULL GROUP BY 1 ORDER BY 1"
    ).fetchall()
    total = sum(count for _, count in weeks)
    conditions: list[str] = []
    seen = 0
    for (before, count), (after, _) in pairwise(weeks):
        seen += count
        if after - before <= GAP_WEEKS:
            continue
        if total - seen <= LONE_SHARE * total:
            return [*conditions, f">= {after}"]
        if seen <= LONE_SHARE * total:
            conditions = [f"<= {before}"]
    return conditions


def unlisted_products(stages: Stages, backend: DuckDbBackend) -> list[Fault]:
    """Rows of products that the product list lacks."""
    products = stages.get("products")
    if products is None:
        return []
    faults: list[Fault | None] = []
    for name in ("transactions", "sales_weekly", "prices_weekly"):
        stage = stages.get(name)
        if stage is None:
            continue
        where = f"product_id NOT IN (SELECT product_id FROM {products.view} WHERE product_id IS NOT NULL)"
        problem = Reason("the product is not listed in {table}", {"table": products.files})
        remedy = N_("list it there, with its category and cost")
        if _listed_with_zeros(stage, products, where, backend):
            remedy = N_("write the identifiers alike in both: one of them lost its leading zeros")
        faults.append(
            drop_rows(
                stage,
                backend,
                "product_id",
                where,
                "product_id",
                problem,
                remedy,
            )
        )
    return [fault for fault in faults if fault]


def _listed_with_zeros(stage: Stage, products: Stage, where: str, backend: DuckDbBackend) -> bool:
    """Whether one of these rows' products is listed but for leading zeros, which spreadsheets strip."""
    plain = "ltrim(product_id, '0')"
    listed = f"SELECT {plain} FROM {products.view} WHERE product_id IS NOT NULL"
    found = backend.connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM {stage.view} WHERE {where} AND {plain} IN ({listed}))"
    ).fetchone()
    return bool(found and found[0])


def unpriced_products(stages: Stages, backend: DuckDbBackend) -> list[Fault]:
    """A remark on products that were sold but have no row in prices_weekly: they cannot be modelled."""
    prices, sales = stages.get("prices_weekly"), stages.get("sales_weekly") or stages.get("transactions")
    if prices is None or sales is None:
        return []
    where = f"product_id NOT IN (SELECT product_id FROM {prices.view} WHERE product_id IS NOT NULL)"
    found = first_row(sales, backend, where, "product_id")
    if not found:
        return []
    count, file, row, value = found
    problem, remedy = (
        N_("the product was sold but has no price"),
        N_("add its prices") + "; " + N_("it is left out of the price plan"),
    )
    return [Fault(sales.table.name, file, "product_id", row, value, problem, remedy, refuses=False, count=count)]


def costs_above_prices(stages: Stages, backend: DuckDbBackend) -> list[Fault]:
    """Products that cost more than they sell for: a remark, or a refusal where most do."""
    products, priced = stages.get("products"), _unit_prices(stages)
    if products is None or not products.has("unit_cost") or priced is None:
        return []
    backend.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE usual AS SELECT product_id, median(price) AS typical FROM ({priced}) GROUP BY 1"
    )
    known = f"SELECT count(*) FROM {products.view} JOIN usual USING (product_id) WHERE unit_cost IS NOT NULL"
    total = (backend.connection.execute(known).fetchone() or (0,))[0]
    where = f"__id IN (SELECT __id FROM {products.view} JOIN usual USING (product_id) WHERE unit_cost > typical)"
    found = first_row(products, backend, where, "unit_cost")
    if not found:
        return []
    count, file, row, value = found
    refuses = count > COST_REFUSES * total
    remedy = N_("check whether the costs are per unit and in the same currency")
    problem = N_("the product costs more than its median price")
    if refuses:
        problem += f", as do {count} of the {total} products with a cost"
    else:
        remedy += "; " + N_("kept as it is, so that each unit of it counts as a loss")
    return [Fault("products", file, "unit_cost", row, value, problem, remedy, refuses=refuses, count=count)]


def _unit_prices(stages: Stages) -> str | None:
    prices, lines = stages.get("prices_weekly"), stages.get("transactions")
    if prices is not None:
        return f"SELECT product_id, price FROM {prices.view}"
    if lines is not None:
        return f"SELECT product_id, sales_value / quantity AS price FROM {lines.view} WHERE quantity > 0"
    return None


def variation(stages: Stages, backend: DuckDbBackend) -> list[Fault]:
    """What these data can never tell: a single week refuses; a single product, customer or price is a remark."""
    sales = [stages[name] for name in SALES_TABLES if name in stages]
    dated = [stages[name] for name in (*SALES_TABLES, "prices_weekly") if name in stages]
    faults = [fault for stage in dated for fault in _one_week(stage, backend)]
    for stage in sales:
        for column, same, consequence in (
            (
                "product_id",
                N_("the same product_id in every row"),
                N_("there is nothing to compare it with, or to substitute"),
            ),
            ("customer_id", N_("the same customer_id in every row"), N_("nothing can be learned about customers")),
        ):
            if stage.has(column) and _distinct(stage, backend, column) == 1:
                faults.append(_remark(stage, column, same, consequence))
    priced = _unit_prices(stages)
    if priced is None or not sales:
        return faults
    moved = backend.connection.execute(
        f"SELECT count(*) FROM (SELECT product_id FROM ({priced}) GROUP BY 1 HAVING max(price) > 1.001 * min(price))"
    ).fetchone()
    if moved and moved[0] == 0:
        stage = stages.get("prices_weekly") or sales[0]
        column = "price" if stage.has("price") else "sales_value"
        consequence = N_("without price variation no response to prices can be identified, and no price will be moved")
        faults.append(_remark(stage, column, N_("no product's price ever changes"), consequence))
    return faults


def _one_week(stage: Stage, backend: DuckDbBackend) -> list[Fault]:
    """Tables over time that hold one point of it."""
    columns = {"week": "coalesce(__day_week::VARCHAR, week::VARCHAR)", "timestamp": f"(timestamp::DATE - {EPOCH}) // 7"}
    faults = []
    for column, number in columns.items():
        if not stage.has(column) or _distinct(stage, backend, number) != 1:
            continue
        shown = first_row(stage, backend, "true", number if column == "week" else column)
        problem = "every row is of the same week, so that neither demand nor its response can be estimated"
        remedy = "hand in more weeks, at least ten; a year is better"
        value = shown[3] if shown else ""
        faults.append(Fault(stage.table.name, stage.files, column, None, value, problem, remedy, refuses=True))
    return faults


def _distinct(stage: Stage, backend: DuckDbBackend, column: str) -> int:
    found = backend.connection.execute(f"SELECT count(DISTINCT {column}) FROM {stage.view}").fetchone()
    return int(found[0]) if found else 0


def _remark(stage: Stage, column: str, problem: str, consequence: str) -> Fault:
    return Fault(stage.table.name, stage.files, column, None, "", problem, consequence, refuses=False)
