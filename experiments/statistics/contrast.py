"""Treatment minus control, by the delta method on the mean vectors of two variants.

A metric's value is a component's mean, or the ratio of two (Deng, Knoblich and Lu 2018). With a covariate from before
the experiment it is adjusted by the slope of the pooled units (CUPED: Deng, Xu, Kohavi and Walker 2013). Degrees of
freedom are Welch's and Satterthwaite's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.proposal import N_, Reason
from experiments.statistics.arms import Arm, Pair, UnreadableError

Floats = npt.NDArray[np.float64]
Convention = Literal["delta", "log"]
CONVENTIONS: tuple[Convention, ...] = ("delta", "log")


@dataclass(frozen=True)
class Value:
    """What is compared, as a function of the mean vector: a component, or one divided by another."""

    numerator: int
    denominator: int | None = None

    def at(self, mean: Floats) -> float:
        """The value at a mean vector (k,)."""
        return float(mean[self.numerator] / (1.0 if self.denominator is None else mean[self.denominator]))

    def gradient(self, mean: Floats) -> Floats:
        """Its derivatives by the components, (k,)."""
        slope = np.zeros(mean.size)
        if self.denominator is None:
            slope[self.numerator] = 1.0
        else:
            slope[self.numerator] = 1.0 / mean[self.denominator]
            slope[self.denominator] = -mean[self.numerator] / mean[self.denominator] ** 2
        return slope

    def is_defined(self, mean: Floats) -> bool:
        """Say whether the denominator is not nought."""
        return self.denominator is None or bool(mean[self.denominator] != 0.0)


@dataclass(frozen=True)
class Side:
    """One variant's value."""

    raw: float
    adjusted: float
    """After CUPED; the raw value without a covariate."""
    variances: tuple[tuple[float, int], ...]
    """Of the adjusted value: independent parts with their degrees of freedom."""

    @property
    def variance(self) -> float:
        """Variance of the adjusted value."""
        return sum(part for part, _ in self.variances)


@dataclass(frozen=True)
class Contrast:
    """Treatment minus control."""

    control: Side
    treatment: Side
    estimate: float
    error: float
    """Standard error of the estimate."""
    freedom: float
    """Satterthwaite's degrees of freedom."""
    slope: float | None
    """CUPED's coefficient; None without a covariate."""
    variance_ratio: float
    """Variance of the estimate over what it would be without the covariate."""
    share_error: float | None
    """Standard error of the estimate over the raw control value, whose own error counts; None where that is nought."""

    @property
    def z(self) -> float:
        """The estimate in standard errors."""
        return self.estimate / self.error

    @property
    def p_value(self) -> float:
        """Two-sided p-value of one look at a fixed horizon (Welch 1947)."""
        return float(2 * stats.t.sf(abs(self.z), self.freedom))


@dataclass(frozen=True)
class Relative:
    """An effect as a share of the control's value, with its interval."""

    estimate: float
    low: float
    high: float


def contrast(pair: Pair, value: Value, covariate: Value | None = None) -> Contrast:
    """Compare two variants.

    Args:
        pair: the two variants.
        value: what is compared.
        covariate: a value from before the experiment, on the same units; None: unadjusted.

    Raises:
        UnreadableError: a denominator is nought, or nothing varies.
    """
    for part in (value,) if covariate is None else (value, covariate):
        if not all(part.is_defined(mean) for mean in (pair.control.mean, pair.treatment.mean, pair.pooled_mean)):
            raise UnreadableError(Reason(N_("the denominator is zero on average; a ratio needs one that is not")))
    slope = None if covariate is None else _slope(pair, value, covariate)
    control = _side(pair.control, pair, value, covariate, slope)
    treatment = _side(pair.treatment, pair, value, covariate, slope)
    error = math.sqrt(control.variance + treatment.variance)
    if _is_nought(error, control, treatment):
        raise UnreadableError(Reason(N_("no unit differs from another: the metric has no variance")))
    raw = sum(part for arm in (pair.control, pair.treatment) for part, _ in arm.variances(value.gradient(arm.mean)))
    return Contrast(
        control=control,
        treatment=treatment,
        estimate=treatment.adjusted - control.adjusted,
        error=error,
        freedom=satterthwaite([*control.variances, *treatment.variances]),
        slope=slope,
        variance_ratio=error**2 / raw if raw > 0.0 else 1.0,
        share_error=_share_error(pair.control, control, treatment, value, covariate, slope),
    )


