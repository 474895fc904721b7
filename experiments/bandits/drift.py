"""Noticing that an arm has changed: a two-sided cumulative sum of each arm's standardised rewards.

Page (1954), "Continuous inspection schemes"; used for bandits by Liu, Lee and Shroff (2018), "A change-detection based
framework for piecewise-stationary multi-armed bandits". The first rewards of an arm set its reference; after an alarm
they are gathered anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import ProblemError
from experiments.bandits.marginals import Floats, Ints


@dataclass(frozen=True)
class CusumState:
    """Reference and sums of each arm, (A,) each."""

    count: Floats
    mean: Floats
    squares: Floats
    up: Floats
    down: Floats


@dataclass(frozen=True)
class Cusum:
    """When a change is called."""

    reference: int = 50
    """Rewards of an arm from which its reference mean and standard deviation are taken."""
    drift: float = 0.25
    """Half the smallest change of interest, in standard deviations of a reward."""
    threshold: float = 12.0
    """Height of the sum at which the alarm is raised, in standard deviations; with known mean and spread and a drift
    of .25 a false alarm then comes about once in e^(2·.25·(12+1.166))/(2·.25²) ≈ 5,800 rewards (Siegmund 1985)."""

    def __post_init__(self) -> None:
        if self.reference < 2 or not self.drift >= 0 or not self.threshold > 0:
            raise ProblemError(
                f"reference = {self.reference}, drift = {self.drift}, threshold = {self.threshold}: give at least 2, "
                "at least 0 and above 0"
            )

    def start(self, arms: int) -> CusumState:
        """Nothing seen of `arms` arms."""
        return CusumState(*(np.zeros(arms) for _ in range(5)))

    def watch(self, state: CusumState, arm: Ints, reward: Floats) -> tuple[CusumState, tuple[int, ...]]:
        """State after (n,) rewards in order, and the arms that raised an alarm (which start anew)."""
        count, mean, squares = state.count.copy(), state.mean.copy(), state.squares.copy()
        up, down = state.up.copy(), state.down.copy()
        changed: list[int] = []
        for a, value in zip(arm.tolist(), reward.tolist(), strict=True):
            if count[a] < self.reference:
                count[a] += 1
                delta = value - mean[a]
                mean[a] += delta / count[a]
                squares[a] += delta * (value - mean[a])
                continue
            sd = float(np.sqrt(squares[a] / (count[a] - 1)))
            step = (value - mean[a]) / sd if sd > 0 else 0.0
            up[a] = max(0.0, up[a] + step - self.drift)
            down[a] = max(0.0, down[a] - step - self.drift)
            if max(up[a], down[a]) > self.threshold:
                changed.append(a)
                count[a] = mean[a] = squares[a] = up[a] = down[a] = 0.0
        return CusumState(count, mean, squares, up, down), tuple(changed)
