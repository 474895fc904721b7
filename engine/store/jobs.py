"""Job runs and their leases: one runner at a time, each slot of a schedule once, a dead runner replaced.

A runner holds the lease of its job and renews it while it works. When it was silent for `lease_seconds`, another
may take over; the fence number tells the late one, when it wakes up, that the job is no longer its own. What a run
leaves behind is stored under the key of its slot, which the database accepts once (see ProposalRow.run_key): so a
late runner cannot store a second result either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from engine.errors import ConflictError
from engine.files import plain
from engine.store.database import Database
from engine.store.proposals import Page
from engine.store.tables import JobRunRow, LeaseRow

RUNNING, DONE, FAILED, ABANDONED = "running", "done", "failed", "abandoned"
STATES = (RUNNING, DONE, FAILED, ABANDONED)
MOST_ATTEMPTS = 3
"""A slot is given up after this many attempts that failed or were killed."""


@dataclass(frozen=True)
class JobRun:
    """One attempt at a job for one slot of its schedule."""

    run_id: int
    job: str
    slot: str
    attempt: int
    state: str
    """running, done, failed, or abandoned (its runner fell silent and was replaced)."""
    holder: str
    fence: int
    started_at: datetime
    finished_at: datetime | None
    result: Mapping[str, Any]
    error: str | None

    @property
    def key(self) -> str:
        """Key of the slot, the same for every attempt: what the run stores carries it, once."""
        return f"job:{self.job}@{self.slot}"


class JobRuns:
    """The job runs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, job: str, slot: str, *, holder: str, now: datetime, lease_seconds: float) -> JobRun | None:
        """Become the one runner of a job for a slot.

        Returns:
            The run; None where the slot is done or given up, or another runner is alive.
        """
        with self._database.write() as connection:
            attempts = _attempts(connection, job, slot)
            if any(row.state == DONE for row in attempts) or len(attempts) >= MOST_ATTEMPTS:
                return None
            fence = _take_lease(connection, job, holder, now, lease_seconds)
            if fence is None:
                return None
            _abandon_running(connection, job, now)
            return _insert_run(connection, job, slot, len(attempts) + 1, holder, fence, now)

    def heartbeat(self, run: JobRun, *, now: datetime) -> None:
        """Say that the runner is alive.

        Raises:
            ConflictError: it was silent for too long and another runner took over; stop.
        """
        with self._database.write() as connection:
            _require_lease(connection, run)
            connection.execute(update(LeaseRow).where(LeaseRow.name == run.job).values(heartbeat_at=now))

    def finish(self, run: JobRun, *, result: Mapping[str, Any], now: datetime) -> None:
        """Mark a run as done and give the lease back.

        Raises:
            ConflictError: another runner took over.
        """
        self._end(run, {"state": DONE, "finished_at": now, "result": plain(result)})

    def fail(self, run: JobRun, *, error: str, now: datetime) -> None:
        """Mark a run as failed and give the lease back.

        Raises:
            ConflictError: another runner took over.
        """
        self._end(run, {"state": FAILED, "finished_at": now, "error": error})

    def _end(self, run: JobRun, values: dict[str, Any]) -> None:
        with self._database.write() as connection:
            _require_lease(connection, run)
            connection.execute(update(JobRunRow).where(JobRunRow.run_id == run.run_id).values(values))
            connection.execute(update(LeaseRow).where(LeaseRow.name == run.job).values(holder=None))

    def held(self, job: str, *, now: datetime, lease_seconds: float) -> bool:
        """Whether a living runner holds the lease of a job."""
        with self._database.read() as connection:
            row = connection.execute(select(LeaseRow.__table__).where(LeaseRow.name == job)).first()
        return row is not None and row.holder is not None and now - row.heartbeat_at < timedelta(seconds=lease_seconds)

    def recent(self, job: str | None = None, *, limit: int = 20) -> tuple[JobRun, ...]:
        """List the latest runs, newest first."""
        query = select(JobRunRow.__table__).order_by(JobRunRow.run_id.desc()).limit(limit)
        if job is not None:
            query = query.where(JobRunRow.job == job)
        with self._database.read() as connection:
            return tuple(_run(row) for row in connection.execute(query))

    def page(self, *, page: int = 1, size: int = 20, job: str | None = None, state: str | None = None) -> Page[JobRun]:
        """List the runs, newest first; `job` and `state` keep those of one job and in one state."""
        query = select(JobRunRow.__table__)
        query = query.where(JobRunRow.job == job) if job is not None else query
        query = query.where(JobRunRow.state == state) if state is not None else query
        newest = query.order_by(JobRunRow.run_id.desc()).limit(size).offset((page - 1) * size)
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
            items = tuple(_run(row) for row in connection.execute(newest))
        return Page(items, page, size, int(total))

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Count the runs by job and state."""
        query = select(JobRunRow.job, JobRunRow.state, func.count()).group_by(JobRunRow.job, JobRunRow.state)
        with self._database.read() as connection:
            return {(job, state): count for job, state, count in connection.execute(query)}


def _attempts(connection: Connection, job: str, slot: str) -> list[Row[Any]]:
    query = select(JobRunRow.state).where(JobRunRow.job == job, JobRunRow.slot == slot)
    return list(connection.execute(query))


def _take_lease(connection: Connection, job: str, holder: str, now: datetime, lease_seconds: float) -> int | None:
    """Fence number of the new lease; None where a living runner holds it."""
    row = connection.execute(select(LeaseRow.__table__).where(LeaseRow.name == job)).first()
    if row is None:
        values = {"name": job, "holder": holder, "fence": 1, "heartbeat_at": now}
        connection.execute(insert(LeaseRow).values(values))
        return 1
    if row.holder is not None and now - row.heartbeat_at < timedelta(seconds=lease_seconds):
        return None
    values = {"holder": holder, "fence": row.fence + 1, "heartbeat_at": now}
    connection.execute(update(LeaseRow).where(LeaseRow.name == job).values(values))
    return int(row.fence) + 1


def _abandon_running(connection: Connection, job: str, now: datetime) -> None:
    """Close what still counts as running: the lease was free to take, so its runner is dead."""
    values = {"state": ABANDONED, "finished_at": now, "error": "its runner fell silent and was replaced"}
    connection.execute(update(JobRunRow).where(JobRunRow.job == job, JobRunRow.state == RUNNING).values(values))


def _insert_run(
    connection: Connection, job: str, slot: str, attempt: int, holder: str, fence: int, now: datetime
) -> JobRun:
    values = {
        "job": job,
        "slot": slot,
        "attempt": attempt,
        "state": RUNNING,
        "holder": holder,
        "fence": fence,
        "started_at": now,
        "result": {},
    }
    run_id = connection.execute(insert(JobRunRow).values(values).returning(JobRunRow.run_id)).scalar_one()
    return _run(connection.execute(select(JobRunRow.__table__).where(JobRunRow.run_id == run_id)).one())


def _require_lease(connection: Connection, run: JobRun) -> None:
    row = connection.execute(select(LeaseRow.__table__).where(LeaseRow.name == run.job)).first()
    if row is None or row.fence != run.fence or row.holder != run.holder:
        raise ConflictError(
            f"job {run.job}, slot {run.slot}: this runner was silent for too long and was replaced; "
            "its work is not kept (a longer jobs.lease_seconds gives more time)"
        )


def _run(row: Row[Any]) -> JobRun:
    return JobRun(**row._mapping)
