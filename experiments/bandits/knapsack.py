"""A budget for a bandit: each arm costs money, and the sum is never overspent.

The budget has a price: an arm is worth its reward less price times cost. The price follows what is spent against what
would spend the rest evenly (online dual descent: Agrawal and Devanur 2016, "Linear contextual bandits with knapsacks";
Badanidiyuru, Kleinberg and Slivkins 2013). That no more is spent than there is does not rest on the price: an arm that
the rest cannot pay is not allowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.errors import ProblemError
from experiments.bandits.marginals import Ints


@dataclass(frozen=True)
class Purse:
    """What has been spent."""

    spent: float
    """Money."""
    decisions: int
    """Decisions made so far."""
    price: float
    """Reward that one unit of money must bring at least."""


@dataclass(frozen=True)
class Budget:
    """Money for a number of decisions."""

    total: float
    """Money, at least 0."""
    cost: tuple[float, ...]
    """(A,) money that one decision for an arm takes, at least 0; one arm should cost nothing."""
    decisions: int
    """Decisions over which the money is to last."""
    learning_rate: float = 0.05
    """How quickly the price follows; in units of reward over (cost · √decisions)."""

    def __post_init__(self) -> None:
        bad = [c for c in self.cost if not (math.isfinite(c) and c >= 0)]
        if bad or not (math.isfinite(self.total) and self.total >= 0):
            raise ProblemError(f"budget {self.total!r} with costs {self.cost}: give finite amounts of at least 0")
        if self.decisions < 1 or not self.learning_rate > 0:
            raise ProblemError(f"decisions = {self.decisions}, learning_rate = {self.learning_rate}: give more than 0")

    def payable(self, purse: Purse, arms: Ints, rows: int) -> tuple[Ints, int]:
        """Arms that the rest can pay, and for how many of the next rows that holds whatever is chosen.

        Raises:
            ProblemError: the rest pays for no arm at all.
        """
        rest = self.total - purse.spent
        cost = np.asarray(self.cost, dtype=np.float64)
        can = arms[cost[arms] <= rest]
        if not len(can):
            raise ProblemError(
                f"the budget of {self.total:g} has {rest:g} left and the cheapest arm costs {cost[arms].min():g}; "
                "raise it, or add an arm that costs nothing"
            )
        dearest = float(cost[can].max())
        sure = rows if rest >= rows * dearest else math.floor(rest / dearest)
        if sure > 1 and sure * dearest > rest:  # the quotient was rounded up
            sure -= 1
        return can, max(1, min(sure, max(1, math.ceil(self.decisions / 100))))

    def pay(self, purse: Purse, chosen: Ints) -> Purse:
        """Purse after the chosen arms were paid, and the price moved by how far from even that was."""
        cost = float(np.asarray(self.cost, dtype=np.float64)[chosen].sum())
        left = max(self.decisions - purse.decisions, 1)
        even = (self.total - purse.spent) / left * len(chosen)
        scale = max(*self.cost, 1e-9)
        step = self.learning_rate * (cost - even) / scale**2
        return Purse(purse.spent + cost, purse.decisions + len(chosen), max(0.0, purse.price + step))
