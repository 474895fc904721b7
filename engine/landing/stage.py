"""Staging: each raw table becomes one typed Parquet file beside what could not be used; nothing is judged yet."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from engine.contract import TABLES, Kind, Table
from engine.frames import DuckDbBackend, column_sql, quoted
from engine.landing.columns import copy_to, read_whole_columns
from engine.landing.raw import Part, RawTable, select_sql
from engine.landing.types import SQL_TYPES, blank_sql, value_sql, week_date_sql, week_number_sql
from engine.shop import Fault

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_id": ("商品编号", "商品ID", "商品id", "产品编号", "货号", "sku", "item_id", "upc"),
    "transaction_id": ("交易编号", "订单编号", "订单号", "小票号", "basket_id", "order_id", "invoice"),
    "timestamp": ("时间", "日期", "交易时间", "下单时间", "date", "datetime", "time"),
    "quantity": ("数量", "件数", "qty", "amount"),
    "sales_value": ("金额", "销售额", "实付金额", "sales", "value"),
    "customer_id": ("客户编号", "会员编号", "用户ID", "顾客编号", "household_id", "user_id"),
    "price": ("价格", "单价", "售价", "unit_price"),
    "week": ("周", "周次", "week_no"),
    "units": ("销量", "销售数量", "数量", "quantity", "qty"),
    "sent": ("发送", "是否发送", "treated"),
    "wave": ("批次", "活动", "campaign", "campaign_id"),
}
"""What shops call the contract's columns: only to say in a fault which column was probably meant."""


MAX_SHIFTS = 1_000
"""With more rejected lines than this, row numbers after them are those of the lines that could be read."""


@dataclass(frozen=True)
class Rejected:
    """A line of a CSV file that has more or fewer fields than the header, or an open quote."""

    file: str
    row: int
    text: str
    message: str


@dataclass(frozen=True)
class Stage:
    """A typed table, before any rule. SQL views: `stage_NAME` (all rows), `kept_NAME` (rows not set aside so far)."""

    table: Table
    path: Path
    present: tuple[str, ...]
    """Columns of the contract that the source has."""
    attributes: tuple[str, ...]
    rows: int
    files: str
    """The names of the files, for faults of the whole table."""
    typed: bool = True
    """False: the files knew texts only."""
    rejected: tuple[Rejected, ...] = ()
    """Lines that could not even be cut into fields; `rows` does not count them."""

    @property
    def view(self) -> str:
        """Rows that no rule has set aside so far; `__id`, `__file` and `__row` say which row it was."""
        return f"kept_{self.table.name}"

    @property
    def all_rows(self) -> str:
        """Every row."""
        return f"stage_{self.table.name}"

    @property
    def drops(self) -> str:
        """Rows set aside: `__id`, column, value, problem."""
        return f"drops_{self.table.name}"

    @property
    def blanks(self) -> str:
        """Values set aside, in rows that stay."""
        return f"blanks_{self.table.name}"

    @property
    def whole(self) -> bool:
        """Whether every required column is there; rules that look at several columns need that."""
        return set(self.table.required) <= set(self.present)

    def has(self, column: str) -> bool:
        """Whether the source has this column of the contract."""
        return column in self.present


def stage_table(raw: RawTable, folder: Path, backend: DuckDbBackend) -> tuple[Stage | None, list[Fault]]:
    """Write the typed table to `folder`.

    Returns:
        The stage (None where the table cannot be read at all), and the faults of its columns and lines.
    """
    table = TABLES[raw.name]
    parts = [(part, _names(part, table)) for part in raw.parts]
    faults = [fault for part, names in parts for fault in _column_faults(part, names, table)]
    present = tuple(c.name for c in table.columns if any(c.name in names for _, names in parts))
    attributes = _attributes(parts, table)
    path = folder / f"{table.name}.stage.parquet"
    selects = [_part_sql(part, names, table, present, attributes) for part, names in parts]
    together = " UNION ALL BY NAME ".join(selects)
    typed = all(part.typed for part in raw.parts)
    try:
        copy_to(together, path, backend)
        read_whole_columns(table, present, path, backend, typed=typed)
    except duckdb.Error as error:
        if _no_room(error):
            raise
        return None, [*faults, _unreadable(raw, error)]
    files = ", ".join(part.label for part in raw.parts[:3]) + (" …" if len(raw.parts) > 3 else "")
    rejected = _rejected(raw, backend)
    rows = _open_views(table, path, backend, rejected)
    return Stage(table, path, present, attributes, rows, files, typed, rejected), faults


