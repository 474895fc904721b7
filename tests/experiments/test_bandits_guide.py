"""The examples of docs/bandits.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "bandits.md"


def test_the_guides_examples_run(capsys):
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    names = {}
    for example in examples:
        exec(compile(example, str(GUIDE), "exec"), names)  # noqa: S102 - our own guide
    assert "[" in capsys.readouterr().out
