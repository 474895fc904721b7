"""Expected demand of every rung as a polynomial of what the rest of the family does.

Under draw d, product i at rung k sells base_i · scale_di · exp(own_di · x_ik) · exp(cross_di · y): a mixture of
exponentials in one scalar y, the weighted log move of the rest of its family. Its mean over the draws is interpolated
at Chebyshev nodes; the degree is chosen so that the error is below 1e-13 of it (Trefethen, "Approximation Theory and
Approximation Practice", SIAM, 2013, chapter 8), which makes the posterior mean of any choice a matter of a few
multiplications instead of D exponentials.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.compiled import compiled

Floats = npt.NDArray[np.float64]
Array = Any

PRECISION = 1e-13
MOST_NODES = 24
QUANTILE_NODES = 9
"""Nodes of `lower` values, whose quantile over the draws has kinks: the fit is as good as it is, and measured."""


def node_count(reach: float) -> int:
    """Nodes after which exp(z), |z| <= reach, is interpolated to PRECISION."""
    for nodes in range(3, MOST_NODES):
        if interpolation_error(reach, nodes) <= PRECISION:
            return nodes
    return MOST_NODES


def interpolation_error(reach: float, nodes: int) -> float:
    """Relative error of interpolating exp(z), |z| <= reach, at so many Chebyshev nodes, against its least value."""
    return reach**nodes / (2.0 ** (nodes - 1) * math.factorial(nodes)) * math.exp(min(2 * reach, 700.0))


def chebyshev(nodes: int) -> tuple[Floats, Floats]:
    """Nodes in [-1, 1], (M,), and the matrix (M, M) that turns values there into coefficients of 1, t, t², …."""
    at = np.cos((2 * np.arange(nodes) + 1) * np.pi / (2 * nodes))
    basis = np.polynomial.chebyshev.chebvander(at, nodes - 1)
    powers = np.zeros((nodes, nodes))
    for m in range(nodes):
        row = np.polynomial.chebyshev.cheb2poly(np.eye(nodes)[m])
        powers[m, : len(row)] = row
    # Discrete orthogonality: coefficients in T_m are 2 / M times the values' products with T_m, half that for T_0.
    weight = basis * np.where(np.arange(nodes) == 0, 1.0, 2.0) / nodes
    return at, np.asarray(weight @ powers)


@compiled()
def tabulate(own: Array, cross: Array, scale: Array, log_move: Array, at: Array, found: Array) -> None:
    """Mean over draws of scale · exp(own · x) · exp(cross · y).

    Args:
        own: (P, D) draws; cross, scale: the same.
        cross: (P, D).
        scale: (P, D).
        log_move: (P, K) x.
        at: (P, M) y.
        found: (P, K, M) is filled.
    """
    products, rungs = log_move.shape
    draws, nodes = own.shape[1], at.shape[1]
    alone = np.empty((rungs, draws))
    rest = np.empty((nodes, draws))
    for i in range(products):
        for k in range(rungs):
            for d in range(draws):
                alone[k, d] = scale[i, d] * math.exp(own[i, d] * log_move[i, k])
        for m in range(nodes):
            for d in range(draws):
                rest[m, d] = math.exp(cross[i, d] * at[i, m])
        for k in range(rungs):
            for m in range(nodes):
                total = 0.0
                for d in range(draws):
                    total += alone[k, d] * rest[m, d]
                found[i, k, m] = total / draws


@compiled()
def tabulate_lower(
    own: Array, cross: Array, scale: Array, log_move: Array, at: Array, margin: Array, quantile: float, found: Array
) -> None:
    """Quantile over draws of scale · (margin_k · exp(own · x) · exp(cross · y) - today's margin).

    Args:
        own: (P, D) draws; cross, scale: the same.
        cross: (P, D).
        scale: (P, D).
        log_move: (P, K) x.
        at: (P, M) y.
        margin: (P, K + 1) money per unit at each rung, and last at today's price.
        quantile: share, interpolated linearly between order statistics.
        found: (P, K, M) is filled.
    """
    products, rungs = log_move.shape
    draws, nodes = own.shape[1], at.shape[1]
    alone, gain = np.empty(draws), np.empty(draws)
    rest = np.empty((nodes, draws))
    place = quantile * (draws - 1)
    below = int(place)
    above = min(below + 1, draws - 1)
    for i in range(products):
        for m in range(nodes):
            for d in range(draws):
                rest[m, d] = math.exp(cross[i, d] * at[i, m])
        for k in range(rungs):
            for d in range(draws):
                alone[d] = margin[i, k] * math.exp(own[i, d] * log_move[i, k])
            for m in range(nodes):
                for d in range(draws):
                    gain[d] = scale[i, d] * (alone[d] * rest[m, d] - margin[i, rungs])
                ordered = np.sort(gain)
                found[i, k, m] = ordered[below] + (place - below) * (ordered[above] - ordered[below])
