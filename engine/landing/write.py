"""Writing what passed, and what did not."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.contract import Kind
from engine.frames import DuckDbBackend, column_sql, quoted
from engine.landing.stage import Stage
from engine.landing.weeks import Calendar, week_sql

ROWS_IN_GROUP = 122_880


def write_table(stage: Stage, calendar: Calendar, week_kind: str | None, folder: Path, backend: DuckDbBackend) -> Path:
    """The rows that were not set aside, with the contract's columns and the attributes, in the order of the source."""
    path = folder / f"{stage.table.name}.parquet"
    blanked = _blanked(stage, backend)
    columns = [_column(stage, name, blanked) for name in stage.present if name != "week"]
    week = week_sql(stage, calendar, week_kind)
    if week is not None:
        columns.append(f"({week})::BIGINT AS week")
    columns += _attributes(stage, backend)
    backend.connection.execute(
        f"COPY (SELECT {', '.join(columns)} FROM {_ordered(stage, backend)}) TO {quoted(str(path))} "
        f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS_IN_GROUP})"
    )
    return path


def _ordered(stage: Stage, backend: DuckDbBackend) -> str:
    """Rows in the order of the source: a scan keeps it, the join that leaves out what was set aside does not."""
    found = backend.connection.execute(f"SELECT EXISTS (FROM {stage.drops})").fetchone()
    return f"{stage.view} ORDER BY __id" if found and found[0] else stage.all_rows


def _blanked(stage: Stage, backend: DuckDbBackend) -> frozenset[str]:
    """Columns of which values were set aside."""
    found = backend.connection.execute(f"SELECT DISTINCT col FROM {stage.blanks}").fetchall()
    return frozenset(str(name) for (name,) in found)


def _column(stage: Stage, name: str, blanked: frozenset[str]) -> str:
    column = stage.table.column(name)
    if column is not None and column.kind is Kind.WAVE:
        return _wave(stage, name)
    if name in blanked:
        aside = f"SELECT __id FROM {stage.blanks} WHERE col = {quoted(name)}"
        return f"CASE WHEN __id NOT IN ({aside}) THEN {name} END AS {name}"
    return name


def _wave(stage: Stage, name: str) -> str:
    """Running numbers stay; dates and names become their rank."""
    whole = f"(SELECT bool_and(regexp_full_match({name}, '-?[0-9]{{1,17}}')) FROM {stage.view})"
    return f"CASE WHEN {whole} THEN try_cast({name} AS BIGINT) ELSE dense_rank() OVER (ORDER BY {name}) END AS {name}"


def _attributes(stage: Stage, backend: DuckDbBackend) -> list[str]:
    """Columns outside the contract; texts that are all numbers become numbers, as a CSV file has no types."""
    if not stage.attributes:
        return []
    types = {
        name: kind
        for name, kind, *_ in backend.connection.execute(f"DESCRIBE SELECT * FROM {stage.all_rows}").fetchall()
    }
    texts = [name for name in stage.attributes if types[name] == "VARCHAR"]
    numeric = _numeric(stage, texts, backend)
    return [_attribute(name, types[name], numeric) for name in stage.attributes]


def _attribute(name: str, raw_type: str, numeric: frozenset[str]) -> str:
    column = column_sql(name)
    if name in numeric:
        return f"try_cast(nullif(trim({column}), '') AS DOUBLE) AS {column}"
    if raw_type.startswith("DECIMAL"):
        return f"{column}::DOUBLE AS {column}"
    return f"nullif({column}, '') AS {column}" if raw_type == "VARCHAR" else column


def _numeric(stage: Stage, names: list[str], backend: DuckDbBackend) -> frozenset[str]:
    if not names or stage.typed:
        return frozenset()
    text = [f"nullif(trim({column_sql(name)}), '')" for name in names]
    tests = ", ".join(
        f"count({value}) > 0 AND count({value}) = count(try_cast({value} AS DOUBLE)) "
        f"AND NOT coalesce(bool_or(regexp_matches({value}, '^0[0-9]')), false)"  # 00501 is a code
        for value in text
    )
    found = backend.connection.execute(f"SELECT {tests} FROM {stage.all_rows}").fetchone() or ()
    return frozenset(name for name, is_number in zip(names, found, strict=True) if is_number)


def write_quarantine(stages: Mapping[str, Stage], folder: Path, backend: DuckDbBackend) -> Path | None:
    """One CSV file for each table with anything set aside: file, row, column, value, problem, set_aside.

    Returns:
        The folder; None where nothing was set aside.
    """
    listed = [stage for stage in stages.values() if _set_aside(stage, backend)]
    for stage in listed:
        folder.mkdir(exist_ok=True)
        path = folder / f"{stage.table.name}.csv"
        backend.connection.execute(f"COPY ({_quarantine_sql(stage)}) TO {quoted(str(path))} (FORMAT csv, HEADER)")
    return folder if listed else None


def _set_aside(stage: Stage, backend: DuckDbBackend) -> bool:
    found = backend.connection.execute(f"SELECT EXISTS (FROM {stage.drops}) OR EXISTS (FROM {stage.blanks})").fetchone()
    return bool(stage.rejected) or bool(found and found[0])


def _quarantine_sql(stage: Stage) -> str:
    faults = " UNION ALL ".join(
        f"SELECT __id, col, value, problem, '{what}' AS set_aside FROM {table}"
        for table, what in ((stage.drops, "row"), (stage.blanks, "value"))
    )
    lines = [
        f"SELECT {quoted(line.file)}, {line.row}, '', {quoted(line.text)}, {quoted(line.message)}, 'row'"
        for line in stage.rejected
    ]
    named = (
        f'SELECT __file AS file, __row AS "row", col AS "column", value, problem, set_aside '
        f"FROM ({faults}) JOIN {stage.all_rows} USING (__id)"
    )
    return f"SELECT * FROM ({' UNION ALL '.join([named, *lines])}) ORDER BY ALL"
