"""The page on rules says what the code does."""

from __future__ import annotations

from pathlib import Path

import yaml
from rule_cases import EXAMPLES

from docs.rules import PAGE, page
from optimizers.rules import KINDS, read_rules
from optimizers.rules.read import COMMON, SECTIONS

EXAMPLE = Path("docs/rules_complete_journey.yaml")


def test_the_reference_is_in_step_with_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run: python -m docs.rules"


def test_the_example_on_the_page_is_read_and_shows_every_key() -> None:
    text = PAGE.read_text(encoding="utf-8")
    tree = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    (rule,) = tree["rules"]
    assert set(COMMON) <= set(rule)
    assert set(tree) == set(SECTIONS)
    assert len(read_rules([rule]).rules) == 1


def test_the_example_file_has_a_rule_of_every_kind() -> None:
    book = read_rules(EXAMPLE)
    assert {rule.kind for rule in book.rules} == set(KINDS) == set(EXAMPLES)
    assert len(book.rules) >= 15
