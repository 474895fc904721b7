"""A file is replaced whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from engine.errors import StorageError
from engine.files import (
    atomic_file,
    atomic_folder,
    atomic_texts,
    plain,
    require_writable,
    to_json,
    write_json,
    write_private,
    write_text,
)
from engine.proposal import State


def strays(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_file_is_written_with_its_folders(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "grün\n价格\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "grün\n价格\n".encode()
    assert strays(tmp_path / "a") == []


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("half way"), KeyboardInterrupt()]
)
def test_a_failure_half_way_leaves_the_former_file(tmp_path, error):
    path = tmp_path / "prices.csv"
    write_text(path, "former")
    with pytest.raises((StorageError, ValueError, KeyboardInterrupt)) as caught, atomic_file(path) as temporary:
        temporary.write_text("ha")
        raise error
    assert path.read_text() == "former"
    assert strays(tmp_path) == []
    if isinstance(error, OSError):
        assert isinstance(caught.value, StorageError)
        assert "prices.csv" in str(caught.value)
        assert "No space left" in str(caught.value)


def test_a_disk_that_refuses_is_told_as_such(tmp_path):
    code = (
        "import resource, signal, sys; from pathlib import Path; from engine.files import write_text;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "write_text(Path(sys.argv[1]), 'x' * 5000)"
    )
    path = tmp_path / "limited.txt"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, capture_output=True, text=True)
    assert "StorageError" in done.stderr
    assert "limited.txt: not written" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "big.txt"
    write_text(path, "0" * 300_000)
    code = (
        "import sys, itertools; from pathlib import Path; from engine.files import write_text\n"
        "for i in itertools.count():\n    write_text(Path(sys.argv[1]), str(i % 10) * 300_000)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
    deadline = time.monotonic() + 30
    seen = set()
    while len(seen) < 4 and time.monotonic() < deadline:
        content = path.read_text()
        assert len(content) == 300_000
        assert len(set(content)) == 1
        seen.add(content[0])
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert len(seen) == 4, "the writer never got going"
    assert len(set(path.read_text())) == 1


def test_a_folder_is_replaced_whole(tmp_path):
    shop = tmp_path / "shop"
    for content in ("one", "two"):
        with atomic_folder(shop) as temporary:
            (temporary / "sub").mkdir()
            (temporary / "sub" / "a.txt").write_text(content)
        assert (shop / "sub" / "a.txt").read_text() == content
    with pytest.raises(ValueError, match="half"), atomic_folder(shop) as temporary:
        (temporary / "a.txt").write_text("three")
        raise ValueError("half way")
    assert [path.name for path in shop.rglob("*")] == ["sub", "a.txt"]
    assert strays(tmp_path) == []


def test_a_private_file_is_made_once_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "secret.key"
    assert write_private(path, b"first")
    assert not write_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert strays(path.parent) == []


@dataclass(frozen=True)
class Record:
    values: np.ndarray
    state: State
    at: datetime


def test_any_record_becomes_plain_json(tmp_path):
    record = Record(np.array([1.5, math.nan, math.inf]), State.DRAFT, datetime(2026, 1, 2, tzinfo=UTC))
    value = {"r": record, 3: (np.int64(4), np.bool_(True)), "p": Path("a/b"), "s": {"b", "a"}}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "r": {"values": [1.5, None, None], "state": "draft", "at": "2026-01-02T00:00:00+00:00"},
        "3": [4, True],
        "p": "a/b",
        "s": ["a", "b"],
    }
    assert to_json({"价": 1}) == '{"价": 1}'
    with pytest.raises(TypeError, match="object"):
        plain(object())


def test_of_several_files_all_are_written_or_none(tmp_path):
    write_text(tmp_path / "a.txt", "former")
    with pytest.raises(ValueError, match="half way"), atomic_texts(tmp_path, {"a.txt": "new", "b.txt": "new"}):
        assert (tmp_path / "a.txt").read_text() == "former"
        raise ValueError("half way")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "former"
    with atomic_texts(tmp_path, {"a.txt": "new", "价格.txt": "grün"}):
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "new", "价格.txt": "grün"}


def test_a_disk_that_takes_the_first_file_only_keeps_none(tmp_path):
    code = (
        "import resource, signal, sys; from pathlib import Path; from engine.files import atomic_texts;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "atomic_texts(Path(sys.argv[1]), {'small.csv': 'x', 'large.html': 'x' * 5000}).__enter__()"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, text=True)
    assert "large.html: not written" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_files_is_told_beforehand(tmp_path, monkeypatch):
    require_writable(tmp_path / "not" / "there" / "yet")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"out: not written .*file is a file"):
        require_writable(tmp_path / "file" / "out")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(StorageError, match="cannot be written to"):
        require_writable(tmp_path / "out")
    assert not (tmp_path / "out").exists()
