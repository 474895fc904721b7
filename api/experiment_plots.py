"""The plots of an experiment: its interval over time, and its effect by segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from api import charts
from api.language import say, translations
from engine.proposal import N_

if TYPE_CHECKING:
    from experiments.design import Design

Words = Callable[[str], str]
UNITS_SEEN, WEEKS_SINCE = N_("units seen"), N_("weeks since the start")
STYLE = (
    ":root{--ink:#1d2330;--mute:#667085;--rule:#e4e7ec;--accent:#2456c8;--second:#8aa4d6;--good:#19734a;--bad:#b3261e}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:40em;margin:2em auto;color:var(--ink)}"
    ".broken{color:var(--bad);font-weight:600}"
)


def plot_interval_over_time(readings: Sequence[Mapping[str, Any]], metric: str, words: Words) -> str:
    """The interval of one metric at each look; nothing before the first look.

    It stands over the units seen; where the same ones are there from the first day, over the weeks since the start.

    Args:
        readings: as the store keeps them, oldest first.
        metric: whose effect of variant 1 is drawn.
        words: translates.
    """
    rows = [row for one in readings if (row := _row(one, metric))]
    if not rows:
        return ""
    x, x_name, x_format = _far([one for one in readings if _row(one, metric)])
    y, low, high = ([row[name] for row in rows] for name in ("estimate", "low", "high"))
    if len(rows) == 1:
        label = f"{x[0]:,.0f}"
        intervals = [charts.Interval(label, y[0], low[0], high[0])]
        return charts.interval_chart(intervals, metric, x_name=words("effect for each unit"), label_width=90)
    line = charts.Line(x, y, metric, low=low, high=high)
    nothing = charts.Line([x[0], x[-1]], [0.0, 0.0], "", "mute", dash=charts.DASHES[0])
    return charts.line_chart(
        [nothing, line],
        words("The interval that was valid at each look"),
        x_name=words(x_name),
        y_name=words("effect for each unit"),
        x_format=x_format,
        points=True,
    )


def plot_segments(segments: Sequence[Mapping[str, Any]], metric: str, words: Words) -> str:
    """The effect of one metric in each segment, with its interval; nothing without segments."""
    several = len({one.get("variant") for one in segments}) > 1
    rows = [
        charts.Interval(_segment(one, several=several), one["estimate"], one["low"], one["high"])
        for one in segments
        if one["metric"] == metric and None not in (one["estimate"], one["low"], one["high"])
    ]
    if not rows:
        return ""
    return charts.interval_chart(rows, words("The effect by segment"), x_name=words("effect for each unit"))


def _segment(one: Mapping[str, Any], *, several: bool) -> str:
    """A segment's name, with the variant where there are several."""
    return f"{one['segment']}: {one['level']}" + (f" ({one['variant']})" if several else "")


def render_readings(design: Design, readings: Sequence[Mapping[str, Any]], language: str) -> str:
    """A page of its own with both plots and the last verdict, without scripts."""
    words = translations(language).gettext
    metric = design.rule.metric
    last = readings[-1]
    drawn = [plot_interval_over_time(readings, metric, words), plot_segments(last.get("segments") or (), metric, words)]
    said = [
        f"<p><strong>{escape(words(verdict['action']))}</strong></p><ul>"
        + "".join(f"<li>{escape(say(reason, words))}</li>" for reason in verdict["reasons"])
        + "</ul>"
        for verdict in last.get("verdicts") or ()
    ]
    doubts = [
        f'<li class="{escape(check["verdict"])}">{escape(say(check["reason"], words))}</li>'
        for check in last.get("checks") or ()
        if check["verdict"] != "passed"
    ]
    marked = [f"<ul>{''.join(doubts)}</ul>"] if doubts else []
    body = "".join([f"<h1>{escape(design.name)}</h1>", *marked, *said, *drawn])
    head = f'<meta charset="utf-8"><title>{escape(design.name)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="{language}"><head>{head}</head><body>{body}</body></html>\n'


def _row(reading: Mapping[str, Any], metric: str) -> Mapping[str, Any] | None:
    for row in reading.get("effects") or ():
        if row["metric"] == metric and row["variant"] == 1:
            found: Mapping[str, Any] = row
            return found
    return None


def _far(readings: Sequence[Mapping[str, Any]]) -> tuple[list[float], str, str]:
    """How far the experiment was at each look, what that is, and how it is written.

    The looks of units that are all there from the first day are counted in hours.
    """
    units = [_units(one, number) for number, one in enumerate(readings, 1)]
    hours = [look[-1] for one in readings if (look := one.get("looks")) and look[-1] != one.get("units")]
    if len(set(units)) == 1 < len(units) == len(hours):
        return [hour / 168 for hour in hours], WEEKS_SINCE, "{:,.1f}"
    return [float(count) for count in units], UNITS_SEEN, "{:,.0f}"


def _units(reading: Mapping[str, Any], number: int) -> int:
    return int(reading.get("units") or sum(reading.get("counts") or ()) or number)
