"""The languages of pages and reports: gettext catalogues, read from .po files so that nothing has to be compiled."""

from __future__ import annotations

import io
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

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


def sentence(reason: Reason, language: str) -> str:
    """A reason in the asked-for language."""
    return translations(language).gettext(reason.code).format(**reason.values)
