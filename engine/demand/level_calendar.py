"""Where a week stands in the year: cyclical season, and the distance to the days that move grocery sales in the US."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FAR = 3.0
"""Weeks beyond which a holiday makes no difference."""


def season(week_start: npt.NDArray[Any]) -> Floats:
    """(W, 4) sine and cosine of the year and of the half year; NaN where the calendar is unknown."""
    day = (week_start - week_start.astype("datetime64[Y]")).astype("timedelta64[D]").astype(np.float64)
    angle = 2 * np.pi * np.where(np.isnat(week_start), np.nan, day) / 365.25
    return np.column_stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)])


def holiday_distance(week_start: npt.NDArray[Any]) -> Floats:
    """(W, 2) weeks to the next and since the last holiday, at most 3, 0 in its week; NaN without a calendar."""
    return np.array([_distance(monday) for monday in week_start.astype("datetime64[D]")]).reshape(-1, 2)


def _distance(monday: Any) -> tuple[float, float]:  # noqa: ANN401 - a datetime64
    if np.isnat(monday):
        return float("nan"), float("nan")
    start = monday.item()
    gaps = [(day - start).days // 7 for year in (start.year - 1, start.year, start.year + 1) for day in holidays(year)]
    ahead = min(gap for gap in gaps if gap >= 0)
    behind = min(-gap for gap in gaps if gap <= 0)
    return min(float(ahead), FAR), min(float(behind), FAR)


def holidays(year: int) -> tuple[date, ...]:
    """Easter, Memorial Day, Independence Day, Labor Day, Thanksgiving and Christmas."""
    return (
        _easter(year),
        _weekday_on_or_before(date(year, 5, 31), 0),
        date(year, 7, 4),
        _weekday_on_or_before(date(year, 9, 7), 0),
        _weekday_on_or_before(date(year, 11, 28), 3),
        date(year, 12, 25),
    )


def _weekday_on_or_before(last: date, weekday: int) -> date:
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Meeus, Astronomical Algorithms, chapter 8)."""
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    rest = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * rest) // 451
    month, day = divmod(h + rest - 7 * m + 114, 31)
    return date(year, month, day + 1)
