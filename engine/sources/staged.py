"""What a source hands to the landing: tables as files, and what is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Staged:
    """Tables of the contract, not yet checked."""

    tables: Mapping[str, Path]
    """Name in the contract -> Parquet file."""
    notes: tuple[str, ...] = ()
    first_monday: str | None = None
    first_week: int = 0
    prices_reconstructed: bool = False
    costs_assumed: bool = False
