"""Pages name files, modules and functions that exist: what was moved or renamed is found here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("engine", "optimizers", "experiments", "api", "benchmarks", "docs")
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / f"{name}.md" for name in ("README", "README.zh-CN"))]
WRITTEN = ("markdown.html", "promotions.html", "budget.html", "frontier.html", "report.html")
"""Files that commands write; no part of the project."""


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


@cache
def everything() -> frozenset[str]:
    """Paths of all files of the project, whole and from every folder on."""
    found = [path.relative_to(ROOT) for top in (*PACKAGES, "tests") for path in (ROOT / top).rglob("*.*")]
    return frozenset("/".join(path.parts[part:]) for path in found for part in range(len(path.parts)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_module_and_template_that_a_page_names_exists(page: Path) -> None:
    named = [
        path for span in code_spans(page.read_text("utf-8")) for path in re.findall(r"[\w/.-]+\.(?:py|html)\b", span)
    ]
    assert [path for path in named if path not in everything() and Path(path).name not in WRITTEN] == []


def imports(text: str) -> Iterator[tuple[str, str]]:
    """Module and name of every import that a page shows."""
    shown = r"^\s*(?:>>> )?from ((?:engine|optimizers|experiments|api)[\w.]*) import ([\w, ]+)"
    for module, names in re.findall(shown, text, re.MULTILINE):
        yield from ((module, name.strip()) for name in names.split(",") if name.strip())


@cache
def names_of(module: str) -> frozenset[str]:
    """What a module defines or takes from others, and the modules inside it."""
    place = ROOT / module.replace(".", "/")
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    assert source.exists(), f"no module {module}"
    found = {path.stem for path in place.iterdir()} if place.is_dir() else set()
    for node in ast.parse(source.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)


def test_every_import_that_a_page_shows_can_be_made() -> None:
    shown = [(page.name, *one) for page in PAGES for one in imports(page.read_text("utf-8"))]
    assert len(shown) >= 20
    assert [one for one in shown if one[2] not in names_of(one[1])] == []


def test_every_dotted_name_in_a_page_exists() -> None:
    """Such as `optimizers.markdown.policy.solve_markdown_policy(problem, product)`."""
    dotted = r"((?:engine|optimizers|experiments|api)(?:\.\w+)*)\.(\w+)(?:\(.*\))?"
    spans = [(page.name, span) for page in PAGES for span in code_spans(page.read_text("utf-8"))]
    found = [(page, *match.groups()) for page, span in spans if (match := re.fullmatch(dotted, span))]
    assert len(found) >= 3
    assert [one for one in found if one[2] not in names_of(one[1])] == []
