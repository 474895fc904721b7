"""`offerwright serve`: web pages, JSON API and scheduled jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from api.commands.options import example, with_settings

if TYPE_CHECKING:
    from engine.settings import Settings


@click.command(epilog=example("offerwright serve", "offerwright serve --host 0.0.0.0 --port 8080 --workers 2"))
@click.option("--host", help="Address to listen on [default: server.host].")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one [default: server.port].")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that answer.")
@with_settings
def serve(settings: Settings, host: str | None, port: int | None, workers: int) -> None:
    """Serve the pages and the JSON API, and run the scheduled jobs.

    While nobody can sign in, it prints a link through which the first administrator is created.
    """
    from api.server import serve as serve_until_stopped

    changes: dict[str, object] = {}
    if host is not None:
        changes["host"] = host
    if port is not None:
        changes["port"] = port
    serve_until_stopped(
        settings.model_copy(update={"server": settings.server.model_copy(update=changes)}), workers=workers
    )
