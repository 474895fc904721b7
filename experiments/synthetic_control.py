"""Synthetic control: a launch in few stores or regions, against a weighted mean of the others.

The launched region's past is matched by a convex mix of regions without the launch; what it does afterwards beyond that
mix is the effect (Abadie, Diamond and Hainmueller 2010). How sure that is, is read off placebos: every other region is
taken for the launched one in turn, and the effect must stand out among what regions do when nothing happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt
from scipy import optimize

from engine.errors import ProblemError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_FEWEST_DONORS = 5
_MOST_PLACEBOS = 2000


@dataclass(frozen=True)
class SyntheticControl:
    """The effect of a launch, for each region and period."""

    estimate: float
    """Mean over the launched regions and the periods after the launch."""
    low: float
    high: float
    p_value: float
    """Share of placebos that stand out as much (the launch among them); never below 1 / (placebos + 1)."""
    path: Floats
    """(periods,) launched less synthetic, before and after."""
    weights: Floats
    """(launched, donors) of the mix of each launched region; each row adds up to 1."""
    fit: float
    """Root mean squared gap before the launch; large beside the effect: do not believe it."""
    placebos: int


def synthetic_weights(target: npt.ArrayLike, donors: npt.ArrayLike) -> Floats:
    """Convex weights of the donors that come closest to the target (least squares on the simplex).

    Args:
        target: (periods,) the launched region before the launch.
        donors: (donors, periods) the others over the same periods.

    Raises:
        ProblemError: a value is missing, or the shapes differ.
    """
    y, x = np.asarray(target, dtype=np.float64), np.asarray(donors, dtype=np.float64)
    if y.ndim != 1 or x.ndim != 2 or x.shape[1] != y.size or not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        raise ProblemError(f"target {y.shape} and donors {x.shape}: give finite values over the same periods")
    # Weights that add up to 1 see only the differences to the target; a heavy last row makes them add up.
    apart = (x - y).T
    heavy = 1e3 * max(float(np.abs(apart).max()), 1e-12) * np.sqrt(y.size)
    weights, _ = optimize.nnls(np.vstack([apart, np.full(x.shape[0], heavy)]), np.append(np.zeros(y.size), heavy))
    total: Floats = weights / weights.sum()
    return total


def read_synthetic_control(
    values: npt.ArrayLike,
    launched: Sequence[int],
    start: int,
    *,
    rng: np.random.Generator,
    alpha: float = 0.1,
) -> SyntheticControl:
    """Effect of a launch from placebos.

    The interval holds the effects that, taken off again, would leave the launch unremarkable among the placebos; each
    gap is measured in its own root mean squared gap before the launch, so that regions that are hard to match do not
    decide. It is right where the launched regions were drawn by chance, and a good guide where they are like the
    others.

    Args:
        values: (regions, periods) the metric, such as weekly profit by store.
        launched: rows of the launched regions.
        start: first period with the launch.
        rng: draws the placebo sets where there are too many to try all.
        alpha: 1 - confidence; with 19 placebos no interval is surer than 95 %.

    Raises:
        ProblemError: a value is missing, fewer than `_FEWEST_DONORS` others, two periods before or one after, or so few
            placebos that no interval has this confidence.
    """
    table = np.asarray(values, dtype=np.float64)
    rows = np.unique(np.asarray(launched, dtype=np.int64))
    _check(table, rows, start)
    others = np.setdiff1d(np.arange(table.shape[0]), rows)
    gaps, weights = _gaps(table, rows, others, start)
    estimate, fit = _summary(gaps, start)
    sets = _placebo_sets(others, rows.size, rng)
    if 1 / (len(sets) + 1) > alpha:
        raise ProblemError(
            f"{len(sets)} placebos can show nothing at {1 - alpha:.0%}; take more regions without the launch, or a "
            f"confidence of at most {1 - 1 / (len(sets) + 1):.0%}"
        )
    ratios = []
    for placebo in sets:
        effect, own_fit = _summary(_gaps(table, placebo, np.setdiff1d(others, placebo), start)[0], start)
        ratios.append(abs(effect) / own_fit)
    ordered = np.sort(ratios)
    # The launch is one of placebos + 1 exchangeable sets: the conformal quantile.
    place = min(int(np.ceil((1 - alpha) * (ordered.size + 1))) - 1, ordered.size - 1)
    width = float(ordered[place]) * fit
    p_value = (1 + int(np.sum(ordered >= abs(estimate) / fit))) / (ordered.size + 1)
    return SyntheticControl(
        estimate=estimate,
        low=estimate - width,
        high=estimate + width,
        p_value=p_value,
        path=gaps.mean(axis=0),
        weights=weights,
        fit=fit,
        placebos=ordered.size,
    )


def _gaps(table: Floats, rows: Ints, donors: Ints, start: int) -> tuple[Floats, Floats]:
    """Each row less its synthetic control, (rows, periods), and the weights, (rows, donors)."""
    weights = np.stack([synthetic_weights(table[row, :start], table[donors, :start]) for row in rows])
    return table[rows] - weights @ table[donors], weights


def _summary(gaps: Floats, start: int) -> tuple[float, float]:
    """Mean gap after the start, and the root mean squared gap of the rows' mean before it."""
    mean = gaps.mean(axis=0)
    before = float(np.sqrt(np.mean(mean[:start] ** 2)))
    scale = float(np.abs(mean).max()) or 1.0
    return float(mean[start:].mean()), max(before, 1e-9 * scale)


def _placebo_sets(others: Ints, size: int, rng: np.random.Generator) -> list[Ints]:
    """Sets of as many regions as were launched: all of them, or a draw where there are too many."""
    if comb(others.size, size) <= _MOST_PLACEBOS // 10 or size == 1:
        return [np.array(chosen, dtype=np.int64) for chosen in combinations(others.tolist(), size)]
    return [np.sort(rng.choice(others, size, replace=False)) for _ in range(_MOST_PLACEBOS // 10)]


def _check(table: Floats, rows: Ints, start: int) -> None:
    if table.ndim != 2 or not np.all(np.isfinite(table)):
        raise ProblemError(
            f"values of shape {table.shape} or with gaps; give a finite number for each region and period"
        )
    if rows.size == 0 or rows.min() < 0 or rows.max() >= table.shape[0]:
        raise ProblemError(f"launched regions {rows.tolist()} are not rows 0…{table.shape[0] - 1}")
    if table.shape[0] - rows.size < _FEWEST_DONORS + rows.size:
        raise ProblemError(
            f"{table.shape[0] - rows.size} regions without the launch; {_FEWEST_DONORS + rows.size} or more are needed"
        )
    if not 2 <= start < table.shape[1]:
        raise ProblemError(f"start {start} of {table.shape[1]} periods: 2 or more before it, 1 or more from it on")
