"""The language of a page: chosen by the visitor, else by their browser, else by the settings; and how numbers look."""

from __future__ import annotations

import math
from typing import Any

from flask import Flask, current_app, g, request

from api import language
from api.language import LANGUAGES, closed, first_capital, translations
from api.problems import wants_json
from api.report import money, part, percent
from engine.proposal import Sentence, english

COOKIE = "offerwright_language"


def choose_language() -> str:
    """Choose the language of this answer."""
    asked = request.cookies.get(COOKIE)
    if asked in LANGUAGES:
        return asked
    default: str = current_app.extensions["offerwright_settings"].server.language
    return request.accept_languages.best_match(list(LANGUAGES), default) or default


def word(message: str) -> str:
    """Translate a message into the language of this answer."""
    return translations(g.language).gettext(message)


def say(reason: object) -> str:
    """Write a reason, stored or in hand, in the language of this answer; plain text stays as it is."""
    return language.say(reason, word)


def tell(reason: Sentence) -> str:
    """Write a reason for whoever asks: English for a program, the language of this answer for a person."""
    return english(reason) if wants_json() or "language" not in g else say(reason)


def set_up_words(app: Flask) -> None:
    """Give every template `_`, `say` and the number formats."""
    app.before_request(_remember_language)
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    # Old style: there a per cent sign in a message is only a per cent sign.
    app.jinja_env.install_gettext_callables(word, _plural, newstyle=False)  # type: ignore[attr-defined]
    app.jinja_env.filters.update(
        money=money, percent=percent, number=_number, closed=closed, first_capital=first_capital, part=part
    )
    app.jinja_env.globals.update(say=say, languages=LANGUAGES)
    app.context_processor(_language)


def _remember_language() -> None:
    g.language = choose_language()


def _plural(singular: str, plural: str, count: int) -> str:
    return translations(g.language).ngettext(singular, plural, count)


def _language() -> dict[str, Any]:
    return {"language": g.language, "html_language": "zh-CN" if g.language == "zh" else "en"}


def _number(value: float | None, digits: int = 2) -> str:
    """Write a number with its digits after the point; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:,.{digits}f}"
