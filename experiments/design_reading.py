"""Reading an experiment as its design says: the analysis it asks for, the verdict of its rule, the gain it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.assign import NOT_ASSIGNED, enrol
from experiments.budget_design import budget_split_of
from experiments.decide import Observed, Reading, Verdict, decide
from experiments.design import Assigned, Design
from experiments.measure import Analysis, Effect, analyse, metric_from
from experiments.price_test import PriceEffect, PriceTest, read_price_test
from experiments.sequential import AnalysisPlan, interval_multiplier
from experiments.shared_budget import read_budget_split
from experiments.switchback import read_switchback

if TYPE_CHECKING:
    import pandas as pd

_NAIVE = N_("Without regard to what units take from one another, the effect would have been read as {naive:+.4g}.")
_SPENT = N_("Spent for each customer: {off:.4g} by the control, {on:.4g} by the treatment.")
_NEIGHBOUR = N_("A product with its old price changes by {estimate:+.4g} beside neighbours with new prices.")
_NO_COVARIATE = N_("The table lacks {column}: read without it, the interval is wider than planned.")
_STRAY = N_("{count} units of the table are not part of the design; they were left out.")


@dataclass(frozen=True)
class Row:
    """One line of a reading, as pages show it."""

    metric: str
    variant: int
    estimate: float
    low: float
    high: float
    decision: str


@dataclass(frozen=True)
class Measured:
    """What the experiment earned, on the scale of the promise: money over the proposal's horizon."""

    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class DesignReading:
    """A look at an experiment."""

    effects: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    """One for each treatment."""
    units: int
    trustworthy: bool
    measured: Measured | None
    """None where no promise is tested."""
    notes: tuple[Reason, ...] = ()
    looks: tuple[int, ...] = ()
    """Units at each look so far, this one last."""
    segments: tuple[Mapping[str, Any], ...] = ()
    """segment, level, metric, estimate, low, high."""
    analysis: Analysis | None = field(default=None, repr=False)
    """The whole analysis, where units were compared."""


def read_by_design(
    design: Design,
    table: pd.DataFrame,
    *,
    unit: str,
    elapsed_weeks: float | None = None,
    earlier_looks: Sequence[int] = (),
    segments: Sequence[str] = (),
) -> DesignReading:
    """Read an experiment.

    Args:
        design: as it started.
        table: one row per unit with the metrics' columns; a column `variant` is checked against the design. Of a
            switchback one row per region (`unit`) and `step`, from 0.
        unit: column of the unit's identifier.
        elapsed_weeks: since the start; units that are all there from the first day need it, as their number does not
            tell how far the plan is. None: the plan is at its end.
        earlier_looks: `looks` of the last reading.
        segments: columns to break the effect down by.

    Raises:
        ProblemError: a column is missing, or units are not those of the design.
    """
    _need(table, [unit])
    plan_fraction = _fraction(design, elapsed_weeks)
    if design.draw == "switchback":
        return _switchback(design, table, unit, plan_fraction)
    if design.draw == "budget_split":
        return _budget_split(design, table, unit, plan_fraction)
    inside, stray = _with_variant(design, table, unit)
    if design.draw == "two_stage":
        return _two_stage(design, inside, unit, plan_fraction, stray)
    plan = _at_fraction(design.plan, int((inside["variant"] >= 0).sum()), plan_fraction)
    lacking = [str(metric["covariate"]) for metric in design.metrics if _lacks_covariate(metric, inside)]
    found = analyse(
        inside,
        [metric_from(_readable(metric, inside)) for metric in design.metrics],
        unit=unit,
        weights=design.split.weights,
        plan=plan,
        earlier_looks=earlier_looks,
        segments=segments,
    )
    return _from_analysis(
        design, plan, found, (*_notes(stray), *(Reason(_NO_COVARIATE, {"column": one}) for one in lacking))
    )


def variants_of(design: Design, ids: Sequence[Any] | npt.NDArray[Any], table: pd.DataFrame | None = None) -> Any:  # noqa: ANN401
    """Variant of each unit by its design, (n,) int64; -1 for units outside.

    Raises:
        ProblemError: the design is a switchback, which assigns regions and periods.
    """
    if design.draw == "switchback":
        raise ProblemError("a switchback assigns periods, not units; its schedule is part of the design")
    if design.draw == "budget_split":
        return budget_split_of(design, ids).customer_variant
    if design.assigned is None:
        return enrol(ids, design.split, table).variant
    of = dict(zip(design.assigned.units, design.assigned.variant, strict=True))
    return np.array([of.get(str(one), NOT_ASSIGNED) for one in ids], dtype=np.int64)


def schedule_of(design: Design) -> dict[str, npt.NDArray[np.int64]]:
    """Schedule of each region of a switchback: (steps,), 1 where the treatment runs.

    Raises:
        ProblemError: the design is no switchback.
    """
    if design.switchback is None or design.assigned is None:
        raise ProblemError(f"experiment {design.name!r} is no switchback")
    found: dict[str, list[int]] = {}
    for region, variant in zip(design.assigned.cluster, design.assigned.variant, strict=True):
        found.setdefault(region, []).append(variant)
    return {name: np.repeat(np.array(ran, dtype=np.int64), design.switchback.length) for name, ran in found.items()}


