"""People and programs that may use Offerwright: passwords, sign-ins, bearer tokens and one-time set-up links.

Passwords are kept as argon2id hashes, everything else that opens a door as the SHA-256 of 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.errors import ConflictError, InputError, NotFoundError
from engine.proposal import Reason
from engine.store.audit import AuditEvent, append_event
from engine.store.database import Database
from engine.store.tables import ApiTokenRow, SessionRow, SetupLinkRow, SignInFailureRow, UserRow

TOO_SHORT = "the password has {length} characters; take at least {least}"
BAD_NAME = "the name {name!r} is refused; take 1 to 100 printable characters without ':'"
TOO_LONG = "the password has {length} characters; take at most {most}"
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1024
LINK_HOURS = 24
FAILURE_WINDOW = timedelta(minutes=15)
FAILURES_PER_NAME_AND_ADDRESS = 5
FAILURES_PER_ADDRESS = 30
FAILURES_PER_NAME = 50


class Role(StrEnum):
    """What somebody may do; each role may do what the ones before it may."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    APPROVER = "approver"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Account:
    """Who is asking: a person, or a program with a bearer token."""

    name: str
    role: Role
    user_id: int | None = None


@dataclass(frozen=True)
class SetupLink:
    """What a set-up link is for."""

    user_name: str | None
    """None: the first administrator, who chooses a name too."""
    role: Role
    expires_at: datetime


