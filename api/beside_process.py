"""The second process of a cycle: ``python -m api.beside_process`` answers what `api.beside` asks on standard input.

It ends when its standard input is closed: with the process that started it, however that ends.
"""

from __future__ import annotations

import os
import pickle  # between two processes of our own, never on a disk
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO


def main() -> None:
    """Answer question by question until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides when to stop
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    questions: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, questions), daemon=True).start()
    while True:
        find, args, named = questions.get()
        pickle.dump(_answer(find, args, named), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _answer(find: Any, args: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:  # noqa: ANN401 - any function
    """The answer in a list; an empty one where there is none: the process that asked will meet the error itself."""
    try:
        return [find(*args, **named)]
    except Exception:
        return []


def _listen(pipe: BinaryIO, questions: queue.SimpleQueue[tuple[Any, ...]]) -> None:
    """Pass questions on; end at once when nobody can ask any more, whatever is being answered."""
    try:
        while True:
            questions.put(pickle.load(pipe))  # noqa: S301 - from our own process
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
