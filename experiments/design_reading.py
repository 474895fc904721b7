"""Reading an experiment as its design says: the analysis it asks for, the verdict of its rule, the gain it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.assign import NOT_ASSIGNED, enrol
from experiments.budget_design import budget_split_of
from experiments.clock import Clock, clock_at_end, clock_of, plan_now, rule_so_far
from experiments.clusters import count_randomised, hashed_ids
from experiments.decide import Observed, Reading, decide
from experiments.design import DRAWN, Design
from experiments.drawn_reading import (
    NO_COVARIATE,
    Drawn,
    missing_units,
    need,
    read_cells,
    read_regions,
    read_two_stage,
)
from experiments.goals import rows_of
from experiments.measure import Analysis, Effect, Metric, Prior, analyse, metric_from
from experiments.reading import DesignReading, Measured, Row
from experiments.sequential import AnalysisPlan
from experiments.trust.check import Check, is_trustworthy
from experiments.trust.exposures import check_exposed_early
from experiments.trust.outliers import check_miracle

if TYPE_CHECKING:
    import pandas as pd

UNTRUSTWORTHY = "untrustworthy"
EXPOSED_AT = "exposed_at"
"""Column of a table of units with the moment of their first exposure."""
_NO_BREAKDOWN = (
    "columns {columns}: an experiment drawn as a {draw} has no breakdown by segment, number or earlier test, its "
    "categories, regions or cells are the units; leave them out"
)
_NO_POSTERIOR = "an experiment drawn as a {draw} is read by its own errors and has no posterior; leave the prior out"
_SO_FAR = N_("Read after {part:.0%} of the time: effects are what was earned so far, and so are the rule's gains.")
_STRAY = N_("{count} units of the table are not part of the design; they were left out.")


def read_by_design(
    design: Design,
    table: pd.DataFrame,
    *,
    unit: str,
    elapsed_weeks: float | None = None,
    earlier_looks: Sequence[int] = (),
    segments: Sequence[str] = (),
    earlier: Sequence[str] = (),
    modifiers: Sequence[str] = (),
    prior: Prior | None = None,
    started: datetime | None = None,
    checks: Sequence[Check] = (),
) -> DesignReading:
    """Read an experiment.

    Args:
        design: as it started.
        table: one row per unit with the metrics' columns; a column `variant` is checked against the design, a column
            `exposed_at` against the start. Of a switchback one row per region (`unit`) and `step`, from 0; steps below
            are from before the start, and checked for differences that should not be there.
        unit: column of the unit's identifier.
        elapsed_weeks: since the start; units that are all there from the first day need it, as their number does not
            tell how far the plan is. None: the plan is at its end, if it is read once; several readings need it.
        earlier_looks: `looks` of the last reading.
        segments: columns to break the effect down by.
        earlier: columns with the unit's variant in earlier tests, for the check on what those left behind.
        modifiers: columns with numbers along which the effect may change.
        prior: of the relative effects; asks for posteriors.
        started: when the experiment did.
        checks: made on the way to the table; they count.

    Raises:
        ProblemError: a column is missing, or units are not those of the design.
    """
    need(table, [unit])
    clock = clock_of(design, elapsed_weeks)
    table, early = _without_early(table, started)
    early = (*design.checks, *checks, *early)
    if design.draw in DRAWN:
        _refuse_unread(design, [*segments, *earlier, *modifiers], prior)
        return _drawn(design, table, unit, _Far(clock, tuple(earlier_looks)), early)
    inside, stray = _with_variant(design, table, unit)
    plan = clock.of(design.plan) if clock else plan_now(design, count_randomised(design, inside, unit), elapsed_weeks)
    metrics, notes = readable_metrics(design, inside)
    found = analyse(
        inside,
        metrics,
        unit=unit,
        cluster=design.cluster,
        stratum=design.stratum,
        weights=design.split.weights,
        plan=plan,
        earlier_looks=earlier_looks,
        elapsed=clock.now if clock else None,
        segments=segments,
        earlier=earlier,
        modifiers=modifiers,
        convention=design.convention,
        prior=prior,
        checks=(*early, *_present(design, inside)),
    )
    return replace(from_analysis(design, plan, found, (*_notes(stray), *notes)), prior=prior)


def _refuse_unread(design: Design, columns: Sequence[str], prior: Prior | None) -> None:
    """Refuse what the analysis of a price test, a switchback or a budget split would pass over."""
    draw = design.draw.replace("_", " ")
    if columns:
        raise ProblemError(Reason(_NO_BREAKDOWN, {"columns": ", ".join(columns), "draw": draw}))
    if prior is not None:
        raise ProblemError(Reason(_NO_POSTERIOR, {"draw": draw}))


@dataclass(frozen=True)
class _Far:
    """How far a design with an analysis of its own is, by the calendar, and when it was read before."""

    clock: Clock | None
    earlier_looks: tuple[int, ...]


def _drawn(design: Design, table: pd.DataFrame, unit: str, far: _Far, early: Sequence[Check]) -> DesignReading:
    """Read a design that has an analysis of its own."""
    if design.draw == "switchback":
        need(table, ["step"])
        return _read_directly(design, read_regions(design, schedule_of(design), table, unit), far, early, 0)
    if design.draw == "budget_split":
        return _read_directly(design, read_cells(design, table, unit), far, early, 0)
    inside, stray = _with_variant(design, table, unit)
    return _read_directly(design, read_two_stage(design, inside[inside["variant"] >= 0], unit), far, early, stray)


def _without_early(table: pd.DataFrame, started: datetime | None) -> tuple[pd.DataFrame, tuple[Check, ...]]:
    """Leave out the units that were exposed before the start, and say how many they are."""
    if started is None or EXPOSED_AT not in table.columns:
        return table, ()
    import pandas as pd

    at = pd.to_datetime(table[EXPOSED_AT], utc=True, format="ISO8601", errors="coerce")
    early = (at < pd.Timestamp(started)).to_numpy()
    return table[~early], (check_exposed_early(int(early.sum()), len(table)),)


def _present(design: Design, inside: pd.DataFrame) -> tuple[Check, ...]:
    """Units that were drawn and have no row."""
    if design.assigned is None or len(design.split.weights) != 2:
        return ()
    variant = inside["variant"].to_numpy()
    return (missing_units(design.assigned, variant[variant >= 0]),)


def variants_of(design: Design, ids: Sequence[Any] | npt.NDArray[Any], table: pd.DataFrame | None = None) -> Any:  # noqa: ANN401
    """Variant of each unit by its design, (n,) int64; -1 for units outside.

    Raises:
        ProblemError: the design is a switchback, which assigns regions and periods.
    """
    if design.draw == "switchback":
        raise ProblemError(N_("a switchback assigns periods, not units; its schedule is part of the design"))
    if design.draw == "budget_split":
        return budget_split_of(design, ids).customer_variant
    if design.assigned is None:
        return enrol(hashed_ids(design, ids, table), design.split, table).variant
    of = dict(zip(design.assigned.units, design.assigned.variant, strict=True))
    return np.array([of.get(str(one), NOT_ASSIGNED) for one in ids], dtype=np.int64)


def schedule_of(design: Design) -> dict[str, npt.NDArray[np.int64]]:
    """Schedule of each region of a switchback: (steps,), 1 where the treatment runs.

    Raises:
        ProblemError: the design is no switchback.
    """
    if design.switchback is None or design.assigned is None:
        raise ProblemError(Reason("experiment {experiment!r} is no switchback", {"experiment": design.name}))
    found: dict[str, list[int]] = {}
    for region, variant in zip(design.assigned.cluster, design.assigned.variant, strict=True):
        found.setdefault(region, []).append(variant)
    return {name: np.repeat(np.array(ran, dtype=np.int64), design.switchback.length) for name, ran in found.items()}


def _with_variant(design: Design, table: pd.DataFrame, unit: str) -> tuple[pd.DataFrame, int]:
    """The table with the variants of the design; what another column says must not differ."""
    ids = table[unit].astype(str)
    variant = variants_of(design, ids.to_numpy(dtype=object), table)
    if "variant" in table.columns:
        given = _variant_numbers(table["variant"])
        wrong = np.flatnonzero((given >= 0) & (variant >= 0) & (given != variant))
        if wrong.size:
            raise ProblemError(
                Reason(
                    "unit {value!r} is in variant {given:g} in the table and {variant} in the design ({count:,} "
                    "such units): the table belongs to another experiment, or units were moved",
                    {
                        "value": ids.iloc[wrong[0]],
                        "given": given[wrong[0]],
                        "variant": variant[wrong[0]],
                        "count": wrong.size,
                    },
                )
            )
    return table.assign(variant=variant), int((variant < 0).sum()) if design.assigned is not None else 0


def _variant_numbers(column: pd.Series) -> npt.NDArray[np.float64]:
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ProblemError(
            Reason(
                "column 'variant' holds {value!r} …; write 0 for the control, 1, 2 … for the others, or leave "
                "the column out: the design knows who is where",
                {"value": column.iloc[0]},
            )
        ) from error


def readable_metrics(design: Design, table: pd.DataFrame) -> tuple[list[Metric], tuple[Reason, ...]]:
    """The metrics of a design, without the covariates that the table of units lacks; and which those are."""
    lacking = [str(metric["covariate"]) for metric in design.metrics if _lacks_covariate(metric, table)]
    metrics = [metric_from(_readable(metric, table)) for metric in design.metrics]
    return metrics, tuple(Reason(NO_COVARIATE, {"column": one}) for one in lacking)


def _lacks_covariate(metric: Mapping[str, Any], table: pd.DataFrame) -> bool:
    covariate = metric.get("covariate")
    return isinstance(covariate, str) and covariate not in table.columns


def _readable(metric: Mapping[str, Any], table: pd.DataFrame) -> Mapping[str, Any]:
    """Leave out a covariate whose column the table lacks."""
    if _lacks_covariate(metric, table):
        return {key: value for key, value in metric.items() if key != "covariate"}
    return metric


def from_analysis(design: Design, plan: AnalysisPlan, found: Analysis, notes: tuple[Reason, ...]) -> DesignReading:
    """Put an analysis of compared units into the form of a reading, with the verdicts of the design's rule."""
    _require_decisive(design, found)
    doubts = tuple(check.reason for check in found.checks if check.verdict == "broken")
    treatments = sorted({effect.variant for effect in found.effects})
    verdicts = []
    for variant in treatments:
        seen = tuple(_observed(effect) for effect in found.effects if effect.variant == variant)
        reading = Reading(seen, found.looks[-1], found.trustworthy, doubts)
        verdicts.append(decide(design.rule, plan, reading, _weeks_left(design, plan.fraction(reading.units))))
    rows = rows_of(design, found)
    return DesignReading(
        effects=rows,
        verdicts=tuple(verdicts),
        units=sum(found.counts),
        trustworthy=found.trustworthy,
        measured=_measured(design, rows),
        notes=notes,
        checks=found.checks,
        interval=found.interval,
        final=found.final,
        looks=found.looks,
        segments=tuple(
            {
                "segment": one.segment,
                "level": part.level,
                "metric": one.metric,
                "variant": one.variant,
                "estimate": part.effect.estimate,
                "low": part.effect.low,
                "high": part.effect.high,
                "shrunk": part.shrunk,
                "shrunk_low": part.shrunk_low,
                "shrunk_high": part.shrunk_high,
                "differ_p": one.differ_adjusted_p,
            }
            for one in found.breakdowns
            for part in one.effects
        ),
        analysis=found,
    )


