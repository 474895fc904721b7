"""Arrays and a few words about them in one file: what a cache keeps. Nothing in it can run (no pickle)."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.errors import StorageError
from engine.files import write_bytes

ABOUT = "about"


def keep_archive(path: Path, arrays: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any]) -> bool:
    """Write arrays and a JSON value atomically.

    Returns:
        False if the disk did not take it: a cache only saves time.
    """
    stream = io.BytesIO()
    words = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    np.savez(stream, allow_pickle=False, **{ABOUT: words, **arrays})
    try:
        write_bytes(path, stream.getvalue())
    except StorageError:
        return False
    return True


def load_archive(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]] | None:
    """Read what `keep_archive` wrote; None if it is not there, cut short, or something else."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files if name != ABOUT}
            return arrays, json.loads(stored[ABOUT].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def table_words(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Columns of a table as JSON's types, in their order."""
    return {str(name): table[name].tolist() for name in table.columns}


def table_of(words: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Rebuild the table of `table_words`; columns of text are of type object."""
    texts = {name for name, values in words.items() if any(isinstance(value, str) for value in values)}
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=object) if name in texts else pd.Series(values)
            for name, values in words.items()
        }
    )
