"""Idempotency keys: the answer to a write is kept, so that a repeated request gets it again and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update

from engine.errors import ConflictError
from engine.store.database import Database
from engine.store.tables import IdempotencyRow

KEPT = timedelta(hours=24)


@dataclass(frozen=True)
class Answer:
    """What a write was answered."""

    status: int
    body: str


class Answers:
    """The remembered answers of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, caller: str, key: str, request_sha256: str, *, now: datetime) -> Answer | None:
        """Claim a key for a request, or get the answer that an equal request was given.

        Raises:
            ConflictError: the key belongs to another request, or the first one is still being worked on.
        """
        with self._database.write() as connection:
            connection.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at <= now - KEPT))
            query = select(IdempotencyRow.__table__).where(IdempotencyRow.caller == caller, IdempotencyRow.key == key)
            row = connection.execute(query).first()
            if row is None:
                values = {"caller": caller, "key": key, "request_sha256": request_sha256, "created_at": now}
                connection.execute(insert(IdempotencyRow).values(values))
                return None
        if row.request_sha256 != request_sha256:
            raise ConflictError("this Idempotency-Key was used for another request; take a new one")
        if row.status is None:
            raise ConflictError("the first request with this Idempotency-Key is still being worked on; try later")
        return Answer(row.status, row.body or "")

    def remember(self, caller: str, key: str, answer: Answer) -> None:
        """Keep the answer for whoever repeats the request."""
        self._change(caller, key, answer)

    def release(self, caller: str, key: str) -> None:
        """Forget a claim whose request failed without an effect: it may be tried again."""
        self._change(caller, key, None)

    def _change(self, caller: str, key: str, answer: Answer | None) -> None:
        condition = (IdempotencyRow.caller == caller, IdempotencyRow.key == key)
        with self._database.write() as connection:
            if answer is None:
                connection.execute(delete(IdempotencyRow).where(*condition))
            else:
                connection.execute(
                    update(IdempotencyRow).where(*condition).values(status=answer.status, body=answer.body)
                )
