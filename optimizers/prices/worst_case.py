"""The own elasticities within an ellipsoid that hurt a set of prices most."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from optimizers.prices.problem import PriceProblem
from optimizers.prices.solve import evaluate_prices

Floats = npt.NDArray[np.float64]

STEPS = 60
"""Frank-Wolfe steps, at most."""


def worst_gain(problem: PriceProblem, price: Floats, radius: float) -> tuple[float, Floats]:
    """Find the own elasticities in the ellipsoid that hurt most.

    The ellipsoid is {mean + radius · A'z / √(D - 1): |z| <= 1}, A the centred draws (D, P). A line's profit is convex
    in its elasticity where the margin is positive, so steps towards the worst corner of the linearised problem converge
    (Frank and Wolfe, 1956) and their last linearisation is a lower bound; that is what is returned, never too much.

    Args:
        problem: products and draws.
        price: (P,) money per unit.
        radius: standard deviations.

    Returns:
        The least gain, money, and the elasticities (P,) that come nearest to it.
    """
    mean = problem.own.mean(axis=0)
    centre = scenario_problem(problem, mean[None, :])
    outcome = evaluate_prices(centre, price)
    move = np.log(price / problem.current_price)
    spread = (problem.own - mean) / math.sqrt(max(len(problem.own) - 1, 1))
    return _least_on_ball(outcome.profit, move, float(outcome.gain.sum()), radius * spread, mean)


def _least_on_ball(profit: Floats, move: Floats, gain: float, spread: Floats, mean: Floats) -> tuple[float, Floats]:
    """Minimise Σ profit_i · exp(shift_i · move_i) over shift = spread'z, |z| <= 1, by Frank-Wolfe with line search."""
    z = np.zeros(len(spread))
    least = -math.inf
    for _ in range(STEPS):
        shift = z @ spread
        now = profit * np.exp(shift * move)
        slope = spread @ (now * move)
        size = float(np.linalg.norm(slope))
        corner = -slope / size if size > 0 else z
        value = float((now - profit).sum())
        least = max(least, value + float(slope @ (corner - z)))
        if value - least <= 1e-9 * max(abs(value), abs(gain), 1e-9):
            break
        z = z + _line_step(profit, move, shift, (corner - z) @ spread) * (corner - z)
    return gain + least, mean + z @ spread


def _line_step(profit: Floats, move: Floats, shift: Floats, direction: Floats) -> float:
    """Step in [0, 1] that minimises a convex sum of exponentials: bisection on its slope."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        slope = float((profit * np.exp((shift + middle * direction) * move) * move * direction).sum())
        low, high = (middle, high) if slope < 0 else (low, middle)
    return high if high == 1.0 else 0.5 * (low + high)


def scenario_problem(problem: PriceProblem, own: Floats, weight: Floats | None = None) -> PriceProblem:
    """State the problem under given own elasticities (S, P) with probabilities (S,), all else at its mean."""
    count = len(own)
    share = np.full(count, 1.0) if weight is None else weight * count
    scale = problem.base_scale.mean(axis=0)
    cross = np.broadcast_to(problem.cross.mean(axis=0), own.shape)
    level = share[:, None] * scale[None, :]
    return replace(problem, own=own, cross=np.array(cross), base_scale=level, curvature_draws=None)
