"""Thin first version: complete_journey without checks; folders of Parquet or CSV as they come."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from engine.contract import TABLES, Kind
from engine.errors import DataError
from engine.files import atomic_folder
from engine.frames import column_sql, open_backend, quoted
from engine.progress import Progress, Silent
from engine.settings import Settings
from engine.shop import Fault, Shop
from engine.sources import complete_journey

_TYPES = {Kind.ID: "VARCHAR", Kind.TEXT: "VARCHAR", Kind.FLAG: "TINYINT", Kind.WEEK: "BIGINT", Kind.TIME: "TIMESTAMP"}


def open_shop(source: str, settings: Settings, progress: Progress = Silent()) -> Shop:  # noqa: B008
    """Open a shop (thin version)."""
    cache = settings.home / "cache" / "thin"
    if source == "complete_journey":
        key = hashlib.sha256(f"cj{complete_journey.VERSION}{settings.data.model_dump_json()}".encode()).hexdigest()[:16]
    else:
        stats = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(Path(source).iterdir()) if p.is_file()]
        key = hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]
    target = cache / key
    if not (target / "shop.json").exists():
        with open_backend(settings) as backend, atomic_folder(target) as folder:
            if source == "complete_journey":
                staged = complete_journey.stage(folder, settings, backend)
                meta = {
                    "tables": list(staged.tables), "notes": staged.notes, "first_monday": staged.first_monday,
                    "first_week": staged.first_week, "rebuilt": True, "assumed": True,
                }
            else:
                meta = _land_folder(Path(source), folder, backend)
            (folder / "shop.json").write_text(json.dumps(meta))
    meta = json.loads((target / "shop.json").read_text())
    return Shop(
        name=source if source == "complete_journey" else Path(source).name,
        tables={name: target / f"{name}.parquet" for name in meta["tables"]},
        fingerprint=key,
        notes=tuple(meta["notes"]),
        first_monday=meta["first_monday"],
        first_week=meta["first_week"],
        prices_reconstructed=meta["rebuilt"],
        costs_assumed=meta["assumed"],
    )


def _land_folder(source: Path, folder: Path, backend):  # noqa: ANN001, ANN202
    tables = []
    first_monday = None
    con = backend.connection
    for name, table in TABLES.items():
        for suffix, reader in ((".parquet", "read_parquet"), (".csv", "read_csv")):
            path = source / f"{name}{suffix}"
            if not path.exists():
                continue
            columns = con.execute(f"DESCRIBE SELECT * FROM {reader}({quoted(str(path))})").fetchall()
            parts = []
            for column, kind, *_ in columns:
                known = table.column(column)
                expr = column_sql(column)
                if known and known.kind is Kind.WEEK and kind in ("DATE", "TIMESTAMP"):
                    first_monday = first_monday or "1970-01-05"
                    expr = f"(date_trunc('week', {expr})::DATE - DATE '1970-01-05') // 7"
                elif known:
                    expr = f"CAST({expr} AS {_TYPES.get(known.kind, 'DOUBLE')})"
                parts.append(f"{expr} AS {column_sql(column)}")
            con.execute(
                f"COPY (SELECT {', '.join(parts)} FROM {reader}({quoted(str(path))})) "
                f"TO {quoted(str(folder / (name + '.parquet')))} (FORMAT parquet)"
            )
            tables.append(name)
    if not set(tables) & {"transactions", "sales_weekly"}:
        raise DataError(f"{source}: neither transactions nor sales_weekly found")
    return {
        "tables": tables, "notes": [], "first_monday": first_monday, "first_week": 0,
        "rebuilt": "prices_weekly" not in tables, "assumed": False,
    }


def check_data(source: str, settings: Settings) -> tuple[Fault, ...]:
    """Thin version: nothing checked yet."""
    return open_shop(source, settings).faults
