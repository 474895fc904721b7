"""Difference of two quantiles, with intervals that assume nothing about the density.

Each variant's interval inverts the test of its level (Woodruff 1952): the level's own standard error, by unit or by
cluster, says which neighbouring quantiles bound it. Two such intervals make that of the difference without forcing them
to be symmetric (the method of variance estimates recovery: Zou and Donner 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.proposal import N_, Reason
from experiments.statistics.arms import UnreadableError

FEWEST_BEYOND = 10
"""Units needed on the thinner side of a quantile; with fewer the interval runs out of data."""


@dataclass(frozen=True)
class QuantileSide:
    """One variant's quantile with its interval."""

    count: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class QuantileContrast:
    """Treatment minus control, and as a share of the control."""

    estimate: float
    low: float
    high: float
    error: float
    """Distance from the estimate to the bound on nought's side, over the multiplier."""
    relative: tuple[float, float, float] | None
    """Estimate, low and high; None where the control's quantile is not positive."""


def level_bounds(level: float, error: float, multiplier: float, count: int) -> tuple[float, float]:
    """Levels whose quantiles bound that of `level`.

    Args:
        level: 0…1.
        error: standard error of the share of values at or below the quantile.
        multiplier: half width in standard errors.
        count: of units (clusters); decides whether there are enough.

    Raises:
        UnreadableError: there are too few units beyond the quantile.
    """
    if count * min(level, 1.0 - level) < FEWEST_BEYOND:
        shown = {"level": level, "count": count, "needed": math.ceil(FEWEST_BEYOND / min(level, 1.0 - level))}
        raise UnreadableError(Reason(N_("quantile {level} of {count} units: at least {needed} are needed"), shown))
    half = multiplier * error
    return max(1e-9, level - half), min(1.0 - 1e-9, level + half)


def quantile_contrast(control: QuantileSide, treatment: QuantileSide, multiplier: float) -> QuantileContrast:
    """Compare two quantiles.

    Raises:
        UnreadableError: the values do not spread around the quantile.
    """
    estimate = treatment.value - control.value
    down = math.hypot(treatment.value - treatment.low, control.high - control.value)
    up = math.hypot(treatment.high - treatment.value, control.value - control.low)
    if down == 0.0 or up == 0.0:
        raise UnreadableError(Reason(N_("the values around the quantile are all equal; compare a share or a mean")))
    error = (down if estimate > 0 else up) / multiplier
    return QuantileContrast(estimate, estimate - down, estimate + up, error, _relative(control, treatment))


def _relative(control: QuantileSide, treatment: QuantileSide) -> tuple[float, float, float] | None:
    """Share of the control's quantile: the same recovery of variances on the logarithms."""
    if control.low <= 0.0 or treatment.low <= 0.0:
        return None
    estimate = math.log(treatment.value / control.value)
    down = math.hypot(math.log(treatment.value / treatment.low), math.log(control.high / control.value))
    up = math.hypot(math.log(treatment.high / treatment.value), math.log(control.value / control.low))
    return math.expm1(estimate), math.expm1(estimate - down), math.expm1(estimate + up)
