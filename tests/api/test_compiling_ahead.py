"""Kernels compile beside a cycle: never a second time, never after it, and never to its harm."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from api import ahead, cycle
from api.ahead import Ahead, compiling_ahead
from api.beside import Beside
from engine.settings import load_settings
from engine.simulation import simulate_shop
from optimizers import compiling
from optimizers.compiled import source_stamp
from optimizers.prices import moves

# A cycle after `compile_kernels` in one process: what types it brings besides is what the little problems missed.
MISSED = """
import sys
from optimizers.compiling import LONGEST, compile_kernels
compile_kernels()
before = [len(kernel.signatures) for kernel in LONGEST]
assert min(before) > 0, before
from api.price_choice import price_choice
from api.price_stage import pose_prices
from engine.progress import Stopwatch
from engine.settings import load_settings
from engine.sources import open_shop
settings = load_settings(None, sys.argv[2:])
posed = pose_prices(open_shop(sys.argv[1], settings), settings, Stopwatch())
assert price_choice(posed.rules, settings).choose(posed.problem, gap=1e-4, seconds=30).plan.bound > 0
for kernel, count in zip(LONGEST, before):
    print(kernel.py_func.__name__, kernel.signatures[count:])
"""


def sleeping(seconds=60):
    """A process in the place of the one that compiles."""
    return Ahead(subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"], stdin=subprocess.PIPE))


def test_a_cycle_brings_no_types_that_were_not_compiled_ahead(tmp_path):
    shop = tmp_path / "shop"
    simulate_shop(shop, seed=3, scenario="default", products=12, weeks=60, customers=60, categories=3)
    sets = [f"data.home={tmp_path}", "demand.trees=20", "demand.draws=60", "demand.min_weeks_sold=8"]
    command = [sys.executable, "-c", MISSED, str(shop), *sets]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()[-len(compiling.LONGEST) :]
    assert told == [f"{kernel.py_func.__name__} []" for kernel in compiling.LONGEST]


def test_a_kernel_is_compiled_when_the_disk_holds_it_as_its_source_is_now(tmp_path, monkeypatch):
    class Kernel:
        py_func = moves.improve.py_func

        class stats:  # noqa: N801 - as numba spells it
            cache_path = str(tmp_path)

    monkeypatch.setattr(compiling, "LONGEST", (Kernel,))
    assert not compiling.kernels_compiled()
    index = tmp_path / "moves.improve-kernel.py311.nbi"
    index.write_bytes(b"other" + b"0" * 64)
    assert not compiling.kernels_compiled()
    index.write_bytes(b"some" + source_stamp(Path(moves.__file__)).encode() + b"more")
    assert compiling.kernels_compiled()
    monkeypatch.setattr(Kernel.stats, "cache_path", None)  # no folder could keep it
    assert compiling.kernels_compiled()
    monkeypatch.setattr(compiling, "LONGEST", (moves.improve.py_func,))  # NUMBA_DISABLE_JIT
    assert compiling.kernels_compiled()


def test_nothing_is_started_where_the_kernels_are_there(monkeypatch):
    monkeypatch.setattr(compiling, "kernels_compiled", lambda: True)
    monkeypatch.setattr(subprocess, "Popen", None)
    with compiling_ahead() as found:
        assert not found.busy
        found.wait()


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, SystemExit])
def test_the_process_ends_with_the_cycle_however_that_ends(monkeypatch, error):
    started = sleeping()
    monkeypatch.setattr(compiling, "kernels_compiled", lambda: False)
    monkeypatch.setattr(ahead, "_start", lambda: started._process)
    with pytest.raises(error or ZeroDivisionError), compiling_ahead() as found:
        assert found.busy
        raise error or ZeroDivisionError
    assert started._process.returncode is not None


def test_the_process_ends_when_its_caller_is_killed():
    """`python -m optimizers.compiling` with its standard input closed, as the system does for the dead."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import optimizers.compiling as c, threading, time\n"
            "threading.Thread(target=c._end_with_the_caller, daemon=True).start()\ntime.sleep(60)",
        ],
        stdin=subprocess.PIPE,
    )
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=30) == 1


def test_a_process_that_fails_hangs_or_cannot_start_is_no_harm(monkeypatch):
    failed = Ahead(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], stdin=subprocess.PIPE))
    failed.wait()
    assert not failed.busy
    failed.stop()
    hanging, begun = sleeping(), time.perf_counter()
    hanging.wait(seconds=0.1)
    assert time.perf_counter() - begun < 10
    hanging.stop()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(compiling, "kernels_compiled", lambda: False)
    with compiling_ahead() as none:
        assert not none.busy


def test_prices_wait_for_their_kernels_while_coupons_are_decided(monkeypatch):
    told = []

    class Busy(Ahead):
        busy = True

        def wait(self, seconds=0.0):
            told.append("wait")

    monkeypatch.setattr(cycle, "_posed_prices", lambda *_: told.append("pose") or ("posed", None))
    monkeypatch.setattr(cycle, "_coupon_part", lambda *_: told.append("coupons"))
    monkeypatch.setattr(cycle, "_price_part", lambda *_: told.append("prices"))
    from engine.progress import Stopwatch

    watch = Stopwatch()
    cycle._plans(None, load_settings(None, []), watch, ("prices", "coupons"), Busy(), Beside())
    assert told == ["pose", "coupons", "wait", "prices"]
    assert "compile" in watch.seconds
    cycle._plans(None, load_settings(None, []), watch, ("coupons",), Ahead(), Beside())
    assert told[4:] == ["coupons"]
