"""Frontiers that people ask for after a proposal was stored: who asked for what, how far it is, what was found.

A proposal stays what it was when it was saved; what was computed for it later stands beside it. A request is done
once: its points are stored whole, in one transaction, with an event in the audit that holds their hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from engine.errors import ConflictError, NotFoundError
from engine.files import plain, to_json
from engine.proposal import FrontierPlan, Reason, Sentence
from engine.store.audit import AuditEvent, append_event, read_events
from engine.store.database import Database
from engine.store.frontiers import point_fields, point_of
from engine.store.proposals import find_proposal
from engine.store.tables import FrontierRequestRow, ProposalRow

MOST_OPEN = 8
"""Requests that may wait at one time."""
SAME_ASKED = "this frontier was asked for already, as {request}; it is {state}"
TOO_MANY = "{count} frontiers wait to be computed; ask again when some are done"
NO_REQUEST = "no frontier was asked for as {request!r}"
ENDED = "frontier {request} has ended already; its result stands"
RequestState = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class FrontierRequest:
    """One frontier that was asked for."""

    request_id: str
    proposal_id: str
    measure: str
    levels: tuple[float, ...]
    """None: some around where the best prices stand."""
    asked_by: str
    asked_at: datetime
    stage: str
    """What is being worked on; empty while it waits."""
    share: float
    """Of the stage that is done, 0 to 1."""
    error: Mapping[str, Any] | None
    """Why it failed: a sentence as JSON."""
    place: int | None
    """Order in which the requests of the proposal were done; None: not done."""
    unreachable: tuple[float, ...]
    """Levels that no prices under the rules keep."""
    points: tuple[FrontierPlan, ...]

    @property
    def state(self) -> RequestState:
        """Where it stands."""
        if self.error is not None:
            return "failed"
        if self.place is not None:
            return "done"
        return "running" if self.stage else "waiting"


class FrontierRequests:
    """The frontiers that were asked for in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, proposal_id: str, measure: str, levels: Sequence[float], *, by: str, now: datetime) -> str:
        """Ask for a frontier; its identifier.

        Raises:
            NotFoundError: there is no such proposal.
            ConflictError: the same one is open or done, or too many wait.
        """
        asked = [float(level) for level in levels]
        with self._database.write() as connection:
            proposal = find_proposal(connection, proposal_id)
            known = [_request(row) for row in connection.execute(_of_proposal(proposal.number))]
            _require_new(known, measure, asked)
            _require_room(connection)
            head = [proposal_id, measure, asked, len(known)]
            request_id = f"F{now:%Y%m%d}-{hashlib.sha256(to_json(head).encode()).hexdigest()[:10]}"
            values = {
                "request_id": request_id,
                "proposal_number": proposal.number,
                "measure": measure,
                "levels": asked,
                "asked_by": by,
                "asked_at": now,
                "stage": "",
                "share": 0.0,
                "unreachable": [],
                "points": [],
            }
            connection.execute(insert(FrontierRequestRow).values(values))
            detail = {"proposal": proposal_id, "measure": measure, "levels": asked}
            append_event(connection, AuditEvent(by, _subject(request_id), "ask", now, detail=detail))
        return request_id

    def get(self, request_id: str) -> FrontierRequest:
        """Read one.

        Raises:
            NotFoundError: there is none with this identifier.
        """
        with self._database.read() as connection:
            return _request(_find(connection, request_id))

    def of(self, proposal_id: str) -> tuple[FrontierRequest, ...]:
        """All that were asked for one proposal: the done ones in the order in which they were, then the others.

        Raises:
            NotFoundError: there is no such proposal.
        """
        with self._database.read() as connection:
            number = find_proposal(connection, proposal_id).number
            found = [_request(row) for row in connection.execute(_of_proposal(number))]
        return tuple(sorted(found, key=lambda one: (one.place is None, one.place or 0)))

    def next_open(self) -> FrontierRequest | None:
        """The oldest that is neither done nor failed."""
        with self._database.read() as connection:
            row = connection.execute(_open(_QUERY).order_by(FrontierRequestRow.number).limit(1)).first()
        return None if row is None else _request(row)

    def tell(self, request_id: str, stage: str, share: float) -> None:
        """Say how far it is."""
        condition = FrontierRequestRow.request_id == request_id
        with self._database.write() as connection:
            connection.execute(update(FrontierRequestRow).where(condition).values(stage=stage, share=share))

    def complete(
        self, request_id: str, points: Sequence[FrontierPlan], unreachable: Sequence[float], *, by: str, now: datetime
    ) -> None:
        """Store what was found.

        Raises:
            ConflictError: it has ended already.
        """
        values = {"points": [point_fields(point) for point in points], "unreachable": list(map(float, unreachable))}
        with self._database.write() as connection:
            row = _find_open(connection, request_id)
            same = FrontierRequestRow.proposal_number == row.proposal_number
            last = connection.execute(select(func.max(FrontierRequestRow.place)).where(same)).scalar()
            digest = _digest(row.measure, row.levels, values)
            done = {**values, "place": (last or 0) + 1, "content_sha256": digest, "share": 1.0}
            _change(connection, row.number, done)
            detail = {"content_sha256": digest, "points": len(points)}
            append_event(connection, AuditEvent(by, _subject(request_id), "compute", now, detail=detail))

    def fail(self, request_id: str, why: Sentence, *, by: str, now: datetime) -> None:
        """Say why there is no result.

        Raises:
            ConflictError: it has ended already.
        """
        error = plain(why if isinstance(why, Reason) else Reason(why))
        with self._database.write() as connection:
            _change(connection, _find_open(connection, request_id).number, {"error": error})
            event = AuditEvent(by, _subject(request_id), "fail", now, detail={"error": error})
            append_event(connection, event)

    def altered(self) -> tuple[str, ...]:
        """Say which results are no longer what they were when stored."""
        with self._database.read() as connection:
            rows = connection.execute(_QUERY.where(FrontierRequestRow.place.is_not(None))).all()
            return tuple(
                f"frontier {row.request_id}: its content was changed after it was stored"
                for row in rows
                if _was_altered(connection, row)
            )


