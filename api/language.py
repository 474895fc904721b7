"""The languages of pages and reports: gettext catalogues, read from .po files so that nothing has to be compiled."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from string import Formatter
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from engine.proposal import Reason, readable

LANGUAGES = {"en": "English", "zh": "简体中文"}
NAMES = frozenset(
    (
        *("column", "columns", "missing", "present", "names", "metric", "segment", "table", "file", "variant"),
        *("offer", "product", "category", "experiment", "proposal", "person", "author"),
    )
)
"""Fields of sentences that hold names of columns, metrics, files, products and people, which stay as they are: "week"
and "units" are words of ours too, but a column is called what it is called."""
CATALOGUES = Path(__file__).parent / "translations"


@cache
def translations(language: str) -> NullTranslations:
    """The catalogue of a language; English, and any language without a catalogue, leaves the text as it is."""
    source = CATALOGUES / language / "LC_MESSAGES" / "messages.po"
    if not source.exists():
        return NullTranslations()
    compiled = io.BytesIO()
    with source.open("rb") as stream:
        write_mo(compiled, read_po(stream, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def say(reason: object, translate: Callable[[str], str]) -> str:
    """A reason, stored or in hand, in the language that `translate` speaks; plain text is looked up as it is."""
    if isinstance(reason, Reason):
        return _filled(reason.code, reason.values, translate)
    if isinstance(reason, Mapping) and "code" in reason:
        return _filled(str(reason["code"]), reason.get("values", {}), translate)
    # The empty text stands for the catalogue's own header.
    return translate(str(reason)) if reason else ""


def closed(sentence: str) -> str:
    """End a sentence with a full stop where it has none."""
    if not sentence or sentence[-1] in ".!?…。！？":
        return sentence
    return sentence + ("。" if any(sign > "\u2e7f" for sign in sentence) else ".")


def first_capital(sentence: str) -> str:
    """Begin a sentence with a capital letter where it stands between others."""
    return sentence[:1].upper() + sentence[1:]


def _filled(code: str, values: Mapping[str, Any], translate: Callable[[str], str]) -> str:
    """Fill a template; a value that is a word of ours, such as the name of a check, is translated too."""
    template, named = translate(code), _named(code)
    return template.format(
        **{name: readable(value) if name in named else _value(value, translate) for name, value in values.items()}
    )


@cache
def _named(code: str) -> frozenset[str]:
    """Fields of a template that hold somebody's name for a thing: those of NAMES, and whatever it quotes."""
    parts = Formatter().parse(code)
    quoted = {field for text, field, _, conversion in parts if field and (conversion == "r" or text.endswith("'"))}
    return NAMES | quoted


def _value(value: object, translate: Callable[[str], str]) -> object:
    return say(value, translate) if isinstance(value, str | Reason | Mapping) else readable(value)
