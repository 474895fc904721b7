"""The plots that a proposal's page and its report share: promise, elasticities, biggest moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from api import charts
from engine.proposal import PriceLine

Words = Callable[[str], str]
"""Translates a sentence into the reader's language."""


def plot_promise(summary: Mapping[str, Any], currency: str, words: Words) -> str:
    """The promised gain with its interval beside the raw prediction; nothing where there is no promise."""
    gain, low, high, raw = (
        _known(summary.get(name))
        for name in ("promised_gain", "promised_gain_low", "promised_gain_high", "raw_predicted_gain")
    )
    if gain is None or low is None or high is None:
        return ""
    rows = [charts.Interval(words("Promised"), gain, low, high)]
    if raw is not None:
        rows.append(charts.Interval(words("Raw prediction"), raw, raw, raw, "bad"))
    name = words("Promised gain with its 90 % interval")
    return charts.interval_chart(rows, name, x_name=currency, x_format="{:,.0f}", label_width=130)


def plot_elasticities(lines: Iterable[PriceLine], words: Words) -> str:
    """How many products have which elasticity; nothing for fewer than two products."""
    values = sorted(line.elasticity for line in lines if math.isfinite(line.elasticity))
    if len(values) < 2:
        return ""
    middle = values[len(values) // 2]
    return charts.histogram(
        values,
        words("Own-price elasticities of the products"),
        low=-5.0,
        high=1.0,
        bins=36,
        marks=[charts.Mark(middle, f"{words('median')} {middle:.2f}", "ink")],
        x_name=words("own-price elasticity"),
        y_name=words("products"),
    )


def plot_moves(lines: Iterable[PriceLine], words: Words) -> str:
    """The gain of each line with its interval; nothing where there is no line."""
    rows = [
        charts.Interval(
            line.title or line.product_id,
            line.profit_proposed - line.profit_current,
            line.gain_low,
            line.gain_high,
            "accent" if line.gain_low > 0 else "second",
        )
        for line in lines
        if all(map(math.isfinite, (line.profit_proposed, line.profit_current, line.gain_low, line.gain_high)))
    ]
    name = words("gain over the horizon")
    return charts.interval_chart(rows, name, x_name=name, x_format="{:,.0f}") if rows else ""


def _known(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
