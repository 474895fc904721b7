"""The schema: made once, whoever asks at the same time; refused when behind or ahead; what the code expects."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from engine.errors import ConfigurationError, ConflictError, StorageError
from engine.store import open_store, upgrade_store
from engine.store.database import Database
from engine.store.tables import Table


def test_an_empty_database_is_refused_with_the_remedy(empty_url):
    with pytest.raises(StorageError, match="offerwright db upgrade"):
        open_store(empty_url)


def test_only_a_fresh_sqlite_file_is_set_up_unasked(empty_url):
    if empty_url.startswith("sqlite"):
        with open_store(empty_url, upgrade=True) as store:
            assert store.proposals().total == 0
    else:
        with pytest.raises(StorageError, match="offerwright db upgrade"):
            open_store(empty_url, upgrade=True)


def test_a_schema_that_is_behind_is_never_upgraded_unasked(url):
    with closing(Database(url)) as database, database.write() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(StorageError, match="has schema none, this version needs 00"):
        open_store(url, upgrade=True)


def test_a_schema_from_the_future_is_refused(url):
    with closing(Database(url)) as database, database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for attempt in (open_store, upgrade_store):
        with pytest.raises(ConflictError, match="newer"):
            attempt(url)


def test_the_migrations_make_the_tables_that_the_code_expects(url):
    with closing(Database(url)) as database, database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_two_processes_may_upgrade_at_once(empty_url):
    code = "import sys; from engine.store import upgrade_store; upgrade_store(sys.argv[1])"
    started = [subprocess.Popen([sys.executable, "-c", code, empty_url]) for _ in range(2)]
    assert [process.wait() for process in started] == [0, 0]
    with open_store(empty_url) as store:
        assert store.proposals().total == 0


@pytest.mark.parametrize("url", ["mysql://x", "not a url", "offerwright.db", ""])
def test_any_other_url_is_refused(url):
    with pytest.raises(ConfigurationError, match=r"store\.url"):
        open_store(url)


def test_a_database_that_cannot_be_reached_is_named_without_its_password():
    with pytest.raises(StorageError) as caught:
        open_store("postgresql://ana:secret@127.0.0.1:9/shop")
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "store.db").write_text("not a database at all, but long enough to look at" * 20)
    with pytest.raises(StorageError, match=r"store\.db"):
        open_store(f"sqlite:///{tmp_path / 'store.db'}", upgrade=True)
