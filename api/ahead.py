"""What a cycle needs late and can have prepared early: the compiled kernels, once on a fresh machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LONGEST_WAIT = 600.0
"""Seconds after which compiling is done here instead."""


class Ahead:
    """A process that compiles the kernels, or none where that is not needed."""

    def __init__(self, process: subprocess.Popen[bytes] | None = None) -> None:
        self._process = process

    @property
    def busy(self) -> bool:
        """Whether there is something to wait for."""
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float = LONGEST_WAIT) -> None:
        """Wait until the process has ended; what it did not compile is compiled where it is needed."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def stop(self) -> None:
        """End the process, wherever it is."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()


@contextmanager
def compiling_ahead() -> Iterator[Ahead]:
    """Compile the kernels of `optimizers` in a process of its own where the disk does not hold them yet.

    The process ends with the block; it ends too when this process is killed, as its standard input is closed then.
    """
    from optimizers.compiling import kernels_compiled

    ahead = Ahead(None if kernels_compiled() else _start())
    try:
        yield ahead
    finally:
        ahead.stop()


def _start() -> subprocess.Popen[bytes] | None:
    # -P: a folder of the same name where the command was typed is not what is meant.
    command = [sys.executable, "-P", "-m", "optimizers.compiling"]
    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)  # noqa: S603 - our own
    except OSError:
        return None