def _require_decisive(design: Design, found: Analysis) -> None:
    """Refuse a reading in which a metric of the rule could not be read, and say why it could not."""
    read = {(effect.metric, effect.variant) for effect in found.effects}
    variants = sorted({variant for _, variant in read})
    for name in (design.rule.metric, *(guardrail.metric for guardrail in design.rule.guardrails)):
        if all((name, variant) in read for variant in variants):
            continue
        stranger = Reason("it is no metric of the design")
        why = next((one.reason for one in found.refused if one.metric == name), stranger)
        raise ProblemError(
            Reason("metric '{name}', which the rule decides by, cannot be read: {why}", {"name": name, "why": why})
        )


def _observed(effect: Effect) -> Observed:
    return Observed(effect.metric, effect.estimate, effect.low, effect.high, effect.error, effect.control_mean)


def _read_directly(design: Design, got: Drawn, far: _Far, early: Sequence[Check], stray: int) -> DesignReading:
    """Rows, verdict and measured gain of an analysis of its own, with the interval that is valid at this look."""
    clock = _steps_run(design, got) or far.clock or clock_at_end(design)
    part, final = clock.fraction, design.plan.method != "fixed" or clock.fraction >= 1.0
    seen = tuple(_at_look(design, clock, far, one, freedom) for one, freedom in zip(got.seen, got.freedom, strict=True))
    checks = (*early, *got.checks, *_miracles(seen, decides=final))
    trustworthy = is_trustworthy(checks)
    doubts = tuple(check.reason for check in checks if check.verdict == "broken")
    adds_up = design.draw == "budget_split" and part < 1.0
    rule = rule_so_far(design.rule, part) if adds_up else design.rule
    reading = Reading(seen, clock.now, trustworthy, doubts)
    verdict = decide(rule, clock.of(design.plan), reading, _weeks_left(design, part))
    rows = tuple(
        Row(one.metric, 1, one.estimate, one.low, one.high, _word(design, one, final) if trustworthy else UNTRUSTWORTHY)
        for one in seen
    )
    so_far = (Reason(_SO_FAR, {"part": part}),) if adds_up else ()
    return DesignReading(
        effects=rows,
        verdicts=(verdict,),
        units=got.units,
        trustworthy=trustworthy,
        measured=_measured(design, rows),
        notes=(*_notes(stray), *so_far, *got.notes),
        checks=checks,
        interval=design.plan.method if final else "always_valid",
        final=final,
        looks=clock.looks(far.earlier_looks),
    )