def _names(part: Part, table: Table) -> dict[str, str]:
    """Column in the contract (or attribute) -> column in the file."""
    known = {column.name for column in table.columns}
    named: dict[str, str] = {}
    for raw in part.columns:
        plain = raw.strip().lstrip("\ufeff")
        name = plain.lower() if plain.lower() in known else plain
        named.setdefault(name, raw)
    return named


def _column_faults(part: Part, names: Mapping[str, str], table: Table) -> list[Fault]:
    faults = [_missing_column(part, names, table, column) for column in table.required if column not in names]
    counts = Counter(raw.strip().lower() for raw in part.columns)
    for name in sorted(name for name, count in counts.items() if count > 1 and table.column(name)):
        faults.append(
            Fault(
                table.name, part.label, name, None, "", "the column is there twice", "rename one of them", refuses=True
            )
        )
    return faults


def _missing_column(part: Part, names: Mapping[str, str], table: Table, column: str) -> Fault:
    others = [name for name in names if table.column(name) is None]
    meant = [name for name in others if name.lower() in {n.lower() for n in OTHER_NAMES.get(column, ())}]
    meant = meant or difflib.get_close_matches(column, others, n=1, cutoff=0.75)
    remedy = f"rename '{meant[0]}' to {column}" if meant else "add it"
    return Fault(
        table.name, part.label, column, None, "", "the required column is missing",
        f"{remedy} (the file has: {', '.join(list(part.columns)[:12]) or 'no columns'})", refuses=True,
    )  # fmt: skip


def _attributes(parts: list[tuple[Part, dict[str, str]]], table: Table) -> tuple[str, ...]:
    seen: dict[str, None] = {}
    for _, names in parts:
        seen.update(dict.fromkeys(name for name in names if table.column(name) is None))
    return tuple(name for name in seen if name and not name.startswith("__"))


def _part_sql(
    part: Part, names: Mapping[str, str], table: Table, present: tuple[str, ...], attributes: tuple[str, ...]
) -> str:
    columns: list[str] = []
    for name in present:
        raw = names.get(name)
        columns.extend(_typed(table, name, raw, part.columns[raw] if raw else ""))
    columns += [f"{_attribute(names.get(name), part)} AS {column_sql(name)}" for name in attributes]
    columns += [f"{quoted(part.label)} AS __file", "__row::BIGINT AS __row"]
    return f"(SELECT {', '.join(columns)} FROM ({select_sql(part)}))"


def _attribute(raw: str | None, part: Part) -> str:
    if raw is None:
        return "NULL"
    return column_sql(raw) + ("::VARCHAR" if part.columns[raw].startswith("ENUM") else "")


