"""Progress of long work: the stage, the share done, the time left. The core calls it; the edge shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """What long work tells about itself."""

    def begin(self, stage: str) -> None:
        """A stage starts; the stage before it is done."""

    def advance(self, share: float) -> None:
        """`share` in [0, 1] of the current stage is done."""

    def end(self) -> None:
        """The current stage is done."""


class Silent:
    """Tells nobody."""

    def begin(self, stage: str) -> None:
        """Do nothing."""

    def advance(self, share: float) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class Stopwatch:
    """Keeps the seconds of each stage and passes everything on to another listener."""

    def __init__(self, listener: Progress | None = None) -> None:
        self.listener: Progress = listener or Silent()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Time a stage, also when it fails."""
        self.listener.begin(name)
        started = time.perf_counter()
        try:
            yield self.listener
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
            self.listener.end()
