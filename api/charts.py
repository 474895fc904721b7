"""Plots as inline SVG that follow the page: its text colour, its light or dark scheme, its language.

A few plain shapes cover what the pages need. Colours are CSS variables of the page (`--ink`, `--mute`, `--accent`,
`--second`, `--good`, `--bad`); every mark carries a <title>, which a browser shows on pointing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 18, 40
DASHES = ("5 4", "1 4", "12 4", "12 3 2 3", "3 8")
"""Strokes that are told apart without their colour."""


@dataclass(frozen=True)
class Line:
    """A curve through points; `low` and `high` shade its interval."""

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    colour: str = "accent"
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    dash: str = ""
    """Lengths of strokes and gaps in pixels; empty: one stroke."""


@dataclass(frozen=True)
class Mark:
    """A vertical line at `x` with a word."""

    x: float
    label: str
    colour: str = "mute"


@dataclass(frozen=True)
class Interval:
    """A labelled estimate with its interval."""

    label: str
    value: float
    low: float
    high: float
    colour: str = "accent"


@dataclass(frozen=True)
class Frame:
    """The plotting area in pixels and the data range it shows."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    x_name: str = ""
    y_name: str = ""
    x_format: str = "{:g}"
    y_format: str = "{:g}"
    parts: list[str] = field(default_factory=list)

    def px(self, x: float) -> float:
        """Horizontal pixel of a value."""
        span = (self.x_high - self.x_low) or 1.0
        return self.left + (x - self.x_low) / span * (self.width - self.left - RIGHT)

    def py(self, y: float) -> float:
        """Vertical pixel of a value."""
        span = (self.y_high - self.y_low) or 1.0
        return self.height - BOTTOM - (y - self.y_low) / span * (self.height - TOP - BOTTOM)

    def svg(self, description: str) -> str:
        """The finished picture."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(description, quote=True)}" '
            f'class="chart">{"".join(self.parts)}</svg>'
        )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that span [low, high] (after Heckbert 1990, nice numbers for graph labels)."""
    if not math.isfinite(low) or not math.isfinite(high) or high <= low:
        return [low]
    raw = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - raw))
    first = math.ceil(low / step - 1e-9) * step
    return [first + i * step for i in range(int((high - first) / step + 1e-9) + 1)]


def _text(x: float, y: float, words: str, anchor: str = "middle", colour: str = "mute", size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="var(--{colour})">{escape(words)}</text>'
    )


def _axes(frame: Frame, *, x_ticks: Sequence[tuple[float, str]] | None = None, y_labels: bool = True) -> None:
    bottom = frame.height - BOTTOM
    marks = (
        x_ticks if x_ticks is not None else [(v, frame.x_format.format(v)) for v in ticks(frame.x_low, frame.x_high)]
    )
    for y in ticks(frame.y_low, frame.y_high) if y_labels else []:
        py = frame.py(y)
        frame.parts.append(
            f'<line x1="{frame.left}" x2="{frame.width - RIGHT}" y1="{py:.1f}" y2="{py:.1f}" stroke="var(--rule)"/>'
        )
        frame.parts.append(_text(frame.left - 6, py + 4, frame.y_format.format(y), "end"))
    for x, words in marks:
        frame.parts.append(_text(frame.px(x), bottom + 16, words))
    frame.parts.append(
        f'<line x1="{frame.left}" x2="{frame.width - RIGHT}" y1="{bottom}" y2="{bottom}" stroke="var(--mute)"/>'
    )
    if frame.x_name:
        frame.parts.append(_text((frame.left + frame.width - RIGHT) / 2, frame.height - 6, frame.x_name))
    if frame.y_name:
        frame.parts.append(_text(4, 9, frame.y_name, "start"))


def _path(frame: Frame, x: Sequence[float], y: Sequence[float]) -> str:
    return "M" + "L".join(f"{frame.px(a):.1f},{frame.py(b):.1f}" for a, b in zip(x, y, strict=True))


