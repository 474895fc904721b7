"""How a raw column becomes a column of the contract: SQL that gives the value, or null where it cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.contract import Column, Kind
from engine.proposal import N_, Reason, Sentence

SQL_TYPES: Mapping[Kind, str] = {
    Kind.ID: "VARCHAR",
    Kind.TEXT: "VARCHAR",
    Kind.NUMBER: "DOUBLE",
    Kind.AMOUNT: "DOUBLE",
    Kind.SHARE: "DOUBLE",
    Kind.FLAG: "TINYINT",
    Kind.WEEK: "BIGINT",
    Kind.WAVE: "BIGINT",
    Kind.TIME: "TIMESTAMP",
}
"""As what each kind lands."""

_WORDS_FOR_NOTHING = "('', 'na', 'n/a', 'nan', 'nat', 'null', 'none')"
_FLOATS = ("DOUBLE", "FLOAT")
_DATES = ("DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "TIMESTAMP WITH TIME ZONE")
_ISO_WEEK = "^[0-9]{4}-?W[0-9]{2}$"


@dataclass(frozen=True)
class Problem:
    """One way in which a value cannot be used."""

    problem: Sentence
    remedy: str
    test: str
    """SQL over the raw text `bad` that is true for it."""


def blank_sql(kind: Kind, column: str, raw_type: str) -> str:
    """Whether the raw column holds nothing."""
    if raw_type in _FLOATS:
        return f"({column} IS NULL OR isnan({column}))"
    if raw_type != "VARCHAR":
        return f"({column} IS NULL)"
    if kind in (Kind.ID, Kind.TEXT):
        return f"coalesce(trim({column}) = '', true)"
    return f"coalesce(lower(trim({column})) IN {_WORDS_FOR_NOTHING}, true)"


def value_sql(column: Column, raw: str, raw_type: str) -> str:
    """The raw column `raw` as the contract wants it; null where it holds nothing or cannot be used."""
    if column.kind in (Kind.ID, Kind.WAVE):
        return _identifier(raw, raw_type)
    if column.kind is Kind.TEXT:
        return f"nullif(trim({raw}::VARCHAR), '')"
    if column.kind is Kind.TIME:
        return _time(raw, raw_type)
    number = _number(raw, raw_type)
    conditions = {
        Kind.NUMBER: f"abs({number}) <= {column.high or 1e15!r}",
        Kind.AMOUNT: f"{number} {'>' if column.positive else '>='} 0 AND {number} <= {column.high or 1e15!r}",
        Kind.SHARE: f"{number} BETWEEN 0 AND 1",
        Kind.FLAG: f"{number} IN (0, 1)",
    }
    return f"CASE WHEN isfinite({number}) AND {conditions[column.kind]} THEN {number}::{SQL_TYPES[column.kind]} END"


def week_number_sql(raw: str, raw_type: str) -> str:
    """A running week number, where the raw column holds a whole number."""
    if raw_type in _DATES:
        return "NULL::BIGINT"
    number = _number(raw, raw_type)
    return f"CASE WHEN {number} = trunc({number}) AND abs({number}) < 1e9 THEN {number}::BIGINT END"


def week_date_sql(raw: str, raw_type: str) -> str:
    """A day of the week, where the raw column holds a date (also 2024-W05)."""
    if raw_type != "VARCHAR":
        return f"({_time(raw, raw_type)})::DATE"
    text = f"trim({raw})"
    monday = iso_week_sql(f"left({text}, 4)::INTEGER", f"right({text}, 2)::INTEGER")
    iso = f"CASE WHEN regexp_matches({text}, '{_ISO_WEEK}') THEN ({monday})::DATE END"
    return f"coalesce(try_cast({text} AS DATE), {iso})"


def iso_week_sql(year: str, week: str) -> str:
    """The Monday of an ISO 8601 week: that of 4 January, and so many weeks on."""
    return f"date_trunc('week', make_date({year}, 1, 4)) + INTERVAL 1 WEEK * ({week} - 1)"


def _identifier(raw: str, raw_type: str) -> str:
    if raw_type in _FLOATS:  # whole numbers beside a missing value become floats in pandas
        whole = f"{raw} = trunc({raw}) AND abs({raw}) < 1e18"
        return (
            f"CASE WHEN NOT isnan({raw}) THEN CASE WHEN {whole} THEN {raw}::BIGINT::VARCHAR ELSE {raw}::VARCHAR END END"
        )
    return f"nullif(trim({raw}::VARCHAR), '')"


def _number(raw: str, raw_type: str) -> str:
    if raw_type == "BOOLEAN":
        return f"{raw}::INTEGER::DOUBLE"
    if raw_type == "VARCHAR":
        word = f"lower(trim({raw}))"
        return (
            f"CASE WHEN {word} IN ('true', 'yes') THEN 1.0 WHEN {word} IN ('false', 'no') THEN 0.0 "
            f"ELSE try_cast({word} AS DOUBLE) END"
        )
    return f"try_cast({raw} AS DOUBLE)" if raw_type not in _DATES else "NULL::DOUBLE"


def _time(raw: str, raw_type: str) -> str:
    if raw_type == "TIMESTAMP WITH TIME ZONE":
        return f"({raw} AT TIME ZONE 'UTC')"
    if raw_type == "VARCHAR":
        return f"try_cast(trim({raw}) AS TIMESTAMP)"
    return f"{raw}::TIMESTAMP" if raw_type in _DATES else "NULL::TIMESTAMP"


_NUMBER = "try_cast(bad AS DOUBLE)"
_NOT_A_NUMBER = Problem(
    N_("the value is not a number"),
    N_("write it plainly, such as 1234.5, without currency sign or thousands separator"),
    f"({_NUMBER} IS NULL OR NOT isfinite({_NUMBER}))",
)


def problems(column: Column) -> tuple[Problem, ...]:
    """The ways in which a value of this column can be unusable, each with its remedy; every bad value fits one."""
    if column.kind in (Kind.NUMBER, Kind.AMOUNT):
        return (_NOT_A_NUMBER, *_out_of_range(column))
    if column.kind is Kind.SHARE:
        return (
            Problem(N_("the value is not between 0 and 1"), N_("write 0 or 1, or the share of the stores"), "true"),
        )
    if column.kind is Kind.FLAG:
        return (Problem(N_("the value is neither 0 nor 1"), N_("write 0 or 1"), "true"),)
    if column.kind is Kind.WEEK:
        return (
            Problem(
                N_("the value is neither a date nor a whole number"),
                N_("write the Monday as 2024-12-30, or a running number"),
                "true",
            ),
        )
    return (
        Problem(
            N_("the value is not a date"), N_("write it in ISO 8601, such as 2024-12-31 or 2024-12-31T23:59:00"), "true"
        ),
    )


def _out_of_range(column: Column) -> tuple[Problem, ...]:
    high = column.high or 1e15
    low = (
        Problem(N_("the value is negative"), N_("correct the sign at the source"), f"{_NUMBER} < 0"),
        Problem(N_("the value is zero"), N_("leave the row out where there was no price"), f"{_NUMBER} = 0"),
    )
    large = Problem(
        Reason("the value is absurdly large (more than {high:,.0f})", {"high": high}),
        N_("check the unit and the decimal separator"),
        f"isfinite({_NUMBER}) AND abs({_NUMBER}) > {high!r}",
    )
    return (*low, large) if column.kind is Kind.AMOUNT else (large,)
