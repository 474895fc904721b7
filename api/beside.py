"""Work that can be done beside a cycle: by a second process where there is a second processor, else here.

What is asked is a function of the module level and its arguments; the answer is the same wherever it is found, so that
a plan does not depend on the machine. Whoever needs an answer that is not begun yet finds it himself, and while the
second process is busy with it, he finds others that wait: neither of the two is idle while there is work for both.

The second process ends with the block that it works for; it ends too when this process is killed, as its standard input
is closed then (`api.beside_process`). Where it fails, what it was asked is found here.
"""

from __future__ import annotations

import os
import pickle  # between two processes of our own, never on a disk
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, ParamSpec, TypeVar

from engine.blas import VARIABLE
from engine.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

LEAST_CELLS = 20_000
"""Smaller panels (series times weeks) are done before a second process has loaded its libraries."""
LONGEST_WAIT = 900.0
"""Seconds after which an answer is found here instead."""


class Asked(Generic[T]):
    """A question, and its answer in time."""

    def __init__(self, beside: Beside, find: Callable[[], T], question: tuple[Any, ...]) -> None:
        self._beside, self._find, self.question = beside, find, question
        self._told = threading.Event()
        self._answer: list[T] = []
        self._error: Exception | None = None

    def answer(self) -> T:
        """Wait for it, or find it here; whatever finding it raises is raised here."""
        while not self._answer and self._error is None:
            if self._beside.take(self):
                self.find_here()
            elif not self._told.is_set() and (other := self._beside.take_last()) is not None:
                other.find_here()
            elif not self._told.wait(LONGEST_WAIT) or not self._answer:
                self.find_here()
        if self._error is not None:
            raise self._error
        return self._answer[0]

    def find_here(self) -> None:
        """Find the answer in this process."""
        try:
            self._answer = [self._find()]
        except Exception as error:
            self._error = error

    def tell(self, answer: list[T]) -> None:
        """Take the answer of the second process; an empty list: it has none."""
        self._answer = answer
        self._told.set()


class Beside:
    """What is asked, in order; the second process takes the first, this one the last."""

    def __init__(self, *, allowed: bool = False) -> None:
        self._allowed = allowed
        self._waiting: deque[Asked[Any]] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def open(self, cells: int) -> None:
        """Start the second process, where it is allowed and a panel of this size is worth it."""
        if not self._allowed or self._process is not None or cells < LEAST_CELLS:
            return
        with suppress(OSError):
            self._process = _start()
            self._thread = threading.Thread(target=self._serve, args=(self._process,), daemon=True)
            self._thread.start()

    def share(self, settings: Settings) -> Settings:
        """The settings with the processor's threads shared by both processes; no result depends on them."""
        if self._process is None:
            return settings
        threads = max(settings.data.threads // 2, 1)
        return settings.model_copy(update={"data": settings.data.model_copy(update={"threads": threads})})

    def ask(self, find: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> Asked[T]:
        """Ask for `find(*args, **named)`; `find` is a function of a module's top level, without side effects."""
        asked = Asked(self, lambda: find(*args, **named), (find, args, named))
        with self._change:
            self._waiting.append(asked)
            self._change.notify()
        return asked

    def take(self, asked: Asked[Any]) -> bool:
        """Whether it still waited; now the caller finds the answer."""
        with self._change:
            if asked not in self._waiting:
                return False
            self._waiting.remove(asked)
            return True

    def take_last(self) -> Asked[Any] | None:
        """What was asked last and is not begun, for the caller to find."""
        with self._change:
            return self._waiting.pop() if self._waiting else None

    def close(self) -> None:
        """End the second process, wherever it is."""
        with self._change:
            self._closed = True
            self._change.notify()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._thread is not None:
            self._thread.join()

    def _serve(self, process: subprocess.Popen[bytes]) -> None:
        """Hand out one question at a time, and take its answer, until there is nothing more to come."""
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - we asked for the pipes
        with suppress(OSError), process.stdin, process.stdout:
            while (asked := self._next()) is not None:
                try:
                    pickle.dump(asked.question, process.stdin, pickle.HIGHEST_PROTOCOL)
                    process.stdin.flush()
                    asked.tell(pickle.load(process.stdout))  # noqa: S301 - our own process
                except Exception:
                    asked.tell([])
                    break
            process.kill()  # before its pipes are closed: what it still holds is wanted by nobody

    def _next(self) -> Asked[Any] | None:
        with self._change:
            self._change.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting.popleft()


@contextmanager
def working_beside(settings: Settings) -> Iterator[Beside]:
    """Something to ask; with a second process where settings and machine have a second processor."""
    beside = Beside(allowed=min(settings.data.threads, _processors()) > 1)
    try:
        yield beside
    finally:
        beside.close()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start() -> subprocess.Popen[bytes]:
    # -P: a folder of the same name where the command was typed is not what is meant.
    command = [sys.executable, "-P", "-m", "api.beside_process"]
    pipe, environment = subprocess.PIPE, {**os.environ, VARIABLE: "1"}
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)  # noqa: S603 - our own
