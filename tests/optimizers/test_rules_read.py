"""Rules are read as they were written, or refused with the rule, the value and the remedy."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from rule_cases import EXAMPLES

from engine.errors import ConfigurationError
from optimizers.rules import read_rules

FILE = """
rules:
  - name: Nothing moves by more than 5 %
    kind: max_change
    scope: {category: [JUICE, TEA], private_label: false}
    up: 0.05
    soft: 12.5
    today: no_worse
    start: 2026-11-01
    end: 2026-12-31
    owner: Ada
    weight: 3
families:
  small: [1001, "1002"]
competitor_prices: {1001: 2.49}
stock: stock.csv
"""


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_text("product_id,units\n1001,40\n", encoding="utf-8")
    path = tmp_path / "rules.yaml"
    path.write_text(FILE, encoding="utf-8")
    book = read_rules(path)
    (rule,) = book.rules
    assert (rule.name, rule.kind, rule.penalty, rule.owner) == (
        "Nothing moves by more than 5 %",
        "max_change",
        12.5,
        "Ada",
    )
    assert rule.scope.conditions == (("category", ("JUICE", "TEA")), ("private_label", ("0",)))
    assert rule.values == {"up": 0.05, "down": None}
    assert (rule.start, rule.end, rule.today, rule.weight) == (date(2026, 11, 1), date(2026, 12, 31), "no_worse", 3.0)
    assert not rule.hard
    assert book.families == {"small": ("1001", "1002")}
    assert book.competitor_price == {"1001": 2.49}
    assert book.stock == {"1001": 40.0}


def test_a_rule_is_in_force_on_any_day_of_the_plan() -> None:
    first, last = date(2026, 11, 2), date(2026, 12, 27)
    (rule,) = read_rules([{"name": "a", "kind": "frozen", "start": "2026-12-27", "end": "2027-01-05"}]).rules
    assert rule.in_force(first, last)
    assert rule.in_force(None, None)
    assert not rule.in_force(first, date(2026, 12, 26))
    assert not rule.in_force(date(2027, 1, 6), date(2027, 2, 6))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"kind": "frozen"}, "rule 1 has no name"),
        ({"name": "a", "kind": "frosen"}, "rule 'a': unknown kind 'frosen'; did you mean 'frozen'"),
        ({"name": "a", "kind": "margin_floor"}, "at_least is missing"),
        ({"name": "a", "kind": "margin_floor", "at_lest": 0.1}, "unknown key 'at_lest'; did you mean 'at_least'"),
        ({"name": "a", "kind": "margin_floor", "at_least": 20}, "at_least is 20; give a number from -1 to 0.99"),
        ({"name": "a", "kind": "margin_floor", "at_least": float("nan")}, "at_least is nan"),
        ({"name": "a", "kind": "margin_floor", "at_least": True}, "at_least is True"),
        ({"name": "a", "kind": "margin_floor", "at_least": "x"}, "at_least is 'x'"),
        ({"name": "a", "kind": "max_change"}, "give at least one of up, down"),
        ({"name": "a", "kind": "max_changes", "at_most": 2.5}, "give a whole number"),
        ({"name": "a", "kind": "price_endings", "endings": []}, "endings is empty"),
        ({"name": "a", "kind": "price_index", "low": 0.1, "high": 0.0}, "lower limit 0.1 lies above its upper"),
        ({"name": "a", "kind": "brand_gap", "above": 3, "at_least": 0.1}, "scope is 3; write columns and values"),
        (
            {"name": "a", "kind": "private_label_gap", "at_least": 0.1, "per": "kilo"},
            "per is 'kilo'; allowed: unit, pack",
        ),
        ({"name": "a", "kind": "frozen", "scope": {"category": []}}, "scope category names no value"),
        ({"name": "a", "kind": "frozen", "soft": -1}, "soft is -1"),
        ({"name": "a", "kind": "frozen", "weight": 0}, "weight is 0"),
        ({"name": "a", "kind": "frozen", "today": "later"}, "today is 'later'; allowed: must_hold, no_worse"),
        ({"name": "a", "kind": "frozen", "start": "soon"}, "start is 'soon'; write a date"),
        ({"name": "a", "kind": "frozen", "start": "2026-02-01", "end": "2026-01-01"}, "before it starts"),
        ("frozen", "rule 1 is 'frozen'; write it as keys and values"),
    ],
)
def test_a_wrong_rule_is_refused(raw: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_rules([raw])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [{name: a, kind: frozen}, {name: a, kind: frozen}]", "two rules are named 'a'"),
        ("rule: []", "unknown section 'rule'; did you mean 'rules'"),
        ("rules: 3", "write a list of rules"),
        ("5", "expected a section 'rules:'"),
        ("rules: [", "cannot be read as YAML"),
        ("families: {a: [p1], b: [p1]}", "'p1' stands in two families"),
        ("competitor_prices: {p1: 0}", "p1 is 0; give a number from 0.01"),
        ("stock: nowhere.csv", "needs the columns product_id and units"),
    ],
)
def test_a_wrong_file_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        read_rules(path)
    assert said in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: no such file of rules; pricing\.rules names it"):
        read_rules(tmp_path / "nowhere.yaml")


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_rules([{"name": "a", "kind": "x"}, {"name": "b", "kind": "frozen", "soft": "dear"}])
    assert "'a'" in str(refused.value)
    assert "'b'" in str(refused.value)


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_a_list_in_the_configuration_is_read_like_a_file(kind: str) -> None:
    (rule,) = read_rules(({"name": "a", "kind": kind, **EXAMPLES[kind]},)).rules
    assert rule.kind == kind
    assert rule.hard
