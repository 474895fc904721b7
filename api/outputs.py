"""The files of a run: prices.csv, coupons.csv, summary.json and report.html."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.files import write_json, write_text
from engine.proposal import Proposal

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
COUPON_COLUMNS = ("customer_id", "offer_id", "expected_incremental_profit", "expected_cost")


def write_outputs(proposal: Proposal, out: Path, *, language: str) -> None:
    """Write the files of a proposal, each atomically; a part that did not run leaves only its header.

    Raises:
        StorageError: the disk did not take a file; what stood there before is intact.
    """
    from api.report import render_report

    report = render_report(proposal, language=language)
    write_text(out / "prices.csv", price_table(proposal))
    write_text(out / "coupons.csv", coupon_table(proposal))
    write_text(out / "report.html", report)
    write_json(out / "summary.json", proposal.summary)


def price_table(proposal: Proposal) -> str:
    """prices.csv as text."""
    return _table(PRICE_COLUMNS, ([getattr(line, name) for name in PRICE_COLUMNS] for line in proposal.prices))


def coupon_table(proposal: Proposal) -> str:
    """coupons.csv as text."""
    return _table(COUPON_COLUMNS, ([getattr(line, name) for name in COUPON_COLUMNS] for line in proposal.coupons))


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    """Numbers to ten digits: enough for any use, and the same on every machine."""
    return f"{value:.10g}" if isinstance(value, float) else value
