"""The sentences that people read, found in the code and the templates: what a catalogue has to translate.

``python -m docs.messages`` brings the Chinese catalogue up to date; a test fails while a sentence has no translation.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from api.language import CATALOGUES
from engine.proposal import State
from engine.store import Role
from engine.store.experiments import ExperimentState

ROOT = Path(__file__).parent.parent
_PACKAGES = ("engine", "optimizers", "experiments", "api")
_WORD_FUNCTIONS = frozenset({"Reason", "N_", "word", "words"})
"""Functions whose first argument is read by people."""

_PAGE_STATUSES = (400, 403, 404, 405, 409, 413, 422, 429, 500, 503)
_VALUES = (
    *("better", "worse", "undecided", "untrustworthy"),
    *("code", "configuration", "data", "plan", "seed"),
)


def find_messages() -> dict[str, list[str]]:
    """Find every message, with the files that hold it, in order."""
    found: dict[str, list[str]] = {}
    for message, place in sorted([*_in_code(), *_in_templates(), *_in_words()]):
        places = found.setdefault(message, [])
        if place not in places:
            places.append(place)
    return found


def update_catalogue(language: str) -> list[str]:
    """Add new messages to a catalogue and drop what nobody says any more.

    Returns:
        The messages that have no translation yet.
    """
    path = CATALOGUES / language / "LC_MESSAGES" / "messages.po"
    known = read_catalogue(language)
    about = "# Sentences of Offerwright in another language; brought up to date by docs/messages.py."
    catalogue = Catalog(locale=language, header_comment=about, fuzzy=False, charset="utf-8")
    for message, places in find_messages().items():
        catalogue.add(message, known.get(message, ""), locations=[(place, 0) for place in places])
    text = BytesIO()
    write_po(text, catalogue, width=120, omit_header=False, include_lineno=False, sort_output=True)
    kept = re.sub(
        rb'"(POT-Creation-Date|PO-Revision-Date|Project-Id-Version|Report-Msgid-Bugs-To|Last-Translator|Language-Team'
        rb'|Generated-By):.*?\\n"\n',
        b"",
        text.getvalue(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(kept)
    return [message for message in find_messages() if not known.get(message)]


def read_catalogue(language: str) -> dict[str, str]:
    """Read the translations of a language, by message."""
    path = CATALOGUES / language / "LC_MESSAGES" / "messages.po"
    if not path.exists():
        return {}
    with path.open("rb") as stream:
        return {str(message.id): str(message.string) for message in read_po(stream, locale=language) if message.id}


def _in_code() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = _constants(tree)
            for node in ast.walk(tree):
                for message in _spoken(node, names):
                    yield message, str(path.relative_to(ROOT))


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Collect what the module's own names stand for, so that ``Reason(HELD)`` is understood."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _spoken(node: ast.AST, names: Mapping[str, ast.expr]) -> Iterator[str]:
    """Yield the messages of a call such as ``Reason("…")``; both branches of a choice between two."""
    if isinstance(node, ast.Call) and node.args:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _WORD_FUNCTIONS:
            yield from _texts(node.args[0], names)


def _texts(node: ast.AST, names: Mapping[str, ast.expr]) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body, names)
        yield from _texts(node.orelse, names)
    elif isinstance(node, ast.Name) and node.id in names:
        yield from _texts(names[node.id], {})
    elif isinstance(node, ast.Subscript):
        yield from _texts(node.value, names)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _texts(value, {})


def _in_templates() -> Iterator[tuple[str, str]]:
    options = {"newstyle_gettext": "false", "trimmed": "false"}
    for path in sorted((ROOT / "api" / "templates").rglob("*.html")):
        with path.open("rb") as stream:
            for _, message, _, _ in extract("jinja2.ext:babel_extract", stream, options=options):
                yield str(message if isinstance(message, str) else message[0]), str(path.relative_to(ROOT))


def _in_words() -> Iterator[tuple[str, str]]:
    """Yield the words that are values, not texts: states, roles, decisions, names of checks and fingerprints."""
    for value in [*State, *Role, *ExperimentState]:
        yield value.value.replace("_", " "), "engine/proposal.py"
    for status in _PAGE_STATUSES:
        yield HTTPStatus(status).phrase, "api/problems.py"
    for word in _VALUES:
        yield word, "docs/messages.py"


if __name__ == "__main__":
    for untranslated in update_catalogue("zh"):
        print(f"not translated yet: {untranslated}")
