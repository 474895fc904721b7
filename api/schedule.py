"""When a job is due: cron expressions in UTC, and the slot that a moment belongs to."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.cron import CronTrigger

from engine.errors import ConfigurationError

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=8), timedelta(days=32), timedelta(days=366))


def cron_trigger(expression: str, key: str) -> CronTrigger:
    """Read ``minute hour day month weekday`` as cron does, in UTC.

    APScheduler counts weekdays from Monday where cron counts from Sunday: numbers are turned into names first.

    Raises:
        ConfigurationError: it is not a cron expression; `key` is the setting named.
    """
    fields = expression.split()
    if len(fields) == 5:
        fields[4] = re.sub(r"(?<![/\d])[0-7](?!\d)", lambda found: _WEEKDAYS[int(found[0])], fields[4])
    try:
        return CronTrigger.from_crontab(" ".join(fields), timezone=UTC)
    except ValueError as error:
        raise ConfigurationError(
            f"{key} = {expression!r} is refused ({error}); write minute hour day month weekday, such as '0 5 * * mon'"
        ) from error


def latest_slot(trigger: CronTrigger, now: datetime) -> datetime | None:
    """Last moment up to `now` at which the trigger fires; None where there was none within a year."""
    for span in _LOOK_BACK:
        fires = trigger.get_next_fire_time(None, now - span)
        latest: datetime | None = None
        while fires is not None and fires <= now:
            latest = fires
            fires = trigger.get_next_fire_time(latest, latest + timedelta(microseconds=1))
        if latest is not None:
            return latest
    return None


def slot_name(moment: datetime) -> str:
    """Name of a slot: its time in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
