"""What an experiment earned: effect, interval and decision, from sufficient statistics of each variant.

Everything is computed from the count, the mean and the centred sum of squares of each variant, never from rows: these
three add up over partitions, and centring keeps them exact for large means (Chan, Golub and LeVeque 1983).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from engine.errors import ProblemError

Floats = npt.NDArray[np.float64]
Decision = Literal["better", "worse", "undecided", "untrustworthy"]

SAMPLE_RATIO_ALPHA = 0.001
"""A split that chance would make less often than this is not chance (Fabijan et al. 2019)."""


@dataclass(frozen=True)
class Metric:
    """A metric: the mean over units of one column."""

    name: str
    column: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of one metric in one variant."""

    count: int
    mean: float
    centred_squares: float
    """Sum of squared deviations from the mean."""

    @property
    def variance(self) -> float:
        """Sample variance, divisor count - 1."""
        return self.centred_squares / (self.count - 1)

    def merged(self, other: Moments) -> Moments:
        """Statistics of both groups together (Chan, Golub and LeVeque 1983)."""
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * other.count / count
        squares = self.centred_squares + other.centred_squares + delta**2 * self.count * other.count / count
        return Moments(count, mean, squares)


@dataclass(frozen=True)
class Effect:
    """Treatment minus control of one metric."""

    metric: str
    variant: int
    control_mean: float
    treatment_mean: float
    control_count: int
    treatment_count: int
    estimate: float
    """Difference in means, in the metric's unit per randomised unit."""
    low: float
    high: float
    p_value: float
    relative: float | None
    """estimate / control mean; None where the control mean is zero."""
    relative_low: float | None
    """Delta-method interval of `relative`; None where the control mean is zero."""
    relative_high: float | None
    decision: Decision


@dataclass(frozen=True)
class Analysis:
    """The reading of an experiment."""

    effects: tuple[Effect, ...]
    counts: tuple[int, ...]
    """Units by variant."""
    sample_ratio_p: float
    """Chi-square p-value of the split against its weights."""
    trustworthy: bool
    alpha: float
    excluded: int
    """Units left out because they were in no variant."""


def moments(values: Floats) -> Moments:
    """Sufficient statistics of (n,) finite values."""
    mean = float(values.mean())
    return Moments(int(values.size), mean, float(np.square(values - mean).sum()))


def sample_ratio_p(counts: Sequence[int], weights: Sequence[float]) -> float:
    """P-value of Pearson's chi-square test that `counts` come from `weights` (no continuity correction)."""
    observed = np.asarray(counts, dtype=np.float64)
    expected = observed.sum() * np.asarray(weights, dtype=np.float64) / np.sum(weights)
    return float(stats.chi2.sf(float(((observed - expected) ** 2 / expected).sum()), observed.size - 1))


def compare(metric: Metric, control: Moments, treatment: Moments, *, variant: int = 1, alpha: float = 0.05) -> Effect:
    """Difference in means with Welch's unequal-variance interval (Welch 1947).

    Raises:
        ProblemError: a variant has fewer than two units, or no unit differs from another.
    """
    for word, group in (("control", control), (f"variant {variant}", treatment)):
        if group.count < 2:
            raise ProblemError(f"metric '{metric.name}': {word} has {group.count} unit(s); at least 2 are needed")
    part_c, part_t = control.variance / control.count, treatment.variance / treatment.count
    error = float(np.sqrt(part_c + part_t))
    if error == 0.0:
        raise ProblemError(f"metric '{metric.name}' has no variance in any variant; check column '{metric.column}'")
    freedom = (part_c + part_t) ** 2 / (part_c**2 / (control.count - 1) + part_t**2 / (treatment.count - 1))
    width = float(stats.t.ppf(1 - alpha / 2, freedom))
    estimate = treatment.mean - control.mean
    low, high = estimate - width * error, estimate + width * error
    relative = _relative(control, treatment, part_c, part_t, width)
    return Effect(
        metric=metric.name,
        variant=variant,
        control_mean=control.mean,
        treatment_mean=treatment.mean,
        control_count=control.count,
        treatment_count=treatment.count,
        estimate=estimate,
        low=low,
        high=high,
        p_value=float(2 * stats.t.sf(abs(estimate) / error, freedom)),
        relative=relative[0],
        relative_low=relative[1],
        relative_high=relative[2],
        decision=_decide(metric, low, high),
    )


