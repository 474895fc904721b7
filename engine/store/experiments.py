"""Experiments in the store: the design fixed before the first unit is assigned, every reading beside the promise.

    designed → running → ended

Before the start a design may be replaced. From then on it is locked: a change is a new version with a reason, and
every version, like every reading, is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.errors import ConflictError, InputError, NotFoundError, StateError
from engine.files import plain
from engine.proposal import Reason
from engine.store.audit import AuditEvent, append_event
from engine.store.database import Database
from engine.store.proposals import NO_PROPOSAL, Page
from engine.store.tables import ExperimentReadingRow, ExperimentRow, ExperimentVersionRow, ProposalRow

NO_EXPERIMENT = "no experiment {experiment!r}; list them at /experiments"
TAKEN = "experiment {experiment!r} or its salt {salt!r} exists; choose another"
HAS_ENDED = "experiment {experiment!r} has ended; design a new one"
LOCKED = "experiment {experiment!r} runs and its design is locked; say why it must change"
SAY_WHY_IT_ENDS = "experiment {experiment!r}: say why it ends, such as the decision that was taken"
WRONG_STEP = "experiment {experiment!r} is {state}; only one that is {source} can be {to}"


class ExperimentState(StrEnum):
    """Where an experiment stands."""

    DESIGNED = "designed"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class StoredExperiment:
    """An experiment as it stands. `promise` comes from the proposal that it tests."""

    experiment_id: str
    proposal_id: str | None
    salt: str
    """Seed of the assignment; it never changes, so a customer stays where they are."""
    state: ExperimentState
    version: int
    """Of the design, from 1."""
    design: Mapping[str, Any]
    reading: Mapping[str, Any] | None
    """What was measured last; None until then."""
    created_at: datetime
    created_by: str
    started_at: datetime | None
    ended_at: datetime | None
    read_at: datetime | None
    promise: Mapping[str, Any]
    """promised_gain, promised_gain_low and promised_gain_high of the proposal; empty where there is none."""


@dataclass(frozen=True)
class DesignVersion:
    """A design as it stood."""

    version: int
    design: Mapping[str, Any]
    why: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class StoredReading:
    """One look at an experiment."""

    number: int
    """From 1."""
    version: int
    """Of the design under which it was read."""
    reading: Mapping[str, Any]
    read_at: datetime
    read_by: str


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
        """Store the first version of a design; the salt never changes.

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
                    "state": ExperimentState.DESIGNED.value,
                    "version": 1,
                    "created_at": now,
                    "created_by": by,
                }
                connection.execute(insert(ExperimentRow).values(values))
                _keep_version(connection, experiment_id, 1, design, why="", by=by, now=now)
                detail = {"salt": salt, "version": 1, "design": design}
                _record(connection, experiment_id, "design", by, now, detail, to=ExperimentState.DESIGNED)
        except IntegrityError as error:
            raise ConflictError(Reason(TAKEN, {"experiment": experiment_id, "salt": salt})) from error
        return self.get(experiment_id)

    def redesign(
        self, experiment_id: str, design: Mapping[str, Any], *, why: str, by: str, now: datetime
    ) -> StoredExperiment:
        """Store a new version of a design; the versions before it stay.

        Raises:
            NotFoundError: there is no such experiment.
            InputError: the experiment runs, and no reason is given.
            StateError: it has ended.
        """
        with self._database.write() as connection:
            row = _locked(connection, experiment_id)
            if row.state == ExperimentState.ENDED:
                raise StateError(Reason(HAS_ENDED, {"experiment": experiment_id}))
            if row.state == ExperimentState.RUNNING and not why.strip():
                raise InputError(Reason(LOCKED, {"experiment": experiment_id}))
            version = row.version + 1
            statement = update(ExperimentRow).where(ExperimentRow.experiment_id == experiment_id)
            connection.execute(statement.values(design=plain(design), version=version))
            _keep_version(connection, experiment_id, version, design, why=why, by=by, now=now)
            _record(connection, experiment_id, "redesign", by, now, {"version": version, "design": design}, why=why)
        return self.get(experiment_id)

    def start(self, experiment_id: str, *, by: str, now: datetime) -> StoredExperiment:
        """Start an experiment, which locks its design.

        Raises:
            NotFoundError: there is no such experiment.
            StateError: it runs already, or has ended.
        """
        values = {"started_at": now}
        return self._move(experiment_id, ExperimentState.DESIGNED, ExperimentState.RUNNING, values, "", by, now)

    def end(self, experiment_id: str, *, why: str, by: str, now: datetime) -> StoredExperiment:
        """End an experiment: nobody is assigned any more; it can still be read.

        Raises:
            NotFoundError: there is no such experiment.
            StateError: it does not run.
            InputError: no reason is given.
        """
        if not why.strip():
            raise InputError(Reason(SAY_WHY_IT_ENDS, {"experiment": experiment_id}))
        values = {"ended_at": now}
        return self._move(experiment_id, ExperimentState.RUNNING, ExperimentState.ENDED, values, why, by, now)

    def _move(
        self,
        experiment_id: str,
        source: ExperimentState,
        to: ExperimentState,
        values: Mapping[str, Any],
        why: str,
        by: str,
        now: datetime,
    ) -> StoredExperiment:
        with self._database.write() as connection:
            row = _locked(connection, experiment_id)
            if row.state != source:
                told = {"experiment": experiment_id, "state": row.state, "source": source.value, "to": to.value}
                raise StateError(Reason(WRONG_STEP, told))
            statement = update(ExperimentRow).where(ExperimentRow.experiment_id == experiment_id)
            connection.execute(statement.values(state=to.value, **values))
            _record(connection, experiment_id, to.value, by, now, {}, why=why, source=source, to=to)
        return self.get(experiment_id)

    def get(self, experiment_id: str) -> StoredExperiment:
        """Read an experiment.

        Raises:
            NotFoundError: there is none with this identifier.
        """
        with self._database.read() as connection:
            row = connection.execute(_query().where(ExperimentRow.experiment_id == experiment_id)).first()
        if row is None:
            raise NotFoundError(Reason(NO_EXPERIMENT, {"experiment": experiment_id}))
        return _experiment(row)

    def page(self, *, page: int = 1, size: int = 20, state: ExperimentState | None = None) -> Page[StoredExperiment]:
        """List the experiments, newest first; `state` keeps those in one state."""
        kept = [] if state is None else [ExperimentRow.state == state.value]
        newest = [ExperimentRow.created_at.desc(), ExperimentRow.experiment_id]
        query = _query().where(*kept).order_by(*newest).limit(size).offset((page - 1) * size)
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(ExperimentRow).where(*kept)).scalar_one()
            items = tuple(_experiment(row) for row in connection.execute(query))
        return Page(items, page, size, int(total))

    def of_proposal(self, proposal_id: str) -> tuple[StoredExperiment, ...]:
        """Read the experiments that test a proposal, oldest first."""
        return self._select(_query().where(ProposalRow.proposal_id == proposal_id))

    def in_state(self, state: ExperimentState) -> tuple[StoredExperiment, ...]:
        """Read the experiments that are in a state, oldest first."""
        return self._select(_query().where(ExperimentRow.state == state.value))

    def _select(self, query: Select[Any]) -> tuple[StoredExperiment, ...]:
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(ExperimentRow.created_at, ExperimentRow.experiment_id))
            return tuple(_experiment(row) for row in rows)

    def versions(self, experiment_id: str) -> tuple[DesignVersion, ...]:
        """Read every version of a design, oldest first.

        Raises:
            NotFoundError: there is no such experiment.
        """
        row = ExperimentVersionRow
        query = select(row.version, row.design, row.why, row.created_at, row.created_by)
        with self._database.read() as connection:
            _require_known(connection, experiment_id)
            found = connection.execute(query.where(row.experiment_id == experiment_id).order_by(row.version))
            return tuple(DesignVersion(**one._mapping) for one in found)

    def store_reading(self, experiment_id: str, reading: Mapping[str, Any], *, by: str, now: datetime) -> int:
        """Put what was measured beside what was promised; every earlier reading is kept.

        Returns:
            Number of the reading, from 1.

        Raises:
            NotFoundError: there is no such experiment.
        """
        with self._database.write() as connection:
            row = _locked(connection, experiment_id)
            kept = select(func.count()).where(ExperimentReadingRow.experiment_id == experiment_id)
            number = int(connection.execute(kept).scalar_one()) + 1
            values = {"number": number, "version": row.version, "reading": plain(reading), "read_at": now}
            connection.execute(insert(ExperimentReadingRow).values(experiment_id=experiment_id, read_by=by, **values))
            statement = update(ExperimentRow).where(ExperimentRow.experiment_id == experiment_id)
            connection.execute(statement.values(reading=plain(reading), read_at=now))
            _record(connection, experiment_id, "reading", by, now, {"number": number, **reading})
        return number

    def readings(self, experiment_id: str) -> tuple[StoredReading, ...]:
        """Read every look at an experiment, oldest first.

        Raises:
            NotFoundError: there is no such experiment.
        """
        row = ExperimentReadingRow
        query = select(row.number, row.version, row.reading, row.read_at, row.read_by)
        with self._database.read() as connection:
            _require_known(connection, experiment_id)
            found = connection.execute(query.where(row.experiment_id == experiment_id).order_by(row.number))
            return tuple(StoredReading(**one._mapping) for one in found)


