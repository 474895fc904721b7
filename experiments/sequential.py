"""When an experiment may be read, and what interval is valid at each reading.

Three plans, chosen in the design and never after. *Fixed*: one reading, at the planned size. *Group sequential*: a few
or many readings that share one error probability through a spending function (Lan and DeMets 1983); the boundary is
found by recursive numerical integration (Armitage, McPherson and Rowe 1969; Jennison and Turnbull 2000, chapter 19).
*Always valid*: an asymptotic confidence sequence that may be read at any time (Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas 2021), with the tuning that GrowthBook uses.

Everything is on the scale of z, the estimate over its standard error, and of the information fraction, the units seen
over the units planned. Under an effect, E[z] at fraction t is drift × √t, so `drift` is the expected z at the planned
end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from engine.errors import ProblemError

Floats = npt.NDArray[np.float64]
Method = Literal["fixed", "group_sequential", "always_valid"]
Spending = Literal["obrien_fleming", "pocock"]

METHODS: tuple[Method, ...] = ("fixed", "group_sequential", "always_valid")
SPENDINGS: tuple[Spending, ...] = ("obrien_fleming", "pocock")
DEFAULT_TUNING_UNITS = 5_000
"""Units at which GrowthBook makes an untuned confidence sequence tightest."""
SMALLEST_STEP = 2e-5
"""Looks closer together than this share of the plan cannot be told apart numerically, nor by anybody else."""

_LARGEST_Z = 13.0
_TAIL = 8.5
"""Standard deviations beyond which a density is nought in double precision, beside what lies within."""
_NODE_SPACING = 0.7
"""Spacing of the integration nodes, in standard deviations of the step between two looks."""


@dataclass(frozen=True)
class AnalysisPlan:
    """How an experiment will be read; part of its design."""

    method: Method = "fixed"
    alpha: float = 0.05
    """Probability of rejecting a true null hypothesis at any of the readings, both sides together."""
    spending: Spending = "obrien_fleming"
    """Group sequential only: alpha·t³, like O'Brien and Fleming; or alpha·ln(1 + (e − 1)t), like Pocock."""
    planned_units: int | None = None
    """Units of all variants together at the planned end; a group-sequential plan needs it."""
    looks: int = 1
    """Planned readings, equally spaced; only planning uses it, the readings may come when they come."""
    tuning_units: int | None = None
    """Always valid only: units at which the sequence is tightest; None: the planned units, else 5,000."""

    def __post_init__(self) -> None:
        """Check the plan.

        Raises:
            ProblemError: a word is unknown, a number is out of range, or a group-sequential plan has no planned end.
        """
        if self.method not in METHODS:
            raise ProblemError(f"analysis method {self.method!r} is unknown; use one of {', '.join(METHODS)}")
        if self.spending not in SPENDINGS:
            raise ProblemError(f"spending function {self.spending!r} is unknown; use one of {', '.join(SPENDINGS)}")
        if not 0.0 < self.alpha < 1.0:
            raise ProblemError(f"alpha {self.alpha:g} is outside 0…1; 0.05 is usual")
        for name in ("planned_units", "looks", "tuning_units"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ProblemError(f"{name} {value} of the analysis plan: give a number of at least 1")
        if self.method == "group_sequential" and self.planned_units is None:
            raise ProblemError("a group-sequential plan needs planned_units, the units at its planned end")

    @property
    def planned_fractions(self) -> Floats:
        """Information fractions of the planned looks, (looks,)."""
        return np.arange(1, self.looks + 1) / self.looks

    def fraction(self, units: int) -> float:
        """Information fraction when `units` have been seen, at most 1; 1 without a planned end."""
        return 1.0 if self.planned_units is None else min(1.0, units / self.planned_units)


def spent(plan: AnalysisPlan, fractions: Floats) -> Floats:
    """Error probability that a group-sequential plan has spent by the information `fractions`, (k,)."""
    part = np.clip(fractions, 0.0, 1.0)
    if plan.spending == "pocock":
        return np.asarray(plan.alpha * np.log1p((math.e - 1.0) * part))
    return np.asarray(plan.alpha * part**3)


def rejection_boundary(plan: AnalysisPlan, fractions: Sequence[float] | Floats) -> Floats:
    """Critical |z| at each look, (k,); infinite where the plan does not allow a decision.

    Args:
        plan: the analysis plan.
        fractions: (k,) information fractions of the looks so far, increasing, in (0, 1].

    Raises:
        ProblemError: the fractions do not increase within (0, 1], or two looks are closer than `SMALLEST_STEP`.
    """
    at = _checked(fractions)
    if plan.method == "fixed":
        return np.where(at >= 1.0, stats.norm.ppf(1 - plan.alpha / 2), np.inf)
    if plan.method == "always_valid":
        return always_valid_multiplier(at * (plan.planned_units or 1), plan.alpha, _tuning(plan, planned=1))
    return spending_boundary(at, spent(plan, at))


def always_valid_multiplier(units: Floats | Sequence[float], alpha: float, tuning_units: float) -> Floats:
    """Half width of the asymptotic confidence sequence in standard errors, at each number of `units`, (k,).

    The normal mixture of Waudby-Smith et al. (2021), two sided, with the mixture's width ρ chosen to be tightest at
    `tuning_units` as GrowthBook does: ρ² = (−2 ln α + ln(1 − 2 ln α)) / N*.
    """
    optimum = -2.0 * math.log(alpha) + math.log1p(-2.0 * math.log(alpha))
    scaled = np.asarray(units, dtype=np.float64) * optimum / tuning_units
    # ln(1/α) + ½ ln(1 + nρ²) is the logarithm of √(nρ² + 1)/α, which does not overflow for a tiny alpha.
    return np.asarray(np.sqrt(2.0 * (scaled + 1.0) / scaled * (0.5 * np.log1p(scaled) - math.log(alpha))))


def interval_multiplier(plan: AnalysisPlan, units: Sequence[int]) -> float:
    """Half width, in standard errors, of the interval that is valid at the last of the looks.

    A fixed plan read before its planned end shows the confidence sequence tuned to that end: nothing narrower is valid
    while somebody looks, and no decision is taken from it.

    Args:
        plan: the analysis plan.
        units: (k,) units of all variants together at each look so far, the present one last.

    Raises:
        ProblemError: see `rejection_boundary`; or a group-sequential plan was already read at its planned end.
    """
    now = units[-1]
    if plan.method == "fixed" and plan.fraction(now) >= 1.0:
        return float(stats.norm.ppf(1 - plan.alpha / 2))
    if plan.method != "group_sequential":
        return float(always_valid_multiplier([float(now)], plan.alpha, _tuning(plan, planned=DEFAULT_TUNING_UNITS))[0])
    fractions = [plan.fraction(count) for count in units]
    return float(rejection_boundary(plan, [fractions[look] for look in told_apart(fractions)])[-1])


def told_apart(fractions: Sequence[float]) -> list[int]:
    """Places of the looks of a group-sequential plan that were not followed by the next before anything had changed.

    Args:
        fractions: (k,) information fractions, the present look last.

    Raises:
        ProblemError: the plan was already read at its planned end.
    """
    if list(fractions).count(1.0) > 1:
        raise ProblemError(
            "the plan spent its error at the planned end and was read there already; keep that reading, or begin a new "
            "version of the design"
        )
    ahead = [*fractions[1:], math.inf]
    steps = enumerate(zip(fractions, ahead, strict=True))
    return [look for look, (at, next_one) in steps if next_one - at >= SMALLEST_STEP]


def may_decide(plan: AnalysisPlan, units: int) -> bool:
    """Say whether a reading at `units` may reject: a fixed plan only at its planned end."""
    return plan.method != "fixed" or plan.fraction(units) >= 1.0


def crossing_probability(fractions: Sequence[float] | Floats, boundary: Floats, drift: float = 0.0) -> Floats:
    """Probability that z first crosses at each look: (k, 2), column 0 downwards and column 1 upwards.

    Args:
        fractions: (k,) information fractions, increasing, in (0, 1].
        boundary: (k,) critical |z|, from `rejection_boundary`; infinite means no decision there.
        drift: expected z at fraction 1.
    """
    at = _checked(fractions)
    path = _Path(drift)
    crossed = np.zeros((at.size, 2))
    for look, (fraction, ahead) in enumerate(zip(at, _steps_ahead(at), strict=True)):
        edge = min(float(boundary[look]), _LARGEST_Z + abs(drift)) * math.sqrt(fraction)
        step = path.towards(float(fraction))
        crossed[look] = step.exits(edge)
        path = step.within(edge, ahead)
    return crossed


def power(plan: AnalysisPlan, drift: float, fractions: Sequence[float] | Floats | None = None) -> float:
    """Probability that the plan rejects by its last look, in either direction, when z is expected at `drift`.

    `fractions` are the looks, by default the planned ones.
    """
    at = plan.planned_fractions if fractions is None else np.asarray(fractions, dtype=np.float64)
    return float(crossing_probability(at, rejection_boundary(plan, at), drift).sum())


def drift_for_power(plan: AnalysisPlan, wanted: float, fractions: Sequence[float] | Floats | None = None) -> float:
    """Expected z at the planned end that the plan rejects with probability `wanted`.

    The sample size grows with its square: (drift / effect)² × the variance of one unit's contribution.

    Raises:
        ProblemError: `wanted` is not between alpha and 1.
    """
    if not plan.alpha < wanted < 1.0:
        raise ProblemError(f"power {wanted:g} is outside {plan.alpha:g} (alpha) … 1; 0.8 is usual")
    at = plan.planned_fractions if fractions is None else np.asarray(fractions, dtype=np.float64)
    boundary = rejection_boundary(plan, at)
    return float(
        optimize.brentq(
            lambda drift: crossing_probability(at, boundary, drift).sum() - wanted, 1e-9, 2 * _LARGEST_Z, xtol=1e-9
        )
    )


def sequential_p_value(plan: AnalysisPlan, units: Sequence[int], z: float) -> float:
    """Smallest alpha at which the plan's interval at the last look leaves nought out (Jennison and Turnbull 2000, 9.1).

    Args:
        plan: the analysis plan; its own alpha plays no part.
        units: (k,) units of all variants together at each look so far, the present one last.
        z: estimate over standard error at the last look.
    """
    size = abs(z)

    def excess(log_alpha: float) -> float:
        return interval_multiplier(replace(plan, alpha=math.exp(log_alpha)), units) - size

    least, most = math.log(1e-12), math.log(1 - 1e-9)
    if excess(least) <= 0.0:
        return 1e-12
    if excess(most) >= 0.0:
        return 1.0
    return math.exp(float(optimize.brentq(excess, least, most, xtol=1e-10, rtol=1e-12)))


def _tuning(plan: AnalysisPlan, *, planned: int) -> float:
    return float(plan.tuning_units or plan.planned_units or planned)


def _checked(fractions: Sequence[float] | Floats) -> Floats:
    at = np.asarray(fractions, dtype=np.float64)
    if at.ndim != 1 or at.size == 0 or not np.all(np.isfinite(at)) or at[0] <= 0.0 or at[-1] > 1.0:
        raise ProblemError(f"information fractions {at.tolist()}: give one or more numbers within 0…1")
    if at.size > 1 and float(np.diff(at).min()) < SMALLEST_STEP:
        raise ProblemError(
            f"information fractions {at.tolist()} must increase, by at least {SMALLEST_STEP:g} from look to look"
        )
    return at


def spending_boundary(at: Floats, spent_by: Floats) -> Floats:
    """Critical |z| at each look, (k,), that spends exactly the planned error there.

    Args:
        at: (k,) information fractions, increasing, above 0; only their ratios matter.
        spent_by: (k,) error probability that may be spent by each look.
    """
    boundary = np.empty(at.size)
    path = _Path(0.0)
    for look, (fraction, ahead) in enumerate(zip(at, _steps_ahead(at), strict=True)):
        step = path.towards(float(fraction))
        to_spend = float(spent_by[look] - (spent_by[look - 1] if look else 0.0))
        boundary[look] = _critical(step, to_spend)
        path = step.within(boundary[look] * math.sqrt(fraction), ahead)
    return boundary


def _steps_ahead(at: Floats) -> list[float]:
    """Length of the step that follows each look; the last has none."""
    return [*np.diff(at).tolist(), 1.0]


def _critical(step: _Step, to_spend: float) -> float:
    """Find |z| whose crossing at the end of the step has probability `to_spend`."""
    root = math.sqrt(step.end)

    def excess(z: float) -> float:
        return float(np.log(max(sum(step.exits(z * root)), 1e-300))) - math.log(to_spend)

    if to_spend <= 0.0 or excess(_LARGEST_Z) >= 0.0:
        return _LARGEST_Z
    if excess(0.0) <= 0.0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, _LARGEST_Z, xtol=1e-12, rtol=1e-12))


