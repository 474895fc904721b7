"""The record beside the landed tables: shop.json, written last, so that a folder with one is whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.files import write_json
from engine.proposal import Reason, Sentence
from engine.shop import Fault, Shop

FILE = "shop.json"


def write_shop(shop: Shop, folder: Path) -> None:
    """Write the record; paths are relative to `folder`.

    Raises:
        StorageError: the disk did not take it.
    """
    fields: dict[str, Any] = asdict(shop)
    fields["tables"] = {name: path.relative_to(folder).as_posix() for name, path in shop.tables.items()}
    fields["quarantine"] = shop.quarantine.relative_to(folder).as_posix() if shop.quarantine else None
    write_json(folder / FILE, fields)


def read_shop(folder: Path) -> Shop | None:
    """The shop that was landed in `folder`; None where there is none, or not all of it."""
    try:
        fields = json.loads((folder / FILE).read_text(encoding="utf-8"))
        fields["tables"] = {name: folder / path for name, path in fields["tables"].items()}
        fields["quarantine"] = folder / fields["quarantine"] if fields["quarantine"] else None
        fields["faults"] = tuple(_fault(fault) for fault in fields["faults"])
        fields["notes"] = tuple(_note(note) for note in fields["notes"])
        fields["attributes"] = {name: tuple(columns) for name, columns in fields["attributes"].items()}
        shop = Shop(**fields)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return shop if all(path.exists() for path in shop.tables.values()) else None


def _fault(kept: dict[str, Any]) -> Fault:
    template = kept.get("template")
    return Fault(**{**kept, "template": Reason(**template) if template else None})


def _note(kept: str | dict[str, Any]) -> Sentence:
    return kept if isinstance(kept, str) else Reason(**kept)
