"""Who asks, and what they may do: a session cookie for people, a bearer token for programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from flask import Flask, abort, current_app, g, redirect, request, session, url_for
from flask_wtf.csrf import CSRFProtect
from werkzeug.wrappers import Response

from api.problems import wants_json
from api.words import tell
from engine.proposal import Reason
from engine.store import Account, Role

if TYPE_CHECKING:
    from datetime import datetime

    from engine.settings import Settings
    from engine.store import Store

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def the_store() -> Store:
    """Find the store of the application that answers."""
    return cast("Store", current_app.extensions["offerwright_store"])


def the_settings() -> Settings:
    """Find the settings of the application that answers."""
    return cast("Settings", current_app.extensions["offerwright_settings"])


def current_time() -> datetime:
    """Ask the application's clock."""
    return cast("datetime", current_app.extensions["offerwright_clock"]())


def current_account() -> Account | None:
    """Find out who asks, once for each request; None: nobody we know."""
    if not hasattr(g, "account"):
        g.account = _identify()
    return cast("Account | None", g.account)


def _identify() -> Account | None:
    token = _bearer()
    if token is not None:
        return the_store().accounts.token(token, now=current_time())
    signed_in = session.get("token")
    return the_store().accounts.session(signed_in, now=current_time()) if signed_in else None


def _bearer() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def needs(role: Role) -> Callable[[Callable[Arguments, Answer]], Callable[Arguments, Answer | Response]]:
    """Let only accounts with this role, or one above it, reach a view."""

    def decorate(view: Callable[Arguments, Answer]) -> Callable[Arguments, Answer | Response]:
        @functools.wraps(view)
        def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer | Response:
            account = current_account()
            if account is None:
                return _ask_to_sign_in()
            if not account.role.covers(role):
                abort(HTTPStatus.FORBIDDEN, tell(needs_role(role, account.role)))
            return view(*args, **kwargs)

        return guarded

    return decorate


def needs_role(role: Role, held: Role) -> Reason:
    """Say that a role does not reach far enough."""
    return Reason("This needs the role {role}; yours is {held}.", {"role": role.value, "held": held.value})


def _ask_to_sign_in() -> Response:
    if wants_json():
        abort(HTTPStatus.UNAUTHORIZED, "Send a bearer token (offerwright user token NAME), or sign in.")
    back = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for("pages.sign_in", next=back))


def asker() -> Account:
    """Name who asks, in a view behind `needs`."""
    account = current_account()
    assert account is not None, "only in views behind `needs`"  # noqa: S101 - a promise between these two functions
    return account


def protect_forms(app: Flask) -> None:
    """Refuse writes that another site sends with our visitor's cookie; a bearer token is never sent by accident."""
    csrf = CSRFProtect()
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    csrf.init_app(app)

    @app.before_request
    def _check() -> None:
        if request.method not in _SAFE and _bearer() is None:
            csrf.protect()


def local_path(target: str | None) -> str | None:
    """Allow a way back only within this site."""
    if target and target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable():
        return target
    return None
