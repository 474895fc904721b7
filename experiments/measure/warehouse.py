"""The database that aggregates: DuckDB, PostgreSQL or Apache Spark, spoken to in the SQL that they share.

A warehouse is a callable that runs a statement and gives its rows; the few words on which the three differ are its
dialect. Sums are taken over whole numbers (`whole`), because the sum of floating-point numbers depends on the order in
which threads or executors meet them: with whole numbers neither the threads nor the engine can change a digit.
"""

# ruff: noqa: S608 - names are quoted by the dialect, literals too

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import DataError
from experiments.measure.metrics import Condition

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import SparkSession

LARGEST = 1e100
"""Beyond it a value is no measurement, and its square no number. NaN sorts above every number in all three engines, so
|x| <= LARGEST holds for numbers only."""

Rows = list[tuple[Any, ...]]
Execute = Callable[[str], Sequence[Sequence[Any]]]


@dataclass(frozen=True)
class Dialect:
    """The words on which the engines differ; `{}` stands for the expression."""

    name: str
    quote: str
    """Around identifiers."""
    double: str
    """The type of double precision."""
    text: str
    """The type of texts."""
    whole: str
    """The sum of an expression rounded to 64-bit whole numbers, in more bits."""
    epoch: str
    """Seconds since 1970 of a timestamp."""
    keep: str
    """Statement that keeps a query's rows as a table for this session."""
    forget: str
    """Statement that drops such a table."""
    escapes: bool = False
    """Whether a backslash in a text means something."""

    def column(self, name: str) -> str:
        """A column, quoted."""
        return self.quote + name.replace(self.quote, 2 * self.quote) + self.quote

    def number(self, expression: str) -> str:
        """An expression in double precision."""
        return f"CAST({expression} AS {self.double})"

    def hash(self, expression: str) -> str:
        """A hash that all engines share, as 32 hexadecimal digits."""
        return f"MD5(CAST({expression} AS {self.text}))"

    def finite(self, expression: str) -> str:
        """A test that is true for numbers up to `LARGEST` and for nothing else."""
        return f"(ABS({self.number(expression)}) <= {LARGEST!r})"

    def literal(self, value: float | str) -> str:
        """A number or text as SQL."""
        if not isinstance(value, str):
            return repr(value)
        text = value.replace("\\", "\\\\") if self.escapes else value
        return "'" + text.replace("'", "\\'" if self.escapes else "''") + "'"

    def condition(self, condition: Condition) -> str:
        """A filter as SQL."""
        column = self.column(condition.column)
        if isinstance(condition.value, tuple):
            return f"{column} IN ({', '.join(self.literal(value) for value in condition.value)})"
        operator = "<>" if condition.operator == "!=" else condition.operator
        return f"{column} {operator} {self.literal(condition.value)}"


DUCKDB = Dialect(
    name="duckdb",
    quote='"',
    double="DOUBLE",
    text="VARCHAR",
    whole="SUM(CAST({} AS BIGINT))",
    epoch="EPOCH({})",
    keep="CREATE OR REPLACE TEMP TABLE {name} AS {query}",
    forget="DROP TABLE IF EXISTS {name}",
)
POSTGRESQL = Dialect(
    name="postgresql",
    quote='"',
    double="DOUBLE PRECISION",
    text="TEXT",
    whole="SUM(CAST({} AS BIGINT))",
    epoch="CAST(EXTRACT(EPOCH FROM {}) AS DOUBLE PRECISION)",
    keep="CREATE TEMPORARY TABLE {name} AS {query}",
    forget="DROP TABLE IF EXISTS {name}",
)
SPARK = Dialect(
    name="spark",
    quote="`",
    double="DOUBLE",
    text="STRING",
    whole="SUM(CAST(CAST(RINT({}) AS BIGINT) AS DECIMAL(19, 0)))",
    epoch="CAST(UNIX_MICROS(CAST({} AS TIMESTAMP)) / 1000000.0D AS DOUBLE)",
    keep="CACHE TABLE {name} AS {query}",
    forget="DROP VIEW IF EXISTS {name}",
    escapes=True,
)


@dataclass(frozen=True)
class Warehouse:
    """A database: how to run a statement, and its dialect."""

    execute: Execute
    """Runs one statement and gives its rows, none for a statement that has none."""
    dialect: Dialect

    def rows(self, sql: str) -> Rows:
        """Run a query.

        Raises:
            DataError: the database refused it; its first line says why.
        """
        try:
            return [tuple(row) for row in self.execute(sql)]
        except Exception as error:
            first = str(error).strip().split("\n", 1)[0]
            raise DataError(f"the {self.dialect.name} database refused a query of the analysis: {first}") from error

    def columns(self, relation: str) -> tuple[str, ...]:
        """Names of the columns of a relation.

        Raises:
            DataError: there is no such relation.
        """
        if self.dialect.name == "postgresql":
            # The protocol gives rows only, so the row itself, as JSON, tells its names.
            row = f"SELECT q.* FROM (SELECT 1) o LEFT JOIN (SELECT * FROM {relation}) q ON TRUE LIMIT 1"
            return tuple(str(name) for (name,) in self.rows(f"SELECT JSONB_OBJECT_KEYS(TO_JSONB(r)) FROM ({row}) r"))
        return tuple(str(row[0]) for row in self.rows(f"DESCRIBE SELECT * FROM {relation}"))

    def keep(self, name: str, query: str) -> None:
        """Keep a query's rows for this session, in place of a former table of the name."""
        self.execute(self.dialect.forget.format(name=name))
        try:
            self.execute(self.dialect.keep.format(name=name, query=query))
        except Exception as error:
            first = str(error).strip().split("\n", 1)[0]
            raise DataError(f"the {self.dialect.name} database refused to prepare the units: {first}") from error


def duckdb_warehouse(connection: duckdb.DuckDBPyConnection) -> Warehouse:
    """DuckDB, in this process."""

    def execute(sql: str) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = connection.execute(sql).fetchall()
        return rows

    return Warehouse(execute, DUCKDB)


def spark_warehouse(session: SparkSession) -> Warehouse:
    """Apache Spark, through a session that the caller made and will stop."""
    return Warehouse(lambda sql: session.sql(sql).collect(), SPARK)


def postgresql_warehouse(execute: Execute) -> Warehouse:
    """PostgreSQL, through a callable that runs a statement on one connection and gives its rows."""
    return Warehouse(execute, POSTGRESQL)
