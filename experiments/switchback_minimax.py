"""The minimax switchback of one region, where nothing is known but how long carry-over can last.

Bojinov, Simchi-Levi and Zhao (2023): with carry-over of at most m steps, the design that is best against the worst
possible outcomes flips a fair coin at steps 1, 2m + 1, 3m + 1, …, T - 2m + 1 and keeps its side until the next. A step
counts where the last m + 1 steps all had one arm, weighted by how seldom that is (Horvitz and Thompson 1952); the coins
alone make the estimate unbiased and the p-value exact. Where history is there, `plan_switchback` sees smaller effects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MinimaxReading:
    """Effect of switching on for good, for each step."""

    estimate: float
    standard_error: float
    """Under an effect that is the same at every step."""
    p_value: float
    """Of no effect at any step, from redrawn coins."""


def minimax_points(steps: int, carry_over: int) -> Ints:
    """Steps, from 0, at which a coin is flipped.

    Args:
        steps: of the test; a multiple of the carry-over, four times it or more.
        carry_over: m, the longest number of steps for which the state before is felt.

    Raises:
        ProblemError: the steps are no such multiple.
    """
    if carry_over < 0 or steps < 4 or (carry_over and (steps % carry_over or steps // carry_over < 4)):
        raise ProblemError(
            f"{steps} steps with a carry-over of {carry_over}: take a multiple of the carry-over, four times it or more"
        )
    if carry_over == 0:
        return np.arange(steps)
    return np.concatenate([[0], np.arange(2 * carry_over, steps - carry_over, carry_over)])


def draw_minimax(steps: int, carry_over: int, rng: np.random.Generator) -> Ints:
    """Draw the schedule, (steps,): 1 where the treatment runs; arguments as in `minimax_points`."""
    points = minimax_points(steps, carry_over)
    return spread_coins(rng.integers(0, 2, points.size), steps, carry_over)


def spread_coins(coins: npt.ArrayLike, steps: int, carry_over: int) -> Ints:
    """Turn coins at the minimax points into a schedule, (steps,)."""
    points = minimax_points(steps, carry_over)
    lengths = np.diff(np.append(points, steps))
    return np.repeat(np.asarray(coins, dtype=np.int64), lengths)


def read_minimax(
    values: npt.ArrayLike,
    schedule: npt.ArrayLike,
    carry_over: int,
    *,
    rng: np.random.Generator,
    expected: npt.ArrayLike | float = 0.0,
    redraws: int = 1999,
) -> MinimaxReading:
    """Read a minimax switchback.

    Args:
        values: (steps,) the metric during the test.
        schedule: (steps,) what ran.
        carry_over: m, as in the draw.
        rng: redraws the coins for the p-value.
        expected: what was foretold before the start, for each step or for all; the closer, the surer the estimate.
        redraws: how many.

    Raises:
        ProblemError: a value is missing, or the schedule switches elsewhere than at the minimax points.
    """
    ran = np.asarray(schedule, dtype=np.int64)
    y: Floats = np.asarray(values, dtype=np.float64) - np.asarray(expected, dtype=np.float64)
    points = minimax_points(y.size, carry_over)
    if ran.shape != y.shape or not np.all(np.isfinite(y)):
        raise ProblemError(f"{y.shape} values and {ran.shape} of schedule: give one finite value for each step")
    coins = ran[points]
    if not np.all((ran == 0) | (ran == 1)) or np.any(spread_coins(coins, y.size, carry_over) != ran):
        raise ProblemError("the schedule switches elsewhere than at the minimax points, or is not 0 or 1")
    estimate = _horvitz_thompson(y, ran, carry_over)
    redrawn = np.array(
        [
            _horvitz_thompson(y, spread_coins(rng.integers(0, 2, points.size), y.size, carry_over), carry_over)
            for _ in range(redraws)
        ]
    )
    larger = int(np.sum(np.abs(redrawn) >= abs(estimate) * (1 - 1e-12)))
    return MinimaxReading(estimate, _error(y - estimate * ran, carry_over), (1 + larger) / (1 + redraws))


def _horvitz_thompson(y: Floats, ran: Ints, carry_over: int) -> float:
    """Weighted difference over the steps whose last m + 1 steps had one arm."""
    chance = _chance(y.size, carry_over)
    treated = _all_of(ran, carry_over)
    control = _all_of(1 - ran, carry_over)
    kept = y[carry_over:] * (treated - control) / chance
    return float(kept.sum() / (y.size - carry_over))


def _all_of(ran: Ints, carry_over: int) -> Ints:
    """1 where this step and the m before it are all 1: (steps - m,)."""
    windows = np.lib.stride_tricks.sliding_window_view(ran, carry_over + 1)
    found: Ints = windows.min(axis=1)
    return found


def _chance(steps: int, carry_over: int) -> Floats:
    """Chance that a step and the m before it have a given arm: a half for each coin that they span, (steps - m,)."""
    coin = spread_coins(np.arange(minimax_points(steps, carry_over).size), steps, carry_over)
    spanned = 1.0 + coin[carry_over:] - coin[: steps - carry_over]
    return np.asarray(0.5**spanned, dtype=np.float64)


def _error(base: Floats, carry_over: int) -> float:
    """Standard error when every step has the outcome `base` plus a constant where treated.

    A step that spans one coin counts twice where it is treated and minus twice where not; a step that spans two coins
    four times where both agree: on the scale ±1 every coin enters with twice the outcome of each step that it spans.
    """
    steps = base.size
    coin = spread_coins(np.arange(minimax_points(steps, carry_over).size), steps, carry_over)
    first, last, counted = coin[: steps - carry_over], coin[carry_over:], 2.0 * base[carry_over:]
    weight = np.zeros(int(coin[-1]) + 1)
    np.add.at(weight, last, counted)
    np.add.at(weight, first[first != last], counted[first != last])
    return float(np.sqrt(np.square(weight).sum()) / (steps - carry_over))
