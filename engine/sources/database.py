"""A SQL database as a source: tables with the contract's names, read in chunks through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.contract import TABLES
from engine.errors import DataError
from engine.landing.raw import RawShop, RawTable, parquet_part

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

CHUNK = 50_000


def is_url(source: str) -> bool:
    """Whether `source` names a database rather than a folder or a data set."""
    return "://" in source


def read_database(url: str, work: Path) -> RawShop:
    """Copy every table of the contract from the database into Parquet files in `work`.

    Raises:
        DataError: the URL is not understood, its driver is missing, or the database does not answer; the password
            is never shown.
        StorageError: the disk is full.
    """
    import sqlalchemy as sa

    engine = _engine(url)
    shown = engine.url.render_as_string(hide_password=True)
    try:
        inspector = sa.inspect(engine)
        there = [*inspector.get_table_names(), *inspector.get_view_names()]
        tables = tuple(_copy(engine, name, work) for name in TABLES if name in there)
    except sa.exc.SQLAlchemyError as error:
        raise DataError(
            f"{shown}: the database cannot be read ({_first_line(error)}); check the URL and the rights"
        ) from error
    finally:
        engine.dispose()
    ignored = tuple(sorted(name for name in there if name not in TABLES))
    return RawShop(Path(engine.url.database or engine.url.drivername).stem, tables, ignored=ignored)


def _engine(url: str) -> sa.Engine:
    import sqlalchemy as sa

    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).is_file():
            raise DataError(f"{url}: no such SQLite file; check the path (sqlite:///relative or sqlite:////absolute)")
        return sa.create_engine(parsed)
    except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
        scheme = url.partition("://")[0]
        raise DataError(
            f"{scheme}://…: the database URL cannot be used ({_first_line(error)}); "
            "write it as postgresql+psycopg://USER@HOST/NAME or sqlite:///FILE, and install the driver"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def _copy(engine: sa.Engine, name: str, work: Path) -> RawTable:
    """One table into one Parquet file; a column whose values do not have its declared type becomes text."""
    import pyarrow as pa

    path = work / f"{name}.source.parquet"
    texts: frozenset[str] = frozenset()
    while True:
        try:
            schema = _write(engine, name, path, texts)
            break
        except _NotOfType as error:
            texts |= {error.column}
    columns = {field.name: _duckdb_type(field.type, pa) for field in schema}
    return RawTable(name, (parquet_part(name, str(path), columns),))


class _NotOfType(Exception):  # noqa: N818 - steers the second attempt, nobody sees it
    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def _write(engine: sa.Engine, name: str, path: Path, texts: frozenset[str]) -> pa.Schema:
    import pyarrow.parquet as pq
    import sqlalchemy as sa

    table = sa.Table(name, sa.MetaData(), autoload_with=engine)
    # Types are given back as the driver has them: what a column really holds is judged by the contract, not here.
    query = sa.select(*(sa.type_coerce(column, sa.types.NullType()).label(column.name) for column in table.columns))
    # A database gives rows in any order, and another order would be other data: they are read in that of the key.
    query = query.order_by(*(table.columns[key] for key in TABLES[name].key if key in table.columns))
    schema = _schema(table, texts)
    with (
        engine.connect().execution_options(stream_results=True) as connection,
        pq.ParquetWriter(path, schema) as writer,
    ):
        for rows in _chunks(connection.execute(query)):
            writer.write_batch(_batch(rows, schema))
    return schema


def _chunks(result: sa.CursorResult[Any]) -> Iterator[Sequence[Any]]:
    while rows := result.fetchmany(CHUNK):
        yield rows


def _schema(table: sa.Table, texts: frozenset[str]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [(column.name, pa.string() if column.name in texts else _arrow_type(column.type)) for column in table.columns]
    )


def _arrow_type(kind: Any) -> pa.DataType:  # noqa: ANN401 - any SQLAlchemy type
    import pyarrow as pa
    import sqlalchemy as sa

    for sql, arrow in (
        (sa.Boolean, pa.bool_()),
        (sa.Integer, pa.int64()),
        (sa.Numeric, pa.float64()),
        (sa.DateTime, pa.timestamp("us")),
        (sa.Date, pa.date32()),
    ):
        if isinstance(kind, sql):
            return arrow
    return pa.string()


def _batch(rows: Sequence[Any], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns = list(zip(*rows, strict=True))
    return pa.record_batch(
        [_array(values, field) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def _array(values: Sequence[Any], field: pa.Field) -> pa.Array:
    import pyarrow as pa

    try:
        if pa.types.is_string(field.type):
            return pa.array([None if value is None else str(value) for value in values], field.type)
        if pa.types.is_floating(field.type):
            return pa.array([None if value is None else float(value) for value in values], field.type)
        if pa.types.is_boolean(field.type):
            return pa.array([None if value is None else {0: False, 1: True}[value] for value in values], field.type)
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, KeyError) as error:
        raise _NotOfType(field.name) from error


def _duckdb_type(kind: Any, pa: Any) -> str:  # noqa: ANN401
    names = {
        pa.bool_(): "BOOLEAN",
        pa.int64(): "BIGINT",
        pa.float64(): "DOUBLE",
        pa.timestamp("us"): "TIMESTAMP",
        pa.date32(): "DATE",
    }
    return names.get(kind, "VARCHAR")
