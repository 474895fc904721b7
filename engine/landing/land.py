"""The whole way from raw tables to landed ones."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from engine.contract import SALES_TABLES, TABLES
from engine.frames import DuckDbBackend, storage_errors
from engine.landing import rules
from engine.landing.raw import RawShop
from engine.landing.rows import check_rows
from engine.landing.stage import Stage, stage_table
from engine.landing.weeks import Calendar, make_calendar, week_kind
from engine.landing.write import write_quarantine, write_table
from engine.progress import Progress
from engine.proposal import N_, Reason, Sentence
from engine.settings import Settings
from engine.shop import Fault, Shop

MARGIN = "Unit costs are not in the data: a gross margin is assumed ({margin:.0%})."
MARGINS = "Unit costs are not in the data: a gross margin is assumed ({own}; otherwise {margin:.0%})."
MARGINS_ALONE = "Unit costs are not in the data: a gross margin is assumed ({own}; otherwise none)."
NO_MARGIN = "Unit costs are not in the data, and no gross margin is assumed."


@dataclass(frozen=True)
class Landed:
    """What the landing found: every fault, and the shop unless one of them refuses it."""

    shop: Shop | None
    faults: tuple[Fault, ...]


def land(
    raw: RawShop, folder: Path, settings: Settings, backend: DuckDbBackend, progress: Progress, *, today: date
) -> Landed:
    """Check the tables and write them, typed, as Parquet into `folder` (quarantine below it).

    Args:
        raw: tables of the source.
        folder: empty; what is in it afterwards is whole only if a shop is returned.
        settings: `data.max_quarantined_share`, margins, limits.
        backend: DuckDB; temporary views and tables are made in it.
        progress: told the share done.
        today: dates more than a year after it are mistakes.

    Raises:
        StorageError: the disk did not take it.
    """
    with storage_errors(raw.name):
        stages, faults = _stage_all(raw, folder, backend, progress)
        whole = {name: stage for name, stage in stages.items() if stage.whole}
        faults += _check(whole, backend, today)
        shares = _shares(stages, settings, backend)
        # What is refused for its rows is not asked what its few left rows mean, too.
        whole = {name: stage for name, stage in whole.items() if name not in {fault.table for fault in shares}}
        if not raw.costs_assumed:
            faults += rules.costs_above_prices(whole, backend)
        if not raw.prices_reconstructed:
            faults += rules.unpriced_products(whole, backend)
        progress.advance(0.7)
        kinds = {name: week_kind(stage, backend) for name, stage in whole.items() if stage.has("week") and stage.rows}
        calendar, more = make_calendar(whole, kinds, backend, known=(raw.first_monday, raw.first_week))
        faults += [*more, *rules.variation(whole, backend), *shares, *_no_price(stages)]
        faults = [*_no_sales(raw, stages), *faults]
        shop = None
        if not any(fault.refuses for fault in faults):
            shop = _write(raw, stages, kinds, calendar, folder, settings, backend, tuple(faults))
        for stage in stages.values():
            stage.path.unlink()
    progress.advance(1.0)
    return Landed(shop, tuple(faults))


def _stage_all(
    raw: RawShop, folder: Path, backend: DuckDbBackend, progress: Progress
) -> tuple[dict[str, Stage], list[Fault]]:
    stages: dict[str, Stage] = {}
    faults = list(raw.faults)
    by_name = {table.name: table for table in raw.tables}
    for done, name in enumerate(name for name in TABLES if name in by_name):
        stage, found = stage_table(by_name[name], folder, backend)
        faults += found
        if stage is not None and not stage.rows and not stage.rejected:
            faults.append(_empty(stage))
        if stage is not None:
            faults += [*_rejected_lines(stage), *check_rows(stage, backend)]
            stages[name] = stage
        progress.advance(0.5 * (done + 1) / len(by_name))
    return stages, faults


def _check(stages: Mapping[str, Stage], backend: DuckDbBackend, today: date) -> list[Fault]:
    faults: list[Fault] = []
    for stage in stages.values():
        faults += rules.absurd_times(stage, backend, today)
        faults += rules.repeated_keys(stage, backend)
        faults += rules.absurd_prices(stage, backend)
        faults += rules.absurd_values(stage, backend)
    return [*faults, *rules.unlisted_products(stages, backend)]


def _empty(stage: Stage) -> Fault:
    needed = stage.table.name in (*SALES_TABLES, "products")
    remedy = "hand in rows" if needed else N_("the table counts as not given")
    return Fault(stage.table.name, stage.files, "", None, "", N_("the table is empty"), remedy, refuses=needed)


def _rejected_lines(stage: Stage) -> list[Fault]:
    """Lines of CSV files that do not fit the header."""
    if not stage.rejected:
        return []
    first = stage.rejected[0]
    problem = f"the line does not fit the header ({first.message})"
    remedy = N_("put texts that hold the separator in double quotes") + "; " + N_("the line is set aside")
    count = len(stage.rejected)
    return [Fault(stage.table.name, first.file, "", first.row, first.text, problem, remedy, refuses=False, count=count)]


def _no_sales(raw: RawShop, stages: Mapping[str, Stage]) -> list[Fault]:
    if any(table.name in SALES_TABLES for table in raw.tables) or any(f.table in SALES_TABLES for f in raw.faults):
        return []
    there = ", ".join(table.name for table in raw.tables) or "no table of the contract"
    problem = f"neither transactions nor sales_weekly is there (found: {there})"
    if raw.ignored:
        problem += f"; not in the contract: {', '.join(raw.ignored[:8])}"
    remedy = "add one of them, as .parquet, .csv or .csv.gz with that name, or as a database table"
    return [Fault("transactions", raw.name, "", None, "", problem, remedy, refuses=True)]


def _no_price(stages: Mapping[str, Stage]) -> list[Fault]:
    sales = stages.get("sales_weekly")
    if sales is None or "prices_weekly" in stages or "transactions" in stages or sales.has("revenue"):
        return []
    remedy = "add the table prices_weekly, or the column revenue (the price is then revenue / units)"
    return [Fault("sales_weekly", sales.files, "revenue", None, "", "there is no price anywhere", remedy, refuses=True)]


def _shares(stages: Mapping[str, Stage], settings: Settings, backend: DuckDbBackend) -> list[Fault]:
    faults = []
    limit = settings.data.max_quarantined_share
    for stage in stages.values():
        found = backend.connection.execute(f"SELECT count(DISTINCT __id) FROM {stage.drops}").fetchone()
        dropped = (int(found[0]) if found else 0) + len(stage.rejected)
        rows = stage.rows + len(stage.rejected)
        if dropped > limit * rows or (dropped and dropped == rows):
            problem = f"{dropped:,} of {rows:,} rows would have to be set aside, more than {limit:.1%}"
            remedy = "correct the faults of this table, or raise data.max_quarantined_share"
            faults.append(Fault(stage.table.name, stage.files, "", None, "", problem, remedy, refuses=True))
    return faults


def _write(
    raw: RawShop,
    stages: Mapping[str, Stage],
    kinds: Mapping[str, str],
    calendar: Calendar,
    folder: Path,
    settings: Settings,
    backend: DuckDbBackend,
    faults: tuple[Fault, ...],
) -> Shop:
    filled = {name: stage for name, stage in stages.items() if stage.rows}
    tables = {name: write_table(stage, calendar, kinds.get(name), folder, backend) for name, stage in filled.items()}
    notes: list[Sentence] = [*raw.notes, *([calendar.note] if calendar.note else [])]
    products = filled.get("products")
    assumed = raw.costs_assumed or products is None or not products.has("unit_cost")
    if assumed and not raw.costs_assumed:
        notes.append(_margin_note(settings))
    rebuilt = raw.prices_reconstructed or "prices_weekly" not in filled
    if rebuilt and not raw.prices_reconstructed:
        notes.append(N_("Prices are rebuilt from purchases: they are unknown where nothing was bought."))
    attributes = {name: stage.attributes for name, stage in filled.items() if stage.attributes}
    shop = Shop(
        name=raw.name,
        tables=tables,
        fingerprint=_fingerprint(tables),
        faults=faults,
        notes=tuple(notes),
        first_monday=calendar.first_monday,
        first_week=calendar.first_week,
        prices_reconstructed=rebuilt,
        costs_assumed=assumed,
        attributes=attributes,
    )
    return replace(shop, quarantine=write_quarantine(filled, folder / "quarantine", backend))


def _margin_note(settings: Settings) -> Reason:
    own = ", ".join(f"{name} {margin:.0%}" for name, margin in sorted(settings.data.margin_by_department.items()))
    default = settings.data.default_margin
    if default is None:
        return Reason(MARGINS_ALONE, {"own": own}) if own else Reason(NO_MARGIN)
    return Reason(MARGINS if own else MARGIN, {"own": own, "margin": default} if own else {"margin": default})


def _fingerprint(tables: Mapping[str, Path]) -> str:
    """SHA-256 over names and content of the tables."""
    total = hashlib.sha256()
    for name, path in sorted(tables.items()):
        with path.open("rb") as stream:
            total.update(f"{name}\x1f{hashlib.file_digest(stream, 'sha256').hexdigest()}\x1e".encode())
    return total.hexdigest()
