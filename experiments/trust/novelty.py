"""Novelty and primacy: does the effect change with the days since a unit first saw the variant."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.proposal import N_, Reason
from experiments.trust.check import Check

Floats = npt.NDArray[np.float64]

NOVELTY_ALPHA = 0.01


def check_novelty(metric: str, variant: int, effects: Floats, covariance: Floats) -> Check:
    """Fit a line through the effects by day since exposure, by generalised least squares.

    The same units are behind every day, so the days are correlated, and their covariance counts.

    Args:
        metric: its name.
        variant: the treatment.
        effects: (days,) effect on each day since exposure, day 0 first.
        covariance: (days, days) of the effects, positive definite.
    """
    days = np.arange(effects.size, dtype=np.float64)
    design = np.column_stack([np.ones_like(days), days])
    whitened = np.linalg.solve(covariance, design)
    information = design.T @ whitened
    level, slope = np.linalg.solve(information, whitened.T @ effects)
    error = float(np.sqrt(np.linalg.inv(information)[1, 1]))
    p_value = float(2 * stats.norm.sf(abs(slope) / error))
    last = float(level + slope * days[-1])
    shown = {"metric": metric, "variant": variant, "p": p_value, "first": float(level), "last": last}
    name = f"novelty:{metric}:{variant}"
    if p_value >= NOVELTY_ALPHA:
        text = N_("{metric}: the effect shows no trend over the days since exposure")
        return Check(name, "passed", Reason(text, shown), p_value)
    text = N_(
        "{metric}: the effect of variant {variant} went from {first:+.4g} to {last:+.4g} a day over the days since "
        "exposure (p = {p:.2g}): run on until it settles"
    )
    return Check(name, "notice", Reason(text, shown), p_value)
