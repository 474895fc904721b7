"""One slot of one job in a process of its own: ``python -m api.job_process NAME SLOT``, settings as JSON on stdin."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType
from typing import NoReturn

from api.jobs import find_job, run_job, runner_name
from engine.errors import OfferwrightError
from engine.logs import configure_logs
from engine.settings import Settings
from engine.store import open_store


def main(name: str, slot: str, settings_json: str) -> int:
    """Run the slot; the exit status is that of the command line."""
    settings = Settings.model_validate_json(settings_json)
    configure_logs(settings.log)
    try:
        with open_store(settings.store_url) as store:
            run_job(find_job(name), settings, store, slot=slot, holder=runner_name())
    except OfferwrightError as error:
        logging.getLogger(__name__).exception("job failed", extra={"job": name, "slot": slot})
        return error.exit_status
    return 0


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leave in the ordinary way, so that the lease is given back."""
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.argv[1], sys.argv[2], sys.stdin.read()))
