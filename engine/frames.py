"""The dataframe layer: the heavy transformations, written once, run on DuckDB (embedded) or on Apache Spark.

A transformation takes and returns lazy Narwhals frames, so that it does not know where it runs (docs/adr/0002). A
backend opens files as such frames, and collects or writes them. Sums of money are taken over whole ten-thousandths
(`ticks`), because the sum of floating-point numbers depends on the order in which threads or executors meet them:
with whole numbers, the number of threads and the engine cannot change a digit.
"""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import narwhals as nw

from engine.errors import StorageError
from engine.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

Frame = nw.LazyFrame[Any]

TICKS = 10_000
"""Ticks in one unit of money: prices and sums are exact to a hundredth of a cent."""
PARTS = 100
"""Parts in one unit of quantity: weights such as 0.45 kg keep two decimals in sums."""


class Backend(Protocol):
    """Where transformations run."""

    name: str

    def scan(self, path: Path) -> Frame:
        """The Parquet file (or folder of them) at `path` as a lazy frame."""

    def collect(self, frame: Frame, order: Sequence[str] = ()) -> pa.Table:
        """Run the frame; rows sorted by the columns `order`."""

    def write(self, frame: Frame, path: Path, order: Sequence[str] = ()) -> None:
        """Run the frame into Parquet at `path`; rows sorted by the columns `order`."""


class DuckDbBackend:
    """Transformations on DuckDB, in this process, within the limits of memory and threads in the settings."""

    name = "duckdb"

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def scan(self, path: Path) -> Frame:
        """The Parquet file (or folder of them) at `path` as a lazy frame."""
        return self.query(f"SELECT * FROM {parquet_sql(path)}")

    def query(self, sql: str) -> Frame:
        """A SELECT as a lazy frame."""
        frame: Frame = nw.from_native(self.connection.sql(sql))
        return frame

    def collect(self, frame: Frame, order: Sequence[str] = ()) -> pa.Table:
        """Run the frame; rows sorted by the columns `order`."""
        with storage_errors("intermediate results"):
            table: pa.Table = (frame.sort(*order) if order else frame).collect("pyarrow").to_native()
        return table

    def write(self, frame: Frame, path: Path, order: Sequence[str] = ()) -> None:
        """Run the frame into one Parquet file at `path`; rows sorted by the columns `order`.

        Raises:
            StorageError: the disk did not take it.
        """
        with storage_errors(str(path)):
            (frame.sort(*order) if order else frame).sink_parquet(path)

    def close(self) -> None:
        """Give memory and spill files back."""
        self.connection.close()


class SparkBackend:
    """Transformations on Apache Spark, through a session that the caller made and will stop."""

    name = "spark"

    def __init__(self, session: SparkSession) -> None:
        self.session = session

    def scan(self, path: Path) -> Frame:
        """The Parquet file (or folder of them) at `path` as a lazy frame."""
        frame: Frame = nw.from_native(self.session.read.parquet(str(path)))
        return frame

    def collect(self, frame: Frame, order: Sequence[str] = ()) -> pa.Table:
        """Run the frame and bring the rows here, sorted by the columns `order`."""
        table: pa.Table = (frame.sort(*order) if order else frame).collect("pyarrow").to_native()
        return table

    def write(self, frame: Frame, path: Path, order: Sequence[str] = ()) -> None:
        """Run the frame into a folder of Parquet files at `path`; rows sorted by the columns `order`."""
        native: Any = (frame.sort(*order) if order else frame).to_native()
        native.write.mode("error").parquet(str(path))


def connect(settings: Settings, *, spill: Path | None = None) -> DuckDbBackend:
    """DuckDB in memory, with `data.memory_limit_gb` and `data.threads` as limits.

    Args:
        settings: the limits; spilled intermediate results go under `settings.home`.
        spill: folder for what does not fit in memory; None: `settings.home`/cache/spill.
    """
    folder = spill or settings.home / "cache" / "spill"
    with storage_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "memory_limit": f"{settings.data.memory_limit_gb * 1000:.0f}MB",
            "threads": settings.data.threads,
            "temp_directory": str(folder),
            "preserve_insertion_order": True,
        }
    )
    connection.execute("SET enable_progress_bar = false")
    return DuckDbBackend(connection)


@contextmanager
def open_backend(settings: Settings) -> Iterator[DuckDbBackend]:
    """`connect`, closed at the end of the block."""
    backend = connect(settings)
    try:
        yield backend
    finally:
        backend.close()


_MAKE_ROOM = "free disk space or raise data.memory_limit_gb"


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn DuckDB's ways of saying "no room" into StorageError.

    Raises:
        StorageError: the disk is full or not writable, or memory and spill space are both used up.
    """
    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException, OSError) as error:
        first = str(error).strip().splitlines()[0]
        closed = isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        remedy = "give a place that can be written to (data.home)" if closed else _MAKE_ROOM
        raise StorageError(f"{what}: not written ({first}); {remedy}") from error


def quoted(text: str) -> str:
    """`text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def column_sql(name: str) -> str:
    """`name` as an SQL column."""
    return '"' + name.replace('"', '""') + '"'


def parquet_sql(path: Path) -> str:
    """The table function that reads the Parquet file, or the folder of them, at `path`."""
    files = (
        [path] if not path.is_dir() else sorted(p for p in path.rglob("*.parquet") if not p.name.startswith((".", "_")))
    )
    listed = ", ".join(quoted(str(file)) for file in files)
    return f"read_parquet([{listed}], union_by_name=true)"


def ticks(column: nw.Expr) -> nw.Expr:
    """Money as a whole number of ticks, half away from zero."""
    return (column * TICKS).round().cast(nw.Int64)


def parts(column: nw.Expr) -> nw.Expr:
    """A quantity as a whole number of parts."""
    return (column * PARTS).round().cast(nw.Int64)
