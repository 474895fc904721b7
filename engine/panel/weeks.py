"""The calendar of a panel: Mondays, and weeks that were not recorded whole."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from engine.panel.read import Reader, Scope
from engine.panel.record import Bools, Floats, Ints
from engine.shop import Shop

MIN_DAYS = 5
"""A first or last week with fewer trading days than this was cut by the edge of the data."""
MIN_SHARE = 0.5
"""Without daily data: less than this share of the neighbouring weeks' units means the same."""
NEIGHBOURS = 4


def week_starts(shop: Shop, weeks: Ints) -> npt.NDArray[Any]:
    """(T,) Mondays as datetime64[D]; NaT where the calendar is unknown."""
    if shop.first_monday is None:
        return np.full(len(weeks), np.datetime64("NaT"), dtype="datetime64[D]")
    return np.datetime64(shop.first_monday, "D") + 7 * (weeks - shop.first_week)


def incomplete_weeks(reader: Reader, scope: Scope, weeks: Ints, units: Floats) -> Bools:
    """(T,) True for a first or last week that the data cut short."""
    cut = np.zeros(len(weeks), dtype=bool)
    if len(weeks) < NEIGHBOURS + 2:
        return cut
    days = _trading_days(reader, scope)
    for edge, near in ((0, slice(1, 1 + NEIGHBOURS)), (-1, slice(-1 - NEIGHBOURS, -1))):
        if days:
            cut[edge] = days.get(int(weeks[edge]), 0) < MIN_DAYS
        else:
            cut[edge] = units[:, edge].sum() < MIN_SHARE * np.median(units[:, near].sum(axis=0))
    return cut


def _trading_days(reader: Reader, scope: Scope) -> dict[int, int]:
    """Days with a sale by week; empty where sales do not come from dated transactions."""
    if "timestamp" not in reader.columns("transactions") or reader.columns("sales_weekly"):
        return {}
    lines = reader.transactions(Scope(until_week=scope.until_week))
    days = lines.with_columns(day=nw.col("timestamp").dt.date()).group_by("week").agg(nw.col("day").n_unique())
    found = reader.collect(days)
    return dict(zip(found["week"].astype(int), found["day"].astype(int), strict=True))
