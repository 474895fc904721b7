"""The documentation cannot lag: what the code has, the pages name and the reverse; every sentence is translated."""

from __future__ import annotations

import re
import string
from pathlib import Path

import click
import pytest
import yaml

from api.cli import cli
from api.jobs import JOBS
from api.metrics import METRICS
from docs.messages import find_messages, read_catalogue
from engine.settings import Settings, known_keys

ROOT = Path(__file__).parents[2]


def page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def all_commands(group=cli, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(("path", "command"), [pytest.param(*found, id=" ".join(found[0])) for found in all_commands()])
def test_every_command_and_option_is_documented(path, command):
    text = page("commands.md")
    assert f"`offerwright {' '.join(path)}" in text
    for option in command.params:
        if isinstance(option, click.Option):
            assert any(f"`{name}" in text for name in option.opts), option.opts
            assert option.help
    assert command.help
    assert "Example:" in (command.epilog or "")
    assert f"offerwright {' '.join(path)}" in command.epilog


def test_every_documented_command_exists():
    known = {" ".join(path) for path, _ in all_commands()}
    named = {match[1].strip() for match in re.finditer(r"`offerwright ((?:[a-z]+ ?){1,2})", page("commands.md"))}
    assert {name for name in named if name not in known} <= {"run --json"}


def test_every_route_is_documented_and_every_documented_route_exists(app):
    served = {rule.rule for rule in app.url_map.iter_rules()}
    named = {
        route
        for line in page("http.md").splitlines()
        for route in re.findall(r"`(/[^`?]*)`", line.split("|")[1] if line.startswith("|") else "")
    }
    assert named == served


def test_every_job_and_metric_is_documented():
    text = page("operations.md")
    for job in JOBS.values():
        assert f"| `{job.name}` | `{job.setting}` | {job.does} |" in text
        assert job.setting in known_keys()
    assert set(re.findall(r"^\| `(offerwright_\w+)`", text, re.MULTILINE)) == set(METRICS)
    for kind, _ in METRICS.values():
        assert f"| {kind} |" in text


def test_every_setting_stands_in_the_file_with_its_default_and_a_remark():
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    stands = {f"{section}.{key}" for section, part in tree.items() if isinstance(part, dict) for key in part} | {
        section for section, part in tree.items() if not isinstance(part, dict)
    }
    assert stands == set(known_keys())
    assert Settings.model_validate({k: v for k, v in tree.items() if v is not None}) == Settings()
    for line in text.splitlines():
        if re.match(r"\s*\w+: *\S", line):
            assert "# " in line, f"no remark: {line}"


def fields(message):
    """Names that a message fills in, in either style."""
    return set(re.findall(r"%\((\w+)\)s", message)) | {
        f"{name}:{form}"
        for _, name, form, _ in string.Formatter().parse(message.replace("%(", "").replace("{{", ""))
        if name
    }


def test_every_sentence_is_translated():
    known = read_catalogue("zh")
    missing = [message for message in find_messages() if not known.get(message)]
    assert missing == [], "translate them in api/translations/zh (python -m docs.messages lists them)"


@pytest.mark.parametrize(("message", "chinese"), read_catalogue("zh").items())
def test_a_translation_fills_in_what_its_sentence_fills_in(message, chinese):
    assert fields(chinese) == fields(message)
    assert ("%%" in message) == ("%%" in chinese)
