"""Least squares whose errors may hang together within clusters.

The covariance is CR2, the bias-reduced linearisation of Bell and McCaffrey (2002), which stays honest with few
clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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

    def contrast(self, of: int, over: int) -> tuple[float, float]:
        """Difference of two coefficients, with its standard error."""
        variance = self.covariance[of, of] + self.covariance[over, over] - 2 * self.covariance[of, over]
        return float(self.coefficient[of] - self.coefficient[over]), math.sqrt(max(float(variance), 0.0))


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
    residual: Floats = y - x @ coefficient
    return ClusteredFit(coefficient, inverse @ _meat(x, inverse, residual, place) @ inverse)


def _meat(x: Floats, inverse: Floats, residual: Floats, place: npt.NDArray[np.int64]) -> Floats:
    """Sum over the clusters of the outer products of their scores, (k, k)."""
    size = np.bincount(place)
    alone = size[place] == 1
    leverage = np.einsum("ij,jk,ik->i", x[alone], inverse, x[alone])
    score = x[alone] * (residual[alone] / np.sqrt(np.maximum(1 - leverage, 1e-10)))[:, None]
    meat: Floats = score.T @ score
    order = np.argsort(place, kind="stable")
    for rows in np.split(order, np.cumsum(size)[:-1]):
        if rows.size > 1:
            together = x[rows].T @ _adjusted(x[rows], inverse, residual[rows])
            meat += np.outer(together, together)
    return meat


def _adjusted(x: Floats, inverse: Floats, residual: Floats) -> Floats:
    """(I - H)^(-1/2) times the residuals of one cluster."""
    value, vector = np.linalg.eigh(np.eye(x.shape[0]) - x @ inverse @ x.T)
    scale = np.where(value > 1e-10, 1 / np.sqrt(np.maximum(value, 1e-10)), 0.0)
    adjusted: Floats = vector @ (scale * (vector.T @ residual))
    return adjusted
