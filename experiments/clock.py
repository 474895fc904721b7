"""How far a plan is whose units are all there from the first day: by time, or by the steps of a schedule.

The number of products, stores or cells says nothing of it, what is known of each grows. Weekly noise shrinks with the
weeks that have passed, what lasts (a category that happens to do well) does not: so the share of the time is at most
the share of the information, looks have more in common than the plan assumes, and the error stays within its promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.decide import DecisionRule
from experiments.design import WATCHED, Design
from experiments.few_units import FewLooks, interval_looks
from experiments.sequential import AnalysisPlan

HOURS_A_WEEK = 168
NO_WEEKS = N_(
    "experiment {experiment} is planned as {method}: say how many of its {weeks} weeks have passed, or its error is "
    "spent as if it were at its end"
)
AS_FAR_AS = N_("experiment {experiment} is as far as its {counted} are; leave the weeks out")
NOT_POSITIVE = N_("{weeks} weeks since the start; give a positive number")


@dataclass(frozen=True)
class Clock:
    """How far a plan is."""

    now: int
    """Hours since the start; of a switchback the steps of its whole pairs of periods."""
    planned: int
    """The same at the planned end."""

    @property
    def fraction(self) -> float:
        """Share of the plan that has run, at most 1."""
        return min(1.0, self.now / self.planned)

    def of(self, plan: AnalysisPlan) -> AnalysisPlan:
        """The plan with its end on this clock."""
        return replace(plan, planned_units=self.planned)

    def looks(self, earlier: Sequence[int]) -> tuple[int, ...]:
        """The looks so far on this clock, this one last; looks since which no time has passed do not count twice."""
        return (*sorted({int(look) for look in earlier if look < self.now}), self.now)

    def few_looks(self, plan: AnalysisPlan, earlier: Sequence[int], freedom: float, *, growing: bool) -> FewLooks:
        """The looks so far, whose last critical t makes the interval that is valid now.

        Args:
            plan: the analysis plan.
            earlier: looks before this one, on this clock.
            freedom: degrees of freedom of the standard error now.
            growing: whether they grow with the clock, as pairs of periods do; those of stores and cells stay.

        Raises:
            ProblemError: see `interval_looks`.
        """
        looks = self.looks(earlier)
        then = [max(1.0, (freedom + 1.0) * look / self.now - 1.0) if growing else freedom for look in looks]
        return interval_looks(plan, [look / self.planned for look in looks], then)


def clock_of(design: Design, elapsed_weeks: float | None) -> Clock | None:
    """Say how far a design is by the calendar; None: its units or steps tell, or it is at its end.

    Args:
        design: as it started.
        elapsed_weeks: since the start.

    Raises:
        ProblemError: the weeks are missing though several readings are planned, not positive, or of no meaning here.
    """
    if design.draw not in WATCHED:
        if elapsed_weeks is not None and design.draw == "switchback":
            raise ProblemError(Reason(AS_FAR_AS, {"experiment": design.name, "counted": N_("steps")}))
        return None
    weeks = design.sizing.weeks
    if elapsed_weeks is None:
        if design.plan.method != "fixed":
            values = {"experiment": design.name, "method": design.plan.method, "weeks": weeks}
            raise ProblemError(Reason(NO_WEEKS, values))
        return None
    if elapsed_weeks <= 0:
        raise ProblemError(Reason(NOT_POSITIVE, {"weeks": elapsed_weeks}))
    if not weeks:
        raise ProblemError(Reason(AS_FAR_AS, {"experiment": design.name, "counted": N_("units")}))
    return Clock(max(1, round(elapsed_weeks * HOURS_A_WEEK)), weeks * HOURS_A_WEEK)


def clock_at_end(design: Design) -> Clock:
    """A clock that is at the planned end."""
    planned = (design.sizing.weeks or 1) * HOURS_A_WEEK
    return Clock(planned, planned)


def plan_now(design: Design, units: int, elapsed_weeks: float | None) -> AnalysisPlan:
    """The plan of units that turn up one by one, with its end where the calendar says that `units` are only so far.

    Raises:
        ProblemError: weeks are given that are not positive, or of a design whose units tell.
    """
    if elapsed_weeks is None:
        return design.plan
    if elapsed_weeks <= 0:
        raise ProblemError(Reason(NOT_POSITIVE, {"weeks": elapsed_weeks}))
    if design.plan.method != "fixed" or not design.sizing.weeks:
        raise ProblemError(Reason(AS_FAR_AS, {"experiment": design.name, "counted": N_("units")}))
    if units == 0:
        return design.plan
    return replace(design.plan, planned_units=max(1, round(units / min(1.0, elapsed_weeks / design.sizing.weeks))))


def rule_so_far(rule: DecisionRule, fraction: float) -> DecisionRule:
    """The rule on the scale of what units earned in this share of the time, where the metric adds up over the test."""
    planned, waiting = rule.planned_effect, rule.waiting
    return replace(
        rule,
        smallest_gain=rule.smallest_gain * fraction,
        planned_effect=None if planned is None else planned * fraction,
        waiting=None if waiting is None else replace(waiting, units_decided=waiting.units_decided / fraction),
    )