def _require_known(connection: Connection, experiment_id: str) -> None:
    query = select(ExperimentRow.experiment_id).where(ExperimentRow.experiment_id == experiment_id)
    if connection.execute(query).first() is None:
        raise NotFoundError(Reason(NO_EXPERIMENT, {"experiment": experiment_id}))


def _locked(connection: Connection, experiment_id: str) -> Row[str, int]:
    """State and version, for a transaction that writes: on PostgreSQL others wait, SQLite has one writer anyhow."""
    query = select(ExperimentRow.state, ExperimentRow.version).where(ExperimentRow.experiment_id == experiment_id)
    row = connection.execute(query.with_for_update()).first()
    if row is None:
        raise NotFoundError(Reason(NO_EXPERIMENT, {"experiment": experiment_id}))
    return row


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
        raise NotFoundError(Reason(NO_PROPOSAL, {"proposal": proposal_id}))
    return int(number)


def _keep_version(
    connection: Connection,
    experiment_id: str,
    version: int,
    design: Mapping[str, Any],
    *,
    why: str,
    by: str,
    now: datetime,
) -> None:
    values = {"experiment_id": experiment_id, "version": version, "design": plain(design), "why": why}
    connection.execute(insert(ExperimentVersionRow).values(created_at=now, created_by=by, **values))


def _record(
    connection: Connection,
    experiment_id: str,
    action: str,
    by: str,
    now: datetime,
    detail: Mapping[str, Any],
    *,
    why: str = "",
    source: ExperimentState | None = None,
    to: ExperimentState | None = None,
) -> None:
    event = AuditEvent(
        actor=by,
        subject=f"experiment:{experiment_id}",
        action=action,
        at=now,
        why=why,
        from_state=source.value if source else None,
        to_state=to.value if to else None,
        detail=detail,
    )
    append_event(connection, event)


def _experiment(row: Row[Any]) -> StoredExperiment:
    values = dict(row._mapping)
    summary = values.pop("summary") or {}
    values["state"] = ExperimentState(values["state"])
    return StoredExperiment(**values, promise={k: v for k, v in summary.items() if k.startswith("promised_gain")})
