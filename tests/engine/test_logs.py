"""Logs are for people on a terminal and for machines elsewhere."""

from __future__ import annotations

import io
import json
import logging

import pytest

from engine.logs import configure_logs
from engine.settings import LogSettings


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def told(stream, settings=None, **more):
    configure_logs(settings or LogSettings(), stream)
    logging.getLogger("engine.test").warning("held %s lines", 3, extra={"job": "reoptimise"}, **more)
    return stream.getvalue()


def test_elsewhere_each_line_is_one_json_object():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        lines = told(io.StringIO(), exc_info=True).splitlines()
    (record,) = map(json.loads, lines)
    assert record["message"] == "held 3 lines"
    assert (record["level"], record["logger"], record["job"]) == ("warning", "engine.test", "reoptimise")
    assert record["time"].endswith("+00:00")
    assert "ValueError: two\nlines" in record["traceback"]


def test_on_a_terminal_lines_are_for_people():
    assert told(Terminal()).rstrip().endswith("warning  engine.test: held 3 lines  job=reoptimise")


@pytest.mark.parametrize(
    ("form", "stream", "starts"), [("json", Terminal(), "{"), ("human", io.StringIO(), "0123456789")]
)
def test_the_form_can_be_chosen(form, stream, starts):
    assert told(stream, LogSettings(format=form))[0] in starts


def test_the_level_is_kept_and_a_second_set_up_replaces_the_first():
    first, second = io.StringIO(), io.StringIO()
    configure_logs(LogSettings(), first)
    assert told(second, LogSettings(level="error")) == ""
    logging.getLogger("engine.test").error("once")
    assert second.getvalue().count("once") == 1
    assert first.getvalue() == ""