class Accounts:
    """The accounts of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def any_user(self) -> bool:
        """Whether anybody can sign in."""
        with self._database.read() as connection:
            query = select(func.count()).select_from(UserRow).where(UserRow.password_hash.is_not(None))
            return bool(connection.execute(query).scalar())

    def names(self) -> tuple[str, ...]:
        """All users, in alphabetical order."""
        with self._database.read() as connection:
            return tuple(connection.execute(select(UserRow.name).order_by(UserRow.name)).scalars())

    def add_user(self, name: str, role: Role, *, by: str, now: datetime) -> str:
        """Add somebody who has no password yet.

        Returns:
            Token of a link, good for `LINK_HOURS` hours and one use, through which they choose a password.

        Raises:
            InputError: the name is empty or too long.
            ConflictError: the name is taken.
        """
        name = _checked_name(name)
        try:
            with self._database.write() as connection:
                values = {"name": name, "role": role.value, "created_at": now}
                connection.execute(insert(UserRow).values(values))
                _record(connection, by, f"user:{name}", "add_user", now, {"role": role.value})
                return _add_link(connection, name, role, now)
        except IntegrityError as error:
            raise ConflictError(Reason("user {name!r} exists already; choose another name", {"name": name})) from error

    def first_link(self, *, now: datetime) -> str:
        """Make a link that creates the first administrator; earlier unused ones stop working.

        Raises:
            ConflictError: somebody can sign in already.
        """
        with self._database.write() as connection:
            _require_nobody(connection)
            connection.execute(delete(SetupLinkRow).where(SetupLinkRow.user_name.is_(None)))
            return _add_link(connection, None, Role.ADMIN, now)

    def look_up_link(self, token: str, *, now: datetime) -> SetupLink:
        """Say what a link is for.

        Raises:
            NotFoundError: it is unknown, was used, or has expired (one message for all three).
        """
        with self._database.read() as connection:
            return _valid_link(connection, token, now)

    def use_link(self, token: str, *, name: str | None, password: str, now: datetime) -> Account:
        """Choose a password through a link, which is used up.

        Args:
            token: from the link.
            name: of the first administrator; ignored where the link is for a user who has one.
            password: at least `SHORTEST_PASSWORD` characters.
            now: the time.

        Raises:
            NotFoundError: the link is unknown, was used, or has expired.
            InputError: the name or the password is refused; the link can be used again.
            ConflictError: somebody created the first administrator meanwhile.
        """
        password_hash = password_hasher().hash(checked_password(password))
        with self._database.write() as connection:
            link = _valid_link(connection, token, now)
            if link.user_name is None:
                _require_nobody(connection)
            chosen = _checked_name(name or "") if link.user_name is None else link.user_name
            user_id = _set_password(connection, chosen, link.role, password_hash, now)
            used = update(SetupLinkRow).where(SetupLinkRow.token_sha256 == _sha256(token)).values(used_at=now)
            connection.execute(used)
            _record(connection, chosen, f"user:{chosen}", "set_password", now, {"role": link.role.value})
        return Account(chosen, link.role, user_id)

    def sign_in(self, name: str, password: str, *, now: datetime, hours: float) -> str | None:
        """Check a password in a time that does not tell whether the name exists.

        Returns:
            Token of a new session, or None.
        """
        with self._database.read() as connection:
            query = select(UserRow.__table__).where(UserRow.name == name.strip(), UserRow.disabled_at.is_(None))
            row = connection.execute(query).first()
        stored = row.password_hash if row is not None and row.password_hash else _nobodys_hash()
        good = _matches(stored, password[:LONGEST_PASSWORD])
        if row is None or not row.password_hash or not good:
            return None
        token = secrets.token_urlsafe(32)
        values = {"token_sha256": _sha256(token), "user_id": row.user_id, "created_at": now}
        with self._database.write() as connection:
            connection.execute(delete(SessionRow).where(SessionRow.expires_at <= now))
            connection.execute(insert(SessionRow).values(**values, expires_at=now + timedelta(hours=hours)))
        return token

    def session(self, token: str, *, now: datetime) -> Account | None:
        """Who is signed in under this token; None where nobody is any more."""
        query = (
            select(UserRow.user_id, UserRow.name, UserRow.role)
            .join(SessionRow, SessionRow.user_id == UserRow.user_id)
            .where(
                SessionRow.token_sha256 == _sha256(token), SessionRow.expires_at > now, UserRow.disabled_at.is_(None)
            )
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return Account(row.name, Role(row.role), row.user_id) if row else None

    def sign_out(self, token: str) -> None:
        """End a session."""
        with self._database.write() as connection:
            connection.execute(delete(SessionRow).where(SessionRow.token_sha256 == _sha256(token)))

    def add_token(self, name: str, role: Role, *, by: str, now: datetime, days: float | None = None) -> str:
        """Make a bearer token for a program; it is shown this once.

        Raises:
            InputError: the name is empty or too long.
            ConflictError: a token of this name exists.
        """
        token = "ow_" + secrets.token_urlsafe(32)
        name = _checked_name(name)
        expires_at = now + timedelta(days=days) if days is not None else None
        values = {"token_sha256": _sha256(token), "name": name, "role": role.value, "created_at": now}
        try:
            with self._database.write() as connection:
                connection.execute(insert(ApiTokenRow).values(**values, expires_at=expires_at))
                _record(connection, by, f"token:{name}", "add_token", now, {"role": role.value})
        except IntegrityError as error:
            raise ConflictError(f"token {name!r} exists already; choose another name") from error
        return token

    def revoke_token(self, name: str, *, by: str, now: datetime) -> None:
        """End a bearer token.

        Raises:
            NotFoundError: there is none of this name that still works.
        """
        with self._database.write() as connection:
            condition = (ApiTokenRow.name == name, ApiTokenRow.revoked_at.is_(None))
            done = connection.execute(update(ApiTokenRow).where(*condition).values(revoked_at=now))
            if not done.rowcount:
                raise NotFoundError(f"no token {name!r} that still works")
            _record(connection, by, f"token:{name}", "revoke_token", now, {})

    def token(self, token: str, *, now: datetime) -> Account | None:
        """Which program holds this bearer token; None where it is unknown, revoked or expired."""
        with self._database.read() as connection:
            query = select(ApiTokenRow.__table__).where(ApiTokenRow.token_sha256 == _sha256(token))
            row = connection.execute(query).first()
        if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
            return None
        return Account(f"token:{row.name}", Role(row.role))

    def record_failure(self, name: str, address: str, *, key: bytes, now: datetime) -> None:
        """Remember a failed sign-in, under keyed hashes; older ones than the window are forgotten."""
        with self._database.write() as connection:
            connection.execute(delete(SignInFailureRow).where(SignInFailureRow.at <= now - FAILURE_WINDOW))
            rows = [{"bucket": bucket, "at": now} for bucket, _ in _buckets(name, address, key)]
            connection.execute(insert(SignInFailureRow), rows)

    def wait_before_sign_in(self, name: str, address: str, *, key: bytes, now: datetime) -> timedelta | None:
        """How long this name and address must wait after too many failures; None: no wait."""
        with self._database.read() as connection:
            for bucket, limit in _buckets(name, address, key):
                query = (
                    select(SignInFailureRow.at)
                    .where(SignInFailureRow.bucket == bucket, SignInFailureRow.at > now - FAILURE_WINDOW)
                    .order_by(SignInFailureRow.at.desc())
                    .limit(limit)
                )
                times = connection.execute(query).scalars().all()
                if len(times) == limit:
                    return times[-1] + FAILURE_WINDOW - now
        return None


def checked_password(password: str) -> str:
    """Refuse a password that is too short or too long.

    Raises:
        InputError: says which.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(Reason(TOO_SHORT, {"length": len(password), "least": SHORTEST_PASSWORD}))
    if len(password) > LONGEST_PASSWORD:
        raise InputError(Reason(TOO_LONG, {"length": len(password), "most": LONGEST_PASSWORD}))
    return password


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable() or ":" in name:
        raise InputError(Reason(BAD_NAME, {"name": name}))
    return name


