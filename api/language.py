"""The languages of pages and reports: gettext catalogues, read from .po files so that nothing has to be compiled."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from engine.proposal import Reason

LANGUAGES = {"en": "English", "zh": "简体中文"}
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


def _filled(code: str, values: Mapping[str, Any], translate: Callable[[str], str]) -> str:
    """Fill a template; a value that is a word of ours, such as the name of a check, is translated too."""
    return translate(code).format(**{name: _value(value, translate) for name, value in values.items()})


class _Missing:
    """A number that there is none of: a dash, however it was to be written."""

    def __format__(self, _spec: str) -> str:
        return "–"


class _Number(float):
    """A number that rounds to zero from below is plainly zero."""

    def __format__(self, spec: str) -> str:
        return format(0.0 if _rounds_to_zero(format(float(self), spec)) else float(self), spec)


def _rounds_to_zero(written: str) -> bool:
    return not any(digit in written for digit in "123456789")


def _value(value: object, translate: Callable[[str], str]) -> object:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _Missing()
    if isinstance(value, float) and math.isfinite(value):
        return _Number(value)
    return say(value, translate) if isinstance(value, str | Reason | Mapping) else value
