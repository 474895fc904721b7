"""Tables and shares that commands read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd


def read_shares(_context: click.Context, _option: click.Parameter, text: str | None) -> list[float] | None:
    """Read shares such as 0.5,0.5."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write shares separated by commas, for example 0.5,0.5") from error


def read_numbers(_context: click.Context, _option: click.Parameter, text: str | None) -> list[float] | None:
    """Read numbers such as 0.002,0.005."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write numbers separated by commas, for example 0.002,0.005") from error
    if not all(map(math.isfinite, numbers)):
        raise click.BadParameter(f"{text!r}: give finite numbers")
    return numbers


def read_table(path: Path, needed: list[str], *, identifiers: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a CSV or Parquet file and make sure that it has the columns.

    Args:
        path: the file.
        needed: columns that must be there.
        identifiers: columns among them that are kept as text, so that 007 does not become 7.

    Raises:
        DataError: it cannot be read, a column is missing, or an identifier is.
    """
    import pandas as pd

    from engine.errors import DataError

    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path, identifiers)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as {path.suffix or 'CSV'} ({error})") from error
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    for column in identifiers:
        absent = frame[column].isna()
        if absent.any():
            raise DataError(f"{path}: row {int(absent.argmax()) + 2} has no {column}; give every row its identifier")
        frame[column] = frame[column].astype(str)
    return frame


def _read_csv(path: Path, identifiers: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path, encoding="utf-8-sig", dtype=dict.fromkeys(identifiers, str))