def _draw_line(frame: Frame, line: Line) -> None:
    if line.low is not None and line.high is not None:
        outline = _path(frame, [*line.x, *reversed(line.x)], [*line.high, *reversed(line.low)]) + "Z"
        frame.parts.append(f'<path d="{outline}" fill="var(--{line.colour})" opacity=".16"/>')
    drawn, told = _path(frame, line.x, line.y), escape(line.label)
    frame.parts.append(f'<path d="{drawn}" fill="none" {_stroke(line)}><title>{told}</title></path>')


def _stroke(line: Line) -> str:
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    return f'stroke="var(--{line.colour})" stroke-width="2"{dash}'


def _legend(frame: Frame, lines: Sequence[Line]) -> None:
    """A stroke and a name for each line, from the right; names are cut to what is left beside the axis's own."""
    named = [line for line in lines if line.label]
    place = float(frame.width - RIGHT)
    room = (place - 1.1 * _width(frame.y_name) - 16) / max(len(named), 1) - 40
    for line in reversed(named):
        label = _shortened(line.label, int(room) + 16)
        place -= 40 + 1.1 * _width(label)
        frame.parts.append(f'<line x1="{place:.1f}" x2="{place + 22:.1f}" y1="7" y2="7" {_stroke(line)}/>')
        frame.parts.append(_text(place + 26, 11, label, "start", line.colour))