@dataclass(frozen=True)
class _Path:
    """Where Brownian motion may be that has not crossed yet: its mass at nodes, at time `time`."""

    drift: float
    time: float = 0.0
    place: Floats | None = None
    mass: Floats | None = None

    def towards(self, end: float) -> _Step:
        place = np.zeros(1) if self.place is None else self.place
        mass = np.ones(1) if self.mass is None else self.mass
        return _Step(self.drift, end, end - self.time, place, mass)


@dataclass(frozen=True)
class _Step:
    """From one look to the next: the mass before it, at `place`, moves by a normal step of variance `length`."""

    drift: float
    end: float
    length: float
    place: Floats
    mass: Floats

    def exits(self, edge: float) -> tuple[float, float]:
        """Probability of ending below -edge, and above edge."""
        scale = math.sqrt(self.length)
        mean = self.place + self.drift * self.length
        below = stats.norm.cdf((-edge - mean) / scale)
        above = stats.norm.sf((edge - mean) / scale)
        return float(self.mass @ below), float(self.mass @ above)

    def within(self, edge: float, ahead: float) -> _Path:
        """The mass that ends within ±edge, at Gauss-Legendre nodes close enough for this step and the one `ahead`."""
        centre, reach = self.drift * self.end, _TAIL * math.sqrt(self.end)
        low, high = max(-edge, centre - reach), min(edge, centre + reach)
        if high <= low:
            return _Path(self.drift, self.end, np.zeros(1), np.zeros(1))
        half = (high - low) / 2
        scale = math.sqrt(self.length)
        spacing = _NODE_SPACING * math.sqrt(min(self.length, ahead))
        nodes, weights = _legendre(24 + math.ceil(math.pi * half / spacing))
        place = (low + high) / 2 + half * nodes
        mean = self.place + self.drift * self.length
        density = np.exp(-0.5 * ((place[:, None] - mean[None, :]) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
        return _Path(self.drift, self.end, place, half * weights * (density @ self.mass))


_RULES: dict[int, tuple[Floats, Floats]] = {}


def _legendre(count: int) -> tuple[Floats, Floats]:
    """Nodes and weights on [-1, 1], of the next multiple of 16 so that few rules are ever made."""
    size = 16 * math.ceil(count / 16)
    if size not in _RULES:
        _RULES[size] = np.polynomial.legendre.leggauss(size)
    return _RULES[size]
