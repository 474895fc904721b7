"""Looks at an estimate whose standard error rests on few units: stores, categories, cells, pairs of periods.

The boundaries of `experiments.sequential` are those of a normal statistic. With few units it is Student's t, and two
things change. At one look the critical value: it is carried over at the same probability (the significance-level
approach; Pocock 1977, Jennison and Turnbull 2000, section 3.8). And from look to look: the error is estimated anew each
time, so that t forgets faster than z where it was, and looks have less in common than their information says.

How much faster: in logarithmic information t = b/√r, b an Ornstein-Uhlenbeck process and r the estimated over the true
variance, a squared Bessel process over its time, independent of b. Where t is at c it varies at the rate (1 + c²/ν)/r,
and ν(1 + c²/ν) r is χ² with ν + 1 degrees of freedom there. On the scale of z, with φ(z) dz = f(t) dt, the rate is

    V = ν / (ν - 1) · (1 + c²/ν)² · (f(c) / φ(z))²,

1 for the normal distribution. The recursion for z therefore runs with its logarithmic clock V times as fast, while the
error is spent by the plan's own clock. Simulated with ν from 4 to 38 and 4 to 26 looks it rejects in 4.5-5.1 % where
the significance-level approach alone rejects in up to 7.9 % (tests, benchmarks.experiment_looks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.sequential import (
    AnalysisPlan,
    always_valid_multiplier,
    crossing_probability,
    spending_boundary,
    spent,
    told_apart,
)

Floats = npt.NDArray[np.float64]

FEWEST_FREEDOM = 4
"""With fewer degrees of freedom the boundary of several looks spends more than the plan allows."""
TOO_FEW = N_(
    "{units} {what} leave {freedom:.0f} degrees of freedom, too few for more than one reading; take {needed} or more, "
    "or plan one reading at the end"
)
_HIGHEST_Z = 8.0
"""Beyond it densities are too small to divide by; nobody crosses there."""
_FORGOTTEN = 600.0
"""Logarithmic time that all steps together may take: exp(-600) is still a number."""


@dataclass(frozen=True)
class FewLooks:
    """The looks of a plan, past or planned, with the degrees of freedom that the standard error has at each."""

    plan: AnalysisPlan
    fractions: tuple[float, ...]
    """(k,) information fractions, increasing; above 1 only where the plan is always valid."""
    freedom: tuple[float, ...]
    """(k,)."""

    @cached_property
    def boundary(self) -> Floats:
        """Critical |z| at each look, (k,): the normal quantile as improbable as the critical t."""
        at = np.asarray(self.fractions, dtype=np.float64)
        if self.plan.method == "fixed":
            return np.where(at >= 1.0, stats.norm.isf(self.plan.alpha / 2), np.inf)
        if self.plan.method == "always_valid":
            return always_valid_multiplier(at, self.plan.alpha, 1.0)
        allowed = spent(self.plan, at)
        normal = spending_boundary(at, allowed)
        return spending_boundary(_faster(at, np.asarray(self.freedom), normal), allowed)

    @cached_property
    def critical(self) -> Floats:
        """Critical |t| at each look, (k,)."""
        return np.asarray(stats.t.isf(stats.norm.sf(self.boundary), self.freedom), dtype=np.float64)

    def power(self, drift: float) -> float:
        """Probability that a look rejects, in either direction, when t is expected at `drift` at fraction 1.

        The recursion for z runs with the drift that makes the last look alone as likely to reject as its non-central t.
        """
        return min(1.0, float(self._crossing(drift).sum()))

    def drift_for(self, power: float) -> float:
        """Expected t at fraction 1 that is shown with probability `power`.

        Raises:
            ProblemError: the power is not between alpha and 1.
        """
        if not self.plan.alpha < power < 1.0:
            raise ProblemError(
                Reason(
                    "power {power:g} is outside {alpha:g} (alpha) … 1; 0.8 is usual",
                    {"power": power, "alpha": self.plan.alpha},
                )
            )
        most = 10.0 * float(self.critical[-1])
        return float(optimize.brentq(lambda drift: self.power(drift) - power, 0.0, most, xtol=1e-8))

    def duration(self, drift: float) -> float:
        """Mean fraction at which the test ends: at the first look that rejects, else at the last one."""
        first = self._crossing(drift).sum(axis=1)
        at = np.asarray(self.fractions)
        return float(first @ at + (1.0 - first.sum()) * at[-1])

    def p_value(self, t: float) -> float:
        """Smallest alpha at which the interval at the last look leaves nought out."""

        def excess(log_alpha: float) -> float:
            at_alpha = replace(self, plan=replace(self.plan, alpha=math.exp(log_alpha)))
            return float(at_alpha.critical[-1]) - abs(t)

        least, most = math.log(1e-12), math.log(1 - 1e-9)
        if excess(least) <= 0.0:
            return 1e-12
        if excess(most) >= 0.0:
            return 1.0
        return math.exp(float(optimize.brentq(excess, least, most, xtol=1e-6)))

    def _crossing(self, drift: float) -> Floats:
        """(k, 2) probability that a look is the first to reject, downwards and upwards."""
        last = float(self.boundary[-1])
        alone = stats.nct.sf(self.critical[-1], self.freedom[-1], abs(drift))
        # SciPy knows no value where the far tail underflows: the near one is certain then.
        alone = min(float(np.nan_to_num(alone, nan=1.0)), 1.0 - 1e-15)
        return crossing_probability(self.fractions, self.boundary, max(0.0, last + float(stats.norm.ppf(alone))))


def interval_looks(plan: AnalysisPlan, fractions: Sequence[float], freedom: Sequence[float]) -> FewLooks:
    """The looks whose last critical t is the half width, in standard errors, of the interval that is valid now.

    A plan that is read once shows the confidence sequence before its end: nothing narrower is valid while somebody
    looks, and no gain is decided on.

    Args:
        plan: the analysis plan.
        fractions: (k,) of the looks so far, the present one last.
        freedom: (k,) degrees of freedom at each.

    Raises:
        ProblemError: a group-sequential plan was already read at its planned end.
    """
    if plan.method == "fixed" and fractions[-1] >= 1.0:
        return FewLooks(plan, (1.0,), (float(freedom[-1]),))
    if plan.method != "group_sequential":
        return FewLooks(replace(plan, method="always_valid"), (float(fractions[-1]),), (float(freedom[-1]),))
    at = [min(1.0, float(one)) for one in fractions]
    kept = told_apart(at)
    return FewLooks(plan, tuple(at[look] for look in kept), tuple(float(freedom[look]) for look in kept))


def require_enough(plan: AnalysisPlan, freedom: float, *, units: int, what: str) -> None:
    """Refuse more than one reading of so few units that no boundary is known to hold.

    Args:
        plan: the analysis plan.
        freedom: degrees of freedom of the comparison.
        units: that the comparison rests on.
        what: they are, such as cells.

    Raises:
        ProblemError: there are too few; says how many are needed.
    """
    if plan.method != "fixed" and freedom < FEWEST_FREEDOM:
        needed = units + math.ceil(FEWEST_FREEDOM - freedom)
        raise ProblemError(Reason(TOO_FEW, {"units": units, "what": what, "freedom": freedom, "needed": needed}))


def _faster(at: Floats, freedom: Floats, boundary: Floats) -> Floats:
    """The looks on the clock of the t process, (k,): the last at 1."""
    steps = np.minimum(np.diff(np.log(at)) * rate(boundary, freedom)[1:], _FORGOTTEN / at.size)
    clock: Floats = np.exp(-np.append(np.cumsum(steps[::-1])[::-1], 0.0))
    return clock


def rate(z: npt.ArrayLike, freedom: npt.ArrayLike) -> Floats:
    """How many times as fast as z a t statistic of so many degrees of freedom forgets, at the level of `z`: V, ≥ 1."""
    level, nu = np.minimum(z, _HIGHEST_Z), np.asarray(freedom, dtype=np.float64)
    t = stats.t.isf(stats.norm.sf(level), nu)
    stretched = (1.0 + t * t / nu) * stats.t.pdf(t, nu) / stats.norm.pdf(level)
    return np.asarray(np.maximum(1.0, nu / np.maximum(nu - 1.0, 0.5) * stretched**2))
