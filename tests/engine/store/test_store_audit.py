"""The audit is append-only, and whoever changes it behind the store's back is found out."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from store_examples import NOW, make_proposal

from engine.errors import StorageError
from engine.proposal import State
from engine.store import open_store
from engine.store.database import Database


@pytest.fixture
def lived(url):
    """A store whose proposal has lived a little: three events."""
    with open_store(url) as store:
        store.save_proposal(make_proposal())
        store.change_state("P1", State.SUBMITTED, by="ana", why="", now=NOW)
        store.change_state("P1", State.REJECTED, by="bo", why="too bold", now=NOW)
    return url


def faults_of(url):
    with open_store(url) as store:
        return store.check_audit().faults


def tamper(url, *statements, triggers=True):
    with closing(Database(url)) as database, database.write() as connection:
        if not triggers:
            names = ("no_update", "no_delete") if database.is_sqlite else ("no_change", "no_truncate")
            for name in names:
                on = "" if database.is_sqlite else " ON audit"
                connection.execute(text(f"DROP TRIGGER audit_{name}{on}"))
        for statement in statements:
            connection.execute(text(statement))


def test_an_honest_audit_is_intact(lived):
    with open_store(lived) as store:
        check = store.check_audit()
        assert check.faults == ()
        assert check.events == 3
        assert check.head_sha256 == store.latest_events()[-1].sha256


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET why = 'fine' WHERE sequence = 3", "DELETE FROM audit WHERE sequence = 3", "DELETE FROM audit"],
)
def test_the_database_itself_refuses_to_change_an_event(lived, statement):
    with pytest.raises((StorageError, IntegrityError), match="append-only"):
        tamper(lived, statement)
    assert faults_of(lived) == ()


def test_postgresql_refuses_to_truncate_too(lived):
    if lived.startswith("postgresql"):
        with pytest.raises(StorageError, match="append-only"):
            tamper(lived, "TRUNCATE audit")
    assert faults_of(lived) == ()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE audit SET why = 'fine' WHERE sequence = 3", "event 3: its content was changed"),
        ("UPDATE audit SET actor = 'bo' WHERE sequence = 2", "event 2: its content was changed"),
        ("DELETE FROM audit WHERE sequence = 2", "event 2: missing"),
        ("DELETE FROM audit WHERE sequence = 3", "its state rejected is not the one of its last event"),
        ("UPDATE proposals SET state = 'approved'", "its state approved is not the one of its last event"),
        ("UPDATE price_lines SET proposed_price = 9.99", "its content was changed after it was saved"),
        ("DELETE FROM coupon_lines", "its content was changed after it was saved"),
    ],
)
def test_tampering_shows(lived, statement, says):
    tamper(lived, statement, triggers=False)
    assert any(says in fault for fault in faults_of(lived)), faults_of(lived)
