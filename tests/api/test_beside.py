"""A second process takes part of a cycle's work: same answers, nobody idle, and no harm where it fails."""

import operator
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from api import beside as beside_module
from api.beside import LEAST_CELLS, Beside, working_beside
from api.heldout import answer_half
from engine.blas import one_blas_thread
from engine.panel import build_panel
from engine.settings import load_settings
from engine.simulation import simulate_shop
from engine.sources import open_shop

WORKER_OF_A_CALLER = """
import sys, time
from api.beside import LEAST_CELLS, Beside
beside = Beside(allowed=True)
beside.open(LEAST_CELLS)
beside.ask(time.sleep, 600)
print(beside._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def two():
    found = Beside(allowed=True)
    found.open(LEAST_CELLS)
    yield found
    found.close()


def there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def handed_over(beside, asked):
    begun = time.monotonic()
    while asked in beside._waiting and time.monotonic() - begun < 60:
        time.sleep(0.01)
    return asked


def test_the_second_process_answers_and_what_fails_there_fails_here(two):
    assert handed_over(two, two.ask(os.getpid)).answer() == two._process.pid
    with pytest.raises(ZeroDivisionError):
        handed_over(two, two.ask(operator.truediv, 1, 0)).answer()


def test_answers_are_the_same_here_and_beside_and_so_are_errors(two):
    for found in (two, Beside()):
        sums = [found.ask(operator.add, k, 0.1) for k in range(20)]
        broken = found.ask(operator.truediv, 1, 0)
        assert [asked.answer() for asked in reversed(sums)] == [k + 0.1 for k in reversed(range(20))]
        assert sums[0].answer() == 0.1
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                broken.answer()


def test_the_second_process_takes_the_first_and_this_one_the_last(two):
    handed_over(two, two.ask(time.sleep, 600))
    here, last = two.ask(os.getpid), two.ask(os.getpid)
    assert two.take_last() is last
    last.find_here()
    assert here.answer() == last.answer() == os.getpid()
    two.close()
    assert not two._thread.is_alive()
    assert two._process.returncode is not None


def test_a_second_process_that_dies_is_no_harm(two):
    lost = handed_over(two, two.ask(time.sleep, 0.5))
    two._process.kill()
    assert lost.answer() is None
    asked = [two.ask(operator.add, k, 1) for k in range(5)]
    assert [each.answer() for each in asked] == [1, 2, 3, 4, 5]


def test_what_cannot_be_handed_over_is_found_here(two):
    assert two.ask(lambda: 7).answer() == 7
    assert two.ask(operator.add, 1, 1).answer() == 2


def test_it_is_not_started_for_little_or_where_one_processor_is_allowed(monkeypatch):
    monkeypatch.setattr(beside_module, "_start", None)
    settings = load_settings(None, ["data.threads=1"])
    with working_beside(settings) as one:
        one.open(LEAST_CELLS)
        assert one.share(settings) is settings
    little = Beside(allowed=True)
    little.open(LEAST_CELLS - 1)
    assert little.ask(operator.add, 1, 1).answer() == 2
    monkeypatch.setattr(beside_module, "_processors", lambda: 1)
    with working_beside(load_settings(None, ["data.threads=2"])) as lone:
        lone.open(LEAST_CELLS)
        assert lone._process is None


def test_it_ends_when_its_caller_is_killed():
    caller = subprocess.Popen([sys.executable, "-c", WORKER_OF_A_CALLER], stdout=subprocess.PIPE, text=True)
    worker = int(caller.stdout.readline())
    assert there(worker)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    caller.stdout.close()
    begun = time.monotonic()
    while there(worker) and time.monotonic() - begun < 60:
        time.sleep(0.05)
    assert not there(worker)


def test_what_a_cycle_asks_is_answered_by_the_same_digits(two, tmp_path):
    simulate_shop(tmp_path / "shop", seed=3, scenario="default", products=12, weeks=40, customers=60, categories=3)
    settings = load_settings(None, [f"data.home={tmp_path}", "demand.draws=50"])
    panel = build_panel(open_shop(str(tmp_path / "shop"), settings), settings)
    response = handed_over(two, two.ask(answer_half, panel, two.share(settings), None)).answer()
    with one_blas_thread():
        here = answer_half(panel, settings, None)
    for own, other in ((here.blind, response.blind), (here.told, response.told)):
        assert own.channel_mean.tobytes() == other.channel_mean.tobytes()
        drawn = [each.joint_draws(60, np.random.default_rng(1)).own.tobytes() for each in (own, other)]
        assert drawn[0] == drawn[1]
