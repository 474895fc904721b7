"""Neighbours: what products with similar words say about a product's response, beyond its category.

The part of each product's response that its category does not explain is averaged over the products whose texts lie
nearest (cosine), each trusted as far as its own data go. How much of that average to believe is learned by predicting
each product's own estimate from neighbours only (it never takes part in its own average), so words that say nothing
add nothing. A product without a history gets its response from category and neighbours alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.demand.shrinkage import Shrunken

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NEIGHBOURS = 15
SHARPNESS = 8.0
"""Weight of a neighbour: exp(SHARPNESS · (cosine − 1))."""
BLOCK = 2000
PRIOR_SLOPE_SD = 1.0
LARGEST_SLOPE = 2.0
"""The learned multiple of the (already cautious) neighbours' average is held towards zero by a prior of this width."""


def nearest(text: Floats, count: int = NEIGHBOURS) -> tuple[Ints, Floats]:
    """(P, k) nearest other products by cosine of their embeddings, and their weights; weight 0 for an empty text."""
    length = np.sqrt((text**2).sum(axis=1, keepdims=True))
    unit = np.divide(text, length, out=np.zeros_like(text, dtype=np.float64), where=length > 0)
    n = len(unit)
    k = min(count, max(n - 1, 0))
    index, weight = np.zeros((n, k), dtype=np.int64), np.zeros((n, k))
    for start in range(0, n if k else 0, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        cosine = np.round(unit[rows] @ unit.T, 9)
        cosine[np.arange(len(rows)), rows] = -np.inf
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
        index[rows] = order
        weight[rows] = np.exp(SHARPNESS * (np.take_along_axis(cosine, order, axis=1) - 1.0))
    known = length[:, 0] > 0
    return index, weight * known[:, None] * known[index]


def text_offsets(text: Floats, shrunken: Shrunken, estimate: Floats, precision: Floats) -> Floats:
    """(P, K) shift of each product's expected coefficients that its text neighbours suggest.

    Args:
        text: (P, E) embeddings.
        shrunken: a first posterior, without offsets.
        estimate: (P, K) unshrunken coefficients.
        precision: (P, K, K) their noise precision.
    """
    centre = shrunken.category_mean[shrunken.category]
    index, weight = nearest(text)
    offset = np.zeros_like(estimate)
    if index.shape[1] == 0:
        return offset
    for k in range(estimate.shape[1]):
        spread = max(float(shrunken.sigma[k, k]), 1e-6)
        known = np.clip(1.0 - shrunken.covariance[:, k, k] / spread, 0.0, 1.0)
        around = _average(np.where(known > 0, shrunken.mean[:, k] - centre[:, k], 0.0), known, index, weight)
        share = _believed(estimate[:, k] - centre[:, k], precision[:, k, k], spread, around)
        offset[:, k] = share * around
    return offset


def _average(residual: Floats, known: Floats, index: Ints, weight: Floats) -> Floats:
    """(P,) mean residual of the neighbours, pulled to zero where they know little.

    Args:
        residual: (P,) posterior residual, shrunken in proportion to what is known of it.
        known: (P,) that proportion, 0…1.
        index: (P, k) neighbours.
        weight: (P, k) their weights.
    """
    total = (weight * known[index]).sum(axis=1)
    top = (weight * residual[index]).sum(axis=1)
    pull = total + 0.25 * weight.sum(axis=1)
    return np.asarray(np.divide(top, pull, out=np.zeros(len(total)), where=pull > 0), dtype=np.float64)


def _believed(residual: Floats, own: Floats, spread: float, around: Floats) -> float:
    """Multiple of the neighbours' average to believe: precision-weighted regression of own residuals on it.

    The positive part of James and Stein sees to it that words which tell nothing add nothing.
    """
    use = own > 0
    weight = 1.0 / (spread + np.divide(1.0, own, out=np.ones_like(own), where=use)) * use
    top = float((weight * around * np.where(use, residual, 0.0)).sum())
    bottom = float((weight * around**2).sum()) + PRIOR_SLOPE_SD**-2
    sure = max(0.0, 1.0 - bottom / top**2) if top > 0 else 0.0
    return float(np.clip(sure * top / bottom, 0.0, LARGEST_SLOPE))
