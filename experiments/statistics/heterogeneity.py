"""Whether the segments differ, and what each one's effect is.

A table of segments always shows a best and a worst one. The test says whether they differ by more than chance, and the
shrunken effects are what to expect when the best one is shipped alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

_FEWEST_TO_SHRINK = 4
"""With fewer segments their spread says too little to shrink by (James and Stein 1961)."""


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """How the effects of segments differ."""

    p_value: float
    """Of Cochran's Q: chance of effects this far apart if all were equal."""
    spread: float
    """Standard deviation of the true effects between segments (DerSimonian and Laird 1986)."""
    mean: float
    """Mean effect over segments, weighted by precision."""
    shrunk: Floats
    """(segments,) each effect, drawn to the mean by what chance adds; of four segments or more."""
    shrunk_error: Floats
    """(segments,) standard errors of the shrunken effects, with that of the mean."""


def heterogeneity(estimates: Floats, errors: Floats) -> Heterogeneity:
    """Test and shrink the effects of two or more segments.

    Args:
        estimates: (segments,)
        errors: (segments,) their standard errors, positive.
    """
    weights = 1 / errors**2
    mean = float(weights @ estimates / weights.sum())
    q, freedom = float(weights @ (estimates - mean) ** 2), estimates.size - 1
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    between = max(0.0, (q - freedom) / float(scale))
    total = 1 / (errors**2 + between)
    centre = float(total @ estimates / total.sum())
    shrunk, error = _shrunk(estimates, errors, between, centre)
    return Heterogeneity(float(stats.chi2.sf(q, freedom)), float(np.sqrt(between)), centre, shrunk, error)


def _shrunk(estimates: Floats, errors: Floats, between: float, centre: float) -> tuple[Floats, Floats]:
    """Morris's (1983) empirical Bayes, which counts that the spread itself is estimated."""
    count = estimates.size
    if count < _FEWEST_TO_SHRINK:
        return estimates, errors
    total = errors**2 + between
    shrink = (count - 3) / (count - 1) * errors**2 / total
    share = (1 / total) / (1 / total).sum()
    away = estimates - centre
    unsure = 2 / (count - 3) * shrink**2 * (np.mean(errors**2) + between) / total
    variance = errors**2 * (1 - (1 - share) * shrink) + unsure * away**2
    return estimates - shrink * away, np.sqrt(variance)
