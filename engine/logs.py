"""Logging: readable lines on a terminal, one JSON object a line otherwise.

Nothing that identifies a person is ever logged: no names, no addresses, no tokens, no customer identifiers. What a
record is about is said by fields (``extra={"job": "reoptimise"}``), so that the JSON form can be searched.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from engine.files import plain
from engine.settings import LogSettings

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logs(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (standard error by default), replacing what was set before."""
    stream = stream or sys.stderr
    human = settings.format == "human" or (settings.format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(HumanFormatter() if human else JsonFormatter())
    root = logging.getLogger()
    for former in list(root.handlers):
        if isinstance(former.formatter, HumanFormatter | JsonFormatter):
            root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    _quieten_libraries(settings.level)


def _quieten_libraries(level: str) -> None:
    """Libraries speak up from warnings on, unless everything is wanted."""
    for name in ("alembic", "apscheduler", "waitress", "werkzeug", "pyomo", "numba", "numexpr"):
        logging.getLogger(name).setLevel(level.upper() if level in {"debug", "error"} else "WARNING")
    logging.getLogger("waitress.queue").setLevel("ERROR")  # it warns whenever a request waits for a thread at all


class HumanFormatter(logging.Formatter):
    """``05:00:12 warning  api.jobs: what happened  job=reoptimise``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, and a traceback below it where there is one."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = "".join(f"  {name}={value}" for name, value in _extra(record).items())
        line = f"{time} {record.levelname.lower():8} {record.name}: {record.getMessage()}{fields}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, then the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line of JSON."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: _loggable(value) for name, value in vars(record).items() if name not in _STANDARD}


def _loggable(value: object) -> object:
    try:
        return plain(value)
    except TypeError:
        return repr(value)
