"""Alembic's entry: runs the migrations inside the transaction of the caller (see engine/store/schema.py)."""

from typing import Literal

from alembic import context
from sqlalchemy import Connection

from engine.store.database import Database
from engine.store.tables import Table, UtcDateTime


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our type decorator as the plain type it stands for, so that old migrations need no new code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        render_as_batch=True,
        render_item=_render,
        compare_type=False,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_in = context.config.attributes.get("connection")
if handed_in is not None:
    _run(handed_in)
else:
    with Database(context.get_x_argument(as_dictionary=True)["url"]).write() as connection:
        _run(connection)
