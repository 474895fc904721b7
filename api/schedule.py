"""When a job is due: cron expressions in UTC, and the slot that a moment belongs to."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.cron import CronTrigger

from engine.errors import ConfigurationError

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY_PART = re.compile(r"(?:\*|([0-7]|[a-z]{3})(?:-([0-7]|[a-z]{3}))?)(?:/([1-7]))?")
_LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=8), timedelta(days=32), timedelta(days=366))


def cron_trigger(expression: str, key: str) -> CronTrigger:
    """Read ``minute hour day month weekday`` as cron does, in UTC.

    APScheduler counts weekdays from Monday where cron counts from Sunday: numbers are turned into names first.

    Raises:
        ConfigurationError: it is not a cron expression; `key` is the setting named.
    """
    fields = expression.lower().split()
    try:
        if len(fields) == 5 and fields[4] != "*":
            fields[4] = ",".join(dict.fromkeys(day for part in fields[4].split(",") for day in _weekdays(part)))
        return CronTrigger.from_crontab(" ".join(fields), timezone=UTC)
    except ValueError as error:
        raise ConfigurationError(
            f"{key} = {expression!r} is refused ({error}); write minute hour day month weekday, such as '0 5 * * mon'"
        ) from error


def _weekdays(part: str) -> list[str]:
    """Name the weekdays of one part of the field: a day, a range, all, each with an optional step."""
    found = _WEEKDAY_PART.fullmatch(part)
    if found is None:
        raise ValueError(f"{part!r} is no weekday")
    low = _weekday_number(found[1] or "0")
    high = _weekday_number(found[2]) if found[2] else (low if found[1] else 6)
    if high < low:
        high += 7
    return [_WEEKDAYS[day % 7] for day in range(low, high + 1, int(found[3] or 1))]


def _weekday_number(word: str) -> int:
    return int(word) if word.isdigit() else _WEEKDAYS.index(word)


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
