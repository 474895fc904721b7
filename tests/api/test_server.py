"""`offerwright serve` answers, lets the first administrator in by a link of its own, and leaves cleanly."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from serving import COMMAND, serving
from store_examples import NOW, PASSWORD

from engine.store import open_store


def fetch(url):
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own server
        return answer.status, answer.read().decode(), answer.headers


@pytest.mark.parametrize("workers", [1, 2])
def test_it_answers_and_stops_when_told(tmp_path, workers):
    with serving(tmp_path, "--workers", str(workers)) as server:
        for path in ("/healthz", "/readyz", "/sign-in", "/static/style.css"):
            assert fetch(server.url + path)[0] == 200
        assert "first administrator" in fetch(server.link)[1]
        assert server.stop() == 0
        with pytest.raises(OSError, match="refused"):
            fetch(server.url + "/healthz")
        logged = server.process.stderr.read().splitlines()
    records = [json.loads(line) for line in logged]
    assert any(record.get("route") == "/healthz" for record in records)
    assert not any(server.link.rpartition("/")[2] in line for line in logged)


def test_a_lost_worker_is_replaced(tmp_path):
    with serving(tmp_path, "--workers", "2") as server:
        fetch(server.url + "/healthz")
        for child in children(server.process.pid):
            subprocess.run(["kill", "-9", str(child)], check=True)
        assert fetch(server.url + "/healthz")[0] == 200


def children(pid):
    """Processes that a process started, as Linux tells."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_link_is_printed_only_while_nobody_can_sign_in(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'offerwright.db'}", upgrade=True) as store:
        store.accounts.use_link(store.accounts.first_link(now=NOW), name="ana", password=PASSWORD, now=NOW)
    with serving(tmp_path, expect_link=False) as server:
        fetch(server.url + "/healthz")
        server.stop()
        assert server.process.stdout.read() == ""


def test_a_port_that_is_taken_is_refused_by_name(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [*COMMAND[:-1], port, "--set", f"data.home={tmp_path}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"server.port={port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_schedule_that_cannot_be_read_is_refused_before_anything_is_said(tmp_path):
    command = [*COMMAND, "--set", f"data.home={tmp_path}", "--set", "jobs.reoptimise=x"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "jobs.reoptimise" in done.stderr
    assert done.stdout == ""
