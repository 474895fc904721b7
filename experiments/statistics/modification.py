"""How an effect changes along a covariate: the difference of the slopes in the two variants.

A slope is a function of the means of y, x, xy and x², so the delta method on these gives its variance without assuming
equal spread (the sandwich of White 1980, from sums alone; interactions as in Lin 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.proposal import N_, Reason
from experiments.statistics.arms import Arm, Pair, UnreadableError
from experiments.statistics.contrast import satterthwaite

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SlopeContrast:
    """Treatment's slope minus control's."""

    slope: float
    """Change of the effect for one more unit of the covariate."""
    error: float
    freedom: float
    at_mean: float
    """Effect at the covariate's pooled mean."""
    spread: float
    """Standard deviation of the covariate, pooled."""


def slope_contrast(variants: Pair) -> SlopeContrast:
    """Compare the slopes of two variants.

    Args:
        variants: arms with the components y, x, xy, x² (x best centred, so that nothing cancels).

    Raises:
        UnreadableError: the covariate does not vary in a variant, or nothing varies around the slopes.
    """
    control, treatment = (_slope(arm) for arm in (variants.control, variants.treatment))
    parts = [*variants.control.variances(control.gradient), *variants.treatment.variances(treatment.gradient)]
    error = float(np.sqrt(sum(part for part, _ in parts)))
    if error == 0.0:
        raise UnreadableError(Reason(N_("no unit differs from another: the metric has no variance")))
    centre = variants.pooled_mean
    spread = float(np.sqrt(max(0.0, centre[3] - centre[1] ** 2)))
    at_mean = treatment.at(centre[1]) - control.at(centre[1])
    return SlopeContrast(treatment.slope - control.slope, error, satterthwaite(parts), at_mean, spread)


@dataclass(frozen=True, eq=False)
class _Line:
    slope: float
    gradient: Floats
    """(4,) derivatives of the slope by the means of y, x, xy and x²."""
    mean_x: float
    mean_y: float

    def at(self, x: float) -> float:
        return self.mean_y + self.slope * (x - self.mean_x)


def _slope(arm: Arm) -> _Line:
    y, x, xy, xx = (float(value) for value in arm.mean)
    spread = xx - x**2
    if spread <= 1e-12 * xx:
        raise UnreadableError(Reason(N_("the covariate has no variance; leave it out or choose another")))
    slope = (xy - x * y) / spread
    return _Line(slope, np.array([-x, 2 * slope * x - y, 1.0, -slope]) / spread, x, y)