def _typed(table: Table, name: str, raw: str | None, raw_type: str) -> list[str]:
    """The typed column, and `__bad_…`: what stood there where it could not be used."""
    column = table.column(name)
    assert column is not None  # noqa: S101 - `present` holds the contract's columns only
    bad = column_sql(f"__bad_{name}")
    if raw is None:
        nothing = [f"NULL::{SQL_TYPES[column.kind]} AS {name}", f"NULL::VARCHAR AS {bad}"]
        return [*nothing, f"NULL::DATE AS __day_{name}"] if column.kind is Kind.WEEK else nothing
    source = column_sql(raw)
    if column.kind is Kind.WEEK:
        number, day = week_number_sql(source, raw_type), week_date_sql(source, raw_type)
        unusable = f"({number}) IS NULL AND ({day}) IS NULL"
        typed = [f"{number} AS {name}", f"{day} AS __day_{name}"]
    else:
        value = value_sql(column, source, raw_type)
        unusable = f"({value}) IS NULL"
        typed = [f"{value} AS {name}"]
    shown = (
        f"CASE WHEN NOT {blank_sql(column.kind, source, raw_type)} AND {unusable} THEN left({source}::VARCHAR, 80) END"
    )
    return [*typed, f"{shown} AS {bad}"]


def _open_views(table: Table, path: Path, backend: DuckDbBackend, rejected: tuple[Rejected, ...]) -> int:
    run = backend.connection.execute
    name = table.name
    run(
        f"CREATE OR REPLACE TEMP VIEW stage_{name} AS SELECT * REPLACE ({_row_sql(rejected)} AS __row), "
        f"file_row_number AS __id FROM read_parquet({quoted(str(path))}, file_row_number=true)"
    )
    for kind in ("drops", "blanks"):
        run(f"CREATE OR REPLACE TEMP TABLE {kind}_{name} (__id BIGINT, col VARCHAR, value VARCHAR, problem VARCHAR)")
    run(f"CREATE OR REPLACE TEMP VIEW kept_{name} AS SELECT * FROM stage_{name} ANTI JOIN drops_{name} USING (__id)")
    rows = run(f"SELECT count(*) FROM stage_{name}").fetchone()
    return int(rows[0]) if rows else 0


def _row_sql(rejected: tuple[Rejected, ...]) -> str:
    """The row number in the file: the reader does not count the lines that it rejected."""
    before: dict[str, list[int]] = {}
    for line in rejected[:MAX_SHIFTS]:
        shifts = before.setdefault(line.file, [])
        shifts.append(line.row - len(shifts))
    cases = "".join(
        f" WHEN {quoted(file)} THEN list_count(list_filter({shifts}, lambda shift: shift <= __row))"
        for file, shifts in sorted(before.items())
    )
    return f"__row + CASE __file{cases} ELSE 0 END" if cases else "__row"


def _rejected(raw: RawTable, backend: DuckDbBackend) -> tuple[Rejected, ...]:
    name = f"rejects_{raw.name}"
    if all(part.typed for part in raw.parts):
        return ()
    found = backend.connection.execute(
        f"SELECT file_path, line, any_value(csv_line), any_value(error_message) "
        f"FROM {name} JOIN {name}_scan USING (scan_id, file_id) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    labels = {part.path: part.label for part in raw.parts}
    return tuple(
        Rejected(labels.get(path, Path(path).name), int(line) - 1, (text or "").strip()[:80], message.strip().lower())
        for path, line, text, message in found
    )


def _unreadable(raw: RawTable, error: duckdb.Error) -> Fault:
    first = str(error).strip().splitlines()[0]
    label = next((part.label for part in raw.parts if part.label in str(error)), raw.parts[0].label)
    return Fault(
        raw.name, label, "", None, "", f"the file cannot be read ({_without_path(first)})",
        "write it again; it was probably cut off or damaged on the way", refuses=True,
    )  # fmt: skip


def _no_room(error: duckdb.Error) -> bool:
    """Whether the disk or the memory is to blame, rather than the file that was read."""
    text = str(error).lower()
    return isinstance(error, duckdb.OutOfMemoryException) or any(
        word in text
        for word in ("no space left", "could not write", "cannot write", "failed to write", "file too large")
    )


def _without_path(message: str) -> str:
    """The message without folders of this machine."""
    words = [Path(word.strip("\"'")).name if "/" in word else word for word in message.split(" ")]
    return " ".join(words).replace("Invalid Input Error: ", "")
