"""The files of a run: prices.csv, coupons.csv, summary.json and report.html."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from engine.files import atomic_texts, to_json
from engine.proposal import PriceLine, Proposal

PRICE_COLUMNS = (
    "product_id",
    "current_price",
    "proposed_price",
    "units_current",
    "units_proposed",
    "profit_current",
    "profit_proposed",
    "gain_low",
    "gain_high",
    "elasticity",
    "elasticity_se",
    "identified",
    "why",
)
COUPON_COLUMNS = (
    "customer_id",
    "offer_id",
    "expected_incremental_profit",
    "expected_cost",
)
EXPLORED_COLUMNS = ("explored", "propensity")
"""Follow where offers were drawn at random: whether this one was, and with which chance."""


def render_outputs(proposal: Proposal, *, language: str) -> dict[str, str]:
    """File name → content; a part that did not run leaves only its header."""
    from api.report import render_report

    return {
        "prices.csv": price_table(proposal),
        "coupons.csv": coupon_table(proposal),
        "report.html": render_report(proposal, language=language),
        "summary.json": to_json(proposal.summary, indent=2) + "\n",
    }


def write_outputs(files: Mapping[str, str], out: Path) -> None:
    """Write all files or none, summary.json last: who finds a new summary finds the rest new, too.

    Raises:
        StorageError: the disk did not take a file; what stood there before is intact.
    """
    with atomic_texts(out, files):
        pass


def price_table(proposal: Proposal) -> str:
    """prices.csv as text."""
    return price_lines_table(proposal.prices)


def price_lines_table(lines: Iterable[PriceLine]) -> str:
    """Price lines in the form of prices.csv."""
    return _table(PRICE_COLUMNS, ([getattr(line, name) for name in PRICE_COLUMNS] for line in lines))


def coupon_table(proposal: Proposal) -> str:
    """coupons.csv as text."""
    explored = any(line.explored for line in proposal.coupons)
    columns = (*COUPON_COLUMNS, *EXPLORED_COLUMNS) if explored else COUPON_COLUMNS
    return _table(columns, ([getattr(line, name) for name in columns] for line in proposal.coupons))


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    """Numbers to ten digits: enough for any use, and the same on every machine."""
    return f"{value:.10g}" if isinstance(value, float) else value
