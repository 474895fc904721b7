"""The reading of an experiment: records that pages, commands and the store share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.proposal import Reason
from experiments.sequential import Method
from experiments.statistics.contrast import Convention, Relative
from experiments.statistics.multiple import Correction
from experiments.statistics.posterior import Posterior
from experiments.trust.check import Check

Decision = Literal["better", "worse", "undecided", "untrustworthy"]
Guardrail = Literal["safe", "harmed", "undecided", "untrustworthy"]


@dataclass(frozen=True)
class Effect:
    """Treatment minus control of one metric."""

    metric: str
    variant: int
    control_mean: float
    """The metric's value in the control: a mean, a ratio, a share or a quantile; before any adjustment."""
    treatment_mean: float
    control_count: int
    treatment_count: int
    estimate: float
    """Difference, in the metric's unit; adjusted where there is a covariate."""
    low: float
    """Bounds of the interval that is valid at this look, see `Analysis.interval`."""
    high: float
    p_value: float
    """Of this look, by the analysis plan; before correction for several metrics."""
    adjusted_p: float
    """After correction over metrics and variants; guardrails are not corrected."""
    relative: float | None
    """The effect as a share of the control's value, in `Analysis.convention`; None where that has no meaning."""
    relative_low: float | None
    relative_high: float | None
    decision: Decision
    error: float = 0.0
    """Standard error of `estimate`."""
    variance_ratio: float = 1.0
    """Variance of the estimate over that without the covariate."""
    guardrail: Guardrail | None = None
    """For a metric with a margin: is harm beyond it ruled out."""
    posterior: Posterior | None = None
    """Of the relative effect, where a prior was given."""
    relatives: Mapping[Convention, Relative] = field(default_factory=dict)
    """The relative effect in each convention that has a meaning for it, by name."""


@dataclass(frozen=True)
class Refusal:
    """A metric that cannot be read."""

    metric: str
    variant: int | None
    """The variant that it could not be read for; None: none of them."""
    reason: Reason


@dataclass(frozen=True)
class Exclusion:
    """Units or rows that were left out, by a stated rule."""

    reason: Reason
    count: int


@dataclass(frozen=True)
class SegmentEffect:
    """The effect in one segment."""

    level: str
    effect: Effect
    shrunk: float
    """What to expect when acting on this segment alone: the effect, drawn to the mean by what chance adds."""
    shrunk_low: float
    shrunk_high: float


@dataclass(frozen=True)
class Breakdown:
    """One metric and variant by the levels of a segment."""

    segment: str
    metric: str
    variant: int
    effects: tuple[SegmentEffect, ...]
    differ_p: float
    """Chance of effects this far apart if all segments had the same one (Cochran's Q)."""
    differ_adjusted_p: float
    """After Holm's correction over all breakdowns of the analysis."""
    spread: float
    """Estimated standard deviation of the true effects between segments."""


@dataclass(frozen=True)
class Modification:
    """How the effect on one metric changes along a number that was known before exposure."""

    modifier: str
    metric: str
    variant: int
    slope: float
    """Change of the effect for one more unit of the modifier."""
    low: float
    high: float
    p_value: float
    """Of no change along it."""
    effect_below: float
    """Effect one standard deviation below the modifier's mean, on the line."""
    effect_above: float


@dataclass(frozen=True)
class Analysis:
    """The reading of an experiment."""

    effects: tuple[Effect, ...]
    counts: tuple[int, ...]
    """Randomised units by variant."""
    sample_ratio_p: float
    """Chi-square p-value of the split against its weights."""
    trustworthy: bool
    """Whether no check is broken; where one is, every decision says so."""
    alpha: float
    excluded: int
    """Units left out because they were in no variant."""
    method: Method = "fixed"
    interval: Method = "fixed"
    """What the intervals are: those of the method, or `always_valid` where a fixed plan is read before its end."""
    final: bool = True
    """Whether the plan allows a decision at this look."""
    convention: Convention = "delta"
    correction: Correction = "none"
    checks: tuple[Check, ...] = ()
    refused: tuple[Refusal, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    modifications: tuple[Modification, ...] = ()
    looks: tuple[int, ...] = ()
    """Units at each look so far, this one last: hand it to the next look as `earlier_looks`."""
    trend: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Effect by day since exposure, by `metric:variant`; logs only, on request."""
