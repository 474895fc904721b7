"""One of several answering processes: ``python -m api.worker DESCRIPTOR``, settings as JSON on stdin."""

from __future__ import annotations

import socket
import sys

from api.server import answer
from engine.logs import configure_logs
from engine.settings import Settings
from engine.store import open_store


def main(descriptor: int, settings_json: str) -> None:
    """Answer on the listening socket that the parent handed down."""
    settings = Settings.model_validate_json(settings_json)
    configure_logs(settings.log)
    with open_store(settings.store_url) as store, socket.socket(fileno=descriptor) as listener:
        answer(settings, store, listener)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.stdin.read())
