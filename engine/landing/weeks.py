"""The calendar of a shop: one running week number for all its tables, and the Monday on which it begins."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.contract import Kind
from engine.frames import DuckDbBackend
from engine.landing.stage import Stage
from engine.proposal import Reason
from engine.shop import Fault

EPOCH = "DATE '1970-01-05'"
"""A Monday."""
ALIGNED_SHARE = 0.95
"""Transactions that carry both a running week and a time fix the calendar when this share of them agrees."""
DATES = "dates"
NUMBERS = "numbers"


@dataclass(frozen=True)
class Calendar:
    """How week numbers and Mondays belong together."""

    first_monday: str | None
    first_week: int
    numbered: bool
    """True: weekly tables came with running numbers; False: with dates, numbered from the first Monday as 1."""
    note: Reason | None = None

    def of_day(self, day: str) -> str:
        """SQL of the week number of the date expression `day`; null where the calendar is unknown."""
        if self.first_monday is None:
            return "NULL::BIGINT"
        return f"(({day})::DATE - DATE '{self.first_monday}' + 7 * 100000) // 7 - 100000 + {self.first_week}"


def week_kind(stage: Stage, backend: DuckDbBackend) -> str:
    """Whether the column `week` of a table holds dates or running numbers."""
    number, day = _one(backend, f"SELECT count(week), count(__day_week) FROM {stage.view}")
    return DATES if day > number else NUMBERS


def make_calendar(
    stages: Mapping[str, Stage], kinds: Mapping[str, str], backend: DuckDbBackend, *, known: tuple[str | None, int]
) -> tuple[Calendar, list[Fault]]:
    """Find the calendar that all tables share.

    Args:
        stages: the tables that could be read.
        kinds: of `week_kind`, for each weekly table that has weeks.
        backend: their connection.
        known: first Monday and its week number where the source knows them.
    """
    weekly = {name: kind for name, kind in kinds.items() if name != "transactions"}
    if len(set(weekly.values())) > 1:
        return Calendar(None, 0, numbered=True), [_two_kinds(stages, weekly)]
    if known[0] is not None:
        return Calendar(known[0], known[1], numbered=True), []
    if NUMBERS in weekly.values() or (not weekly and kinds.get("transactions") == NUMBERS):
        return _numbered(stages, kinds, backend), []
    return _dated(stages, weekly, backend), []


def _two_kinds(stages: Mapping[str, Stage], weekly: Mapping[str, str]) -> Fault:
    said = " and ".join(f"{name} has {kind}" for name, kind in sorted(weekly.items()))
    name = min(weekly)
    return Fault(
        name, stages[name].files, "week", None, "", f"the weeks of two tables are of two kinds ({said})",
        "write both as dates, or both as running numbers", refuses=True,
    )  # fmt: skip


def _numbered(stages: Mapping[str, Stage], kinds: Mapping[str, str], backend: DuckDbBackend) -> Calendar:
    lines = stages.get("transactions")
    if lines is None or not lines.has("timestamp"):
        return Calendar(None, 0, numbered=True)
    if kinds.get("transactions") == NUMBERS:
        return _from_lines(lines, backend)
    return _from_span(stages, kinds, lines, backend)


def _from_lines(lines: Stage, backend: DuckDbBackend) -> Calendar:
    monday = f"((timestamp::DATE - {EPOCH}) // 7 - week)"
    found = backend.connection.execute(
        f"SELECT {monday} AS shift, count(*) / sum(count(*)) OVER () AS share FROM {lines.view} "
        "WHERE week IS NOT NULL AND timestamp IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1"
    ).fetchone()
    if not found or found[1] < ALIGNED_SHARE:
        return Calendar(None, 0, numbered=True)
    first = _one(backend, f"SELECT min(week) FROM {lines.view}")[0]
    return Calendar(_monday(backend, first + found[0]), first, numbered=True)


def _from_span(stages: Mapping[str, Stage], kinds: Mapping[str, str], lines: Stage, backend: DuckDbBackend) -> Calendar:
    """Running weeks beside dated purchases: they are matched where both span equally many weeks."""
    weekly = [stages[name].view for name, kind in kinds.items() if kind == NUMBERS]
    spans = [_one(backend, f"SELECT min(week), max(week) FROM {view}") for view in weekly]
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    day = f"(timestamp::DATE - {EPOCH}) // 7"
    first, last = _one(backend, f"SELECT min({day}), max({day}) FROM {lines.view}")
    if first is None or last - first != high - low:
        return Calendar(None, 0, numbered=True)
    monday = _monday(backend, first)
    note = Reason(
        "Week {week} is taken to begin on {monday}: the purchases span as many weeks as the weekly tables.",
        {"week": low, "monday": monday},
    )
    return Calendar(monday, low, numbered=True, note=note)


def _dated(stages: Mapping[str, Stage], weekly: Mapping[str, str], backend: DuckDbBackend) -> Calendar:
    days = [f"SELECT min(__day_week) AS day FROM {stages[name].view}" for name in sorted(weekly)]
    lines = stages.get("transactions")
    if lines is not None and lines.has("timestamp"):
        days.append(f"SELECT min(timestamp)::DATE AS day FROM {lines.view}")
    if not days:
        return Calendar(None, 0, numbered=False)
    first = _one(backend, f"SELECT (min(day) - {EPOCH}) // 7 FROM ({' UNION ALL '.join(days)})")[0]
    return Calendar(_monday(backend, first) if first is not None else None, 1, numbered=False)


def week_sql(stage: Stage, calendar: Calendar, kind: str | None) -> str | None:
    """The landed week number of a table's row; None for a table without weeks."""
    if stage.table.name == "transactions":
        if calendar.first_monday is not None and not (calendar.numbered and kind == NUMBERS):
            return calendar.of_day("timestamp")
        return f"coalesce(week, {calendar.of_day('timestamp')})" if kind == NUMBERS else None
    column = stage.table.column("week")
    if column is None or column.kind is not Kind.WEEK or not stage.has("week"):
        return None
    return "week" if calendar.numbered else calendar.of_day("__day_week")


def _one(backend: DuckDbBackend, sql: str) -> tuple[int, ...]:
    return backend.connection.execute(sql).fetchone() or ()


def _monday(backend: DuckDbBackend, week: int) -> str:
    found = backend.connection.execute(f"SELECT ({EPOCH} + 7 * {int(week)}::INTEGER)::VARCHAR").fetchone()
    return str(found[0]) if found else ""
