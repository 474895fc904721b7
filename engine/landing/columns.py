"""What only a whole column tells: identifiers that were made floats, week numbers that are dates."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.contract import Kind, Table
from engine.frames import DuckDbBackend, quoted
from engine.landing.types import iso_week_sql


@dataclass(frozen=True)
class _Form:
    """A way of writing dates as whole numbers, as SQL over the column `week`."""

    fits: str
    """True for each number that can be meant so; one that cannot means that the column is a running number."""
    day: str
    """The date; null where there is no such day or week."""


_DAYS = _Form("week BETWEEN 19000101 AND 21991231", "try_strptime(week::VARCHAR, '%Y%m%d')::DATE")
_WEEKS = _Form(
    "week BETWEEN 190001 AND 219953 AND week % 100 BETWEEN 1 AND 53",
    f"({iso_week_sql('(week // 100)::INTEGER', '(week % 100)::INTEGER')})::DATE",
)
"""202405 is the fifth week of 2024: a running number would not leap from 202452 to 202501."""


def read_whole_columns(
    table: Table, present: tuple[str, ...], path: Path, backend: DuckDbBackend, *, typed: bool
) -> None:
    """Rewrite the staged file `path` where a column as a whole means something else than each of its values.

    Args:
        table: of the contract.
        present: its columns that the source has.
        path: the staged Parquet file.
        backend: DuckDB.
        typed: False where the source knew texts only.
    """
    source = f"read_parquet({quoted(str(path))})"
    changes = dict(_plain_identifiers(table, present, source, backend)) if not typed else {}
    column = table.column("week")
    if column is not None and column.kind is Kind.WEEK and "week" in present:
        changes |= _dated_weeks(source, backend)
    if changes:
        replaced = ", ".join(f"{value} AS {name}" for name, value in changes.items())
        rewritten = path.with_suffix(".rewritten")
        copy_to(f"SELECT * REPLACE ({replaced}) FROM {source}", rewritten, backend)
        rewritten.replace(path)


def copy_to(select: str, path: Path, backend: DuckDbBackend) -> None:
    """Write the rows of a query as Parquet."""
    backend.connection.execute(f"COPY ({select}) TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)")


def _plain_identifiers(
    table: Table, present: tuple[str, ...], source: str, backend: DuckDbBackend
) -> Mapping[str, str]:
    """17.0 is 17 where all identifiers of a column look like it: one that is missing made floats of them."""
    names = [column.name for column in table.columns if column.kind is Kind.ID and column.name in present]
    if not names:
        return {}
    tests = ", ".join(f"bool_and({name} LIKE '%.0' AND regexp_full_match({name}, '[0-9]+[.]0'))" for name in names)
    found = backend.connection.execute(f"SELECT {tests} FROM {source}").fetchone() or ()
    return {name: f"left({name}, length({name}) - 2)" for name, floats in zip(names, found, strict=True) if floats}


def _dated_weeks(source: str, backend: DuckDbBackend) -> Mapping[str, str]:
    """20240129 and 202405 are dates where every week of the column is written so."""
    found = backend.connection.execute(
        f"SELECT count(week) > 0 AND count(week) = count(*) FILTER ({_DAYS.fits}), "
        f"count(week) = count(*) FILTER ({_WEEKS.fits}) AND count(DISTINCT week // 100) > 1 FROM {source}"
    ).fetchone() or (False, False)
    form = _DAYS if found[0] else _WEEKS if found[1] else None
    if form is None:
        return {}
    return {
        "__day_week": f"coalesce(__day_week, {form.day})",
        "__bad_week": f"CASE WHEN week IS NOT NULL AND {form.day} IS NULL THEN week::VARCHAR ELSE __bad_week END",
        "week": "NULL::BIGINT",
    }
