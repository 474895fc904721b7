"""What people read is in their language: sentences, the words in them, and what a shop's data are said to hold."""

from __future__ import annotations

import json
import re

import pytest

from api.language import say, translations
from engine.files import plain
from engine.landing.land import MARGIN
from engine.panel import build
from engine.proposal import N_, Reason, english
from engine.shop import Fault
from engine.sources import complete_journey, orange_juice

CHINESE = translations("zh").gettext
ENGLISH = translations("en").gettext
HALVES = "not judged: {name}: only {count:,} to judge from"


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_nothing_is_said_of_nothing(nothing):
    assert say(nothing, CHINESE) == ""


def test_a_reason_reads_the_same_in_hand_and_stored():
    reason = Reason(HALVES, {"name": "placebo, future prices", "count": 1234})
    stored = {"code": reason.code, "values": dict(reason.values)}
    assert say(reason, CHINESE) == say(stored, CHINESE)
    assert say(reason, ENGLISH) == reason.english() == english(reason)


def test_a_value_that_is_a_word_of_ours_is_translated_and_others_are_not():
    said = say(Reason(HALVES, {"name": "placebo, future prices", "count": 1234}), CHINESE)
    assert "安慰剂" in said
    assert "1,234" in said
    assert not re.search("[A-Za-z]", said)
    assert "Garland 42" in say(Reason(HALVES, {"name": "Garland 42", "count": 1}), CHINESE)


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("The table lacks {column}: read without it, the interval is wider than planned.", {"column": "week"}),
        ("Guardrail {metric}: a loss of {margin:.1%} cannot be ruled out yet.", {"metric": "sent", "margin": 0.05}),
        ("clusters of '{name}': {clusters} for {units} units; at least 2 are needed", {"name": "stock", "clusters": 1}),
        ("experiment {experiment!r} has not started; there is nothing to read", {"experiment": "product"}),
    ],
)
def test_a_column_is_called_what_it_is_called_though_its_name_is_a_word_of_ours(code, values):
    name = next(value for value in values.values() if isinstance(value, str))
    assert CHINESE(name) != name
    assert name in say(Reason(code, {"units": 3, **values}), CHINESE)


def test_a_figure_that_there_is_none_of_is_a_dash_in_every_language():
    reason = Reason("AUC {auc:.2f}, {share:.0%} of {rows:,}", {"auc": float("nan"), "share": -0.001, "rows": None})
    assert say(reason, ENGLISH) == reason.english() == "AUC –, 0% of –"


def test_an_empty_value_stays_empty():
    assert "Content-Type" not in say(Reason(HALVES, {"name": "", "count": 1}), CHINESE)


@pytest.mark.parametrize("note", [*complete_journey.NOTES, *orange_juice.NOTES, build._REBUILT, build._NO_FLAGS])
def test_what_a_source_notes_is_said_in_chinese(note):
    assert re.search("[\u4e00-\u9fff]", say(note, CHINESE))
    assert say(note, ENGLISH) == note == N_(note)


def test_the_margin_is_said_in_chinese_with_its_figure():
    said = say(Reason(MARGIN, {"margin": 0.28}), CHINESE)
    assert "28%" in said
    assert "毛利率" in said


@pytest.mark.parametrize(
    ("row", "remedy"), [(None, "fill it in"), (7, "fill it in"), (7, "fill it in; the row is set aside")]
)
def test_a_fault_reads_in_both_languages(row, remedy):
    fault = Fault("transactions", "t.csv", "week", row, "", "the value is missing", remedy, refuses=False, count=3)
    for words in ("t.csv", "week", "the value is missing", remedy):
        assert words in say(fault.reason(), ENGLISH)
    said = say(fault.reason(), CHINESE)
    assert "缺少值" in said
    assert "the value" not in said
    assert ("3 行" in said) == (row is not None)
    assert ("剔除" in said) == ("aside" in remedy)


def test_a_problem_with_figures_in_it_reads_in_both_languages():
    problem = Reason("the date lies after {day}", {"day": "2026-06-03"})
    fault = Fault(
        "transactions",
        "t.csv",
        "week",
        7,
        "2099",
        problem.english(),
        "correct the date",
        refuses=False,
        template=problem,
    )
    assert "the date lies after 2026-06-03" in fault.reason().english() == say(fault.reason(), ENGLISH)
    stored = json.loads(json.dumps(plain(fault.reason())))
    for reason in (fault.reason(), stored):
        said = say(reason, CHINESE)
        assert "2026-06-03" in said
        assert "lies" not in said
