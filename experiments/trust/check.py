"""What a check says about a result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from engine.proposal import Reason

Verdict = Literal["passed", "notice", "broken"]


@dataclass(frozen=True)
class Check:
    """One check of a reading."""

    name: str
    """Machine word, such as sample_ratio."""
    verdict: Verdict
    """`notice`: read the result with this in mind; `broken`: do not believe it."""
    reason: Reason
    """What was found, in a sentence."""
    p_value: float | None = None
    """Chance of what was found if nothing were wrong; None where the check is a count."""


def is_trustworthy(checks: Iterable[Check]) -> bool:
    """Say whether no check is broken."""
    return all(check.verdict != "broken" for check in checks)
