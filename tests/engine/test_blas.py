"""No digit depends on the number of processors."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from threadpoolctl import threadpool_info

from api import cycle
from engine.blas import VARIABLE, one_blas_thread
from engine.settings import load_settings

STARTED = """
import os, sys
from api import cli
cli.run_command = lambda arguments: print(os.environ.get("OPENBLAS_NUM_THREADS"), "numpy" in sys.modules) or 0
cli.main([])
"""


def threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_every_library_of_matrix_products_has_one_thread_in_the_block():
    before = threads()
    with one_blas_thread():
        within = threads()
    assert len(within) >= 2  # NumPy's and SciPy's
    assert set(within) == {1}
    assert threads()[: len(before)] == before


def test_a_cycle_runs_in_such_a_block(tmp_path, monkeypatch):
    found = []

    def plans(*_):
        found.extend(threads())
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.sources.open_shop", lambda *_: None)
    monkeypatch.setattr(cycle, "_plans", plans)
    with pytest.raises(KeyboardInterrupt):
        cycle.run_cycle(
            load_settings(None, [f"data.home={tmp_path}"]), now=datetime(2026, 1, 5, tzinfo=UTC), created_by="t"
        )
    assert set(found) == {1}


@pytest.mark.parametrize(("given", "told"), [(None, "1"), ("4", "4")])
def test_a_command_asks_for_it_before_anything_is_loaded_unless_somebody_decided_otherwise(given, told):
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment |= {VARIABLE: given} if given else {}
    done = subprocess.run([sys.executable, "-c", STARTED], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [told, "False"], done.stderr
