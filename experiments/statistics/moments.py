"""Sufficient statistics of a group of units: count, mean vector, centred cross-products.

They add up over partitions, and centring keeps them exact for large means (Chan, Golub and LeVeque 1983).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Sufficient statistics of k components in one group of units."""

    count: int
    mean: Floats
    """(k,)"""
    scatter: Floats
    """(k, k) sums of products of deviations from the mean."""

    @property
    def covariance(self) -> Floats:
        """Sample covariance, divisor count - 1, (k, k); of two or more units."""
        return self.scatter / (self.count - 1)

    def merged(self, other: Moments) -> Moments:
        """Statistics of both groups together."""
        count = self.count + other.count
        if count == 0:
            return self
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        scatter = self.scatter + other.scatter + np.outer(delta, delta) * (self.count * other.count / count)
        return Moments(count, mean, scatter)


def moments(values: Floats) -> Moments:
    """Sufficient statistics of (n, k) finite values; (n,) is one component."""
    columns = values.reshape(len(values), -1)
    mean = columns.mean(axis=0)
    deviation = columns - mean
    return Moments(len(columns), mean, deviation.T @ deviation)


def merge(groups: Iterable[Moments]) -> Moments:
    """Statistics of all groups together; there is at least one."""
    return reduce(Moments.merged, groups)
