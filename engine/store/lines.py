"""Price and coupon lines in the store: rows out of records, records out of rows, what they are sorted and hashed by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, or_, select

from engine.files import plain, to_json
from engine.proposal import CouponLine, PriceLine, Reason
from engine.store.tables import CouponLineRow, FrontierPointRow, PriceLineRow

Order = Literal["position", "product", "title", "category", "price", "change", "gain", "elasticity"]
Shown = Literal["all", "changed", "held"]

_CHUNK = 5000
_LINE_NUMBERS = (
    "current_price",
    "proposed_price",
    "unit_cost",
    "units_current",
    "units_proposed",
    "profit_current",
    "profit_proposed",
    "gain_low",
    "gain_high",
    "elasticity",
    "elasticity_se",
)
ORDERS: Mapping[Order, ColumnElement[Any]] = {
    "position": PriceLineRow.position.expression,
    "product": PriceLineRow.product_id.expression,
    "title": PriceLineRow.title.expression,
    "category": PriceLineRow.category.expression,
    "price": PriceLineRow.proposed_price.expression,
    "change": PriceLineRow.proposed_price / func.nullif(PriceLineRow.current_price, 0.0),
    "gain": PriceLineRow.profit_proposed - PriceLineRow.profit_current,
    "elasticity": PriceLineRow.elasticity.expression,
}


def select_lines(table: type[PriceLineRow | CouponLineRow | FrontierPointRow], number: int) -> Select[Any]:
    """Select the lines of one proposal."""
    return select(table.__table__).where(table.proposal_number == number)


def price_conditions(contains: str, shown: Shown) -> list[ColumnElement[bool]]:
    """Filter price lines by a text and by whether they change."""
    conditions: list[ColumnElement[bool]] = []
    if contains:
        columns = (PriceLineRow.product_id, PriceLineRow.title, PriceLineRow.category)
        conditions.append(or_(*(column.icontains(contains, autoescape=True) for column in columns)))
    if shown == "changed":
        conditions.append(PriceLineRow.proposed_price != PriceLineRow.current_price)
    elif shown == "held":
        conditions.append(PriceLineRow.proposed_price == PriceLineRow.current_price)
    return conditions


def insert_lines(
    connection: Connection, table: type[PriceLineRow | CouponLineRow | FrontierPointRow], rows: Iterator[dict[str, Any]]
) -> None:
    """Insert rows, a few thousand at a time."""
    while chunk := list(islice(rows, _CHUNK)):
        connection.execute(insert(table), chunk)


def _number(value: float) -> float | None:
    """NaN and ±∞ as NULL: "not estimated" has one form in the store. A zero loses its sign, as SQLite keeps none."""
    return float(value) + 0.0 if math.isfinite(value) else None


def _back(value: float | None) -> float:
    return math.nan if value is None else value


def price_rows(number: int, lines: Iterable[PriceLine]) -> Iterator[dict[str, Any]]:
    """Turn price lines into rows."""
    for position, line in enumerate(lines):
        yield {
            "proposal_number": number,
            "position": position,
            "product_id": line.product_id,
            "title": line.title,
            "category": line.category,
            **{name: _number(getattr(line, name)) for name in _LINE_NUMBERS},
            "identified": bool(line.identified),
            "reason_code": line.reason.code,
            "reason_values": plain(line.reason.values),
        }


def coupon_rows(number: int, lines: Iterable[CouponLine]) -> Iterator[dict[str, Any]]:
    """Turn coupon lines into rows."""
    for position, line in enumerate(lines):
        yield {
            "proposal_number": number,
            "position": position,
            "customer_id": line.customer_id,
            "offer_id": line.offer_id,
            "expected_incremental_profit": _number(line.expected_incremental_profit),
            "expected_cost": _number(line.expected_cost),
            "explored": line.explored,
            "propensity": float(line.propensity),
        }


def read_price_line(row: Row[Any]) -> PriceLine:
    """Turn a row into a price line."""
    return PriceLine(
        product_id=row.product_id,
        title=row.title,
        category=row.category,
        **{name: _back(getattr(row, name)) for name in _LINE_NUMBERS},
        identified=row.identified,
        reason=Reason.of(row.reason_code, row.reason_values),
    )


def read_coupon_line(row: Row[Any]) -> CouponLine:
    """Turn a row into a coupon line."""
    profit, cost = _back(row.expected_incremental_profit), _back(row.expected_cost)
    return CouponLine(row.customer_id, row.offer_id, profit, cost, row.explored, row.propensity)


def hashed_price_line(line: PriceLine) -> bytes:
    """Write a price line the same before it is stored and after it is read, for hashing."""
    texts = line.product_id, line.title, line.category, bool(line.identified), line.reason.code
    numbers = tuple(_number(getattr(line, name)) for name in _LINE_NUMBERS)
    return repr((*texts, *numbers, to_json(line.reason.values))).encode()


def hashed_coupon_line(line: CouponLine) -> bytes:
    """Write a coupon line the same before it is stored and after it is read, for hashing."""
    money = _number(line.expected_incremental_profit), _number(line.expected_cost)
    drawn = (float(line.propensity),) if line.explored else ()
    return repr((line.customer_id, line.offer_id, *money, *drawn)).encode()
