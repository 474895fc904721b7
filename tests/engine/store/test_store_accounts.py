"""Nobody gets in without a secret of their own; each is kept as a hash, expires, and works as often as it should."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import select
from store_examples import NOW

from engine.errors import ConflictError, InputError, NotFoundError
from engine.store import Role
from engine.store.accounts import (
    FAILURE_WINDOW,
    FAILURES_PER_ADDRESS,
    FAILURES_PER_NAME_AND_ADDRESS,
    LINK_HOURS,
    password_hasher,
)
from engine.store.database import Database
from engine.store.tables import Table

PASSWORD = "correct horse battery"
KEY = b"k" * 32
HOUR = timedelta(hours=1)


def first_user(store, name="ana"):
    return store.accounts.use_link(store.accounts.first_link(now=NOW), name=name, password=PASSWORD, now=NOW)


def test_passwords_are_hashed_at_the_recommended_cost():
    hasher = password_hasher()
    assert hasher.type.name == "ID"
    assert (hasher.memory_cost, hasher.time_cost) >= (64 * 1024, 3), "RFC 9106, section 4"


def test_the_first_link_makes_an_administrator_once(store):
    assert not store.accounts.any_user()
    token = store.accounts.first_link(now=NOW)
    account = store.accounts.use_link(token, name=" ana ", password=PASSWORD, now=NOW)
    assert (account.name, account.role) == ("ana", Role.ADMIN)
    assert store.accounts.any_user()
    with pytest.raises(NotFoundError):
        store.accounts.use_link(token, name="eve", password=PASSWORD, now=NOW)
    with pytest.raises(ConflictError):
        store.accounts.first_link(now=NOW)


def test_a_new_first_link_replaces_the_old_one(store):
    old = store.accounts.first_link(now=NOW)
    new = store.accounts.first_link(now=NOW)
    with pytest.raises(NotFoundError):
        store.accounts.look_up_link(old, now=NOW)
    assert store.accounts.look_up_link(new, now=NOW).role is Role.ADMIN


def test_a_link_expires(store):
    token = store.accounts.first_link(now=NOW)
    store.accounts.look_up_link(token, now=NOW + LINK_HOURS * HOUR - timedelta(seconds=1))
    with pytest.raises(NotFoundError, match="expired"):
        store.accounts.use_link(token, name="ana", password=PASSWORD, now=NOW + LINK_HOURS * HOUR)


@pytest.mark.parametrize(
    ("name", "password"), [("", PASSWORD), ("a" * 101, PASSWORD), ("job:x", PASSWORD), ("ana", "short")]
)
def test_a_refused_name_or_password_leaves_the_link_usable(store, name, password):
    token = store.accounts.first_link(now=NOW)
    with pytest.raises(InputError):
        store.accounts.use_link(token, name=name, password=password, now=NOW)
    assert store.accounts.use_link(token, name="ana", password=PASSWORD, now=NOW).name == "ana"


def test_a_session_lasts_its_hours_and_ends_when_signed_out(store):
    first_user(store)
    token = store.accounts.sign_in("ana", PASSWORD, now=NOW, hours=2)
    assert store.accounts.session(token, now=NOW + HOUR).name == "ana"
    assert store.accounts.session(token, now=NOW + 2 * HOUR) is None
    assert store.accounts.session("guess", now=NOW) is None
    store.accounts.sign_out(token)
    assert store.accounts.session(token, now=NOW) is None


def test_a_wrong_password_and_an_unknown_name_are_told_alike(store):
    first_user(store)
    assert store.accounts.sign_in("ana", "wrong horse battery", now=NOW, hours=2) is None
    assert store.accounts.sign_in("eve", PASSWORD, now=NOW, hours=2) is None


def test_a_user_without_a_password_cannot_sign_in(store):
    link = store.accounts.add_user("bo", Role.APPROVER, by="ana", now=NOW)
    assert store.accounts.sign_in("bo", "", now=NOW, hours=2) is None
    assert store.accounts.use_link(link, name="someone else", password=PASSWORD, now=NOW).name == "bo"
    assert store.accounts.names() == ("bo",)
    with pytest.raises(ConflictError, match="bo"):
        store.accounts.add_user("bo", Role.ADMIN, by="ana", now=NOW)


def test_tokens_work_until_they_expire_or_are_revoked(store):
    short = store.accounts.add_token("export", Role.VIEWER, by="ana", now=NOW, days=1)
    long = store.accounts.add_token("sync", Role.ANALYST, by="ana", now=NOW)
    assert store.accounts.token(short, now=NOW).role is Role.VIEWER
    assert store.accounts.token(short, now=NOW + 24 * HOUR) is None
    assert store.accounts.token(long, now=NOW + 1000 * HOUR).name == "token:sync"
    store.accounts.revoke_token("sync", by="ana", now=NOW)
    assert store.accounts.token(long, now=NOW) is None
    with pytest.raises(NotFoundError):
        store.accounts.revoke_token("sync", by="ana", now=NOW)
    assert store.accounts.token("ow_guess", now=NOW) is None


def test_no_secret_is_kept_in_the_clear(store, url):
    first = store.accounts.first_link(now=NOW)
    store.accounts.use_link(first, name="ana", password=PASSWORD, now=NOW)
    secrets = [first, PASSWORD, store.accounts.sign_in("ana", PASSWORD, now=NOW, hours=2)]
    secrets.append(store.accounts.add_token("export", Role.VIEWER, by="ana", now=NOW))
    store.accounts.record_failure("typo-of-ana", "192.0.2.7", key=KEY, now=NOW)
    secrets += ["typo-of-ana", "192.0.2.7"]
    with closing(Database(url)) as database, database.read() as connection:
        kept = repr([connection.execute(select(table)).all() for table in Table.metadata.sorted_tables])
    assert "$argon2id$" in kept
    assert [secret for secret in secrets if secret in kept] == []


def test_too_many_failures_have_to_wait(store):
    accounts = store.accounts

    def wait(name, address, now=NOW):
        return accounts.wait_before_sign_in(name, address, key=KEY, now=now)

    for _ in range(FAILURES_PER_NAME_AND_ADDRESS - 1):
        accounts.record_failure("ana", "192.0.2.7", key=KEY, now=NOW)
    assert wait("ana", "192.0.2.7") is None
    accounts.record_failure("ANA ", "192.0.2.7", key=KEY, now=NOW)
    assert wait("ana", "192.0.2.7") == FAILURE_WINDOW
    assert wait("ana", "192.0.2.8") is None, "an attacker elsewhere does not lock ana out"
    assert wait("bo", "192.0.2.7") is None
    assert wait("ana", "192.0.2.7", NOW + FAILURE_WINDOW) is None
    for i in range(FAILURES_PER_ADDRESS):
        accounts.record_failure(f"name {i}", "192.0.2.9", key=KEY, now=NOW)
    assert wait("anybody", "192.0.2.9") == FAILURE_WINDOW


@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_what_the_ones_before_it_may(role):
    order = [Role.VIEWER, Role.ANALYST, Role.APPROVER, Role.ADMIN]
    assert [needed for needed in order if role.covers(needed)] == order[: order.index(role) + 1]
