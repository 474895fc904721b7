"""What a source hands to the landing: tables as readable parts, and what the source knows about them."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.frames import column_sql, quoted
from engine.proposal import Sentence
from engine.shop import Fault

_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")


@dataclass(frozen=True)
class Part:
    """One file of a table (or one database table), as SQL that DuckDB can read."""

    label: str
    """What people know it as: the file's name, or the database table's."""
    sql: str
    """A table expression."""
    row_sql: str
    """The number of the row in the file, the first data row being 1, as an SQL expression over `sql`."""
    columns: Mapping[str, str]
    """Column name -> DuckDB type."""
    typed: bool = True
    """False: the file knows texts only, as CSV does."""
    path: str = ""
    """The file that is read."""
    zones: Mapping[str, str] = field(default_factory=dict)
    """Column -> time zone (Europe/Berlin, +08:00) whose clock its instants are read by; its type says TIMESTAMP."""


@dataclass(frozen=True)
class RawTable:
    """A table of the contract as the source has it."""

    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class RawShop:
    """All tables of a source, unchecked, and what the source knows that no table says."""

    name: str
    tables: tuple[RawTable, ...]
    faults: tuple[Fault, ...] = ()
    """What was found wrong while the files were opened."""
    notes: tuple[Sentence, ...] = ()
    first_monday: str | None = None
    first_week: int = 0
    prices_reconstructed: bool = False
    costs_assumed: bool = False
    ignored: tuple[str, ...] = field(default_factory=tuple)
    """Files or tables that are not in the contract."""


def parquet_part(label: str, path: str, columns: Mapping[str, str], zones: Mapping[str, str] | None = None) -> Part:
    """A Parquet file as a part; `zones` names the columns that the file keeps as instants of a time zone."""
    zones = zones or {}
    kinds = {name: "TIMESTAMP" if name in zones else kind for name, kind in columns.items()}
    sql = f"read_parquet({quoted(path)}, file_row_number=true)"
    return Part(label, sql, "file_row_number + 1", kinds, zones=zones)


def csv_part(label: str, path: str, columns: Mapping[str, str], delimiter: str, rejects: str) -> Part:
    """A UTF-8 CSV file as a part: everything is text, lines that do not fit the header go to the table `rejects`."""
    listed = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in columns)
    sql = (
        f"read_csv({quoted(path)}, header=true, auto_detect=false, columns={{{listed}}}, delim={quoted(delimiter)}, "
        f"quote='\"', escape='\"', store_rejects=true, rejects_table={quoted(rejects)}, "
        f"rejects_scan={quoted(rejects + '_scan')}, rejects_limit=0, max_line_size=16777216)"
    )
    return Part(label, sql, "row_number() OVER ()", columns, typed=False, path=path)


def select_sql(part: Part) -> str:
    """The part with its row numbers as the column `__row`."""
    names = ", ".join(_column_sql(part, name) for name in part.columns)
    return f"SELECT {names}, {part.row_sql} AS __row FROM {part.sql}"


def _column_sql(part: Part, name: str) -> str:
    """A column as the shop's clock showed it: weeks and days begin at its midnight, not at Greenwich's."""
    column, zone = column_sql(name), part.zones.get(name)
    if zone is None:
        return column
    offset = _OFFSET.fullmatch(zone)
    if offset is None:
        return f"{column} AT TIME ZONE {quoted(zone)} AS {column}"
    sign, hours, minutes = offset.groups()
    return f"({column} AT TIME ZONE 'UTC' + INTERVAL ({sign}{int(hours) * 60 + int(minutes)}) MINUTE) AS {column}"
