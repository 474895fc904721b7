"""The reading of an experiment by its design: records that commands, pages and the store share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.proposal import Reason
from experiments.decide import Verdict
from experiments.measure import Analysis
from experiments.sequential import Method
from experiments.statistics.contrast import Convention, Relative
from experiments.statistics.posterior import Posterior, Prior
from experiments.trust.check import Check


@dataclass(frozen=True)
class Row:
    """One line of a reading, as pages show it."""

    metric: str
    variant: int
    estimate: float
    low: float
    high: float
    decision: str
    p_value: float | None = None
    """Of this look, by the plan; None where the design has an analysis of its own."""
    adjusted_p: float | None = None
    """After the design's correction over goals and treatments; guardrails are not corrected."""
    relatives: Mapping[Convention, Relative] = field(default_factory=dict)
    """The effect as a share of the control's value, in each convention that has a meaning for it."""
    posterior: Posterior | None = None
    """Of the relative effect, where a prior was given."""


@dataclass(frozen=True)
class Measured:
    """What the experiment earned, on the scale of the promise: money over the proposal's horizon."""

    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class DesignReading:
    """A look at an experiment."""

    effects: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    """One for each treatment."""
    units: int
    trustworthy: bool
    measured: Measured | None
    """None where no promise is tested."""
    notes: tuple[Reason, ...] = ()
    checks: tuple[Check, ...] = ()
    """Whether to believe it: a check that is broken makes it untrustworthy."""
    interval: Method = "fixed"
    """What the intervals are: those of the plan, or `always_valid` where a plan that is read once is read early."""
    final: bool = True
    """Whether the plan allows a decision at this look."""
    looks: tuple[int, ...] = ()
    """Units at each look so far, this one last; of units that are there from the first day the hours since the start,
    of a switchback the steps."""
    segments: tuple[Mapping[str, Any], ...] = ()
    """segment, level, metric, variant, estimate, low, high; shrunk, shrunk_low, shrunk_high; differ_p of the whole."""
    prior: Prior | None = None
    """Of the relative effects, where posteriors were asked for."""
    analysis: Analysis | None = field(default=None, repr=False)
    """The whole analysis, where units were compared."""
