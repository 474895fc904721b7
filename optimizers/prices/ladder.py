"""The ladder: the prices a product may take, and for every price that was left out, the rule that took it away.

Rungs stand at today's price × (1 + k · step), k = -n … n, moved to whole cents. Where endings are asked for, the price
nearest to each step with each of them is a rung, and so are those nearest to today's price and to the largest move:
where a step is no wider than the money unit that is every such price within reach. A product may have further prices
besides. Rounding never carries a rung past the largest permitted move. Today's price is always a rung, whatever its
ending and whatever its margin: the rules speak of prices that are *changed*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CENTS = 100
_NOISE = 1e-9
"""Relative slack for binary fractions: 1.10 × 2.00 is 2.2000000000000002."""
_SAME = 0.5 / CENTS - _NOISE
"""Money by which two prices differ at least."""
LADDER_RULES = ("max_change", "min_margin", "endings", "seen_range")


@dataclass(frozen=True)
class LadderRules:
    """What a changed price must satisfy. Shares of today's price or of the changed price, as named."""

    max_change: float
    step: float
    min_margin: float | None = None
    endings: tuple[float, ...] | None = None

    def check(self) -> None:
        """Refuse rules that leave no ladder.

        Raises:
            ProblemError: a rule is out of range; the message names it and the remedy.
        """
        if not 0 < self.max_change < 1:
            raise ProblemError(f"max_change is {self.max_change:g}; give a share above 0 and below 1, such as 0.10")
        if not 0 < self.step <= self.max_change * (1 + _NOISE):
            raise ProblemError(
                f"step is {self.step:g} and max_change {self.max_change:g}: no price lies on such a ladder; "
                "give a step above 0 and at most max_change"
            )
        if self.min_margin is not None and not -math.inf < self.min_margin < 1:
            raise ProblemError(f"min_margin is {self.min_margin:g}; give a share of the price below 1, or none")
        if self.endings is not None and not (self.endings and all(0 <= e < 1 for e in self.endings)):
            raise ProblemError(f"endings are {self.endings}; give fractions from 0 to below 1, such as 0.99, or none")


