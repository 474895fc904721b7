"""A real `offerwright serve` in a process of its own, for the tests of server and browser."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

COMMAND = [sys.executable, "-c", "from api.cli import main; main()", "serve", "--port", "0"]


@dataclass
class Server:
    process: subprocess.Popen
    url: str
    link: str | None
    """The set-up link, if it printed one."""

    def stop(self):
        self.process.terminate()
        return self.process.wait(timeout=30)


@contextmanager
def serving(home, *arguments, expect_link=True):
    """Start a server whose home is `home`; stop it at the end, whatever happens."""
    command = [*COMMAND, "--set", f"data.home={home}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline()
        assert first.startswith("Offerwright listens on "), first + process.stderr.read()
        link = None
        if expect_link:
            process.stdout.readline()
            link = process.stdout.readline().strip()
        yield Server(process, first.split()[-1], link)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
