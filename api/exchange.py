"""What every route of the JSON API needs: its place in OpenAPI, reading what was sent, answering a write once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeVar

from flask import Blueprint, Response, abort, request
from pydantic import BaseModel, ValidationError

from api.access import asker, current_time, the_store
from engine.errors import InputError, OfferwrightError
from engine.files import to_json
from engine.store import Answer, Role

LONGEST_PAGE = 1000
api = Blueprint("api", __name__, url_prefix="/api/v1")
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """What OpenAPI says about a route."""

    summary: str
    answer: type[BaseModel] | None
    role: Role | None = None
    query: tuple[tuple[str, dict[str, Any], str], ...] = ()
    """Name, JSON schema and description of each query parameter."""
    body: type[BaseModel] | None = None


OPERATIONS: dict[str, Operation] = {}
PAGING = (
    ("page", {"type": "integer", "minimum": 1, "default": 1}, "Which page."),
    ("size", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": 50}, "Items on a page."),
)


def described(operation: Operation) -> Callable[[View], View]:
    """Put a route into OpenAPI."""

    def decorate(view: View) -> View:
        OPERATIONS[f"{api.name}.{view.__name__}"] = operation
        return view

    return decorate


def once(work: Callable[[], Response]) -> Response:
    """Do a write, or repeat the answer it was given before under the same Idempotency-Key."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return work()
    if not 1 <= len(key) <= 255:
        abort(HTTPStatus.BAD_REQUEST, f"Idempotency-Key has {len(key)} characters; take 1 to 255.")
    return once_under(key, request.get_data(), work)


def once_under(key: str, sent: bytes, work: Callable[[], Response]) -> Response:
    """Do a write under a key of its caller, or repeat the answer it was given before to the same `sent`."""
    caller, answers = asker().name, the_store().answers
    asked = hashlib.sha256(request.full_path.encode() + b"\0" + sent).hexdigest()
    known = answers.claim(caller, key, asked, now=current_time())
    if known is not None:
        return Response(known.body, known.status, {"Idempotent-Replay": "true"}, mimetype="application/json")
    try:
        answer = work()
    except OfferwrightError:
        answers.release(caller, key)
        raise
    answers.remember(caller, key, Answer(answer.status_code, answer.get_data(as_text=True)))
    return answer


Read = TypeVar("Read", bound=BaseModel)


def body(model: type[Read]) -> Read:
    """Read the body of a request; nothing sent counts as {}.

    Raises:
        InputError: it is not JSON, or not what the operation takes.
    """
    sent = request.get_data() or b"{}"
    try:
        return model.model_validate_json(sent)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors())
        raise InputError(f"the request's body is refused: {faults}") from error


def paging() -> dict[Literal["page", "size"], int]:
    """Read page and size from the query."""
    return {"page": whole("page", 1, 10**9), "size": whole("size", 50, LONGEST_PAGE)}


def whole(name: str, default: int, most: int) -> int:
    """Read a whole number from the query, or refuse it."""
    text = request.args.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        abort(HTTPStatus.BAD_REQUEST, f"{name}={text!r} is refused; take a whole number from 1 to {most}.")
    return int(text)


def choice(name: str, allowed: Any, default: str | None) -> str | None:  # noqa: ANN401 - any collection of words
    """Read one of some words from the query, or refuse it."""
    text = request.args.get(name, default)
    if text is not None and text not in allowed:
        abort(HTTPStatus.BAD_REQUEST, f"{name}={text!r} is refused; take one of {', '.join(allowed)}.")
    return text


def model_answer(answer: BaseModel) -> Response:
    """Answer with a model."""
    return Response(answer.model_dump_json(), mimetype="application/json")


def json_answer(value: object) -> Response:
    """Answer with plain values."""
    return Response(to_json(value), mimetype="application/json")
