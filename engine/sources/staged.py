"""Adapters' tables, written as Parquet, as a raw shop."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.frames import DuckDbBackend, quoted
from engine.landing.raw import RawShop, RawTable, parquet_part
from engine.proposal import Sentence


@dataclass(frozen=True)
class Staged:
    """What an adapter made: tables of the contract, not yet checked."""

    tables: Mapping[str, Path]
    """Name in the contract -> Parquet file."""
    notes: tuple[Sentence, ...] = ()
    first_monday: str | None = None
    first_week: int = 0
    prices_reconstructed: bool = False
    costs_assumed: bool = False


def raw_shop(name: str, staged: Staged, backend: DuckDbBackend) -> RawShop:
    """The adapter's tables for the landing."""
    tables = []
    for table, path in staged.tables.items():
        described = backend.connection.execute(f"DESCRIBE SELECT * FROM read_parquet({quoted(str(path))})").fetchall()
        columns = {str(column): str(kind) for column, kind, *_ in described}
        tables.append(RawTable(table, (parquet_part(f"{name}: {table}", str(path), columns),)))
    return RawShop(
        name,
        tuple(tables),
        notes=staged.notes,
        first_monday=staged.first_monday,
        first_week=staged.first_week,
        prices_reconstructed=staged.prices_reconstructed,
        costs_assumed=staged.costs_assumed,
    )
