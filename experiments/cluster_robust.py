"""Least squares whose errors may hang together within clusters.

The covariance is CR2, the bias-reduced linearisation of Bell and McCaffrey (2002), which stays honest with few
clusters; so are their degrees of freedom, fewer than clusters where these differ in size or leverage (Imbens and
Kolesár 2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClusteredFit:
    """Coefficients of a linear model."""

    coefficient: Floats
    """(k,)."""
    covariance: Floats
    """(k, k), robust to clusters."""
    x: Floats = field(repr=False)
    """(n, k) columns."""
    inverse: Floats = field(repr=False)
    """(k, k) of the columns' products."""
    adjusted: Floats = field(repr=False)
    """(n, k) columns of each cluster times (I - H)^(-1/2), whose products with the residuals are its scores."""
    place: npt.NDArray[np.int64] = field(repr=False)
    """(n,) number of each row's cluster."""

    def contrast(self, of: int, over: int) -> tuple[float, float]:
        """Difference of two coefficients, with its standard error."""
        variance = self.covariance[of, of] + self.covariance[over, over] - 2 * self.covariance[of, over]
        return float(self.coefficient[of] - self.coefficient[over]), math.sqrt(max(float(variance), 0.0))

    def freedom(self, of: int, over: int) -> float:
        """Satterthwaite's degrees of freedom of a contrast's standard error, where errors are alike and independent."""
        weight = self.adjusted @ (self.inverse[:, of] - self.inverse[:, over])
        own: Floats = np.bincount(self.place, weight * weight).astype(np.float64)
        return matched_freedom(own, _by_cluster(weight[:, None] * self.x, self.place), self.inverse)


def matched_freedom(own: Floats, fitted: Floats, inverse: Floats) -> float:
    """Degrees of freedom of χ² with the mean and variance of a CR2 or HC2 variance (Bell and McCaffrey 2002).

    The variance is a sum of squares with the matrix G = diag(own) - fitted · inverse · fittedᵀ between clusters; the
    answer is trace(G)² over the sum of the squares of G.

    Args:
        own: (clusters,) squared length of each cluster's weights on the residuals.
        fitted: (clusters, k) the weights' products with the columns.
        inverse: (k, k) of the columns' products.
    """
    part = np.einsum("ij,jk,ik->i", fitted, inverse, fitted)
    between = inverse @ (fitted.T @ fitted)
    squares = own @ own - 2 * own @ part + np.trace(between @ between)
    return float((own - part).sum() ** 2 / squares)


def clustered_fit(x: Floats, y: Floats, clusters: Sequence[Any] | npt.NDArray[Any]) -> ClusteredFit:
    """Fit y on x by least squares.

    Args:
        x: (n, k) columns of full rank.
        y: (n,) outcomes.
        clusters: (n,) cluster of each row.

    Raises:
        ProblemError: a value is missing, the lengths differ, or the columns of x determine one another.
    """
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    if y.shape != (x.shape[0],) or place.size != y.size or not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        raise ProblemError(
            f"{x.shape} columns, {y.shape} outcomes, {place.size} clusters: lengths differ or NaN inside"
        )
    gram = x.T @ x
    if np.linalg.matrix_rank(gram) < x.shape[1]:
        raise ProblemError("a group is empty or a covariate constant: the effects cannot be told apart")
    inverse: Floats = np.linalg.inv(gram).astype(np.float64)
    coefficient = inverse @ x.T @ y
    adjusted = _adjusted(x, inverse, place)
    score = _by_cluster(adjusted * (y - x @ coefficient)[:, None], place)
    return ClusteredFit(coefficient, inverse @ score.T @ score @ inverse, x, inverse, adjusted, place)


def _by_cluster(rows: Floats, place: npt.NDArray[np.int64]) -> Floats:
    """Sum (n, k) rows over their clusters: (clusters, k)."""
    return np.stack([np.bincount(place, column) for column in rows.T], axis=1)


def _adjusted(x: Floats, inverse: Floats, place: npt.NDArray[np.int64]) -> Floats:
    """Rows of every cluster times (I - H)^(-1/2), where H is its own part of the projection: (n, k)."""
    size = np.bincount(place)
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    adjusted: Floats = x / np.sqrt(np.maximum(1 - leverage, 1e-10))[:, None]
    order = np.argsort(place, kind="stable")
    for rows in np.split(order, np.cumsum(size)[:-1]):
        if rows.size > 1:
            value, vector = np.linalg.eigh(np.eye(rows.size) - x[rows] @ inverse @ x[rows].T)
            scale = np.where(value > 1e-10, 1 / np.sqrt(np.maximum(value, 1e-10)), 0.0)
            adjusted[rows] = vector @ (scale[:, None] * (vector.T @ x[rows]))
    return adjusted
