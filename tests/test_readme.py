"""What the front pages tell people to do works: examples run, commands and targets exist, links lead somewhere."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path

import click
import pytest

from api.cli import cli
from engine.settings import known_keys

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
READMES = (ENGLISH, CHINESE)
PAGES = (*READMES, "CONTRIBUTING.md", "docs/README.md", "docs/adr/README.md")
COMMENT = re.compile(r" *# .*")


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page):
    """The fenced blocks as (language, content)."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)


def spoken(content):
    """A block without its comments, which are in the language of the page."""
    return COMMENT.sub("", content)


def links(page):
    """Where a page links to inside the project, as files."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(page))
    return [(ROOT / page).parent / target for target in targets if "://" not in target]


def written_commands(page):
    """Every command line of a page: in blocks one a line, in the text between backquotes."""
    lines = [line for language, content in blocks(page) if language == "sh" for line in spoken(content).splitlines()]
    quoted = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL))
    return [line.split() for line in [*lines, *quoted] if line.strip()]


def test_both_readmes_hold_the_same_blocks():
    assert [(kind, spoken(content)) for kind, content in blocks(ENGLISH)] == [
        (kind, spoken(content)) for kind, content in blocks(CHINESE)
    ]
    assert len(blocks(ENGLISH)) >= 4


@pytest.mark.parametrize("page", READMES)
def test_the_python_example_prints_what_it_says(page):
    (example,) = [content for kind, content in blocks(page) if kind == "python"]
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(example, page, "exec"), {})  # noqa: S102 - the example is ours
    assert printed.getvalue().splitlines() == re.findall(r"^# (.*)$", example, re.MULTILINE)


@pytest.mark.parametrize("page", [*READMES, "CONTRIBUTING.md"])
def test_every_make_target_exists(page):
    rules = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    named = {words[1] for words in written_commands(page) if words[0] == "make"}
    assert named
    assert named <= rules


@pytest.mark.parametrize("page", READMES)
def test_every_command_its_options_and_settings_exist(page):
    commands = [words[1:] for words in written_commands(page) if words[0] == "offerwright"]
    assert len(commands) >= 3
    for words in commands:
        command, rest = cli, list(words)
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), rest.pop(0))
            assert command is not None, words
        known = {name for option in command.params for name in option.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words
        for before, word in pairwise(rest):
            if before == "--set":
                assert word.split("=")[0] in known_keys()


def test_the_readmes_are_built_alike():
    def shape(page):
        prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
        rows = len(re.findall(r"^\|", prose, re.MULTILINE))
        bullets = len(re.findall(r"^- ", prose, re.MULTILINE))
        return re.findall(r"^#+", prose, re.MULTILINE), rows, bullets, prose.count("<!--")

    def led_to(page):
        return sorted(path.resolve() for path in links(page) if path.name not in READMES)

    assert shape(ENGLISH) == shape(CHINESE)
    assert led_to(ENGLISH) == led_to(CHINESE)
    for one, other in ((ENGLISH, CHINESE), (CHINESE, ENGLISH)):
        assert ROOT / other in links(one)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_something(page):
    assert links(page)
    assert [str(path.relative_to(ROOT)) for path in links(page) if not path.exists()] == []


@pytest.mark.parametrize("folder", ["docs", "docs/adr"])
def test_every_page_is_listed(folder):
    page = f"{folder}/README.md"
    there = {path.name for path in (ROOT / folder).glob("*.md")} - {"README.md"}
    assert there
    assert there == {path.name for path in links(page) if path.parent == ROOT / folder and path.name != "README.md"}


@pytest.mark.parametrize("page", sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
def test_no_documentation_page_links_into_nothing(page):
    assert [str(path) for path in links(page) if not path.exists()] == []


def test_the_licence_is_the_one_that_is_declared():
    assert 'license = "Apache-2.0"' in text_of("pyproject.toml")
    text = text_of("LICENSE")
    assert "Apache License" in text[:200]
    assert "Version 2.0, January 2004" in text[:200]
