"""A store of its own for each test, on SQLite and, where a server is given, on PostgreSQL."""

from __future__ import annotations

import os
import uuid

import pytest
from sqlalchemy import create_engine, make_url, text
from store_examples import cheap_hasher

from engine.store import open_store, upgrade_store

POSTGRESQL = os.environ.get("OFFERWRIGHT_TEST_POSTGRESQL")


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch):
    monkeypatch.setattr("engine.store.accounts.password_hasher", cheap_hasher)


def postgresql_schema():
    """Make an empty schema and give a URL that sees nothing else; drop it afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    server = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    seen = make_url(POSTGRESQL).update_query_dict({"options": f"-csearch_path={name} -csynchronous_commit=off"})
    yield seen.render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    server.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def empty_url(request, tmp_path):
    """URL of a database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    if POSTGRESQL is None:
        pytest.skip("no PostgreSQL server at OFFERWRIGHT_TEST_POSTGRESQL")
    yield from postgresql_schema()


@pytest.fixture
def url(empty_url):
    """URL of a database with the schema."""
    upgrade_store(empty_url)
    return empty_url


@pytest.fixture
def store(url):
    with open_store(url) as opened:
        yield opened
