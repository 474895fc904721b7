"""The schema's version: which one the database has, which one this code needs, and the way there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from engine.errors import ConflictError, StorageError
from engine.store.database import Database

_HERE = Path(__file__).parent


def needed_revision() -> str:
    """Revision that this code works with."""
    head = ScriptDirectory(str(_HERE / "migrations")).get_current_head()
    if head is None:
        raise StorageError(f"{_HERE / 'migrations'}: no migrations; the installation is incomplete, install it again")
    return head


def current_revision(database: Database) -> str | None:
    """Revision of the database; None where it has no schema yet."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_fresh(database: Database) -> bool:
    """Whether the database holds no table at all."""
    with database.read() as connection:
        return not inspect(connection).get_table_names()


def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the schema to the needed revision in one transaction, whoever else tries at the same time.

    Returns:
        Revision before, revision after.

    Raises:
        ConflictError: the database belongs to a newer version of Offerwright.
        StorageError: it could not be changed; the former schema stands.
    """
    with database.write() as connection:
        before = MigrationContext.configure(connection).get_current_revision()
        _refuse_newer(before)
        config = Config()
        config.set_main_option("script_location", str(_HERE / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return before, needed_revision()


def _refuse_newer(revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory(str(_HERE / "migrations")).walk_revisions()}
    if revision is not None and revision not in known:
        raise ConflictError(
            f"the store has schema {revision}, which this version does not know; it was upgraded by a newer "
            "Offerwright: run that version, or restore the backup made before the upgrade"
        )


def require_current(database: Database) -> None:
    """Refuse to work on a schema of another version.

    Raises:
        StorageError: the schema is behind; says what to run.
        ConflictError: the schema is ahead.
    """
    current = current_revision(database)
    _refuse_newer(current)
    if current != needed_revision():
        raise StorageError(
            f"the store has schema {current or 'none'}, this version needs {needed_revision()}; "
            "make a backup and run: offerwright db upgrade"
        )
