"""The interval and the p-value that the analysis plan makes valid at this look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from scipy import stats

from experiments.few_units import FewLooks, interval_looks
from experiments.sequential import AnalysisPlan, Method, interval_multiplier, may_decide, sequential_p_value


@dataclass(frozen=True)
class Look:
    """One reading of an experiment under its plan."""

    plan: AnalysisPlan
    units: tuple[int, ...]
    """Units of all variants at each look so far, this one last; of watched ones the time, as the planned end counts."""
    watched: bool = False
    """Whether all units are there from the first day, so that the same ones, and few, are read at every look."""

    @property
    def is_decisive(self) -> bool:
        """Whether the plan allows a decision now."""
        return may_decide(self.plan, self.units[-1])

    @property
    def interval(self) -> Method:
        """What the intervals of this look are."""
        return self.plan.method if self.is_decisive else "always_valid"

    def multiplier(self, freedom: float) -> float:
        """Half width in standard errors. The z of a fixed or group-sequential look is carried over to Student's t.

        A confidence sequence is asymptotic, and stays as it is.
        """
        if self.watched:
            return float(self._of_few(freedom).critical[-1])
        z = interval_multiplier(self.plan, self.units)
        if self.interval == "always_valid":
            return z
        return float(stats.t.isf(stats.norm.sf(z), freedom))

    def p_value(self, z: float, freedom: float) -> float:
        """Two-sided p-value of an estimate `z` standard errors from nought."""
        tail = float(stats.t.sf(abs(z), freedom))
        if self.interval == "fixed":
            return 2 * tail
        if self.watched:
            return self._of_few(freedom).p_value(z)
        if self.interval == "always_valid":
            return sequential_p_value(self.plan, self.units, z)
        return sequential_p_value(self.plan, self.units, float(stats.norm.isf(tail)))

    def _of_few(self, freedom: float) -> FewLooks:
        planned = self.plan.planned_units or self.units[-1]
        return _few_looks(self.plan, tuple(look / planned for look in self.units), float(freedom))


@lru_cache(maxsize=256)
def _few_looks(plan: AnalysisPlan, fractions: tuple[float, ...], freedom: float) -> FewLooks:
    return interval_looks(plan, fractions, [freedom] * len(fractions))


def look(plan: AnalysisPlan, earlier: Sequence[int], units: int, *, watched: bool = False) -> Look:
    """Put this look after the earlier ones; looks at which no unit had come since do not count twice."""
    seen = sorted({int(count) for count in earlier if count < units} | {units})
    return Look(plan, tuple(seen), watched)
