"""The record of one check of the response, and of all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from engine.proposal import Reason

PASSED = "passed: {name}: {value:.3f} (asked for: {low:g} to {high:g}; from {count:,})"
FAILED = "failed: {name}: {value:.3f} (asked for: {low:g} to {high:g}; from {count:,})"
WIDE = "intervals wider than needed: {name}: {value:.3f} (asked for: {low:g} to {high:g}; from {count:,})"
TOO_FEW = "not judged: {name}: only {count:,} to judge from"


@dataclass(frozen=True)
class Check:
    """One test of the response: the figure, the range it should lie in, and the sentence to print."""

    name: str
    value: float
    low: float
    high: float
    count: int
    """How many products, pairs or product-weeks the figure rests on."""
    passed: bool | None
    """None: too little data to tell, or intervals that hold more than they claim."""
    reason: Reason


@dataclass(frozen=True)
class ResponseDiagnostics:
    """What the response was put through."""

    checks: tuple[Check, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    def value(self, name: str) -> float:
        """The figure of the named check; NaN where it was not made."""
        return next((check.value for check in self.checks if check.name == name), float("nan"))


def judged(name: str, value: float, low: float, high: float, count: int, least: int) -> Check:
    """A check with its verdict: None where it rests on fewer than `least`."""
    values = _values(name, value, low, high, count)
    if count < least or math.isnan(value):
        return Check(name, value, low, high, count, None, Reason(TOO_FEW, values))
    passed = bool(low <= value <= high)
    return Check(name, value, low, high, count, passed, Reason(PASSED if passed else FAILED, values))


def covered(name: str, share: float, low: float, high: float, count: int, least: int) -> Check:
    """A check of how often intervals hold what they should: more often than asked for is no failure, only too wide."""
    found = judged(name, share, low, high, count, least)
    if found.passed is False and share > high:
        return replace(found, passed=None, reason=Reason(WIDE, _values(name, share, low, high, count)))
    return found


def _values(name: str, value: float, low: float, high: float, count: int) -> dict[str, object]:
    return {"name": name, "value": value, "low": low, "high": high, "count": count}
