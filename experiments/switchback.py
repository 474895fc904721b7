"""Switchbacks: a price or a rule is switched on and off over time, in each region on its own schedule.

Nobody is offered another price than the neighbour: whole regions move together. Time is cut into periods of equal
length; of each pair of successive periods one, drawn by a coin, is treated. The first steps of a period still feel what
ran before (carry-over) and are left out (burn-in). Every pair gives one difference, and the coins alone make the
interval valid, whatever the trend, the season or the autocorrelation of sales.

Burn-in: Hu and Wager (2022), Switchback experiments under geometric mixing. Where nothing is known beforehand:
experiments.switchback_minimax (Bojinov, Simchi-Levi and Zhao 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.errors import InfeasibleError, ProblemError
from engine.proposal import N_, Reason
from experiments.power import drift_of_t, power_of_t

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BIAS_LIMIT = 0.1
"""Carry-over may shift the estimate by this share of its standard error: a 95 % interval then still covers 94.9 %."""
_FEWEST_PAIRS = 6
_DIFFERENT_BEFORE = 0.75
"""Chance that the period before had the other arm: always within a pair, by a coin between pairs."""


@dataclass(frozen=True)
class SwitchbackPlan:
    """A switchback as it will run."""

    length: int
    """Steps of a period."""
    burn_in: int
    """First steps of each period that are left out."""
    steps: int
    """Steps of the test in each region: a whole number of pairs of periods."""
    regions: int
    standard_error: float
    """Of the effect for each step, from history."""
    carry_over_bias: float
    """Expected shift of the estimate that the burn-in leaves, in the metric's unit."""
    power: float
    detectable: float
    """Smallest effect that is seen with the wanted power."""

    @property
    def pairs(self) -> int:
        """Pairs of periods in all regions together: the units of the analysis."""
        return self.regions * (self.steps // (2 * self.length))


@dataclass(frozen=True)
class SwitchbackReading:
    """Effect of switching on for good, for each region and step."""

    estimate: float
    low: float
    high: float
    p_value: float
    standard_error: float
    pairs: int
    naive: float
    """Difference of all treated and all control steps, burn-in and pairs ignored: what carry-over does to it."""
    naive_low: float
    naive_high: float


@dataclass(frozen=True)
class CarryOver:
    """What the period before still does, by step since the switch."""

    estimate: Floats
    """(steps,) effect of the period before having been treated, on the step; 0 once it is forgotten."""
    low: Floats
    """(steps,) simultaneous interval over all steps (Bonferroni)."""
    high: Floats
    burn_in: int
    """Steps up to and with the last one whose interval leaves 0 out."""


def plan_switchback(
    history: npt.ArrayLike,
    *,
    steps: int,
    effect: float,
    felt: Sequence[float],
    lengths: Sequence[int] | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> SwitchbackPlan:
    """Choose period and burn-in: the smallest detectable effect whose interval carry-over does not spoil.

    Args:
        history: (regions, past steps) the metric without any test, such as profit by store and day.
        steps: length of the test in each region.
        effect: for each step, that the test is planned for.
        felt: share of the state before that is still felt 0, 1, 2 … steps after a switch, in 0…1; nothing after that.
            Ones for the longest carry-over that is thinkable, or `estimate_carry_over` of a pilot.
        lengths: periods to consider, in steps; whole days or weeks. None: all that leave `_FEWEST_PAIRS` pairs.
        alpha: 1 - confidence.
        power: wanted for `detectable`.

    Raises:
        ProblemError: history is not finite or shorter than two periods.
        InfeasibleError: no period is long enough for the carry-over and short enough for the test.
    """
    table = _finite_table(history, "history")
    candidates = lengths if lengths is not None else range(1, steps // 2 + 1)
    plans = [
        plan
        for length in candidates
        if 2 * length <= min(steps, table.shape[1]) and table.shape[0] * (steps // (2 * length)) >= _FEWEST_PAIRS
        if (plan := _best_burn_in(table, length, steps, effect, felt, alpha, power)) is not None
    ]
    if not plans:
        raise InfeasibleError(
            Reason(
                "no switchback of {steps} steps in {regions} regions outlasts {felt} steps of carry-over "
                "with {fewest} pairs; run longer, take more regions, or randomise regions instead",
                {"steps": steps, "regions": table.shape[0], "felt": len(felt), "fewest": _FEWEST_PAIRS},
            )
        )
    return min(plans, key=lambda plan: (plan.detectable, plan.length))


def _best_burn_in(
    history: Floats, length: int, steps: int, effect: float, felt: Sequence[float], alpha: float, power: float
) -> SwitchbackPlan | None:
    """Shortest burn-in of one period length that keeps the carry-over's shift below `BIAS_LIMIT` standard errors."""
    left = np.zeros(length)
    left[: len(felt)] = np.asarray(felt, dtype=np.float64)[:length]
    pairs = history.shape[0] * (steps // (2 * length))
    for burn_in in range(length):
        error = math.sqrt(_pair_variance(history, length, burn_in) / pairs)
        bias = _DIFFERENT_BEFORE * abs(effect) * float(left[burn_in:].mean())
        if bias <= BIAS_LIMIT * error:
            return SwitchbackPlan(
                length=length,
                burn_in=burn_in,
                steps=2 * length * (steps // (2 * length)),
                regions=history.shape[0],
                standard_error=error,
                carry_over_bias=bias,
                power=power_of_t(effect / error, pairs - 1, alpha) if error else 1.0,
                detectable=error * drift_of_t(power, pairs - 1, alpha),
            )
    return None


def _pair_variance(history: Floats, length: int, burn_in: int) -> float:
    """Mean squared difference of successive periods over all places where a pair may begin in history."""
    means = _window_means(history, burn_in, length)
    apart = means[:, length:] - means[:, :-length]
    return float(np.square(apart).mean())


def _window_means(table: Floats, burn_in: int, length: int) -> Floats:
    """Mean of the kept steps of a period that begins at each step: (regions, steps - length + 1)."""
    sums = np.concatenate([np.zeros((table.shape[0], 1)), np.cumsum(table, axis=1)], axis=1)
    begins = np.arange(table.shape[1] - length + 1)
    means: Floats = (sums[:, begins + length] - sums[:, begins + burn_in]) / (length - burn_in)
    return means


def draw_switchback(plan: SwitchbackPlan, rng: np.random.Generator) -> Ints:
    """Draw the schedule: (regions, steps), 1 where the treatment runs."""
    first = rng.integers(0, 2, (plan.regions, plan.steps // (2 * plan.length)))
    periods = np.stack([first, 1 - first], axis=2).reshape(plan.regions, -1)
    return np.repeat(periods, plan.length, axis=1).astype(np.int64)


def read_switchback(
    values: npt.ArrayLike, schedule: npt.ArrayLike, *, length: int, burn_in: int, alpha: float = 0.05
) -> SwitchbackReading:
    """Effect of switching on, from the differences of the pairs.

    Args:
        values: (regions, steps) the metric during the test.
        schedule: (regions, steps) what really ran, 0 or 1.
        length: steps of a period.
        burn_in: steps left out after each switch; fixed before the start.
        alpha: 1 - confidence.

    Raises:
        ProblemError: a value is missing, the schedule is not one of pairs of periods, or no pair differs from another.
    """
    table, ran = _checked(values, schedule, length, burn_in)
    means = table.reshape(table.shape[0], -1, length)[:, :, burn_in:].mean(axis=2)
    arm = ran.reshape(ran.shape[0], -1, length)[:, :, 0]
    apart = ((2 * arm - 1) * means).reshape(table.shape[0], -1, 2).sum(axis=2)
    together = apart.mean(axis=0) if ran.shape[0] > 1 and np.all(ran == ran[0]) else apart.ravel()
    if together.size < 2:
        raise ProblemError(N_("all regions switched together in the one pair that has run: there is no variance yet"))
    estimate, error, pairs = float(together.mean()), float(stats.sem(together)), together.size
    if error == 0.0:
        raise ProblemError(N_("every pair of periods has the same difference; check the values of the test"))
    width = float(stats.t.ppf(1 - alpha / 2, pairs - 1)) * error
    naive, naive_width = _naive(table, ran, alpha)
    return SwitchbackReading(
        estimate=estimate,
        low=estimate - width,
        high=estimate + width,
        p_value=float(2 * stats.t.sf(abs(estimate) / error, pairs - 1)),
        standard_error=error,
        pairs=pairs,
        naive=naive,
        naive_low=naive - naive_width,
        naive_high=naive + naive_width,
    )


def _naive(table: Floats, ran: Ints, alpha: float) -> tuple[float, float]:
    on, off = table[ran == 1], table[ran == 0]
    error = math.sqrt(on.var(ddof=1) / on.size + off.var(ddof=1) / off.size)
    return float(on.mean() - off.mean()), float(stats.norm.ppf(1 - alpha / 2)) * error


def estimate_carry_over(
    values: npt.ArrayLike, schedule: npt.ArrayLike, *, length: int, alpha: float = 0.05
) -> CarryOver:
    """How long a period still feels the one before: the effect of the former arm on each step since the switch.

    Within a pair the arms always differ; so the first periods of the pairs are read, whose own arm and the arm before
    are two independent coins. Each step is compared with the second half of its own period, by when the former arm is
    taken to be forgotten: a carry-over longer than half a period is understated.

    Args:
        values: (regions, steps) the metric during the test.
        schedule: (regions, steps) what really ran.
        length: steps of a period, 2 or more.
        alpha: 1 - confidence, shared by all steps.

    Raises:
        ProblemError: as in `read_switchback`, a period of one step, or too few pairs.
    """
    if length < 2:
        raise ProblemError(N_("a period of one step says nothing about carry-over; use periods of 2 or more steps"))
    table, ran = _checked(values, schedule, length, 0)
    half = length // 2
    blocks = table.reshape(table.shape[0], -1, length)
    arms = ran.reshape(ran.shape[0], -1, length)[:, :, 0]
    since = (blocks - blocks[:, :, half:].mean(axis=2, keepdims=True))[:, 2::2, :half].reshape(-1, half)
    own, before = arms[:, 2::2].ravel(), arms[:, 1:-1:2].ravel()
    if own.size < _FEWEST_PAIRS or len(set(zip(own.tolist(), before.tolist(), strict=True))) < 4:
        raise ProblemError(
            Reason(
                "{size} periods that follow a pair; carry-over needs {fewest} of every kind",
                {"size": own.size, "fewest": _FEWEST_PAIRS},
            )
        )
    estimate, error = _former_arm(since, own, before)
    width = float(stats.t.ppf(1 - alpha / (2 * half), own.size - 3)) * error
    found = np.flatnonzero(np.abs(estimate) > width)
    return CarryOver(estimate, estimate - width, estimate + width, int(found[-1]) + 1 if found.size else 0)


def _former_arm(since: Floats, own: Ints, before: Ints) -> tuple[Floats, Floats]:
    """Coefficient of the former arm in each column by least squares, with its HC2 standard error."""
    x = np.column_stack([np.ones(own.size), own, before]).astype(np.float64)
    inverse = np.linalg.inv(x.T @ x)
    coefficient = inverse @ x.T @ since
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    residual = (since - x @ coefficient) ** 2 / (1 - leverage)[:, None]
    weight = (x @ inverse)[:, 2] ** 2
    return coefficient[2], np.sqrt(weight @ residual)


def _checked(values: npt.ArrayLike, schedule: npt.ArrayLike, length: int, burn_in: int) -> tuple[Floats, Ints]:
    table, ran = _finite_table(values, "values"), np.asarray(schedule)
    if ran.shape != table.shape or not np.all((ran == 0) | (ran == 1)):
        raise ProblemError(
            Reason(
                "schedule of shape {shape} for values of shape {shape_2}; give 0 or 1 for each step",
                {"shape": ran.shape, "shape_2": table.shape},
            )
        )
    if not 0 <= burn_in < length or table.shape[1] % (2 * length):
        raise ProblemError(
            Reason(
                "{steps} steps are no pairs of periods of {length} with a burn-in of {burn_in}",
                {"steps": table.shape[1], "length": length, "burn_in": burn_in},
            )
        )
    blocks = ran.reshape(ran.shape[0], -1, length)
    arms = blocks[:, :, 0].reshape(ran.shape[0], -1, 2)
    if np.any(blocks != blocks[:, :, :1]) or np.any(arms.sum(axis=2) != 1):
        raise ProblemError(
            Reason("the schedule switches inside a period of {length}, or a pair has one arm twice", {"length": length})
        )
    if table.shape[0] * (table.shape[1] // (2 * length)) < 2:
        raise ProblemError(N_("one pair of periods has no variance; run two or more"))
    return table, ran.astype(np.int64)


def _finite_table(values: npt.ArrayLike, name: str) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    table = table[None, :] if table.ndim == 1 else table
    bad = np.argwhere(~np.isfinite(table))
    if table.ndim != 2 or bad.size:
        where = f"region {bad[0][0]}, step {bad[0][1]} is missing" if bad.size else f"shape {table.shape}"
        raise ProblemError(
            Reason(
                "{name} of a switchback: {where}; give a finite number for every region and step",
                {"name": name, "where": where},
            )
        )
    return table
