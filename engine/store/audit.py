"""The audit: every event that mattered, in one chain.

Each event is hashed over the one before, so that a change, a removal or an insertion anywhere before the last event
shows. Keep the last hash elsewhere and the end is safe too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from engine.files import plain, to_json
from engine.store.tables import AuditRow, as_utc

GENESIS = "0" * 64
_TABLE = AuditRow.__table__


@dataclass(frozen=True)
class AuditEvent:
    """Who did what to what, when, and why."""

    actor: str
    subject: str
    """Kind and identifier, such as ``proposal:p-20261123-1a2b3c``."""
    action: str
    at: datetime
    why: str = ""
    from_state: str | None = None
    to_state: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    sequence: int = 0
    """Place in the chain, from 1."""
    previous_sha256: str = GENESIS
    sha256: str = ""


@dataclass(frozen=True)
class AuditCheck:
    """What a walk along the whole chain found."""

    events: int
    head_sha256: str
    """Hash of the last event: keep it elsewhere to prove later that nothing was cut off the end."""
    faults: tuple[str, ...]


def append_event(connection: Connection, event: AuditEvent) -> AuditEvent:
    """Add an event at the end of the chain; call it inside a writing transaction.

    Raises:
        ValueError: its time has no zone.
    """
    last = connection.execute(
        select(AuditRow.sequence, AuditRow.sha256).order_by(AuditRow.sequence.desc()).limit(1)
    ).first()
    sequence, previous = (last.sequence + 1, last.sha256) if last else (1, GENESIS)
    values = {
        "sequence": sequence,
        "at": as_utc(event.at),
        "actor": event.actor,
        "subject": event.subject,
        "action": event.action,
        "from_state": event.from_state,
        "to_state": event.to_state,
        "why": event.why,
        "detail": plain(event.detail),
        "previous_sha256": previous,
    }
    values["sha256"] = _hash(values)
    connection.execute(insert(AuditRow).values(values))
    return AuditEvent(**values)


def read_events(connection: Connection, subject: str | None = None, *, limit: int | None = None) -> list[AuditEvent]:
    """Events of one subject (or all), oldest first; with `limit` the latest ones only."""
    query = select(_TABLE)
    if subject is not None:
        query = query.where(AuditRow.subject == subject)
    rows = connection.execute(query.order_by(AuditRow.sequence.desc()).limit(limit)).all()
    return [_event(row) for row in reversed(rows)]


def check_chain(connection: Connection) -> AuditCheck:
    """Walk the chain from its beginning and recompute every hash."""
    faults: list[str] = []
    expected, previous, count = 1, GENESIS, 0
    for row in connection.execution_options(yield_per=1000).execute(select(_TABLE).order_by(AuditRow.sequence)):
        count += 1
        faults.extend(_faults(row, expected, previous))
        expected, previous = row.sequence + 1, row.sha256
    return AuditCheck(count, previous, tuple(faults))


def _faults(row: Row[Any], expected: int, previous: str) -> list[str]:
    faults = []
    if row.sequence != expected:
        faults.append(f"event {expected}: missing; the next one found is {row.sequence}")
    if row.previous_sha256 != previous:
        faults.append(f"event {row.sequence}: does not follow the event before it")
    if row.sha256 != _hash(dict(row._mapping)):
        faults.append(f"event {row.sequence}: its content was changed")
    return faults


def _event(row: Row[Any]) -> AuditEvent:
    return AuditEvent(**row._mapping)


def _hash(values: Mapping[str, Any]) -> str:
    content = {name: value for name, value in sorted(values.items()) if name != "sha256"}
    content["at"] = values["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(to_json(content).encode()).hexdigest()