def _relative(
    control: Moments, treatment: Moments, part_c: float, part_t: float, width: float
) -> tuple[float | None, float | None, float | None]:
    """Relative effect with its delta-method interval, which counts the control mean's own uncertainty."""
    if control.mean == 0.0:
        return None, None, None
    ratio = treatment.mean / control.mean
    error = float(np.sqrt(part_t + ratio**2 * part_c)) / abs(control.mean)
    return ratio - 1.0, ratio - 1.0 - width * error, ratio - 1.0 + width * error


def _decide(metric: Metric, low: float, high: float) -> Decision:
    if low > 0:
        return "better" if metric.higher_is_better else "worse"
    if high < 0:
        return "worse" if metric.higher_is_better else "better"
    return "undecided"


def analyse(
    table: pd.DataFrame,
    metrics: Sequence[Metric],
    *,
    variant: str = "variant",
    unit: str | None = None,
    weights: Sequence[float] | None = None,
    alpha: float = 0.05,
) -> Analysis:
    """Read an experiment.

    Args:
        table: one row per randomised unit.
        metrics: what to compare.
        variant: column with 0 for the control, 1, 2 … for the treatments, -1 for units outside the experiment.
        unit: column with the unit's identifier; given, a unit on two rows is refused.
        weights: planned share of each variant; None means equal shares.
        alpha: 1 - confidence.

    Raises:
        ProblemError: a column is missing, a metric is not finite, a unit appears twice, or a variant is empty.
    """
    _check_table(table, [m.column for m in metrics] + [variant] + ([unit] if unit else []), unit)
    inside = table[table[variant] >= 0]
    labels = inside[variant].to_numpy(dtype=np.int64)
    arms = len(weights) if weights is not None else max(2, int(labels.max(initial=0)) + 1)
    counts = np.bincount(labels, minlength=arms)
    if np.any(counts[:arms] == 0) or counts.size > arms:
        raise ProblemError(f"variants hold {counts.tolist()} units for {arms} planned variants; every one needs units")
    ratio_p = sample_ratio_p(counts.tolist(), weights if weights is not None else [1.0] * arms)
    trustworthy = ratio_p >= SAMPLE_RATIO_ALPHA
    effects = [
        effect if trustworthy else _marked(effect)
        for metric in metrics
        for effect in _effects(metric, _values(inside, metric), labels, arms, alpha)
    ]
    return Analysis(tuple(effects), tuple(counts.tolist()), ratio_p, trustworthy, alpha, len(table) - len(inside))


def _marked(effect: Effect) -> Effect:
    return Effect(**{**effect.__dict__, "decision": "untrustworthy"})


def _effects(metric: Metric, values: Floats, labels: npt.NDArray[Any], arms: int, alpha: float) -> list[Effect]:
    groups = [moments(values[labels == arm]) for arm in range(arms)]
    return [compare(metric, groups[0], groups[arm], variant=arm, alpha=alpha) for arm in range(1, arms)]


def _values(table: pd.DataFrame, metric: Metric) -> Floats:
    values = pd.to_numeric(table[metric.column], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        shown = table[metric.column].iloc[int(bad[0])]
        raise ProblemError(
            f"metric '{metric.name}', column '{metric.column}', row {int(bad[0]) + 1}: value {shown!r} is not a finite "
            f"number ({bad.size:,} such rows); fill or remove them"
        )
    return values


def _check_table(table: pd.DataFrame, columns: Sequence[str], unit: str | None) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ProblemError(f"the table lacks the columns {missing}; it has {list(table.columns)}")
    if unit and table[unit].duplicated().any():
        first = table.loc[table[unit].duplicated(), unit].iloc[0]
        raise ProblemError(f"unit {first!r} stands on more than one row; aggregate to one row per unit first")