def _steps_run(design: Design, got: Drawn) -> Clock | None:
    """The steps of a switchback as its clock."""
    if got.steps is None or design.switchback is None:
        return None
    return Clock(got.steps, design.switchback.steps)


def _at_look(design: Design, clock: Clock, far: _Far, seen: Observed, freedom: float) -> Observed:
    """A metric with the interval that the plan makes valid now."""
    looks = clock.few_looks(design.plan, far.earlier_looks, freedom, growing=design.draw == "switchback")
    half = float(looks.critical[-1]) * seen.standard_error
    return replace(seen, low=seen.estimate - half, high=seen.estimate + half)


def _miracles(seen: Sequence[Observed], *, decides: bool) -> list[Check]:
    """Effects too large to believe."""
    found = [
        check_miracle(
            one.metric,
            1,
            one.estimate / abs(one.control) if one.control else None,
            is_decided=decides and not one.low <= 0 <= one.high,
        )
        for one in seen
    ]
    return [check for check in found if check is not None]


def _weeks_left(design: Design, fraction: float) -> float | None:
    return None if design.sizing.weeks is None else design.sizing.weeks * (1.0 - fraction)


def _word(design: Design, seen: Observed, final: bool) -> str:
    """What a look says of a metric; before the end of a plan that is read once only harm, for no gain is acted on."""
    higher = next(bool(m.get("higher_is_better", True)) for m in design.metrics if m["name"] == seen.metric)
    if seen.low <= 0 <= seen.high:
        return "undecided"
    if (seen.estimate > 0) != higher:
        return "worse"
    return "better" if final else "undecided"


def _measured(design: Design, rows: Sequence[Row]) -> Measured | None:
    found = [row for row in rows if row.metric == design.rule.metric and row.variant == 1]
    if design.promise_scale is None or not found:
        return None
    scale = design.promise_scale
    return Measured(found[0].estimate * scale, found[0].low * scale, found[0].high * scale)


def _notes(stray: int) -> tuple[Reason, ...]:
    return (Reason(_STRAY, {"count": stray}),) if stray else ()
