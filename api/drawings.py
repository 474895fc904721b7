"""The plots of a proposal's page, drawn from what the store holds."""

from __future__ import annotations

import math
from collections.abc import Mapping

from markupsafe import Markup

from api import charts
from api.words import word
from engine.store import ProposalHeader, Store

_MOST_LINES = 5000
_BIGGEST = 12


def draw_proposal(header: ProposalHeader, store: Store) -> Mapping[str, Markup]:
    """Draw what there are figures for; nothing where a proposal has none."""
    drawn = {"promise": _promise(header), "elasticity": _elasticity(header, store), "moves": _moves(header, store)}
    return {name: Markup(svg) for name, svg in drawn.items() if svg}  # noqa: S704 - charts escapes every text


def _promise(header: ProposalHeader) -> str:
    figures = [header.summary.get(f"promised_gain{end}") for end in ("", "_low", "_high")]
    gain, low, high = (_known(figure) for figure in figures)
    if gain is None or low is None or high is None:
        return ""
    rows = [charts.Interval(word("Promised"), gain, low, high)]
    raw = _known(header.summary.get("raw_predicted_gain"))
    if raw is not None:
        rows.append(charts.Interval(word("Raw prediction"), raw, raw, raw, "bad"))
    name = word("Promised gain with its 90 % interval")
    return charts.interval_chart(rows, name, x_name=header.currency, x_format="{:,.0f}", label_width=130)


def _elasticity(header: ProposalHeader, store: Store) -> str:
    lines = store.price_lines(header.proposal_id, size=_MOST_LINES).items
    values = sorted(line.elasticity for line in lines if math.isfinite(line.elasticity))
    if len(values) < 2:
        return ""
    middle = values[len(values) // 2]
    return charts.histogram(
        values,
        word("Own-price elasticities of the products"),
        low=-5.0,
        high=1.0,
        bins=36,
        marks=[charts.Mark(middle, f"{word('median')} {middle:.2f}", "ink")],
        x_name=word("own-price elasticity"),
        y_name=word("products"),
    )


def _moves(header: ProposalHeader, store: Store) -> str:
    page = store.price_lines(header.proposal_id, size=_BIGGEST, order="gain", descending=True, shown="changed")
    rows = [
        charts.Interval(
            line.title or line.product_id,
            line.profit_proposed - line.profit_current,
            line.gain_low,
            line.gain_high,
            "accent" if line.gain_low > 0 else "second",
        )
        for line in page.items
        if all(map(math.isfinite, (line.profit_proposed, line.profit_current, line.gain_low, line.gain_high)))
    ]
    name = word("gain over the horizon")
    return charts.interval_chart(rows, name, x_name=name, x_format="{:,.0f}") if rows else ""


def _known(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