_QUERY = select(FrontierRequestRow.__table__, ProposalRow.proposal_id).join(
    ProposalRow, ProposalRow.number == FrontierRequestRow.proposal_number
)


def _of_proposal(number: int) -> Select[Any]:
    return _QUERY.where(FrontierRequestRow.proposal_number == number).order_by(FrontierRequestRow.number)


def _open(query: Select[Any]) -> Select[Any]:
    return query.where(FrontierRequestRow.place.is_(None), FrontierRequestRow.error.is_(None))


def _require_new(known: Sequence[FrontierRequest], measure: str, levels: Sequence[float]) -> None:
    for one in known:
        if one.measure == measure and sorted(one.levels) == sorted(levels) and one.state != "failed":
            raise ConflictError(Reason(SAME_ASKED, {"request": one.request_id, "state": one.state}))


def _require_room(connection: Connection) -> None:
    count = len(connection.execute(_open(select(FrontierRequestRow.number))).all())
    if count >= MOST_OPEN:
        raise ConflictError(Reason(TOO_MANY, {"count": count}))


def _find(connection: Connection, request_id: str) -> Row[Any]:
    row = connection.execute(_QUERY.where(FrontierRequestRow.request_id == request_id)).first()
    if row is None:
        raise NotFoundError(Reason(NO_REQUEST, {"request": request_id}))
    return row


def _find_open(connection: Connection, request_id: str) -> Row[Any]:
    row = _find(connection, request_id)
    if row.place is not None or row.error is not None:
        raise ConflictError(Reason(ENDED, {"request": request_id}))
    return row


def _change(connection: Connection, number: int, values: Mapping[str, Any]) -> None:
    connection.execute(update(FrontierRequestRow).where(FrontierRequestRow.number == number).values(dict(values)))


def _request(row: Row[Any]) -> FrontierRequest:
    names = ("request_id", "proposal_id", "measure", "asked_by", "asked_at", "stage", "share", "error", "place")
    return FrontierRequest(
        **{name: getattr(row, name) for name in names},
        levels=tuple(row.levels),
        unreachable=tuple(row.unreachable),
        points=tuple(point_of(fields) for fields in row.points),
    )


def _was_altered(connection: Connection, row: Row[Any]) -> bool:
    told = [event for event in read_events(connection, _subject(row.request_id)) if event.action == "compute"]
    digest = _digest(row.measure, row.levels, {"points": row.points, "unreachable": row.unreachable})
    return len(told) != 1 or told[0].detail["content_sha256"] != digest


def _digest(measure: str, levels: Sequence[float], found: Mapping[str, Any]) -> str:
    record = [measure, list(levels), found["unreachable"], found["points"]]
    return hashlib.sha256(to_json(record).encode()).hexdigest()


def _subject(request_id: str) -> str:
    return f"frontier:{request_id}"
