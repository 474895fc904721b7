"""Experiments in the store: the design fixed before the first customer is assigned, the reading beside the promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.errors import ConflictError, NotFoundError
from engine.files import plain
from engine.store.audit import AuditEvent, append_event
from engine.store.database import Database
from engine.store.tables import ExperimentRow, ProposalRow


@dataclass(frozen=True)
class StoredExperiment:
    """An experiment as it stands. `promise` comes from the proposal that it tests."""

    experiment_id: str
    proposal_id: str | None
    salt: str
    """Seed of the assignment; it never changes, so a customer stays where they are."""
    design: Mapping[str, Any]
    reading: Mapping[str, Any] | None
    """What was measured; None until then."""
    created_at: datetime
    created_by: str
    read_at: datetime | None
    promise: Mapping[str, Any]
    """promised_gain, promised_gain_low and promised_gain_high of the proposal; empty where there is none."""


class Experiments:
    """The experiments of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        experiment_id: str,
        *,
        salt: str,
        design: Mapping[str, Any],
        by: str,
        now: datetime,
        proposal_id: str | None = None,
    ) -> StoredExperiment:
        """Store a design; from now on neither it nor the salt changes.

        Raises:
            ConflictError: the identifier or the salt is taken.
            NotFoundError: there is no such proposal.
        """
        try:
            with self._database.write() as connection:
                values = {
                    "experiment_id": experiment_id,
                    "proposal_number": _proposal_number(connection, proposal_id),
                    "salt": salt,
                    "design": plain(design),
                    "created_at": now,
                    "created_by": by,
                }
                connection.execute(insert(ExperimentRow).values(values))
                _record(connection, experiment_id, "design", by, now, {"salt": salt, "design": design})
        except IntegrityError as error:
            raise ConflictError(f"experiment {experiment_id!r} or its salt {salt!r} exists; choose another") from error
        return self.get(experiment_id)

    def get(self, experiment_id: str) -> StoredExperiment:
        """Read an experiment.

        Raises:
            NotFoundError: there is none with this identifier.
        """
        with self._database.read() as connection:
            row = connection.execute(_query().where(ExperimentRow.experiment_id == experiment_id)).first()
        if row is None:
            raise NotFoundError(f"no experiment {experiment_id!r}")
        return _experiment(row)

    def of_proposal(self, proposal_id: str) -> tuple[StoredExperiment, ...]:
        """Read the experiments that test a proposal, oldest first."""
        query = _query().where(ProposalRow.proposal_id == proposal_id).order_by(ExperimentRow.created_at)
        with self._database.read() as connection:
            return tuple(_experiment(row) for row in connection.execute(query))

    def store_reading(self, experiment_id: str, reading: Mapping[str, Any], *, by: str, now: datetime) -> None:
        """Put what was measured beside what was promised; the audit keeps every earlier reading.

        Raises:
            NotFoundError: there is no such experiment.
        """
        with self._database.write() as connection:
            statement = update(ExperimentRow).where(ExperimentRow.experiment_id == experiment_id)
            done = connection.execute(statement.values(reading=plain(reading), read_at=now))
            if not done.rowcount:
                raise NotFoundError(f"no experiment {experiment_id!r}")
            _record(connection, experiment_id, "reading", by, now, reading)


def _query() -> Select[Any]:
    columns = [column for column in ExperimentRow.__table__.columns if column.name != "proposal_number"]
    return select(*columns, ProposalRow.proposal_id, ProposalRow.summary).outerjoin(
        ProposalRow, ProposalRow.number == ExperimentRow.proposal_number
    )


def _proposal_number(connection: Connection, proposal_id: str | None) -> int | None:
    if proposal_id is None:
        return None
    number = connection.execute(select(ProposalRow.number).where(ProposalRow.proposal_id == proposal_id)).scalar()
    if number is None:
        raise NotFoundError(f"no proposal {proposal_id!r}")
    return int(number)


def _record(
    connection: Connection, experiment_id: str, action: str, by: str, now: datetime, detail: Mapping[str, Any]
) -> None:
    event = AuditEvent(actor=by, subject=f"experiment:{experiment_id}", action=action, at=now, detail=detail)
    append_event(connection, event)


def _experiment(row: Row[Any]) -> StoredExperiment:
    values = dict(row._mapping)
    summary = values.pop("summary") or {}
    return StoredExperiment(**values, promise={k: v for k, v in summary.items() if k.startswith("promised_gain")})
