"""A signal in the middle of a library's callback neither crashes the process nor is it lost."""

import ctypes
import signal
import threading

import numpy as np
import pytest

from engine.demand import level
from engine.demand.level import LevelOptions
from engine.interrupts import uninterrupted
from engine.settings import load_settings

CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int)


@pytest.fixture
def terminating():
    """SIGTERM as the command handles it, and Ctrl-C as in the foreground: what runs in the background ignores it."""

    def terminate(_number, _frame):
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, terminate), signal.signal(signal.SIGINT, signal.default_int_handler)
    yield terminate
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_it_waits_for_the_end_of_the_block(terminating, number, error):
    reached = []

    def called_back():
        signal.raise_signal(number)
        reached.append("callback")
        return 0

    with pytest.raises(error), uninterrupted():
        CALLBACK(called_back)()
        reached.append("block")
    assert reached == ["callback", "block"]
    assert signal.getsignal(signal.SIGTERM) is terminating


def test_elsewhere_and_without_a_signal_nothing_changes(terminating):
    seen = []

    def look():
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [terminating]
    with pytest.raises(ValueError, match="own"), uninterrupted():
        raise ValueError("own")
    assert signal.getsignal(signal.SIGTERM) is terminating


def test_trees_are_stopped_by_a_signal_that_comes_while_their_matrix_is_built(terminating, monkeypatch):
    import xgboost

    build = xgboost.QuantileDMatrix

    def stopped(*args, **named):
        signal.raise_signal(signal.SIGTERM)
        return build(*args, **named)

    monkeypatch.setattr(xgboost, "QuantileDMatrix", stopped)
    monkeypatch.setattr(xgboost, "train", lambda *_: pytest.fail("went on"))
    values = np.random.default_rng(1).random((50, 2), dtype=np.float32)
    with pytest.raises(SystemExit):
        level._boost(values, np.zeros(50), np.ones(50), ("a", "b"), load_settings(None, []), LevelOptions(), 1)
