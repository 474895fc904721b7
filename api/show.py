"""What a person reads on the terminal: progress while it runs, then the result in a few lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from engine.progress import Progress
from engine.proposal import Proposal, State

CHOSEN = ("optimal", "time_limit", "gap_limit", "heuristic")
"""Statuses of a plan that was chosen among several."""


class PlainProgress:
    """One line for each stage when it is done, with its seconds: for files, pipes and CI."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._running: list[tuple[str, float]] = []

    def begin(self, stage: str) -> None:
        """Remember when the stage began."""
        self._running.append((stage, time.perf_counter()))

    def advance(self, share: float) -> None:
        """Say nothing: a line for every step would drown the rest."""

    def end(self) -> None:
        """Print the stage with its time."""
        if self._running:
            stage, began = self._running.pop()
            indent = "  " * len(self._running)
            print(f"{indent}{stage:<28} {time.perf_counter() - began:7.1f} s", file=self._stream, flush=True)


class BarProgress:
    """A bar for each stage, with its time, on a terminal."""

    def __init__(self, bars: Any) -> None:  # noqa: ANN401 - rich.progress.Progress, imported only when it is shown
        self._bars = bars
        self._running: list[int] = []

    def begin(self, stage: str) -> None:
        """Add a bar."""
        self._running.append(self._bars.add_task("  " * len(self._running) + stage, total=1.0))

    def advance(self, share: float) -> None:
        """Move the bar of the current stage."""
        if self._running:
            self._bars.update(self._running[-1], completed=min(max(share, 0.0), 1.0))

    def end(self) -> None:
        """Fill the bar and stop its clock."""
        if self._running:
            task = self._running.pop()
            self._bars.update(task, completed=1.0)
            self._bars.stop_task(task)


@contextmanager
def shown_progress(stream: TextIO) -> Iterator[Progress]:
    """Bars on a terminal, lines elsewhere."""
    if not stream.isatty():
        yield PlainProgress(stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(file=stream)) as bars:
        yield BarProgress(bars)


def result_block(proposal: Proposal, out: Path | None, url: str) -> str:
    """Write the result as a manager reads it."""
    title = f"Proposal {proposal.proposal_id} · {proposal.data} · {proposal.horizon_weeks} weeks · {proposal.state}"
    rows = [*_result_rows(proposal), *_place_rows(proposal, out, url)]
    width = max(len(name) for name, _ in rows)
    return "\n".join(["", title, "─" * len(title), *(f"{name:<{width}}  {text}" for name, text in rows), ""])


def _result_rows(proposal: Proposal) -> list[tuple[str, str]]:
    summary = proposal.summary
    if proposal.state is State.INFEASIBLE:
        return [("Infeasible", str(summary.get("infeasible", "no plan satisfies the rules")))]
    rows = [_promise(summary, proposal.currency), _raw(summary, proposal.currency)]
    if summary.get("price"):
        rows.append(_prices(summary["price"], len(proposal.prices)))
    if summary.get("coupons"):
        rows.append(_coupons(summary["coupons"], proposal.currency))
    rows += [_certificate(summary), _time(summary)]
    return [(name, text) for name, text in rows if text]


def money(amount: object, currency: str, like: object = None) -> str:
    """Write an amount with its currency, in cents only if `like` (or itself) is small; a dash where there is none."""
    if not isinstance(amount, int | float):
        return "–"
    scale = like if isinstance(like, int | float) else amount
    return f"{amount:,.0f} {currency}" if abs(scale) >= 1000 else f"{amount:,.2f} {currency}"


def _promise(summary: Mapping[str, Any], currency: str) -> tuple[str, str]:
    gain, low, high = (summary.get(f"promised_gain{end}") for end in ("", "_low", "_high"))
    interval = f"90 % interval {money(low, currency, gain)} … {money(high, currency, gain)}"
    text = f"{money(gain, currency)}, {interval}"
    share, profit = summary.get("promised_gain_share"), summary.get("profit_current")
    if isinstance(share, int | float):
        text += f" ({100 * share:+.2f} % of today's {money(profit, currency)})"
    return "Promised gain", text


def _raw(summary: Mapping[str, Any], currency: str) -> tuple[str, str]:
    raw = summary.get("raw_predicted_gain")
    text = f"{money(raw, currency)} before the optimiser's curse is taken off" if raw is not None else ""
    return "Raw prediction", text


def _prices(price: Mapping[str, Any], products: int) -> tuple[str, str]:
    held = price.get("held_unidentified")
    held_text = f"; {held:,} held because their elasticity is not identified" if isinstance(held, int) else ""
    return "Prices", f"{price.get('changed', 0):,} of {products:,} change{held_text}"


def _coupons(coupons: Mapping[str, Any], currency: str) -> tuple[str, str]:
    budget = coupons.get("budget")
    limit = f" of {money(budget, currency)}" if budget is not None else ""
    sent, spend = coupons.get("sent") or 0, money(coupons.get("spend"), currency)
    if not sent and coupons.get("reason"):
        return "Coupons", str(coupons["reason"])
    return "Coupons", f"{sent:,} customers are sent one, expected cost {spend}{limit}"


def _certificate(summary: Mapping[str, Any]) -> tuple[str, str]:
    from api.report import STATUSES

    parts = []
    for name, plan in (("price", "price plan"), ("coupons", "coupon plan")):
        part = summary.get(name) or {}
        status = part.get("status")
        if status in CHOSEN and isinstance(part.get("gap"), int | float):
            parts.append(f"{plan} {STATUSES[status]}, within {_share(part['gap'])} of the best possible")
    return "Certificate", "; ".join(parts)


def _share(gap: float) -> str:
    """A gap in per cent: two digits where it is small, never with an exponent."""
    return f"{100 * gap:.2g} %" if 1e-6 <= gap < 0.095 else f"{100 * gap:.0f} %"


def _time(summary: Mapping[str, Any]) -> tuple[str, str]:
    seconds = summary.get("seconds") or {}
    slowest = sorted(seconds, key=lambda stage: -seconds[stage])[:2]
    told = ", ".join(f"{stage} {seconds[stage]:.0f} s" for stage in slowest)
    return "Time", f"{sum(seconds.values()):.0f} s (most of it: {told})" if seconds else ""


def _place_rows(proposal: Proposal, out: Path | None, url: str) -> list[tuple[str, str]]:
    rows = []
    if out is not None and (out / "report.html").exists():
        rows.append(("Report", str(out / "report.html")))
    if out is not None and out.is_dir():
        names = [n for n in ("prices.csv", "coupons.csv", "summary.json") if (out / n).exists()]
        rows.append(("Files", ", ".join(str(out / name) for name in names)))
    rows.append(("Next", f"offerwright serve, then {url}/proposals/{proposal.proposal_id}"))
    return rows