@dataclass(frozen=True)
class Ladder:
    """P products, K columns; the column `today` is today's price, the others are NaN where there is no rung."""

    price: Floats
    """(P, K) money per unit, ascending where a rung is; NaN elsewhere. K may be 1."""
    today: int
    """The column of today's price, the same for every product."""

    @property
    def rungs(self) -> Bools:
        """(P, K) True where a rung is."""
        return np.isfinite(self.price)

    @property
    def choices(self) -> Ints:
        """(P,) number of prices each product may take, today's included."""
        return np.asarray(self.rungs.sum(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Candidates:
    """Prices on a grid one step wider than the ladder, with the rules that each of them breaks."""

    price: Floats
    """(P, K) money per unit, whole cents or permitted endings; NaN where there is none. No column for today's price."""
    breaks: dict[str, Bools]
    """Rule -> (P, K) True where the price breaks it. `endings` is True for every price that has no permitted ending."""


def build_ladder(
    current_price: Floats,
    unit_cost: Floats,
    movable: Bools,
    rules: LadderRules,
    price_low: Floats | None = None,
    price_high: Floats | None = None,
    further: Floats | None = None,
) -> Ladder:
    """Build all ladders.

    Args:
        current_price: (P,) today's prices, money per unit, above 0.
        unit_cost: (P,) money per unit.
        movable: (P,) False: the only rung is today's price.
        rules: what a changed price must satisfy.
        price_low: (P,) lowest price at which the response is known to hold; None: no limit.
        price_high: (P,) the highest.
        further: (P, E) prices besides those of the steps, NaN where there is none; those that the rules forbid are left
            out.

    Raises:
        ProblemError: the rules leave no ladder for anybody.
    """
    rules.check()
    inside = _Range.of(current_price, rules, price_low, price_high)
    moved = _snap(current_price, ladder_steps(rules), rules, inside)
    if further is not None:
        moved = np.concatenate([moved, _permitted(further, rules, inside)], axis=1)
    moved = np.where(movable[:, None] & ~_below_margin(moved, unit_cost, rules.min_margin), moved, np.nan)
    return _about(current_price, moved)


def joined(ladder: Ladder, further: Floats) -> Ladder:
    """Add prices (P, E) to a ladder, whatever they are; NaN adds nothing."""
    return _about(ladder.price[:, ladder.today], np.concatenate([ladder.price, further], axis=1))


def _about(current: Floats, price: Floats) -> Ladder:
    """Put prices (P, N) about today's; what is within half a cent of another is that other."""
    today = current[:, None]
    down = -packed(-np.where(price < today - _SAME, price, np.nan))[:, ::-1]
    up = packed(np.where(price > today + _SAME, price, np.nan))
    return Ladder(np.concatenate([down, today, up], axis=1), down.shape[1])


def packed(price: Floats) -> Floats:
    """Sort each row, drop repetitions, and drop columns that nobody needs; what is empty stands last."""
    ordered = np.sort(price, axis=1)
    ordered[:, 1:][np.diff(ordered, axis=1) < _SAME] = np.nan
    ordered = np.sort(ordered, axis=1)
    return np.asarray(ordered[:, np.isfinite(ordered).any(axis=0)], dtype=np.float64)


def ending_prices(
    current_price: Floats, rules: LadderRules, price_low: Floats | None = None, price_high: Floats | None = None
) -> Floats:
    """Find the prices with the endings of `rules` that a ladder built by them would hold, (P, E), NaN where none is.

    Args:
        current_price: (P,) today's prices, money per unit.
        rules: largest move, step and endings; the margin is not looked at.
        price_low: as for `build_ladder`.
        price_high: as for `build_ladder`.
    """
    inside = _Range.of(current_price, rules, price_low, price_high)
    return packed(_snap(current_price, ladder_steps(rules), rules, inside))


def ladder_steps(rules: LadderRules, beyond: int = 0) -> Floats:
    """Relative moves of the grid without 0, ascending; `beyond` steps further than max_change allows."""
    count = math.floor(rules.max_change / rules.step + 1e-6) + beyond
    multiples = np.concatenate([np.arange(-count, 0), np.arange(1, count + 1)])
    return np.asarray(np.maximum(multiples * rules.step, -0.99), dtype=np.float64)


def candidates(
    current_price: Floats,
    unit_cost: Floats,
    rules: LadderRules,
    price_low: Floats | None = None,
    price_high: Floats | None = None,
) -> Candidates:
    """List what each product might do if rules were dropped, to say which rule stood in the way.

    Both the prices in whole cents and those with permitted endings are listed, one step beyond max_change.
    """
    steps = ladder_steps(rules, beyond=1)
    wide = float(max(abs(steps)))
    anywhere = _Range.of(current_price, LadderRules(wide, rules.step), None, None)
    cents = _snap(current_price, steps, LadderRules(wide, rules.step), anywhere)
    price, foreign = cents, np.full(cents.shape, rules.endings is not None)
    if rules.endings is not None:
        ending = _snap(current_price, steps, rules, anywhere)
        price = np.concatenate([cents, ending], axis=1)
        foreign = np.concatenate([foreign, np.zeros(ending.shape, dtype=np.bool_)], axis=1)
    limit = current_price[:, None] * rules.max_change * (1 + _NOISE)
    low, high = _seen(current_price, price_low, price_high)
    breaks = {
        "max_change": np.abs(price - current_price[:, None]) > limit,
        "min_margin": _below_margin(price, unit_cost, rules.min_margin),
        "endings": foreign,
        "seen_range": (price < low[:, None]) | (price > high[:, None]),
    }
    return Candidates(price, breaks)


@dataclass(frozen=True)
class _Range:
    """Where a changed price may lie, (P,) each."""

    low: Floats
    high: Floats

    @staticmethod
    def of(current: Floats, rules: LadderRules, price_low: Floats | None, price_high: Floats | None) -> _Range:
        low, high = _seen(current, price_low, price_high)
        span = current * rules.max_change * (1 + _NOISE)
        return _Range(np.maximum(low, current - span), np.minimum(high, current + span))


def _seen(current: Floats, price_low: Floats | None, price_high: Floats | None) -> tuple[Floats, Floats]:
    low = np.zeros_like(current) if price_low is None else price_low * (1 - _NOISE)
    high = np.full_like(current, np.inf) if price_high is None else price_high * (1 + _NOISE)
    return low, high


def _below_margin(price: Floats, unit_cost: Floats, min_margin: float | None) -> Bools:
    if min_margin is None:
        return np.zeros(price.shape, dtype=np.bool_)
    return np.asarray(price - unit_cost[:, None] < min_margin * price - _NOISE * price, dtype=np.bool_)


def _snap(current: Floats, steps: Floats, rules: LadderRules, inside: _Range) -> Floats:
    """Move each target to the nearest permitted price inside the range and on its own side of today's price.

    Where there are several endings, each has its own nearest price, so that one more ending never takes a rung away.

    Returns:
        (P, K) prices, K the number of steps (with endings: and four more, at today's price and at the largest moves)
        times that of endings; NaN where there is none.
    """
    endings: tuple[float | None, ...] = (None,) if rules.endings is None else tuple(sorted(set(rules.endings)))
    side = np.sign(steps)
    if rules.endings is not None:
        steps = np.append(steps, [-rules.max_change, -0.0, 0.0, rules.max_change])
        side = np.append(side, [-1.0, -1.0, 1.0, 1.0])
    target, side = current[:, None] * (1 + steps[None, :]), side[None, :, None]
    return np.concatenate([_nearest(current, target, side, _around(target, e), inside) for e in endings], axis=1)


def _nearest(current: Floats, target: Floats, side: Floats, options: Floats, inside: _Range) -> Floats:
    """Choose the valid option (P, K, M) nearest to each target (P, K); NaN where none is valid."""
    away = (options - current[:, None, None]) * side >= _SAME
    in_range = (options >= inside.low[:, None, None]) & (options <= inside.high[:, None, None])
    distance = np.where(away & in_range & (options > 0), np.abs(options - target[..., None]), np.inf)
    best = np.argmin(distance, axis=2)[..., None]
    chosen = np.take_along_axis(options, best, axis=2)[..., 0]
    return np.where(np.isfinite(np.take_along_axis(distance, best, axis=2)[..., 0]), chosen, np.nan)


def _around(target: Floats, ending: float | None) -> Floats:
    """Permitted prices near each target, ascending, (P, K, 3): whole cents, or nearby units with the ending."""
    shifts = np.array([-1.0, 0.0, 1.0])
    if ending is None:
        return np.asarray((np.round(target * CENTS)[..., None] + shifts) / CENTS, dtype=np.float64)
    unit = np.round(target - ending)[..., None] + shifts
    return np.asarray((unit * CENTS + round(ending * CENTS)) / CENTS, dtype=np.float64)


def _permitted(further: Floats, rules: LadderRules, inside: _Range) -> Floats:
    """(P, E) further prices in whole cents, NaN where one lies out of range or has no permitted ending."""
    cents = np.round(further * CENTS)
    price = cents / CENTS
    permitted = (price > 0) & (price >= inside.low[:, None]) & (price <= inside.high[:, None])
    if rules.endings is not None:
        permitted &= np.isin(cents % CENTS, [round(ending * CENTS) for ending in rules.endings])
    return np.where(permitted, price, np.nan)
