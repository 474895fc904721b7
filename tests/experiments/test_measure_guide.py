"""The examples of the measurement guide run, in order, and print what the page says."""

import io
import re
import warnings
from contextlib import redirect_stdout
from pathlib import Path

from experiments.measure.metrics import KINDS
from experiments.trust import __file__ as trust_package

GUIDE = Path(__file__).parents[2] / "docs" / "experiments-measure.md"
TEXT = GUIDE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_examples_print_what_the_page_says():
    names = {}
    for number, block in enumerate(BLOCKS):
        printed = io.StringIO()
        with redirect_stdout(printed), warnings.catch_warnings():
            exec(compile(block, f"{GUIDE.name}, block {number + 1}", "exec"), names)  # noqa: S102 - the page is ours
        assert printed.getvalue().splitlines() == re.findall(r"^# (.*)$", block, re.MULTILINE)
    assert len(BLOCKS) >= 5


def test_every_kind_of_metric_and_every_check_is_on_the_page():
    assert all(f"| `{kind.__name__}` |" in TEXT for kind in KINDS.values())
    sources = "".join(file.read_text(encoding="utf-8") for file in Path(trust_package).parent.glob("*.py"))
    names = re.findall(r'Check\("(\w+)"|f"(\w+):\{|^            "(\w+)",$', sources, re.MULTILINE)
    for name in {next(filter(None, found)) for found in names}:
        assert f"`{name}" in TEXT, name
