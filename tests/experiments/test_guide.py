"""The guide's examples run, in order, and print what the page says."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "experiments.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def names():
    """What the blocks before have defined."""
    return {}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_prints_what_it_says(number, names):
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(BLOCKS[number], f"{GUIDE.name}, block {number + 1}", "exec"), names)  # noqa: S102 - the page is ours
    assert printed.getvalue().splitlines() == re.findall(r"^# (.*)$", BLOCKS[number], re.MULTILINE)
