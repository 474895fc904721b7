"""The Flask application: `create_app(settings, store)` joins pages, JSON API, access and metrics."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus

from flask import Flask, Request, Response, g, request
from flask.sessions import SecureCookieSessionInterface
from werkzeug.middleware.proxy_fix import ProxyFix

from api import (  # noqa: F401 - they put their routes on the blueprint
    bandit_api,
    experiment_api,
    experiment_pages,
    frontier_api,
    frontier_pages,
    json_api,
    week_api,
    week_pages,
)
from api.access import protect_forms, the_store
from api.exchange import api
from api.frontier_process import FrontierProcesses
from api.health import health
from api.jobs import utc_now
from api.metrics import RequestMetrics
from api.pages import pages
from api.problems import register_problems
from api.words import set_up_words
from engine.files import write_private
from engine.settings import Settings
from engine.store import Store

_log = logging.getLogger("api.access")
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_LARGEST_REQUEST = 1_000_000


class _SessionCookie(SecureCookieSessionInterface):
    """Marks the cookie as Secure whenever the visitor came over https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Ask the request, which knows what a believed proxy said."""
        return request.is_secure


def create_app(
    settings: Settings, store: Store, *, clock: Callable[[], datetime] = utc_now, secret_key: bytes | None = None
) -> Flask:
    """Build the application.

    Args:
        settings: of the process.
        store: opened; the application does not close it.
        clock: tells the time (UTC).
        secret_key: signs the session cookie; None: the one kept in `data.home`, made at first use.

    Raises:
        StorageError: the key can neither be read nor written.
    """
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secret_key or kept_secret(settings),
        SESSION_COOKIE_NAME="offerwright",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=settings.server.session_hours),
        MAX_CONTENT_LENGTH=_LARGEST_REQUEST,
        WTF_CSRF_TIME_LIMIT=None,
    )
    app.session_interface = _SessionCookie()
    app.extensions["offerwright_settings"] = settings
    app.extensions["offerwright_store"] = store
    app.extensions["offerwright_clock"] = clock
    app.extensions["offerwright_metrics"] = RequestMetrics()
    app.extensions["offerwright_start_frontiers"] = FrontierProcesses(settings).start
    if settings.server.behind_proxy:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    _register(app)
    return app


def _register(app: Flask) -> None:
    app.before_request(_start_clock)
    set_up_words(app)
    protect_forms(app)
    register_problems(app)
    app.register_blueprint(health)
    app.register_blueprint(api)
    app.register_blueprint(pages)
    app.after_request(_add_headers)
    app.after_request(_observe)


def kept_secret(settings: Settings) -> bytes:
    """Read the key that signs sessions from `data.home`; make it, readable by its owner only, if there is none.

    Raises:
        StorageError: it cannot be written.
    """
    path = settings.home / "secret.key"
    write_private(path, secrets.token_bytes(32))
    return path.read_bytes()


def _start_clock() -> None:
    g.began = time.perf_counter()


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


def _observe(response: Response) -> Response:
    """Count and log the request by its route: never by its path, which may hold a token."""
    route = _route(request, response)
    seconds = time.perf_counter() - g.get("began", time.perf_counter())
    metrics: RequestMetrics = current_metrics()
    metrics.observe(route, request.method, response.status_code, seconds)
    fields = {"route": route, "method": request.method, "status": response.status_code, "ms": round(1000 * seconds, 1)}
    _log.info("answered", extra=fields)
    return response


def _route(asked: Request, response: Response) -> str:
    if asked.url_rule is None or response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return "unknown"
    return asked.url_rule.rule


def current_metrics() -> RequestMetrics:
    """Find the metrics of the application that answers."""
    from flask import current_app

    metrics: RequestMetrics = current_app.extensions["offerwright_metrics"]
    return metrics


__all__ = ["create_app", "kept_secret", "the_store"]