def line_chart(
    lines: Sequence[Line],
    description: str,
    *,
    marks: Sequence[Mark] = (),
    x_name: str = "",
    y_name: str = "",
    x_format: str = "{:g}",
    y_format: str = "{:g}",
    zero: bool = False,
    points: bool = False,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> str:
    """Curves with optional intervals and vertical marks."""
    xs = [v for line in lines for v in line.x] + [mark.x for mark in marks]
    ys = [v for line in lines for part in (line.y, line.low or (), line.high or ()) for v in part]
    y_low, y_high = _padded(min(ys), max(ys), zero=zero)
    frame = Frame(min(xs), max(xs), y_low, y_high, width, height, LEFT, x_name, y_name, x_format, y_format)
    _axes(frame)
    _draw_marks(frame, marks)
    for line in lines:
        _draw_line(frame, line)
        if points:
            _draw_points(frame, line)
    _legend(frame, lines if len(lines) > 1 else [])
    return frame.svg(description)


def _draw_marks(frame: Frame, marks: Sequence[Mark]) -> None:
    """Vertical lines with their words above, clear of the axis; where they would run into those before, beside."""
    free_from = -math.inf
    for mark in sorted(marks, key=lambda mark: mark.x):
        px, half = frame.px(mark.x), _width(mark.label) / 2
        frame.parts.append(
            f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{TOP + 6}" y2="{frame.height - BOTTOM}" '
            f'stroke="var(--{mark.colour})" stroke-dasharray="3 3"><title>{escape(mark.label)}</title></line>'
        )
        middle = min(max(px, frame.left + half), max(frame.width - half, frame.left + half))
        if middle - half >= free_from:
            frame.parts.append(_text(middle, TOP + 3, mark.label, colour=mark.colour, size=10))
            free_from = middle + half + 4
        else:
            frame.parts.append(_text(px + 4, TOP + 16, mark.label, "start", mark.colour, size=10))


def _width(words: str) -> float:
    """Pixels of a label at size 10, near enough: Chinese characters are as wide as they are high."""
    return sum(10.0 if character > "\u2e7f" else 5.6 for character in words)


def _draw_points(frame: Frame, line: Line) -> None:
    for x, y in zip(line.x, line.y, strict=True):
        words = f"{frame.x_format.format(x)}: {frame.y_format.format(y)}"
        frame.parts.append(
            f'<circle cx="{frame.px(x):.1f}" cy="{frame.py(y):.1f}" r="4" fill="var(--{line.colour})">'
            f"<title>{escape(words)}</title></circle>"
        )


def _padded(low: float, high: float, *, zero: bool) -> tuple[float, float]:
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    pad = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
    return (low if zero and low == 0 else low - pad), high + pad


def histogram(
    values: Sequence[float],
    description: str,
    *,
    low: float,
    high: float,
    bins: int = 40,
    marks: Sequence[Mark] = (),
    x_name: str = "",
    y_name: str = "",
    colour: str = "accent",
) -> str:
    """Counts of values in equal bins; what lies outside [low, high] is counted in the outermost bins."""
    counts = [0] * bins
    for value in values:
        place = int((value - low) / (high - low) * bins)
        counts[min(max(place, 0), bins - 1)] += 1
    frame = Frame(low, high, 0, max([*counts, 1]) * 1.12, x_name=x_name, y_name=y_name)
    _axes(frame)
    step = (high - low) / bins
    for i, count in enumerate(counts):
        left, right = frame.px(low + i * step), frame.px(low + (i + 1) * step)
        frame.parts.append(
            f'<rect x="{left + 0.5:.1f}" y="{frame.py(count):.1f}" width="{max(right - left - 1, 0.5):.1f}" '
            f'height="{frame.py(0) - frame.py(count):.1f}" fill="var(--{colour})">'
            f"<title>{low + i * step:.2f} … {low + (i + 1) * step:.2f}: {count}</title></rect>"
        )
    for mark in marks:
        px = frame.px(mark.x)
        frame.parts.append(
            f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{TOP + 8}" y2="{frame.height - BOTTOM}" '
            f'stroke="var(--{mark.colour})" stroke-width="1.5"/>'
        )
        frame.parts.append(_text(px, TOP + 4, mark.label, colour=mark.colour))
    return frame.svg(description)


def interval_chart(
    rows: Sequence[Interval],
    description: str,
    *,
    x_name: str = "",
    x_format: str = "{:g}",
    reference: float | None = 0.0,
    label_width: int = 190,
) -> str:
    """Estimates with intervals, one row each; `reference` is drawn as a vertical line."""
    height = TOP + BOTTOM + 24 * len(rows)
    values = [v for row in rows for v in (row.low, row.high, row.value)] + ([] if reference is None else [reference])
    low, high = _padded(min(values), max(values), zero=False)
    frame = Frame(low, high, 0, max(len(rows), 1), WIDTH, height, label_width, x_name, "", x_format)
    _axes(frame, y_labels=False)
    if reference is not None:
        px = frame.px(reference)
        frame.parts.append(
            f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{TOP}" y2="{height - BOTTOM}" stroke="var(--mute)"/>'
        )
    for i, row in enumerate(rows):
        py = TOP + 24 * i + 12
        told = f"{row.label}: {x_format.format(row.value)} ({x_format.format(row.low)} … {x_format.format(row.high)})"
        frame.parts.append(_text(label_width - 8, py + 4, _shortened(row.label, label_width), "end", "ink"))
        frame.parts.append(
            f'<g stroke="var(--{row.colour})"><title>{escape(told)}</title>'
            f'<line x1="{frame.px(row.low):.1f}" x2="{frame.px(row.high):.1f}" y1="{py}" y2="{py}" stroke-width="3"/>'
            f'<circle cx="{frame.px(row.value):.1f}" cy="{py}" r="5" fill="var(--{row.colour})"/></g>'
        )
    return frame.svg(description)


def _shortened(words: str, width: int) -> str:
    """Cut a label to what fits: about 6 px a small letter, 8 px a capital, 12 px a Chinese sign."""
    room = width - 16.0
    for place, sign in enumerate(words):
        room -= 12.0 if ord(sign) > 0x2E80 else 8.0 if sign.isupper() else 6.0
        if room < 0:
            return words[: max(place - 1, 0)] + "…"
    return words
