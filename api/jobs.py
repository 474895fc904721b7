"""Scheduled jobs: each slot of a schedule is worked on by exactly one runner, is never done twice and never half.

A job leaves its result in the store under the key of its slot (`JobRun.key`), which the store accepts once. So a
runner that was killed after its result was stored is not repeated, and one that woke up late cannot store a second.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.schedule import cron_trigger, latest_slot, slot_name
from engine.errors import ConflictError, InfeasibleError, OfferwrightError, StateError
from engine.settings import Settings
from engine.store import JobRun, Store

_log = logging.getLogger(__name__)
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Job:
    """Something done on a schedule."""

    name: str
    does: str
    setting: str
    """Key of its cron expression."""
    work: Callable[[Settings, JobRun, datetime], None]
    """Leaves a proposal in the store whose `created_by` is the run's key."""

    def schedule(self, settings: Settings) -> str | None:
        """Cron expression from the settings; None: never."""
        section, _, key = self.setting.partition(".")
        expression: str | None = getattr(getattr(settings, section), key)
        return expression


def _reoptimise(settings: Settings, run: JobRun, now: datetime) -> None:
    from api.cycle import run_cycle

    run_cycle(settings, out=None, now=now, created_by=run.key)


JOBS: Mapping[str, Job] = {
    job.name: job
    for job in (
        Job("reoptimise", "runs a whole cycle on the current data and leaves a draft", "jobs.reoptimise", _reoptimise),
    )
}


def find_job(name: str) -> Job:
    """Look a job up by name.

    Raises:
        ConfigurationError: there is none of this name.
    """
    from engine.errors import ConfigurationError

    if name not in JOBS:
        raise ConfigurationError(f"no job {name!r}; there are: {', '.join(JOBS)}")
    return JOBS[name]


def utc_now() -> datetime:
    """Tell the time at the edge of the program."""
    return datetime.now(UTC)


def runner_name() -> str:
    """Name a runner so that no other has the same name."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def current_slot(job: Job, settings: Settings, now: datetime) -> str:
    """Slot of the schedule that `now` belongs to; the day where the job has no schedule."""
    expression = job.schedule(settings)
    moment = latest_slot(cron_trigger(expression, job.setting), now) if expression else None
    return slot_name(moment) if moment else now.astimezone(UTC).strftime("%Y-%m-%d")


def run_job(
    job: Job, settings: Settings, store: Store, *, slot: str, holder: str, clock: Clock = utc_now
) -> JobRun | None:
    """Work on one slot of a job, unless it is done or another runner is at it.

    Returns:
        The run as it ended; None where there was nothing to do.

    Raises:
        OfferwrightError: the work failed (the run is marked as failed), or another runner took over.
    """
    lease = settings.jobs.lease_seconds
    run = store.jobs.begin(job.name, slot, holder=holder, now=clock(), lease_seconds=lease)
    if run is None:
        return None
    _log.info("job begins", extra={"job": job.name, "slot": slot, "attempt": run.attempt})
    try:
        with heartbeats(store, run, lease / 3, clock):
            _work_once(job, settings, store, run, clock())
    except BaseException as error:
        mark_failed(store, run, error, clock())
        raise
    store.jobs.finish(run, result=_result(store, run), now=clock())
    _log.info("job done", extra={"job": job.name, "slot": slot, **_result(store, run)})
    return run


def _work_once(job: Job, settings: Settings, store: Store, run: JobRun, now: datetime) -> None:
    """Do the work unless an earlier attempt at this slot got as far as storing its result."""
    if store.made_by(run.key):
        return
    try:
        job.work(settings, run, now)
    except (ConflictError, InfeasibleError):
        if not store.made_by(run.key):
            raise
    if not store.made_by(run.key):
        raise StateError(f"job {job.name}, slot {run.slot}: it ended without leaving a proposal")


def _result(store: Store, run: JobRun) -> dict[str, Any]:
    return {"proposal_id": store.made_by(run.key)}


def mark_failed(store: Store, run: JobRun, error: BaseException, now: datetime) -> None:
    """Say in the store why the run ended; where the lease was lost there is nothing left to mark."""
    words = str(error) if isinstance(error, OfferwrightError) else type(error).__name__
    try:
        store.jobs.fail(run, error=words, now=now)
    except OfferwrightError as lost:
        _log.warning("job not marked as failed", extra={"job": run.job, "slot": run.slot, "why": str(lost)})


@contextmanager
def heartbeats(store: Store, run: JobRun, seconds: float, clock: Clock) -> Iterator[None]:
    """Renew the lease from a thread of its own while the block works."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            try:
                store.jobs.heartbeat(run, now=clock())
            except OfferwrightError as error:
                _log.warning("lease not renewed", extra={"job": run.job, "slot": run.slot, "why": str(error)})

    thread = threading.Thread(target=beat, name=f"lease-{run.job}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
