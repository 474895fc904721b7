"""What to believe about an effect, given a normal prior: on request, beside the interval and never instead of it.

A posterior does not correct for peeking by itself: it is as honest as its prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from engine.errors import ProblemError


@dataclass(frozen=True)
class Prior:
    """A normal prior of the relative effect, as a share of the control's value; GrowthBook's default scale is 0.3."""

    mean: float = 0.0
    spread: float = 0.3
    """Standard deviation."""

    def __post_init__(self) -> None:
        """Check the prior.

        Raises:
            ProblemError: the mean is not finite, or the spread not positive and finite.
        """
        if not (math.isfinite(self.mean) and math.isfinite(self.spread) and self.spread > 0):
            raise ProblemError(f"prior N({self.mean:g}, {self.spread:g}²): give a finite mean and a positive spread")


@dataclass(frozen=True)
class Posterior:
    """The normal posterior of a relative effect."""

    mean: float
    spread: float
    low: float
    high: float
    chance_better: float
    """Probability that the treatment is better."""
    expected_loss: float
    """Expected share lost by shipping: the mean of max(0, −effect), where a larger metric is better."""


def posterior(estimate: float, error: float, prior: Prior, *, alpha: float, higher_is_better: bool) -> Posterior:
    """Combine a normal estimate with a normal prior (Gelman et al. 2013, chapter 2).

    Args:
        estimate: relative effect.
        error: its standard error, positive.
        prior: of the relative effect.
        alpha: 1 - credibility of the interval.
        higher_is_better: says which direction is a loss.
    """
    precision = 1 / error**2 + 1 / prior.spread**2
    spread = math.sqrt(1 / precision)
    mean = (estimate / error**2 + prior.mean / prior.spread**2) / precision
    half = float(stats.norm.ppf(1 - alpha / 2)) * spread
    gain = mean if higher_is_better else -mean
    return Posterior(
        mean=mean,
        spread=spread,
        low=mean - half,
        high=mean + half,
        chance_better=float(stats.norm.cdf(gain / spread)),
        expected_loss=float(spread * stats.norm.pdf(gain / spread) - gain * stats.norm.sf(gain / spread)),
    )
