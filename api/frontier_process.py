"""Computes the frontiers that were asked for, in a process of its own: ``python -m api.frontier_process``.

Settings come as JSON on stdin. A process of its own keeps the pages quick, gives its memory back, and dies without
harm to the server; `FrontierProcesses` starts it.
"""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import threading
from types import FrameType
from typing import NoReturn

from engine.settings import Settings

_PATIENCE_SECONDS = 10


class FrontierProcesses:
    """Starts the process when something was asked for, one at a time for each server, and stops it with the server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self) -> None:
        """Start it, or once more when the one that runs has ended: that may have looked for the last time already."""
        with self._lock:
            if self._closed:
                return
            if self._running is None:
                atexit.register(self.stop)
            elif self._running.poll() is None:
                threading.Thread(target=self._start_after, args=(self._running,), daemon=True).start()
                return
            self._running = self._spawn()

    def stop(self) -> None:
        """End it; what it was working on is taken up again later."""
        with self._lock:
            running, self._closed = self._running, True
        if running is None or running.poll() is not None:
            return
        running.terminate()
        try:
            running.wait(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()

    def _start_after(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        with self._lock:
            if self._running is process and not self._closed:
                self._running = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "api.frontier_process"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - our own module
        assert process.stdin is not None  # noqa: S101 - we asked for the pipe
        with process.stdin as pipe:
            pipe.write(self._settings.model_dump_json().encode())
        return process


def main(settings_json: str) -> int:
    """Work off what waits."""
    from api.frontier_work import work_off
    from api.jobs import runner_name
    from engine.logs import configure_logs
    from engine.store import open_store

    settings = Settings.model_validate_json(settings_json)
    configure_logs(settings.log)
    with open_store(settings.store_url) as store:
        work_off(store, settings, holder=runner_name())
    return 0


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leave in the ordinary way, so that the lease is given back."""
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.stdin.read()))
