"""Rules about single rows and values: what a column cannot use is set aside, counted and named."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

from engine.contract import Column, Kind
from engine.frames import DuckDbBackend, column_sql, quoted
from engine.landing.stage import Stage
from engine.landing.types import Problem, problems
from engine.proposal import N_, Reason, Sentence, english
from engine.shop import Fault

ROW = "; " + N_("the row is set aside")
VALUE = "; " + N_("the value is set aside, the row stays")


def check_rows(stage: Stage, backend: DuckDbBackend) -> list[Fault]:
    """Set aside rows and values that the contract's kinds cannot use."""
    counts = _counts(stage, backend)
    faults: list[Fault] = []
    for name in stage.present:
        column = stage.table.column(name)
        assert column is not None  # noqa: S101 - `present` holds the contract's columns only
        bad, missing = counts[name]
        if bad:
            faults += [
                fault for problem in problems(column) if (fault := _set_aside_bad(stage, backend, column, problem))
            ]
        if missing and column.required:
            remedy = N_("fill it in")
            where = _missing_sql(column)
            fault = _record(
                stage, backend, stage.drops, name, where, "''", N_("the value is missing"), remedy + ROW, stage.all_rows
            )
            faults += [fault] if fault else []
    return faults


def _counts(stage: Stage, backend: DuckDbBackend) -> dict[str, tuple[int, int]]:
    """Unusable and missing values by column, in one pass."""
    parts: list[str] = []
    for name in stage.present:
        column = stage.table.column(name)
        assert column is not None  # noqa: S101 - `present` holds the contract's columns only
        parts += [f"count({column_sql(f'__bad_{name}')})", f"count(*) FILTER ({_missing_sql(column)})"]
    found = backend.connection.execute(f"SELECT {', '.join(parts)} FROM {stage.all_rows}").fetchone() or ()
    return {name: (found[2 * i], found[2 * i + 1]) for i, name in enumerate(stage.present)}


def _missing_sql(column: Column) -> str:
    also = f" AND __day_{column.name} IS NULL" if column.kind is Kind.WEEK else ""
    return f"{column.name} IS NULL{also} AND {column_sql(f'__bad_{column.name}')} IS NULL"


def _set_aside_bad(stage: Stage, backend: DuckDbBackend, column: Column, problem: Problem) -> Fault | None:
    bad = column_sql(f"__bad_{column.name}")
    where = f"{bad} IS NOT NULL AND {problem.test.replace('bad', bad)}"
    target, remedy = (stage.drops, problem.remedy + ROW) if column.required else (stage.blanks, problem.remedy + VALUE)
    return _record(stage, backend, target, column.name, where, bad, problem.problem, remedy, stage.all_rows)


def drop_rows(
    stage: Stage, backend: DuckDbBackend, column: str, where: str, value: str, problem: Sentence, remedy: str
) -> Fault | None:
    """Set aside the kept rows for which `where` is true; None where there are none.

    Args:
        stage: the table.
        backend: its connection.
        column: the column to blame.
        where: SQL over the columns of the staged table.
        value: SQL of the value to show.
        problem: what is wrong.
        remedy: what to do about it.
    """
    return _record(stage, backend, stage.drops, column, where, value, problem, remedy + ROW, stage.view)


def blank_values(
    stage: Stage, backend: DuckDbBackend, column: str, where: str, problem: Sentence, remedy: str
) -> Fault | None:
    """Set aside the values of an optional column in the kept rows for which `where` is true; the rows stay."""
    return _record(stage, backend, stage.blanks, column, where, column, problem, remedy + VALUE, stage.view)


def _record(
    stage: Stage,
    backend: DuckDbBackend,
    target: str,
    column: str,
    where: str,
    value: str,
    problem: Sentence,
    remedy: str,
    rows: str,
) -> Fault | None:
    run = backend.connection.execute
    said = english(problem)
    run(
        f"INSERT INTO {target} SELECT __id, {quoted(column)}, left(({value})::VARCHAR, 80), {quoted(said)} "
        f"FROM {rows} WHERE {where}"
    )
    found = run(
        f"SELECT count(*), arg_min(__file, __id), arg_min(__row, __id), arg_min(r.value, __id) "
        f"FROM {target} r JOIN {stage.all_rows} USING (__id) "
        f"WHERE r.col = {quoted(column)} AND r.problem = {quoted(said)}"
    ).fetchone()
    if not found or not found[0]:
        return None
    count, file, row, shown = found
    return Fault(
        stage.table.name,
        file,
        column,
        int(row),
        shown or "",
        said,
        remedy,
        refuses=False,
        count=int(count),
        template=problem if isinstance(problem, Reason) else None,
    )


def first_row(stage: Stage, backend: DuckDbBackend, where: str, value: str) -> tuple[int, str, int, str] | None:
    """How many kept rows satisfy `where`, and file, row number and shown value of the first."""
    found = backend.connection.execute(
        f"SELECT count(*), arg_min(__file, __id), arg_min(__row, __id), arg_min(({value})::VARCHAR, __id) "
        f"FROM {stage.view} WHERE {where}"
    ).fetchone()
    return (int(found[0]), found[1], int(found[2]), found[3] or "") if found and found[0] else None
