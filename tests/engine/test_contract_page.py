"""docs/data.md and the contract in code say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.contract import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
ROW = re.compile(r"^\| `(\w+)` \| (.*) \|$", re.MULTILINE)


def documented() -> dict[str, str]:
    return {name: columns for name, columns in ROW.findall(PAGE.read_text(encoding="utf-8")) if name in TABLES}


def test_every_table_is_documented() -> None:
    assert list(documented()) == list(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_the_columns_their_keys_and_which_are_required_are_documented(name: str) -> None:
    said = [
        (column, bool(bold), bool(key))
        for bold, column, key in re.findall(r"(\*\*)?`(\w+)`(?:\*\*)?( key)?", documented()[name])
    ]
    table = TABLES[name]
    assert said == [(column.name, column.required, column.name in table.key) for column in table.columns]
