"""Bring the Chinese catalogue up to date with the sentences in code and templates: ``python -m docs.generate``.

New sentences appear with an empty translation, which a test reports; sentences that are gone are dropped.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from babel.messages.frontend import CommandLineInterface

ROOT = Path(__file__).resolve().parent.parent
CATALOGUES = ROOT / "api" / "translations"
KEYWORDS = ("Reason", "words", "N_")


def update_catalogue() -> None:
    """Extract every translatable sentence and merge it into the catalogue of each language but English."""
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "messages.pot"
        keywords = [option for word in KEYWORDS for option in ("-k", word)]
        _babel("extract", "-F", str(ROOT / "babel.cfg"), *keywords, "--no-location", "-o", str(template), str(ROOT))
        action = "update" if (CATALOGUES / "zh").exists() and any(CATALOGUES.rglob("*.po")) else "init"
        options = ["--ignore-obsolete", "--no-fuzzy-matching", "--omit-header"] if action == "update" else []
        _babel(action, "-i", str(template), "-d", str(CATALOGUES), "-l", "zh", *options)


def _babel(*arguments: str) -> None:
    CommandLineInterface().run(["pybabel", "-q", *arguments])


if __name__ == "__main__":
    update_catalogue()
