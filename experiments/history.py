"""What history says of a metric: the variance of a unit, what CUPED will take off it, how clusters hang together.

Every figure that a design rests on comes from here: a mean, a ratio or a proportion of past units, the share of its
variance that a covariate from before explains, and the intraclass correlation of units that are randomised together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import Reason

Floats = npt.NDArray[np.float64]
Kind = Literal["mean", "ratio", "proportion"]
_NOT_FINITE = "history of '{name}': {where}; give two or more finite numbers, one a unit"
_ROW = "row {row} is {value}"
_SHAPE = "shape {shape}"


@dataclass(frozen=True)
class Outcome:
    """A metric as history knows it."""

    name: str
    kind: Kind
    mean: float
    """Mean of a unit; of a ratio the ratio itself, of a proportion the share."""
    variance: float
    """Variance that one unit contributes; of a ratio that of its linearised value (delta method)."""
    units: int
    """Units that history had."""
    explained: float = 0.0
    """Share of the variance that the covariates from before take off (CUPED; Deng, Xu, Kohavi and Walker 2013)."""
    correlation: float = 0.0
    """Intraclass correlation of units in one cluster; 0 where units are randomised one by one."""
    cluster_size: float = 1.0
    cluster_variation: float = 0.0
    """Coefficient of variation of the cluster sizes."""

    @property
    def design_effect(self) -> float:
        """Factor by which clusters inflate the variance (Eldridge, Ashby and Kerry 2006)."""
        return 1.0 + ((self.cluster_variation**2 + 1.0) * self.cluster_size - 1.0) * self.correlation

    @property
    def residual_variance(self) -> float:
        """Variance of a unit that an effect has to be seen against."""
        return self.variance * (1.0 - self.explained) * self.design_effect


def mean_outcome(name: str, values: npt.ArrayLike) -> Outcome:
    """Describe the mean over (n,) units, such as profit per customer.

    Raises:
        ProblemError: fewer than two units, a value that is not finite, or no variance.
    """
    array = _finite(name, values)
    return Outcome(name, "mean", float(array.mean()), _spread(name, array), array.size)


def proportion_outcome(name: str, values: npt.ArrayLike) -> Outcome:
    """Describe the share of (n,) units with a 1 among 0 and 1.

    Raises:
        ProblemError: a value other than 0 and 1, or all alike.
    """
    array = _finite(name, values)
    if not np.all((array == 0) | (array == 1)):
        raise ProblemError(
            Reason(
                "proportion '{name}' holds {value:g}; give 0 or 1 a unit",
                {"name": name, "value": array[(array != 0) & (array != 1)][0]},
            )
        )
    share = float(array.mean())
    _spread(name, array)
    return Outcome(name, "proportion", share, share * (1 - share), array.size)


def ratio_outcome(name: str, numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Outcome:
    """Describe a ratio of sums over (n,) units, such as profit for each order (Deng, Knoblich and Lu 2018).

    Raises:
        ProblemError: a denominator that sums up to nought, or what `mean_outcome` refuses.
    """
    ratio, linear = linearised(name, numerator, denominator)
    return Outcome(name, "ratio", ratio, _spread(name, linear), linear.size)


def linearised(name: str, numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> tuple[float, Floats]:
    """Ratio of sums and (n,) the contribution of each unit to it, by the delta method.

    Raises:
        ProblemError: lengths differ, or the denominator sums up to nought.
    """
    above, below = _finite(name, numerator), _finite(name, denominator)
    if above.size != below.size or below.mean() == 0.0:
        raise ProblemError(
            Reason(
                "ratio '{name}' cannot be formed from {above} numerators and {below} denominators: give one of each "
                "for every unit, and denominators that do not add up to 0",
                {"name": name, "above": above.size, "below": below.size},
            )
        )
    ratio = float(above.mean() / below.mean())
    return ratio, (above - ratio * below) / float(below.mean())


def with_covariates(outcome: Outcome, values: npt.ArrayLike, covariates: npt.ArrayLike) -> Outcome:
    """Say how much the covariates take off the variance, by the adjusted R² of least squares.

    Args:
        outcome: the metric.
        values: (n,) its value of each unit; of a ratio the linearised one.
        covariates: (n,) or (n, k), from before the values; a constant column counts for nothing.

    Raises:
        ProblemError: a covariate is missing or not finite, or the lengths differ.
    """
    y = _finite(outcome.name, values)
    x = np.asarray(covariates, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.shape[0] != y.size or not np.all(np.isfinite(x)):
        raise ProblemError(
            Reason(
                "covariates of '{name}': {rows} rows for {units} units, or missing values; give a finite "
                "number for every unit (0 where nothing happened before)",
                {"name": outcome.name, "rows": x.shape[0], "units": y.size},
            )
        )
    x = x[:, x.std(axis=0) > 0]
    if x.shape[1] == 0 or y.size <= x.shape[1] + 2:
        return replace(outcome, explained=0.0)
    left, centred = left_over(y, x), y - y.mean()
    raw = 1.0 - float(left @ left) / float(centred @ centred)
    adjusted = 1.0 - (1.0 - raw) * (y.size - 1) / (y.size - 1 - x.shape[1])
    return replace(outcome, explained=float(np.clip(adjusted, 0.0, 1.0 - 1e-9)))


def left_over(values: npt.ArrayLike, covariates: npt.ArrayLike) -> Floats:
    """What covariates from before leave of (n,) values, by least squares: (n,), mean 0."""
    y, x = np.asarray(values, dtype=np.float64), np.asarray(covariates, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    centred: Floats = y - y.mean()
    left: Floats = centred - x @ np.linalg.lstsq(x, centred, rcond=None)[0]
    return left


def with_clusters(outcome: Outcome, values: npt.ArrayLike, clusters: Sequence[Any] | npt.NDArray[Any]) -> Outcome:
    """Say how units that are randomised together hang together: the analysis-of-variance estimate (Donner 1986).

    Args:
        outcome: the metric.
        values: (n,) its value of each unit; where covariates are used what they leave of it (`left_over`).
        clusters: (n,) cluster of each unit, such as its store.

    Raises:
        ProblemError: there are fewer than two clusters, or the lengths differ.
    """
    y = _finite(outcome.name, values)
    names, place = np.unique(np.asarray(clusters), return_inverse=True)
    if place.size != y.size or names.size < 2:
        raise ProblemError(
            Reason(
                "clusters of '{name}': {clusters} for {units} units; at least 2 are needed",
                {"name": outcome.name, "clusters": names.size, "units": y.size},
            )
        )
    size = np.bincount(place).astype(np.float64)
    means = np.bincount(place, weights=y) / size
    variation = float(size.std() / size.mean())
    if names.size == y.size:
        return replace(outcome, correlation=0.0, cluster_size=1.0, cluster_variation=0.0)
    between = float((size * (means - y.mean()) ** 2).sum()) / (names.size - 1)
    within = float(((y - means[place]) ** 2).sum()) / (y.size - names.size)
    typical = (y.size - float((size**2).sum()) / y.size) / (names.size - 1)
    total = between + (typical - 1.0) * within
    icc = max(0.0, (between - within) / total) if total > 0 else 0.0
    return replace(outcome, correlation=icc, cluster_size=float(size.mean()), cluster_variation=variation)


def panel_outcome(name: str, panel: npt.ArrayLike, *, weeks: int, before: int) -> Outcome:
    """Describe the weekly mean of a unit over a test of `weeks`, adjusted by its mean of the weeks `before`.

    For units that are few and watched for long: products, stores, regions. Every window of history that is long enough
    is taken as a test that did nothing, and the variances are averaged.

    Args:
        name: of the metric.
        panel: (units, history weeks) the metric of each unit in each week; NaN where the unit was not there.
        weeks: length of the test.
        before: weeks of the pre-period.

    Raises:
        ProblemError: history is shorter than the test and its pre-period, or fewer than 4 units were there throughout.
    """
    table = np.asarray(panel, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < weeks + before or weeks < 1 or before < 1:
        raise ProblemError(
            Reason(
                "history of '{name}' has shape {shape}; a test of {weeks} weeks after {before} weeks needs "
                "{total} of them",
                {"name": name, "shape": table.shape, "weeks": weeks, "before": before, "total": weeks + before},
            )
        )
    found = []
    for start in range(table.shape[1] - weeks - before + 1):
        window = table[:, start : start + before + weeks]
        window = window[np.isfinite(window).all(axis=1)]
        if window.shape[0] >= 4 and np.ptp(window) > 0:
            after = window[:, before:].mean(axis=1)
            found.append(with_covariates(mean_outcome(name, after), after, window[:, :before].mean(axis=1)))
    if not found:
        raise ProblemError(
            Reason(
                "history of '{name}': fewer than 4 units were there for {weeks} weeks in a row",
                {"name": name, "weeks": weeks + before},
            )
        )
    variance = float(np.mean([one.variance for one in found]))
    left = float(np.mean([one.variance * (1 - one.explained) for one in found]))
    mean = float(np.mean([one.mean for one in found]))
    return Outcome(name, "mean", mean, variance, found[-1].units, explained=1.0 - left / variance)


def _finite(name: str, values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(array)) if array.ndim == 1 else None
    if bad is None or array.size < 2 or bad.size:
        found = {"row": int(bad[0]) + 1, "value": array[bad[0]]} if bad is not None and bad.size else {}
        where = Reason(_ROW, found) if found else Reason(_SHAPE, {"shape": array.shape})
        raise ProblemError(Reason(_NOT_FINITE, {"name": name, "where": where}))
    return array


def _spread(name: str, array: Floats) -> float:
    variance = float(array.var(ddof=1))
    if variance == 0.0:
        raise ProblemError(
            Reason(
                "history of '{name}' has no variance: every unit is {value:g}; no size can be planned",
                {"name": name, "value": array[0]},
            )
        )
    return variance
