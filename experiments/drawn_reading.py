"""Reading designs that were drawn as a whole: price tests, switchbacks and budget splits, each by its own analysis.

Each gives what it saw, the checks on whether to believe it, and what a reader should know beside it;
`design_reading` makes the interval that is valid at the look, and lets the rule decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.budget_design import budget_split_of
from experiments.decide import Observed
from experiments.design import Assigned, Design
from experiments.hashing import BUCKETS
from experiments.measure import Metric, Profit, metric_from
from experiments.price_test import PriceEffect, PriceTest, PriceTestReading, read_price_test
from experiments.shared_budget import BudgetReading, BudgetSplit, read_budget_split
from experiments.switchback import SwitchbackPlan, SwitchbackReading, estimate_carry_over, read_switchback
from experiments.trust.carry_over import check_before
from experiments.trust.check import Check
from experiments.trust.drawn import (
    check_forgotten,
    check_largest,
    check_obeyed,
    check_present,
    check_purses,
    forgotten_unknown,
)
from experiments.trust.sample_ratio import check_sample_ratio

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CARRIED_ALPHA = 0.001
"""Carry-over that chance would show less often than this is there."""

_NAIVE = N_("Without regard to what units take from one another, the effect would have been read as {naive:+.4g}.")
_SPENT = N_("Spent for each customer: {off:.4g} by the control, {on:.4g} by the treatment.")
_NEIGHBOUR = N_("A product with its old price changes by {estimate:+.4g} beside neighbours with new prices.")
NO_COVARIATE = N_("The table lacks {column}: read without it, the interval is wider than planned.")
_UNFINISHED = N_("{count} steps of each region make no whole pair of periods of the schedule; they are left out.")


@dataclass(frozen=True)
class Drawn:
    """What an analysis of such a design saw."""

    seen: tuple[Observed, ...]
    """With the interval of one reading."""
    freedom: tuple[float, ...]
    """Degrees of freedom of the standard error of each."""
    units: int
    """Products, pairs of periods, or cells."""
    checks: tuple[Check, ...]
    notes: tuple[Reason, ...]
    steps: int | None = None
    """Steps of the whole pairs of periods that a schedule has run; None where only the calendar knows how far it is."""


def read_two_stage(design: Design, table: pd.DataFrame, unit: str) -> Drawn:
    """Read a price test: the launch effect decides; what it does to neighbours is told.

    Args:
        design: a two-stage draw.
        table: one row for each product of the design.
        unit: column of the product's identifier.

    Raises:
        ProblemError: a value is missing, or a saturation has too few categories.
    """
    assigned = drawn_units(design)
    row = {name: place for place, name in enumerate(assigned.units)}
    places = [row[str(one)] for one in table[unit]]
    categories = np.array(assigned.cluster)[places]
    test = PriceTest(np.array(assigned.saturation)[places], np.array(assigned.variant, dtype=np.int64)[places])
    seen, freedom, notes, checks = [], [], [], [missing_units(assigned, test.variant)]
    for metric in (metric_from(one) for one in design.metrics):
        values, before = _values(table, metric, unit), _before(table, metric, unit)
        got = read_price_test(values, test, categories, before=before, alpha=design.plan.alpha)
        seen.append(_observed(metric.name, got.launch, float(values[test.saturation == 0].mean())))
        freedom.append(got.launch.freedom)
        checks.append(check_largest(metric.name, values))
        if before is not None:
            past = read_price_test(before, test, categories, alpha=design.plan.alpha)
            checks.append(check_before(metric.name, 1, past.launch))
        elif metric.covariate_columns:
            notes.append(Reason(NO_COVARIATE, {"column": metric.covariate_columns[0]}))
        if metric.name == design.rule.metric:
            notes += _told(got)
    return Drawn(tuple(seen), tuple(freedom), len(table), tuple(checks), tuple(notes))


def _told(got: PriceTestReading) -> list[Reason]:
    return [
        Reason(_NAIVE, {"naive": got.naive.estimate}),
        Reason(_NEIGHBOUR, {"estimate": got.neighbour.estimate}),
    ]


def _observed(name: str, effect: PriceEffect, control: float) -> Observed:
    return Observed(name, effect.estimate, effect.low, effect.high, effect.error, control)


def missing_units(assigned: Assigned, present: Ints) -> Check:
    """Check that the units without values belong to no arm more than to another; (n,) variant of those with values."""
    drawn = np.array(assigned.variant)
    return check_present(*([int((arms == 0).sum()), int((arms > 0).sum())] for arms in (present, drawn)))


def read_regions(design: Design, schedule: dict[str, Ints], table: pd.DataFrame, unit: str) -> Drawn:
    """Read a switchback by its schedule.

    Args:
        design: a switchback.
        schedule: of each region, (steps,).
        table: one row for each region and `step`; steps count from 0, those below are from before the start.
        unit: column of the region.

    Raises:
        ProblemError: a region is not part of the design, or a step of it is missing.
    """
    plan = design.switchback
    if plan is None:
        raise ProblemError(Reason("experiment {experiment!r} has no schedule", {"experiment": design.name}))
    _refuse_strangers(table[unit].astype(str), schedule)
    steps = _steps(table)
    running = int(steps.max()) + 1
    whole = 2 * plan.length * (min(running, plan.steps) // (2 * plan.length))
    if whole == 0:
        raise ProblemError(
            Reason(
                "{running} steps have run; the first pair of periods has {pair}",
                {"running": running, "pair": 2 * plan.length},
            )
        )
    seen, checks, pairs, notes = [], [_obeyed(table, unit, steps, schedule, whole)], 0, []
    for metric in (metric_from(one) for one in design.metrics):
        wide = _by_region(table, steps, metric, unit)
        got, one, found = _switched(wide, schedule, plan, metric, design.plan.alpha, whole)
        seen.append(one)
        checks += found
        pairs = got.pairs
        if metric.name == design.rule.metric:
            notes.append(Reason(_NAIVE, {"naive": got.naive}))
    if running > whole:
        notes.append(Reason(_UNFINISHED, {"count": running - whole}))
    return Drawn(tuple(seen), (pairs - 1.0,) * len(seen), pairs, tuple(checks), tuple(notes), whole)


def _refuse_strangers(names: pd.Series, schedule: dict[str, Ints]) -> None:
    unknown = sorted(set(names) - schedule.keys())
    if unknown:
        raise ProblemError(
            Reason(
                "region {region!r} is not part of the design; its regions are {known}",
                {"region": unknown[0], "known": ", ".join(schedule)},
            )
        )


def _steps(table: pd.DataFrame) -> Ints:
    given = np.asarray(table["step"], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(given) | (given != np.floor(given)))
    if bad.size or given.size == 0 or given.max() < 0:
        shown = repr(table["step"].iloc[int(bad[0])]) if bad.size else "none at or above 0"
        raise ProblemError(Reason("column 'step' holds {shown}; count the steps of the test from 0", {"shown": shown}))
    return given.astype(np.int64)


def _obeyed(table: pd.DataFrame, unit: str, steps: Ints, schedule: dict[str, Ints], whole: int) -> Check:
    """What really ran, where the table says so, against the schedule."""
    if "variant" not in table.columns:
        return check_obeyed(0, 0)
    inside = (steps >= 0) & (steps < whole)
    ran = table["variant"].to_numpy()[inside]
    names = table[unit].astype(str).to_numpy()[inside]
    drawn = np.array([schedule[name][step] for name, step in zip(names, steps[inside], strict=True)])
    return check_obeyed(int((ran != drawn).sum()), ran.size)


@dataclass(frozen=True)
class _Regions:
    """A metric by region and step, NaN where there is no row; rows of one region and step are added up."""

    names: tuple[str, ...]
    before: Floats
    """(regions, steps) from before the start."""
    during: Floats
    """(regions, steps) since."""


def _by_region(table: pd.DataFrame, steps: Ints, metric: Metric, unit: str) -> _Regions:
    values = _values(table, metric, unit)
    names, place = np.unique(table[unit].astype(str).to_numpy(dtype=object), return_inverse=True)
    first = min(0, int(steps.min()))
    sums = np.zeros((names.size, int(steps.max()) + 1 - first))
    rows = np.zeros(sums.shape)
    np.add.at(sums, (place, steps - first), values)
    np.add.at(rows, (place, steps - first), 1.0)
    wide = np.where(rows > 0, sums, np.nan)
    return _Regions(tuple(str(name) for name in names), wide[:, :-first] if first else wide[:, :0], wide[:, -first:])


def _switched(
    wide: _Regions, schedule: dict[str, Ints], plan: SwitchbackPlan, metric: Metric, alpha: float, whole: int
) -> tuple[SwitchbackReading, Observed, list[Check]]:
    ran = np.stack([schedule[name][:whole] for name in wide.names])
    values = wide.during[:, :whole]
    got = read_switchback(values, ran, length=plan.length, burn_in=plan.burn_in, alpha=alpha)
    control = float(values[ran == 0].mean())
    seen = Observed(metric.name, got.estimate, got.low, got.high, got.standard_error, control)
    checks = [_forgotten(metric.name, values, ran, plan), check_largest(metric.name, _apart(values, ran, plan))]
    known = 2 * plan.length * (min(wide.before.shape[1], whole) // (2 * plan.length))
    if known:
        past = wide.before[:, -known:]
        placebo = read_switchback(past, ran[:, :known], length=plan.length, burn_in=plan.burn_in)
        checks.append(check_before(metric.name, 1, _Placebo(placebo.estimate, placebo.p_value)))
    return got, seen, checks


@dataclass(frozen=True)
class _Placebo:
    """The schedule laid on the steps before the start, where it did not run."""

    estimate: float
    p_value: float


def _forgotten(name: str, values: Floats, ran: Ints, plan: SwitchbackPlan) -> Check:
    try:
        found = estimate_carry_over(values, ran, length=plan.length, alpha=CARRIED_ALPHA)
    except ProblemError:
        return forgotten_unknown(name)
    return check_forgotten(name, found.burn_in, plan.burn_in)


def _apart(values: Floats, ran: Ints, plan: SwitchbackPlan) -> Floats:
    """Difference of each pair of periods, (pairs,)."""
    means = values.reshape(values.shape[0], -1, plan.length)[:, :, plan.burn_in :].mean(axis=2)
    arm = ran.reshape(ran.shape[0], -1, plan.length)[:, :, 0]
    apart: Floats = ((2 * arm - 1) * means).reshape(values.shape[0], -1, 2).sum(axis=2).ravel()
    return apart


def read_cells(design: Design, table: pd.DataFrame, unit: str) -> Drawn:
    """Read two policies on one budget by their cells; the first metric is a profit with its cost.

    Args:
        design: a budget split.
        table: one row for each customer.
        unit: column of the customer's identifier.

    Raises:
        ProblemError: a customer stands twice, a value is missing, or a cell is empty.
    """
    twice = table[unit].duplicated()
    if twice.any():
        raise ProblemError(
            Reason("customer {value!r} stands on more than one row", {"value": table[unit][twice].iloc[0]})
        )
    split = budget_split_of(design, table[unit].astype(str).to_numpy(dtype=object))
    metrics = [metric_from(one) for one in design.metrics]
    cost = _column(table, metrics[0].columns[-1], unit)
    seen, freedom, notes = [], [], []
    checks = [_customers(split), check_purses(np.bincount(split.cell, cost, split.variant.size), split.budget)]
    for metric in metrics:
        values, before = _values(table, metric, unit), _before(table, metric, unit)
        got = read_budget_split(values, cost, split, before=before, alpha=design.plan.alpha)
        control = float(values[split.customer_variant == 0].mean())
        seen.append(Observed(metric.name, got.estimate, got.low, got.high, got.standard_error, control))
        freedom.append(got.freedom)
        size = np.bincount(split.cell)
        checks.append(check_largest(metric.name, np.bincount(split.cell, values) / size))
        if before is not None and before.std() > 0:
            checks.append(check_before(metric.name, 1, read_budget_split(before, cost, split)))
        elif metric.covariate_columns and before is None:
            notes.append(Reason(NO_COVARIATE, {"column": metric.covariate_columns[0]}))
        if metric.name == design.rule.metric:
            notes += _spent(got)
    return Drawn(tuple(seen), tuple(freedom), split.variant.size, tuple(checks), tuple(notes))


def _spent(got: BudgetReading) -> list[Reason]:
    return [
        Reason(_NAIVE, {"naive": got.naive}),
        Reason(_SPENT, {"off": got.spend[0], "on": got.spend[1]}),
    ]


def _customers(split: BudgetSplit) -> Check:
    """Customers by policy against the share of the hash that its cells have."""
    cells = split.variant.size
    share = np.bincount(np.arange(BUCKETS[2]) * cells // BUCKETS[2], minlength=cells)
    planned = [float(share[split.variant == policy].sum()) for policy in (0, 1)]
    counts = np.bincount(split.customer_variant, minlength=2).tolist()
    return check_sample_ratio(counts, planned, looked_at_before_the_end=False)


def _values(table: pd.DataFrame, metric: Metric, unit: str) -> Floats:
    values = _column(table, metric.column, unit)
    return values - _column(table, metric.cost, unit) if isinstance(metric, Profit) else values


def _before(table: pd.DataFrame, metric: Metric, unit: str) -> Floats | None:
    """The covariate, where the table has it."""
    named = metric.covariate_columns
    return _column(table, named[0], unit) if named and named[0] in table.columns else None


def _column(table: pd.DataFrame, column: str, unit: str) -> Floats:
    """A column as numbers.

    Raises:
        ProblemError: it is not there, or a value is no finite number.
    """
    need(table, [column])
    try:
        values = table[column].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProblemError(
            Reason("column '{column}' holds something that is no number ({error})", {"column": column, "error": error})
        ) from error
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ProblemError(
            Reason(
                "{count:,} value(s) of column '{column}' are missing or not finite, the first of {value!r}; "
                "fill them in (0 where nothing happened), or leave those rows out",
                {"count": bad.size, "column": column, "value": table[unit].iloc[int(bad[0])]},
            )
        )
    return values


def drawn_units(design: Design) -> Assigned:
    """The units that were drawn with a design.

    Raises:
        ProblemError: it drew none.
    """
    if design.assigned is None:
        raise ProblemError(Reason("experiment {experiment!r} has no draw of its units", {"experiment": design.name}))
    return design.assigned


def need(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Make sure that a table has columns.

    Raises:
        ProblemError: some are missing; names them all, and those that are there.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ProblemError(
            Reason(
                "the table lacks {missing}; it has {present}",
                {"missing": ", ".join(missing), "present": ", ".join(map(str, table.columns))},
            )
        )
