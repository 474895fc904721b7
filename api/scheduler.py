"""The clock inside `offerwright serve`: starts each job in a process of its own when its slot comes.

A process of its own keeps the pages quick while a cycle computes, gives its memory back, and dies without harm to the
server. Every worker and every server may have a clock: the lease in the store lets one of them through.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler

from api.frontier_process import FrontierProcesses
from api.jobs import JOBS, Job, current_slot, utc_now
from api.schedule import cron_trigger
from engine.settings import Settings
from engine.store import Store

_log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 10
_FRONTIER_SECONDS = 60
"""How often frontiers are looked for that nobody works on."""
_LATE_SECONDS = 3600
"""A slot missed by less than this (the machine slept) is made up for."""


class JobClock:
    """Starts the jobs of the settings when they are due, and takes up what a dead runner left."""

    def __init__(self, settings: Settings, store: Store, *, now: Callable[[], datetime] = utc_now) -> None:
        """Prepare the clock; nothing runs before `start`.

        Raises:
            ConfigurationError: a schedule is not a cron expression.
        """
        self._settings, self._store, self._now = settings, store, now
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._frontiers = FrontierProcesses(settings)
        for job in JOBS.values():
            self._schedule(job)
        self._scheduler.add_job(self._resume_frontiers, "interval", seconds=_FRONTIER_SECONDS, max_instances=1)

    def _schedule(self, job: Job) -> None:
        expression = job.schedule(self._settings)
        if expression is None:
            return
        rules = {"coalesce": True, "max_instances": 1, "misfire_grace_time": _LATE_SECONDS}
        trigger = cron_trigger(expression, job.setting)
        self._scheduler.add_job(self._start_slot, trigger, [job], id=job.name, **rules)
        pause = max(self._settings.jobs.lease_seconds / 2, 5)
        self._scheduler.add_job(self._resume, "interval", [job], seconds=pause, id=f"{job.name}-resume", **rules)

    def _resume_frontiers(self) -> None:
        """Take up frontiers whose runner was stopped; the one that runs has the lease, and nothing is done twice."""
        if self._store.frontier_requests.next_open() is not None:
            self._frontiers.start()

    def start(self) -> None:
        """Let the clock run, in a thread of its own."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop the clock and the job that runs: it gives its lease back and its slot is taken up later."""
        with self._lock:
            self._closing = True
            running = list(self._running.values())
        self._frontiers.stop()
        for process in running:
            process.terminate()
        for process in running:
            _wait_or_kill(process)
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _start_slot(self, job: Job) -> None:
        self.run(job, current_slot(job, self._settings, self._now()))

    def _resume(self, job: Job) -> None:
        """Take up the last slot if its runner fell silent: the lease says whether it did."""
        last = self._store.jobs.recent(job.name, limit=1)
        if last and last[0].state == "running":
            self.run(job, last[0].slot)

    def run(self, job: Job, slot: str) -> int | None:
        """Run one slot in a process of its own and wait for it; None: one is running here, or the clock is stopping."""
        with self._lock:
            if self._closing or job.name in self._running:
                return None
            process = start_job_process(self._settings, job.name, slot)
            self._running[job.name] = process
        try:
            status = process.wait()
        finally:
            with self._lock:
                self._running.pop(job.name, None)
        if status:
            _log.error("job process failed", extra={"job": job.name, "slot": slot, "status": status})
        return status


def start_job_process(settings: Settings, name: str, slot: str) -> subprocess.Popen[bytes]:
    """Start `python -m api.job_process`, which reads the settings from its standard input."""
    command = [sys.executable, "-m", "api.job_process", name, slot]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - our own module, names we checked
    assert process.stdin is not None  # noqa: S101 - we asked for the pipe
    with process.stdin as pipe:
        pipe.write(settings.model_dump_json().encode())
    return process


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
