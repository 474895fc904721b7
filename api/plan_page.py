"""A page for one plan: sentences, a plot, a table, in both languages and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from api.language import LANGUAGES, translations
from api.report import environment
from engine.proposal import Sentence

Words = Callable[[str], str]


@dataclass(frozen=True)
class Section:
    """One part of the page; what is empty is left out."""

    title: Sentence = ""
    sentences: tuple[Sentence, ...] = ()
    draw: Callable[[Words], str] | None = None
    """Draws the plot in a language, as SVG."""
    header: tuple[Sentence, ...] = ()
    rows: Sequence[Sequence[str]] = ()
    labels: int = 1
    """Columns of text, which stand left."""


def render_plan_page(title: Sentence, sections: Sequence[Section], *, language: str = "en") -> str:
    """The whole page as HTML.

    Args:
        title: its heading.
        sections: its parts, in order.
        language: which of the two languages is shown first; the page has a switch.
    """
    bodies = {name: _body(title, sections, name) for name in LANGUAGES}
    page = environment("en").get_template("report.html")
    return page.render(title="Offerwright", bodies=bodies, languages=LANGUAGES, first=language)


def _body(title: Sentence, sections: Sequence[Section], language: str) -> str:
    words = translations(language).gettext
    drawn: list[dict[str, Any]] = [
        {**vars(section), "svg": section.draw(words) if section.draw else ""} for section in sections
    ]
    return environment(language).get_template("plan_body.html").render(title=title, sections=drawn)
