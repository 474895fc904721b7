"""The exposure log: units in two variants, exposures before the assignment or the start, clocks that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.proposal import N_, Reason
from experiments.trust.check import Check, Verdict

TOLERATED = 0.01
"""Share of units that may be left out for a fault of logging before the rest cannot stand for all."""
GAP_ALPHA = 1e-6
"""A variant that random assignment would leave out for so long less often than this was switched off."""


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
        check_exposed_early(counts.before_assignment, counts.units),
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


def check_exposed_early(count: int, units: int) -> Check:
    """Judge units that were exposed before their assignment, or before the start."""
    text = N_("{count} of {units} units were exposed before their assignment; they are left out")
    return _judged("before_assignment", count, units, text)


def check_assigned(count: int, units: int) -> Check:
    """Judge units that were shown another variant than the one they were assigned."""
    text = N_("{count} of {units} units were shown another variant than they were assigned; they are left out")
    return _judged("assigned", count, units, text)


def _judged(name: str, count: int, units: int, text: str) -> Check:
    verdict: Verdict = "passed" if count == 0 else "broken" if count > TOLERATED * units else "notice"
    return Check(name, verdict, Reason(text, {"count": count, "units": units}))


@dataclass(frozen=True)
class Gap:
    """How long a variant went without units at the beginning or the end of the exposures."""

    variant: int
    before: int
    """Units of all variants exposed before the first of this one."""
    after: int
    """Units of all variants exposed after the last of this one."""


def check_gaps(gaps: Sequence[Gap], weights: Sequence[float]) -> Check:
    """See whether a variant was removed mid-way, or added late: its units then lived through other days than the rest.

    Under random assignment n units in a row miss a variant of share w with probability (1 - w)^n.
    """
    total = sum(weights)
    chances = {
        (gap.variant, side): min(1.0, 2 * len(gaps) * (1.0 - weights[gap.variant] / total) ** missed)
        for gap in gaps
        for side, missed in (("before", gap.before), ("after", gap.after))
    }
    (variant, side), p_value = min(chances.items(), key=lambda item: (item[1], item[0]))
    missed = next(gap for gap in gaps if gap.variant == variant)
    shown = {"variant": variant, "count": missed.before if side == "before" else missed.after}
    if p_value >= GAP_ALPHA:
        return Check("running", "passed", Reason(N_("every variant received units from start to end")), p_value)
    text = (
        N_("variant {variant} received none of the first {count} units: it was added late")
        if side == "before"
        else N_("variant {variant} received none of the last {count} units: it was removed mid-way")
    )
    return Check("running", "broken", Reason(text, shown), p_value)
