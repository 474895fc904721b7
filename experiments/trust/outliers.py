"""Twyman's law: a figure that looks interesting is usually wrong. One unit that makes the result; a miracle effect."""

from __future__ import annotations

from engine.proposal import N_, Reason
from experiments.statistics.moments import Moments
from experiments.trust.check import Check

LARGEST_SHARE = 0.2
"""Share of a metric's sum of squares that one unit may hold before its mean is that unit's story."""
FARTHEST = 20.0
"""Among few units one always weighs much: it has to lie 4.5 standard deviations away as well."""
MIRACLE = 0.5
"""Relative effects beyond this are errors of logging far more often than effects (Kohavi, Tang and Xu 2020)."""


def check_outlier(metric: str, pooled: Moments, low: float, high: float, *, component: int = 0) -> Check:
    """See how much of a metric's variance its most extreme unit makes.

    Args:
        metric: its name.
        pooled: moments over all variants, at least one unit.
        low: smallest value of the component.
        high: largest value of the component.
        component: which component of the moments.
    """
    mean, squares = float(pooled.mean[component]), float(pooled.scatter[component, component])
    value = high if high - mean >= mean - low else low
    share = 0.0 if squares <= 0.0 else min(1.0, (value - mean) ** 2 / squares)
    shown = {"metric": metric, "value": value, "share": share, "mean": mean}
    name = f"outlier:{metric}"
    if share <= max(LARGEST_SHARE, FARTHEST / max(pooled.count, 1)):
        return Check(name, "passed", Reason(N_("no single unit makes the variance of {metric}"), shown))
    text = N_(
        "one unit with {value:,.6g} makes {share:.0%} of the variance of {metric} (mean {mean:,.4g}): look at it, and "
        "winsorise the metric in the next design"
    )
    return Check(name, "notice", Reason(text, shown))


def check_miracle(metric: str, variant: int, relative: float | None, *, is_decided: bool) -> Check | None:
    """Notice an effect too large to believe; None where the effect is ordinary or not told apart from none."""
    if relative is None or not is_decided or abs(relative) <= MIRACLE:
        return None
    text = N_(
        "{metric} of variant {variant} moved by {relative:+.0%}: effects this large are errors of logging more often "
        "than effects; check the data before believing it"
    )
    shown = {"metric": metric, "variant": variant, "relative": relative}
    return Check(f"miracle:{metric}:{variant}", "notice", Reason(text, shown))