@cache
def password_hasher() -> PasswordHasher:
    """Hash passwords with argon2id at the cost that RFC 9106 recommends where memory is scarce (64 MiB, 3 passes)."""
    return PasswordHasher()


@cache
def _nobodys_hash() -> str:
    """Hash that no password matches, so that an unknown name takes as long as a known one."""
    return password_hasher().hash(secrets.token_urlsafe(32))


def _matches(password_hash: str, password: str) -> bool:
    try:
        return password_hasher().verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _buckets(name: str, address: str, key: bytes) -> tuple[tuple[str, int], ...]:
    """Keyed hashes under which failures are counted, with the number allowed in the window."""
    name = name.strip().casefold()
    parts = (
        (f"both\0{name}\0{address}", FAILURES_PER_NAME_AND_ADDRESS),
        (f"address\0{address}", FAILURES_PER_ADDRESS),
        (f"name\0{name}", FAILURES_PER_NAME),
    )
    return tuple((hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), limit) for text, limit in parts)


def _record(
    connection: Connection, actor: str, subject: str, action: str, now: datetime, detail: dict[str, Any]
) -> None:
    append_event(connection, AuditEvent(actor=actor, subject=subject, action=action, at=now, detail=detail))


def _require_nobody(connection: Connection) -> None:
    query = select(func.count()).select_from(UserRow).where(UserRow.password_hash.is_not(None))
    if connection.execute(query).scalar():
        raise ConflictError(
            Reason("there is a user already; ask an administrator for a link: offerwright user add NAME")
        )


def _add_link(connection: Connection, name: str | None, role: Role, now: datetime) -> str:
    token = secrets.token_urlsafe(32)
    values = {"token_sha256": _sha256(token), "user_name": name, "role": role.value, "created_at": now}
    connection.execute(insert(SetupLinkRow).values(**values, expires_at=now + timedelta(hours=LINK_HOURS)))
    return token


def _valid_link(connection: Connection, token: str, now: datetime) -> SetupLink:
    query = select(SetupLinkRow.__table__).where(SetupLinkRow.token_sha256 == _sha256(token))
    row = connection.execute(query).first()
    if row is None or row.used_at is not None or row.expires_at <= now:
        raise NotFoundError(Reason("this set-up link is unknown, was used, or has expired; ask for a new one"))
    return SetupLink(row.user_name, Role(row.role), row.expires_at)


def _set_password(connection: Connection, name: str, role: Role, password_hash: str, now: datetime) -> int:
    row = connection.execute(select(UserRow.user_id).where(UserRow.name == name)).first()
    if row is not None:
        change = update(UserRow).where(UserRow.user_id == row.user_id).values(password_hash=password_hash)
        connection.execute(change)
        connection.execute(delete(SessionRow).where(SessionRow.user_id == row.user_id))
        return int(row.user_id)
    values = {"name": name, "role": role.value, "password_hash": password_hash, "created_at": now}
    return int(connection.execute(insert(UserRow).values(values).returning(UserRow.user_id)).scalar_one())