def _with_variant(design: Design, table: pd.DataFrame, unit: str) -> tuple[pd.DataFrame, int]:
    """The table with the variants of the design; what another column says must not differ."""
    ids = table[unit].astype(str)
    variant = variants_of(design, ids.to_numpy(dtype=object), table)
    if "variant" in table.columns:
        given = table["variant"].to_numpy()
        wrong = np.flatnonzero((given >= 0) & (variant >= 0) & (given != variant))
        if wrong.size:
            raise ProblemError(
                f"unit {ids.iloc[wrong[0]]!r} is in variant {given[wrong[0]]} in the table and {variant[wrong[0]]} in "
                f"the design ({wrong.size:,} such units): the table belongs to another experiment, or units were moved"
            )
    return table.assign(variant=variant), int((variant < 0).sum()) if design.assigned is not None else 0


def _lacks_covariate(metric: Mapping[str, Any], table: pd.DataFrame) -> bool:
    covariate = metric.get("covariate")
    return isinstance(covariate, str) and covariate not in table.columns


def _readable(metric: Mapping[str, Any], table: pd.DataFrame) -> Mapping[str, Any]:
    """Leave out a covariate whose column the table lacks."""
    if _lacks_covariate(metric, table):
        return {key: value for key, value in metric.items() if key != "covariate"}
    return metric


def _fraction(design: Design, elapsed_weeks: float | None) -> float | None:
    """How far the plan is, by the calendar; None: its units tell."""
    if elapsed_weeks is None:
        return None
    if elapsed_weeks <= 0:
        raise ProblemError(f"{elapsed_weeks:g} weeks since the start; give a positive number")
    if design.plan.method != "fixed" or not design.sizing.weeks:
        raise ProblemError(f"experiment {design.name!r} is as far as its units are; leave the weeks out")
    return min(1.0, elapsed_weeks / design.sizing.weeks)


def _at_fraction(plan: AnalysisPlan, units: int, fraction: float | None) -> AnalysisPlan:
    if fraction is None or units == 0:
        return plan
    return replace(plan, planned_units=max(1, round(units / fraction)))


def _from_analysis(design: Design, plan: AnalysisPlan, found: Analysis, notes: tuple[Reason, ...]) -> DesignReading:
    doubts = tuple(check.reason for check in found.checks if check.verdict == "broken")
    treatments = sorted({effect.variant for effect in found.effects})
    verdicts = []
    for variant in treatments:
        seen = tuple(_observed(effect) for effect in found.effects if effect.variant == variant)
        reading = Reading(seen, sum(found.counts), found.trustworthy, doubts)
        verdicts.append(decide(design.rule, plan, reading, _weeks_left(design, plan.fraction(reading.units))))
    rows = tuple(Row(e.metric, e.variant, e.estimate, e.low, e.high, e.decision) for e in found.effects)
    return DesignReading(
        effects=rows,
        verdicts=tuple(verdicts),
        units=sum(found.counts),
        trustworthy=found.trustworthy,
        measured=_measured(design, rows),
        notes=notes,
        looks=found.looks,
        segments=tuple(
            {
                "segment": one.segment,
                "level": part.level,
                "metric": one.metric,
                "estimate": part.effect.estimate,
                "low": part.effect.low,
                "high": part.effect.high,
            }
            for one in found.breakdowns
            for part in one.effects
        ),
        analysis=found,
    )


def _observed(effect: Effect) -> Observed:
    return Observed(effect.metric, effect.estimate, effect.low, effect.high, effect.error, effect.control_mean)


def _two_stage(design: Design, table: pd.DataFrame, unit: str, fraction: float | None, stray: int) -> DesignReading:
    """Read a price test: the launch effect decides; what it does to neighbours is told."""
    assigned = _assigned(design)
    inside = table[table["variant"] >= 0]
    row = {name: place for place, name in enumerate(assigned.units)}
    places = [row[str(one)] for one in inside[unit]]
    categories = np.array(assigned.cluster)[places]
    test = PriceTest(np.array(assigned.saturation)[places], np.array(assigned.variant, dtype=np.int64)[places])
    seen, notes = [], list(_notes(stray))
    for metric in design.metrics:
        found = metric_from(metric)
        _need(inside, [found.column])
        before = found.covariate if isinstance(found.covariate, str) and found.covariate in inside.columns else None
        got = read_price_test(
            inside[found.column].to_numpy(),
            test,
            categories,
            before=None if before is None else inside[before].to_numpy(),
            alpha=design.plan.alpha,
        )
        control = float(inside[found.column].to_numpy()[test.saturation == 0].mean())
        seen.append(_observed_of(found.name, got.launch, control))
        if found.name == design.rule.metric:
            notes.append(Reason(_NAIVE, {"naive": got.naive.estimate}))
            notes.append(Reason(_NEIGHBOUR, {"estimate": got.neighbour.estimate}))
    return _read_directly(design, tuple(seen), len(inside), fraction, notes)


