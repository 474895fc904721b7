"""The exposure log: units in two variants, exposures before the assignment or the start, clocks that are wrong."""

from __future__ import annotations

from dataclasses import dataclass

from engine.proposal import N_, Reason
from experiments.trust.check import Check, Verdict

TOLERATED = 0.01
"""Share of units that may be left out for a fault of logging before the rest cannot stand for all."""


@dataclass(frozen=True)
class ExposureCounts:
    """What was found in an exposure log and the outcomes beside it."""

    units: int
    """Units with any exposure in the experiment."""
    repeated: int
    """Units exposed more than once; their first exposure counts."""
    in_two_variants: int
    """Units that were shown more than one variant; excluded."""
    before_assignment: int
    """Units exposed before they were assigned, or before the experiment started; excluded."""
    without_time: int
    """Units whose exposures have no timestamp; excluded."""
    in_future: int
    """Units whose first exposure is after the data end; excluded: their clock is wrong."""
    outcomes_before: int
    """Outcome rows from before the unit's first exposure; they belong to no variant and are not counted."""
    outcomes_in_future: int
    """Outcome rows from after the data end; not counted."""
    outcomes_elsewhere: int
    """Outcome rows of units that were never exposed; not counted."""


def check_exposures(counts: ExposureCounts) -> list[Check]:
    """Judge an exposure log: a fault is a notice, and breaks the result beyond `TOLERATED` of the units."""
    return [
        _judged(
            "in_two_variants",
            counts.in_two_variants,
            counts.units,
            N_("{count} of {units} units were shown two variants; they are left out"),
        ),
        _judged(
            "before_assignment",
            counts.before_assignment,
            counts.units,
            N_("{count} of {units} units were exposed before their assignment; they are left out"),
        ),
        _judged(
            "without_time",
            counts.without_time,
            counts.units,
            N_("{count} of {units} units were exposed at no known time; they are left out"),
        ),
        _judged(
            "clock",
            counts.in_future,
            counts.units,
            N_("{count} of {units} units were exposed after the data end: a clock is wrong; they are left out"),
        ),
    ]


def _judged(name: str, count: int, units: int, text: str) -> Check:
    verdict: Verdict = "passed" if count == 0 else "broken" if count > TOLERATED * units else "notice"
    return Check(name, verdict, Reason(text, {"count": count, "units": units}))
