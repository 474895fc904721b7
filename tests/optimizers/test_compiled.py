"""Machine code on disk is used while it is what the sources say, and never after."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from optimizers import compiled as ours

INNER = """
from pack.compiled import compiled

@compiled()
def scaled(x):
    return {factor} * x
"""
OUTER = """{lines}
from pack.constants import SHIFT
from pack.compiled import compiled
from pack.inner import (
    scaled,
)

@compiled()
def shifted(x):
    return scaled(x) + SHIFT
"""


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """A package with a kernel that takes a function and a constant from other files; call it as a new process would."""
    home = tmp_path / "pack"
    home.mkdir()
    (home / "__init__.py").touch()
    shutil.copy(ours.__file__, home / "compiled.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files change twice in a second here

    def call(x, *, factor=2, shift=0, lines=""):
        """The kernel's value, and how often the disk gave its code."""
        for name in [name for name in sys.modules if name.split(".")[0] == "pack"]:
            monkeypatch.delitem(sys.modules, name)
        (home / "constants.py").write_text(f"SHIFT = {shift}\n")
        (home / "inner.py").write_text(INNER.format(factor=factor))
        (home / "outer.py").write_text(OUTER.format(lines=lines))
        importlib.invalidate_caches()
        kernel = importlib.import_module("pack.outer").shifted
        return kernel(x), sum(kernel.stats.cache_hits.values())

    yield call
    for name in [name for name in sys.modules if name.split(".")[0] == "pack"]:
        del sys.modules[name]


def test_code_is_made_anew_when_what_it_calls_or_counts_with_changes_in_another_file(pack, tmp_path):
    assert pack(3) == (6, 0)
    assert pack(3) == (6, 1)
    assert pack(3, factor=5) == (15, 0)
    assert pack(3, factor=5, shift=1) == (16, 0)
    assert pack(3, factor=5, shift=1) == (16, 1)


def test_code_is_written_over_the_old_wherever_the_function_moved_to(pack, tmp_path):
    kept = []
    for lines in ("", "# one", "# one\n# two"):
        assert pack(4, lines=lines) == (8, 0)
        kept.append(sorted(path.name for path in (tmp_path / "pack" / "__pycache__").glob("*.nb?")))
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == 4


def test_without_any_folder_to_write_to_functions_are_compiled_all_the_same(monkeypatch):
    for locator in (ours.UserProvided, ours.InTree, ours.UserWide):
        monkeypatch.setattr(locator, "from_function", classmethod(lambda *_: None))

    @ours.compiled()
    def doubled(x):
        return 2 * x

    assert doubled(4) == 8
    assert doubled.stats.cache_path is None


def test_the_stamp_of_a_kernel_is_of_every_file_that_it_was_compiled_from():
    proof = ours.PACKAGE / "prices" / "proof.py"
    reach = {path.relative_to(ours.PACKAGE).as_posix() for path in ours._reach(proof)}
    assert {"prices/proof.py", "prices/nodes.py", "prices/kernels.py", "prices/relaxation.py"} <= reach
    assert ours.source_stamp(proof) != ours.source_stamp(ours.PACKAGE / "prices" / "kernels.py")


def test_no_kernel_is_kept_by_another_stamp():
    sources = [path for path in ours.PACKAGE.rglob("*.py") if path != Path(ours.__file__)]
    assert [path.name for path in sources if "import numba" in path.read_text(encoding="utf-8")] == []
