"""`offerwright serve`: one process that answers and keeps the clock, or a parent with several that answer."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click
from waitress.server import create_server  # type: ignore[import-untyped]

from api.app import create_app, kept_secret
from api.jobs import utc_now
from api.scheduler import JobClock
from engine.errors import ConfigurationError
from engine.settings import Settings
from engine.store import Store, open_store
from engine.store.accounts import LINK_HOURS

_log = logging.getLogger(__name__)
_THREADS = 8
_PATIENCE_SECONDS = 15
_RESTART_SECONDS = 1.0


def serve(settings: Settings, *, workers: int = 1) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: the address cannot be taken, or a schedule cannot be read.
        StorageError: the store's schema is behind, or it cannot be reached.
    """
    with open_store(settings.store_url, upgrade=True) as store, _listening(settings) as listener:
        kept_secret(settings)
        clock = JobClock(settings, store) if settings.jobs.enabled else None
        url = _url(settings, listener)
        click.echo(f"Offerwright listens on {url}")
        _invite_first_user(store, url)
        with _kept(clock):
            if workers == 1:
                answer(settings, store, listener)
            else:
                _keep_workers(settings, listener, workers)


def answer(settings: Settings, store: Store, listener: socket.socket) -> None:
    """Answer requests in this process until it is told to stop; open requests are finished."""
    app = create_app(settings, store)
    signal.signal(signal.SIGTERM, _stop)
    believe_proxy = settings.server.behind_proxy
    server = create_server(
        app, sockets=[listener], threads=_THREADS, ident="offerwright", clear_untrusted_proxy_headers=not believe_proxy
    )
    server.run()
    server.close()


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    host, port = settings.server.host, settings.server.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
    except OSError as error:
        raise ConfigurationError(
            f"server.host={host}, server.port={port}: cannot be listened on ({error.strerror}); choose another --port"
        ) from error
    with listener:
        yield listener


def _url(settings: Settings, listener: socket.socket) -> str:
    host = settings.server.host
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _invite_first_user(store: Store, url: str) -> None:
    """Print the way in while there is none: no default password ever exists."""
    if store.accounts.any_user():
        return
    token = store.accounts.first_link(now=utc_now())
    click.echo(f"Nobody can sign in yet. Create the first administrator (works once, within {LINK_HOURS} hours):")
    click.echo(f"  {url}/set-up/{token}")


@contextmanager
def _kept(clock: JobClock | None) -> Iterator[None]:
    """Let the clock run meanwhile."""
    if clock is None:
        yield
        return
    clock.start()
    try:
        yield
    finally:
        clock.stop()


def _keep_workers(settings: Settings, listener: socket.socket, count: int) -> None:
    """Keep `count` answering processes alive; stop them all on SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGTERM, _stop)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes = [_start_worker(settings, listener) for _ in range(count)]
        while True:
            time.sleep(_RESTART_SECONDS)
            for place, process in enumerate(processes):
                if process.poll() is not None:
                    _log.error("worker ended, starting another", extra={"status": process.returncode})
                    processes[place] = _start_worker(settings, listener)
    except (KeyboardInterrupt, SystemExit):
        return
    finally:
        _stop_workers(processes)


def _start_worker(settings: Settings, listener: socket.socket) -> subprocess.Popen[bytes]:
    descriptor = listener.fileno()
    command = [sys.executable, "-m", "api.worker", str(descriptor)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[descriptor])  # noqa: S603 - our own module
    assert process.stdin is not None  # noqa: S101 - we asked for the pipe
    with process.stdin as pipe:
        pipe.write(settings.model_dump_json().encode())
    return process


def _stop_workers(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
