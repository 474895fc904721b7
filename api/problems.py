"""Errors as HTTP answers: problem+json (RFC 9457) for programs, a page for people."""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Flask, Response, g, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from engine.errors import (
    ConflictError,
    InfeasibleError,
    InputError,
    NotFoundError,
    OfferwrightError,
    StateError,
    UnsolvedError,
)
from engine.errors import StorageError as StoreError
from engine.files import to_json
from engine.proposal import N_, Reason, Sentence, english

STALE_FORM = "The form is too old or was sent from elsewhere: {why}"
UNFORESEEN = N_("This was not foreseen; the log has the whole story.")
PLAIN = {
    400: N_("The browser sent what this page does not understand."),
    404: N_("There is no such page."),
    405: N_("This page cannot be used in that way."),
    413: N_("What was sent is too large."),
    500: UNFORESEEN,
}
"""What a page says where nothing more is known; by status."""
_log = logging.getLogger(__name__)
_STATUS: tuple[tuple[type[OfferwrightError], HTTPStatus], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (StateError, HTTPStatus.CONFLICT),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InfeasibleError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UnsolvedError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def wants_json() -> bool:
    """Whether a program asks."""
    return request.path.startswith("/api/")


def answer_problem(status: int, detail: Sentence) -> Response:
    """Say what went wrong, in the form that the asker reads: a page in his language, problem+json in English."""
    phrase = HTTPStatus(status).phrase
    if not wants_json():
        known = hasattr(g, "language")
        page = render_template("pages/problem.html", status=status, phrase=phrase, detail=detail) if known else None
        page = english(detail) if page is None else page
        return Response(page, status, mimetype="text/html" if known else "text/plain")
    body = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": english(detail),
        "instance": request.path,
    }
    answer = Response(to_json(body), status, mimetype="application/problem+json")
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def status_of(error: OfferwrightError) -> HTTPStatus:
    """HTTP status of one of our errors."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def register_problems(app: Flask) -> None:
    """Let every error leave the application in a readable form."""

    @app.errorhandler(OfferwrightError)
    def _ours(error: OfferwrightError) -> Response:
        return answer_problem(status_of(error), error.sentence)

    @app.errorhandler(CSRFError)
    def _stale_form(error: CSRFError) -> Response:
        values = {"why": error.description or ""}
        return answer_problem(HTTPStatus.BAD_REQUEST, Reason(STALE_FORM, values))

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        plain = error.description == type(error).description and not wants_json()
        detail = PLAIN.get(error.code or 500, "") if plain else error.description or ""
        answer = answer_problem(error.code or 500, detail)
        if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers["Allow"] = ", ".join(getattr(error, "valid_methods", None) or ())
        return answer

    @app.errorhandler(Exception)
    def _unforeseen(error: Exception) -> Response:
        _log.error("unforeseen error", exc_info=error, extra={"route": str(request.url_rule)})
        return answer_problem(HTTPStatus.INTERNAL_SERVER_ERROR, UNFORESEEN)
