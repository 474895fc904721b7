"""A/A replay of a design: what its draw and its analysis find in history, where there was nothing to find.

Units of history are drawn again and again as the design draws them and read as the design reads them, once, at the end
of its plan. A method that finds more than it promises there will do so in the test: the variance is by the wrong unit,
or the metric too heavy-tailed for its sample (Kohavi, Tang and Xu 2020, chapter 19). `measure.replay` does the same for
one metric in a database of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import Reason
from experiments.design import Design
from experiments.measure.replay import Replay, judge_replay
from experiments.price_test import draw_price_test, read_price_test
from experiments.randomise import rerandomised, seeded, stratified
from experiments.shared_budget import BudgetSplit, read_budget_split
from experiments.statistics.arms import UnreadableError, pair
from experiments.statistics.contrast import Value, contrast
from experiments.statistics.moments import Moments, moments
from experiments.switchback import draw_switchback, read_switchback

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Reading = Callable[[np.random.Generator], tuple[float, float]]
"""From chance to one split of history: its effect over its error, and its p-value."""

_AT_ONCE = 16
"""Splits of many units that are summed together."""
_NO_HISTORY = "experiment {experiment!r} is drawn as a {draw}; its replay needs {needed}"


@dataclass(frozen=True)
class PastUnits:
    """Past units, one a row."""

    values: Floats
    """(n,) the deciding metric; of a ratio what stands above."""
    below: Floats | None = None
    """(n,) what stands below a ratio."""
    covariate: Floats | None = None
    """(n,) from before, for CUPED."""
    cluster: npt.NDArray[Any] | None = None
    """(n,) what is randomised together."""
    balanced: Floats | None = None
    """(n, k) what the draw has to balance."""
    category: npt.NDArray[Any] | None = None
    """(n,) of products: stratum or cluster of the draw."""


@dataclass(frozen=True)
class PastPeriods:
    """Past periods of units that are watched for long: products by week, regions by step."""

    values: Floats
    """(units, periods); NaN where a unit was not there."""
    category: npt.NDArray[Any] | None = None
    """(units,) of products."""


def replay_design(design: Design, past: PastUnits | PastPeriods, *, splits: int = 320) -> Replay:
    """Draw and read history as a design says.

    Args:
        design: whose draw, metric and alpha are replayed; several treatments as the first one against the control.
        past: what happened before; periods for a switchback and for prices that are tested for some weeks.
        splits: how many.

    Raises:
        ProblemError: history does not fit the design, or is too short for it.
    """
    rng = seeded(f"replay:{design.name}")
    if isinstance(past, PastUnits) and design.draw == "hash":
        found = list(_hashed(design, past, rng, splits))
    else:
        read = _reading_of(design, past)
        found = [read(rng) for _ in range(splits)]
    z, p_values = np.array(found).T
    return judge_replay(design.rule.metric, z, p_values, design.plan.alpha)


def _reading_of(design: Design, past: PastUnits | PastPeriods) -> Reading:
    """The draw and the analysis of units that are drawn as a whole."""
    if isinstance(past, PastPeriods):
        if design.draw == "switchback":
            return _switchback(design, past.values)
        if design.draw in {"two_stage", "rerandomised"}:
            return _windows(design, past)
    elif design.draw == "budget_split":
        return lambda rng: _cells(design, past, rng)
    elif design.draw in {"two_stage", "rerandomised"}:
        return lambda rng: _known(design, past, rng)
    needed = "past periods" if isinstance(past, PastUnits) else "past units"
    values = {"experiment": design.name, "draw": design.draw.replace("_", " "), "needed": needed}
    raise ProblemError(Reason(_NO_HISTORY, values))


def _hashed(design: Design, past: PastUnits, rng: np.random.Generator, splits: int) -> Iterator[tuple[float, float]]:
    """Units that turn up one by one: each is in a variant by a coin."""
    columns, value, covariate = _components(past)
    share = design.split.weights[1] / (design.split.weights[0] + design.split.weights[1])
    for first in range(0, splits, _AT_ONCE):
        treated = rng.random((min(_AT_ONCE, splits - first), len(columns))) < share
        arms = zip(_by_split(columns, ~treated), _by_split(columns, treated), strict=True)
        yield from (_compared(control, treatment, value, covariate) for control, treatment in arms)


def _components(past: PastUnits) -> tuple[Floats, Value, Value | None]:
    """Columns of the sums that a reading rests on, by unit or cluster, and what is compared in them."""
    columns = [past.values]
    ratio = past.below if past.below is not None else None if past.cluster is None else np.ones(past.values.size)
    if ratio is not None:
        columns.append(ratio)
    value = Value(0) if ratio is None else Value(0, 1)
    covariate = None
    if past.covariate is not None and past.below is None:
        covariate = Value(len(columns), None if past.cluster is None else 1)
        columns.append(past.covariate)
    table = np.column_stack(columns).astype(np.float64)
    if past.cluster is not None:
        names, place = np.unique(past.cluster, return_inverse=True)
        sums = np.zeros((names.size, table.shape[1]))
        np.add.at(sums, place, table)
        table = sums
    return table, value, covariate


def _by_split(columns: Floats, inside: npt.NDArray[np.bool_]) -> Iterator[Moments]:
    """Moments of the units inside each split, around the mean of all units."""
    centre = columns.mean(axis=0)
    apart, chosen = columns - centre, inside.astype(np.float64)
    size = columns.shape[1]
    products = (apart[:, :, None] * apart[:, None, :]).reshape(len(apart), -1)
    counts, sums, squares = chosen.sum(axis=1), chosen @ apart, (chosen @ products).reshape(-1, size, size)
    for count, total, square in zip(counts, sums, squares, strict=True):
        mean = total / max(count, 1.0)
        yield Moments(int(count), centre + mean, square - count * np.outer(mean, mean))


def _compared(control: Moments, treatment: Moments, value: Value, covariate: Value | None) -> tuple[float, float]:
    try:
        found = contrast(pair(control, treatment), value, covariate)
    except UnreadableError:
        return 0.0, 1.0  # nothing varies in this split, so nothing is found in it
    return found.z, found.p_value


def _known(design: Design, past: PastUnits, rng: np.random.Generator) -> tuple[float, float]:
    """Known units, drawn in two stages or until they balance, with what they were as it was."""
    if design.draw == "two_stage":
        category = _needed(design, past.category, "the products' categories")
        test = draw_price_test(category, rng)
        launch = read_price_test(past.values, test, category, before=past.covariate).launch
        return (launch.estimate / launch.error if launch.error else 0.0), launch.p_value
    balanced = _needed(design, past.balanced, "what the draw balances")
    variant = rerandomised(balanced, design.split.weights, rng, acceptance=0.02, strata=past.category).variant
    columns, value, covariate = _components(replace(past, cluster=None))
    return _compared(moments(columns[variant == 0]), moments(columns[variant == 1]), value, covariate)


def _needed(design: Design, what: Any, name: str) -> Any:  # noqa: ANN401 - an array that must be there
    if what is None:
        draw = design.draw.replace("_", " ")
        raise ProblemError(Reason(_NO_HISTORY, {"experiment": design.name, "draw": draw, "needed": name}))
    return what


def _windows(design: Design, past: PastPeriods) -> Reading:
    """Products over the weeks of the test, in a window of history that chance chooses, after weeks from before."""
    weeks, table = design.sizing.weeks or 1, past.values
    before = max(1, min(13, table.shape[1] // 3))
    begins = table.shape[1] - weeks - before + 1
    if begins < 1:
        needed = f"{weeks + before} past periods"
        raise ProblemError(
            Reason(_NO_HISTORY, {"experiment": design.name, "draw": design.draw.replace("_", " "), "needed": needed})
        )

    def read(rng: np.random.Generator) -> tuple[float, float]:
        window = table[:, (begin := int(rng.integers(begins))) : begin + before + weeks]
        there = np.isfinite(window).all(axis=1)
        level = window[there, :before].mean(axis=1)
        category = None if past.category is None else past.category[there]
        units = PastUnits(window[there, before:].mean(axis=1), covariate=level, balanced=level[:, None])
        return _known(design, replace(units, category=category), rng)

    return read


def _switchback(design: Design, table: Floats) -> Reading:
    """Regions over the steps of the test, from a step of history that chance chooses."""
    plan = _needed(design, design.switchback, "its schedule")
    steps = 2 * plan.length * (min(table.shape[1], plan.steps) // (2 * plan.length))
    if steps == 0:
        _needed(design, None, f"{2 * plan.length} past steps of each region")
    ran = replace(plan, steps=steps, regions=table.shape[0])

    def read(rng: np.random.Generator) -> tuple[float, float]:
        begin = int(rng.integers(table.shape[1] - steps + 1))
        values = table[:, begin : begin + steps]
        got = read_switchback(values, draw_switchback(ran, rng), length=plan.length, burn_in=plan.burn_in)
        return (got.estimate / got.standard_error if got.standard_error else 0.0), got.p_value

    return read


def _cells(design: Design, past: PastUnits, rng: np.random.Generator) -> tuple[float, float]:
    """Customers in cells, as if every one of them ran a policy."""
    cells = len(_needed(design, design.assigned, "its cells").variant)
    place = rng.permutation(past.values.size) % cells
    split = BudgetSplit(place, stratified(np.zeros(cells), (0.5, 0.5), rng), np.full(cells, 1.0 / cells))
    got = read_budget_split(past.values, np.zeros(past.values.size), split, before=past.covariate)
    return (got.estimate / got.standard_error if got.standard_error else 0.0), got.p_value


def thinned(size: int, most: int) -> slice:
    """Which of `size` units a replay takes where they are many: every so-many-th, `most` at most."""
    return slice(None) if size <= most else slice(None, None, -(-size // most))
