"""The best price plan that the truth allows under the same rules: what a perfect estimator would have gained.

Shares no code with the optimisers. Each round values every rung of every product with the other products where they
are, splits the index constraint off with one multiplier (bisection), improves the choice by exchanges of two, and
starts again from there.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.settings import PricingSettings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ROUNDS = 3


class KnownTruth(Protocol):
    """What a shop with known truth answers, whatever its form of demand."""

    product_ids: tuple[str, ...]
    current_price: Floats
    unit_cost: Floats
    elasticity_regular: Floats

    def units(self, prices: npt.ArrayLike, *, weeks: int = 8) -> Floats:
        """(P,) expected units over the coming weeks."""

    def line_profit(self, prices: npt.ArrayLike, *, weeks: int = 8) -> Floats:
        """(P,) expected profit over the coming weeks, money."""

    def gain(self, prices: npt.ArrayLike, *, weeks: int = 8) -> float:
        """Expected profit minus that at today's prices, money."""


def best_prices(truth: KnownTruth, rules: PricingSettings, *, weeks: int) -> Floats:
    """(P,) prices of the oracle; today's at the worst.

    Raises:
        ValueError: a rule that this oracle does not know (max_changed, endings).
    """
    if rules.max_changed is not None or rules.endings is not None:
        raise ValueError("the oracle knows no limit on changes and no endings; leave them at none")
    today = truth.current_price
    ladder = rungs(truth, rules)
    revenue = today * truth.units(today, weeks=weeks)
    index = revenue[:, None] / revenue.sum() * (ladder / today[:, None] - 1)
    best, best_gain, around = today, 0.0, today
    for _ in range(ROUNDS):
        value = rung_values(truth, ladder, around, weeks)
        choice = choose(value, index, np.inf if rules.index_band is None else rules.index_band)
        around = ladder[np.arange(len(today)), choice]
        gain = truth.gain(around, weeks=weeks)
        if gain > best_gain:
            best, best_gain = around, gain
    return best


def rungs(truth: KnownTruth, rules: PricingSettings) -> Floats:
    """(P, K) permitted prices in whole cents, rounded towards today's where they would leave the permitted range."""
    today = truth.current_price[:, None]
    steps = int(np.floor(rules.max_change / rules.step + 1e-9))
    lowest = np.ceil(today * (1 - rules.max_change) * 100 - 1e-6) / 100
    highest = np.floor(today * (1 + rules.max_change) * 100 + 1e-6) / 100
    price = np.clip(np.round(today * (1 + rules.step * np.arange(-steps, steps + 1)), 2), lowest, highest)
    outside = np.zeros(price.shape, dtype=np.bool_)
    if rules.min_margin is not None:
        outside |= price - truth.unit_cost[:, None] < rules.min_margin * price - 1e-9
    return np.where(outside, today, price)


def rung_values(truth: KnownTruth, ladder: Floats, around: Floats, weeks: int) -> Floats:
    """(P, K) profit of the whole shop when one product moves to a rung and the others stay."""
    value = np.empty(ladder.shape)
    for i, k in np.ndindex(ladder.shape):
        moved = around.copy()
        moved[i] = ladder[i, k]
        value[i, k] = truth.line_profit(moved, weeks=weeks).sum()
    return value


def choose(value: Floats, index: Floats, band: float) -> Ints:
    """(P,) rung of each product: most value with the sum of `index` within ± band."""
    rows = np.arange(len(value))

    def best(multiplier: float) -> Ints:
        return np.argmax(value - multiplier * index, axis=1)

    choice = best(0.0)
    total = float(index[rows, choice].sum())
    if abs(total) <= band:
        return choice
    sign, low, high = np.sign(total), 0.0, 1.0
    while sign * index[rows, best(sign * high)].sum() > band and high < 1e15:
        high *= 4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if sign * index[rows, best(sign * middle)].sum() > band else (low, middle)
    start = best(sign * high)
    jumped = abs(index[rows, start].sum()) > band
    return exchange(np.argmin(np.abs(index), axis=1) if jumped else start, value, index, band)


def exchange(choice: Ints, value: Floats, index: Floats, band: float) -> Ints:
    """Improve a feasible choice while moving one product, or two at once, gains and stays within the band."""
    rows, choice = np.arange(len(choice)), choice.copy()
    for _ in range(20 * len(choice)):
        worth = value - value[rows, choice][:, None]
        shift = index - index[rows, choice][:, None]
        total = float(index[rows, choice].sum())
        gain, moves = _best_exchange(worth, shift, total, band)
        if gain <= 1e-9:
            break
        for i, k in moves:
            choice[i] = k
    return choice


def _best_exchange(worth: Floats, shift: Floats, total: float, band: float) -> tuple[float, list[tuple[int, int]]]:
    """Most valuable exchange of two products; staying where it is counts as one of a product's moves."""
    best: tuple[float, list[tuple[int, int]]] = (0.0, [])
    for i, k in np.ndindex(worth.shape):
        if worth[i, k] + worth.max() <= best[0]:
            continue
        pair = np.where(np.abs(total + shift[i, k] + shift) <= band, worth[i, k] + worth, -np.inf)
        pair[i] = -np.inf
        if abs(total + shift[i, k]) <= band and worth[i, k] > best[0]:
            best = float(worth[i, k]), [(i, k)]
        j, m = np.unravel_index(np.argmax(pair), pair.shape)
        if pair[j, m] > best[0]:
            best = float(pair[j, m]), [(i, k), (int(j), int(m))]
    return best