def _observed_of(name: str, effect: PriceEffect, control: float) -> Observed:
    return Observed(name, effect.estimate, effect.low, effect.high, effect.error, control)


def _switchback(design: Design, table: pd.DataFrame, unit: str, fraction: float | None) -> DesignReading:
    plan = design.switchback
    if plan is None:
        raise ProblemError(f"experiment {design.name!r} has no schedule")
    schedule = schedule_of(design)
    metric = metric_from(design.metrics[0])
    _need(table, [unit, "step", metric.column])
    wide = table.pivot_table(index=unit, columns="step", values=metric.column, aggfunc="sum", dropna=False)
    wide.index = wide.index.astype(str)
    unknown = [name for name in wide.index if name not in schedule]
    if unknown:
        raise ProblemError(f"region {unknown[0]!r} is not part of the design; its regions are {', '.join(schedule)}")
    whole = 2 * plan.length * (wide.shape[1] // (2 * plan.length))
    values = wide.to_numpy(dtype=np.float64)[:, :whole]
    ran = np.stack([schedule[name][:whole] for name in wide.index])
    got = read_switchback(values, ran, length=plan.length, burn_in=plan.burn_in, alpha=design.plan.alpha)
    control = float(values[ran == 0].mean())
    seen = Observed(metric.name, got.estimate, got.low, got.high, got.standard_error, control)
    notes = [Reason(_NAIVE, {"naive": got.naive})]
    part = min(1.0, whole / plan.steps) if fraction is None else fraction
    return _read_directly(design, (seen,), got.pairs, part, notes)


def _budget_split(design: Design, table: pd.DataFrame, unit: str, fraction: float | None) -> DesignReading:
    """Read two policies on one budget by their cells; the first metric is a profit with its cost."""
    metric = metric_from(design.metrics[0])
    _need(table, list(metric.columns))
    if table[unit].duplicated().any():
        raise ProblemError(f"customer {table[unit][table[unit].duplicated()].iloc[0]!r} stands on more than one row")
    cost = table[metric.columns[-1]].to_numpy(dtype=np.float64)
    profit = table[metric.column].to_numpy(dtype=np.float64) - cost
    split = budget_split_of(design, table[unit].astype(str).to_numpy(dtype=object))
    before = table[metric.covariate].to_numpy() if metric.covariate in table.columns else None
    got = read_budget_split(profit, cost, split, before=before, alpha=design.plan.alpha)
    control = float(profit[split.customer_variant == 0].mean())
    seen = Observed(metric.name, got.estimate, got.low, got.high, got.standard_error, control)
    return _read_directly(
        design, (seen,), got.units, fraction, [Reason(_SPENT, {"off": got.spend[0], "on": got.spend[1]})]
    )


def _read_directly(
    design: Design,
    seen: tuple[Observed, ...],
    units: int,
    fraction: float | None,
    notes: Sequence[Reason],
) -> DesignReading:
    """Rows, verdict and measured gain of an analysis that is planned to be read once.

    Before the end its intervals are widened to those of the confidence sequence that is valid whenever somebody looks.
    """
    plan = _at_fraction(replace(design.plan, planned_units=units), units, fraction)
    wider = interval_multiplier(plan, [units]) / float(stats.norm.ppf(1 - plan.alpha / 2))
    seen = tuple(_widened(one, wider) for one in seen)
    verdict = decide(design.rule, plan, Reading(seen, units), _weeks_left(design, plan.fraction(units)))
    rows = tuple(Row(one.metric, 1, one.estimate, one.low, one.high, _word(design, one)) for one in seen)
    return DesignReading(rows, (verdict,), units, True, _measured(design, rows), tuple(notes), (units,))


def _widened(seen: Observed, factor: float) -> Observed:
    low = seen.estimate - factor * (seen.estimate - seen.low)
    return replace(seen, low=low, high=seen.estimate + factor * (seen.high - seen.estimate))


def _weeks_left(design: Design, fraction: float) -> float | None:
    return None if design.sizing.weeks is None else design.sizing.weeks * (1.0 - fraction)


def _word(design: Design, seen: Observed) -> str:
    higher = next(bool(m.get("higher_is_better", True)) for m in design.metrics if m["name"] == seen.metric)
    if seen.low <= 0 <= seen.high:
        return "undecided"
    return "better" if (seen.estimate > 0) == higher else "worse"


def _measured(design: Design, rows: Sequence[Row]) -> Measured | None:
    found = [row for row in rows if row.metric == design.rule.metric and row.variant == 1]
    if design.promise_scale is None or not found:
        return None
    scale = design.promise_scale
    return Measured(found[0].estimate * scale, found[0].low * scale, found[0].high * scale)


def _assigned(design: Design) -> Assigned:
    if design.assigned is None:
        raise ProblemError(f"experiment {design.name!r} has no draw of its units")
    return design.assigned


def _notes(stray: int) -> tuple[Reason, ...]:
    return (Reason(_STRAY, {"count": stray}),) if stray else ()


def _need(table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ProblemError(f"the table lacks {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