def _is_nought(error: float, control: Side, treatment: Side) -> bool:
    return error <= 1e-14 * max(abs(control.raw), abs(treatment.raw))


def _slope(pair: Pair, value: Value, covariate: Value) -> float:
    """Regression of the metric on the covariate over the pooled units, both linearised at the pooled means."""
    gradient = covariate.gradient(pair.pooled_mean)
    spread = float(gradient @ pair.pooled_scatter @ gradient)
    if spread <= 0.0:
        raise UnreadableError(Reason(N_("the covariate has no variance; leave it out or choose another")))
    return float(value.gradient(pair.pooled_mean) @ pair.pooled_scatter @ gradient) / spread


def _side(arm: Arm, pair: Pair, value: Value, covariate: Value | None, slope: float | None) -> Side:
    raw, gradient = value.at(arm.mean), value.gradient(arm.mean)
    if covariate is None or slope is None:
        return Side(raw, raw, tuple(arm.variances(gradient)))
    adjusted = raw - slope * (covariate.at(arm.mean) - covariate.at(pair.pooled_mean))
    return Side(raw, adjusted, tuple(arm.variances(gradient - slope * covariate.gradient(arm.mean))))


def _share_error(
    arm: Arm, control: Side, treatment: Side, value: Value, covariate: Value | None, slope: float | None
) -> float | None:
    """Delta method of (adjusted difference) / (raw control value), which are correlated through the control."""
    if control.raw == 0.0:
        return None
    gradient = (treatment.raw / control.raw) * value.gradient(arm.mean)
    if covariate is not None and slope is not None:
        gradient -= slope * covariate.gradient(arm.mean)
    variance = treatment.variance + sum(part for part, _ in arm.variances(gradient))
    return math.sqrt(variance) / abs(control.raw)


def satterthwaite(parts: list[tuple[float, int]]) -> float:
    """Degrees of freedom of a sum of independent variances (Satterthwaite 1946)."""
    return float(sum(part for part, _ in parts) ** 2 / sum(part**2 / freedom for part, freedom in parts))


def relative(found: Contrast, convention: Convention, multiplier: float) -> Relative | None:
    """Express an effect as a share of the control's value; None where that has no meaning.

    `delta` is GrowthBook's convention: the adjusted difference over the raw control value, with the delta-method
    interval at the raw values. `log` is tea-tasting's: the ratio of the adjusted values less one, with an interval that
    is symmetric on the logarithm; it needs positive values. Without a covariate both have the same estimate.

    Args:
        found: the absolute effect.
        convention: which of the two.
        multiplier: half width of the interval in standard errors.
    """
    if convention == "log":
        return _log_relative(found, multiplier)
    if found.share_error is None:
        return None
    estimate, half = found.estimate / found.control.raw, multiplier * found.share_error
    return Relative(estimate, estimate - half, estimate + half)


def _log_relative(found: Contrast, multiplier: float) -> Relative | None:
    control, treatment = found.control.adjusted, found.treatment.adjusted
    if control <= 0.0 or treatment <= 0.0:
        return None
    log_ratio = math.log(treatment / control)
    half = multiplier * math.sqrt(found.treatment.variance / treatment**2 + found.control.variance / control**2)
    return Relative(math.expm1(log_ratio), math.expm1(log_ratio - half), math.expm1(log_ratio + half))


def log_freedom(found: Contrast) -> float:
    """Satterthwaite's degrees of freedom of the logarithm of the ratio; both adjusted values are positive."""
    parts = [
        (part / side.adjusted**2, freedom)
        for side in (found.control, found.treatment)
        for part, freedom in side.variances
    ]
    return satterthwaite(parts)
