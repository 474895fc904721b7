"""Connections to the operational database: SQLite by default, PostgreSQL by URL; one way to read, one way to write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from engine.errors import ConfigurationError, OfferwrightError, StorageError
from engine.files import to_json

BUSY_SECONDS = 30
WRITE_LOCK = 0x0FFE  # one number for all writers of the audit chain, known to nobody else in the database


class Database:
    """An engine with a transaction for reading and one for writing."""

    def __init__(self, url: str) -> None:
        """Open `url` lazily: nothing is connected before the first statement.

        Raises:
            ConfigurationError: the URL cannot be read, or its driver is missing.
        """
        self.url = _parse(url)
        self.engine = _create(self.url)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the database.

        Raises:
            StorageError: the database cannot be reached or read.
        """
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: everything in the block is written, or nothing is.

        Writers queue up: SQLite takes its write lock at once, PostgreSQL an advisory lock, so that the audit chain
        has one end.

        Raises:
            StorageError: the database did not take it; the former state stands.
        """
        with self._translated(), self.engine.connect() as plain_connection:
            connection = plain_connection.execution_options(offerwright_write=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITE_LOCK})
                yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OfferwrightError, IntegrityError):
            raise
        except DBAPIError as error:
            shown = self.url.render_as_string(hide_password=True)
            why = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
            remedy = "check that the database is there, writable and has space"
            raise StorageError(f"{shown}: {why}; {remedy} (what was stored before is intact)") from error


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigurationError(_bad_url(url)) from error
    if backend not in {"sqlite", "postgresql"}:
        raise ConfigurationError(_bad_url(backend))
    return parsed


def _bad_url(shown: str) -> str:
    return f"store.url: {shown!r} is refused; use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"


def _create(url: URL) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and url.database and url.database != ":memory:":
        _make_folder(Path(url.database).parent)
    arguments: dict[str, Any] = {"timeout": BUSY_SECONDS} if sqlite else {"connect_timeout": 10}
    try:
        engine = create_engine(url, connect_args=arguments, json_serializer=to_json, pool_pre_ping=not sqlite)
    except ImportError as error:
        raise ConfigurationError(
            "store.url: the PostgreSQL driver is missing; pip install 'offerwright[postgresql]'"
        ) from error
    if sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be created ({error.strerror}); choose another data.home") from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Transactions are begun by us (see `_begin_sqlite`), readers do not wait for writers, references are checked."""
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the start: a reader that turns into a writer midway could only fail."""
    writes = connection.get_execution_options().get("offerwright_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
