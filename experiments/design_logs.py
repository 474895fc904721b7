"""Reading an experiment as its design says from what was sent while it ran: exposures and outcomes.

Units that turn up one by one are read by `measure.analyse_logs`: a unit's outcomes from its first exposure on are added
up. Units that were drawn with the design are brought into the table that the design's own analysis reads: products and
stores by the mean of their rows (one row a period), customers of a budget split by their sum, regions by step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.clock import plan_now
from experiments.clusters import count_randomised
from experiments.design import Design
from experiments.design_reading import (
    EXPOSED_AT,
    from_analysis,
    read_by_design,
    readable_metrics,
    variants_of,
)
from experiments.measure import Logs, Prior, analyse_logs, duckdb_warehouse, metric_from
from experiments.reading import DesignReading
from experiments.trust.check import Check
from experiments.trust.drawn import check_obeyed
from experiments.trust.exposures import check_assigned

if TYPE_CHECKING:
    import pandas as pd

_OUTSIDE = N_("{count} outcomes from before the start or after this reading are not counted")
_STRANGERS = N_("{count} outcomes of units that were never exposed are not counted")

UNIT, VARIANT, AT, STEP = "unit_id", "variant", "timestamp", "step"


@dataclass(frozen=True)
class Log:
    """What was sent, as tables."""

    exposures: pd.DataFrame
    """unit_id, variant, timestamp (UTC), attributes of the unit."""
    outcomes: pd.DataFrame
    """unit_id, timestamp (UTC), columns of the metrics; of a switchback also step."""
    started: datetime
    until: datetime
    """Moment of the reading; UTC."""


def read_logs_by_design(
    design: Design,
    log: Log,
    *,
    elapsed_weeks: float | None = None,
    earlier_looks: Sequence[int] = (),
    segments: Sequence[str] = (),
    earlier: Sequence[str] = (),
    modifiers: Sequence[str] = (),
    prior: Prior | None = None,
    trend_days: int = 0,
) -> DesignReading:
    """Read an experiment from its logs.

    Args:
        design: as it started.
        log: what was sent so far.
        elapsed_weeks: see `read_by_design`.
        earlier_looks: `looks` of the last reading.
        segments: attributes of the exposures to break the effect down by.
        earlier: attributes with the unit's variant in earlier tests, for the check on what those left behind.
        modifiers: attributes with numbers along which the effect may change.
        prior: of the relative effects; asks for posteriors.
        trend_days: days since exposure over which the effect is checked for novelty; 0: none.

    Raises:
        ProblemError: nobody was exposed, nothing was measured, or what `read_by_design` refuses.
    """
    _require_something(design, log)
    if design.draw == "hash":
        asked = _Asked(tuple(segments), tuple(earlier), tuple(modifiers), prior, trend_days)
        return _arriving(design, log, elapsed_weeks, earlier_looks, asked)
    table, checks, notes = _drawn_table(design, log)
    reading = read_by_design(
        design,
        table,
        unit=UNIT,
        elapsed_weeks=elapsed_weeks,
        earlier_looks=earlier_looks,
        segments=segments,
        earlier=earlier,
        modifiers=modifiers,
        prior=prior,
        started=log.started,
        checks=checks,
    )
    return replace(reading, notes=(*reading.notes, *notes))


def _require_something(design: Design, log: Log) -> None:
    needed = dict.fromkeys(column for one in design.metrics for column in metric_from(one).columns)
    missing = [column for column in needed if column not in log.outcomes.columns]
    if missing:
        raise ProblemError(
            Reason(
                "no outcome of experiment {experiment!r} has {missing}; its metrics need {needed}",
                {"experiment": design.name, "missing": ", ".join(missing), "needed": ", ".join(needed)},
            )
        )
    if design.draw == "hash" and log.exposures.empty:
        raise ProblemError(
            Reason(
                "nobody was exposed in experiment {experiment!r} yet; send exposures first", {"experiment": design.name}
            )
        )


@dataclass(frozen=True)
class _Asked:
    """What is asked of a reading beside its effects."""

    segments: tuple[str, ...]
    earlier: tuple[str, ...]
    modifiers: tuple[str, ...]
    prior: Prior | None
    trend_days: int


def _arriving(
    design: Design, log: Log, elapsed_weeks: float | None, earlier_looks: Sequence[int], asked: _Asked
) -> DesignReading:
    import duckdb

    exposures, wrong = _as_assigned(design, log.exposures)
    metrics, notes = readable_metrics(design, exposures)
    plan = plan_now(design, count_randomised(design, exposures, UNIT), elapsed_weeks)
    connection = duckdb.connect(config={"threads": 1})
    try:
        connection.register("exposures", _naive(exposures))
        connection.register("outcomes", _naive(log.outcomes))
        logs = Logs(
            duckdb_warehouse(connection),
            "exposures",
            "outcomes",
            until=log.until,
            started=log.started,
            segments=asked.segments,
            earlier=asked.earlier,
            modifiers=asked.modifiers,
            cluster=design.cluster,
            stratum=design.stratum,
        )
        found = analyse_logs(
            logs,
            metrics,
            weights=design.split.weights,
            plan=plan,
            earlier_looks=earlier_looks,
            convention=design.convention,
            prior=asked.prior,
            trend_days=asked.trend_days,
            checks=[wrong, *design.checks],
        )
    finally:
        connection.close()
    return replace(from_analysis(design, plan, found, notes), prior=asked.prior)


def _as_assigned(design: Design, exposures: pd.DataFrame) -> tuple[pd.DataFrame, Check]:
    """The exposures of units that were shown what their hash says; the others are left out and counted."""
    first = exposures.drop_duplicates(UNIT)
    variant = variants_of(design, first[UNIT].to_numpy(dtype=object), first)
    of = dict(zip(first[UNIT], variant.tolist(), strict=True))
    planned = exposures[UNIT].map(of).to_numpy()
    strangers = set(exposures[UNIT][(planned != exposures[VARIANT].to_numpy())])
    twice = set(exposures.groupby(UNIT)[VARIANT].nunique().loc[lambda count: count > 1].index)
    wrong = strangers - twice  # whoever was shown two variants is named by a check of its own
    kept = exposures[~exposures[UNIT].isin(wrong)]
    return kept, check_assigned(len(wrong), len(first))


def _naive(table: pd.DataFrame) -> pd.DataFrame:
    """Times as UTC without a zone, which is how the database reads them."""
    return table.assign(**{AT: table[AT].dt.tz_convert("UTC").dt.tz_localize(None)})


def _drawn_table(design: Design, log: Log) -> tuple[pd.DataFrame, list[Check], list[Reason]]:
    """One row a unit (a region and step of a switchback), with the checks and notes of the way there."""
    inside = (log.outcomes[AT] <= log.until) & (log.outcomes[AT] >= log.started)
    past = log.outcomes[STEP] < 0 if STEP in log.outcomes.columns else inside & False
    kept = log.outcomes[inside | past].drop(columns=[AT])
    notes = [Reason(_OUTSIDE, {"count": int((~(inside | past)).sum())})] if not (inside | past).all() else []
    if design.draw == "switchback":
        return kept, [], notes
    exposed = log.exposures.sort_values(AT, kind="stable").drop_duplicates(UNIT)
    checks = [_obeyed(design, log.exposures)] if len(exposed) else []
    values = kept.groupby(UNIT, sort=True)
    if design.draw == "budget_split":
        table = exposed.merge(values.sum(min_count=1).reset_index(), on=UNIT, how="left")
        measured = [name for name in kept.columns if name != UNIT]
        silent = ~table[UNIT].isin(set(kept[UNIT]))
        table.loc[silent, measured] = 0.0
        strangers = int((~kept[UNIT].isin(set(exposed[UNIT]))).sum())
        notes += [Reason(_STRANGERS, {"count": strangers})] if strangers else []
    else:
        means = values.mean().reset_index()
        table = means.merge(exposed, on=UNIT, how="left") if len(exposed) else means
    return table.rename(columns={AT: EXPOSED_AT}).drop(columns=[VARIANT], errors="ignore"), checks, notes


def _obeyed(design: Design, exposures: pd.DataFrame) -> Check:
    """Units that were given another arm than was drawn for them."""
    drawn = variants_of(design, exposures[UNIT].to_numpy(dtype=object), exposures)
    other = exposures[UNIT][(drawn >= 0) & (drawn != exposures[VARIANT].to_numpy())].nunique()
    return check_obeyed(int(other), int(exposures[UNIT].nunique()))


def exposures_table(rows: Sequence[tuple[str, int, datetime, Mapping[str, Any]]]) -> pd.DataFrame:
    """Exposures (unit, variant, moment, attributes) as `Log.exposures`."""
    import pandas as pd

    table = pd.DataFrame([{**attributes, UNIT: unit, VARIANT: variant} for unit, variant, _, attributes in rows])
    if table.empty:
        table = pd.DataFrame({UNIT: pd.Series(dtype=object), VARIANT: pd.Series(dtype=np.int64)})
    return table.assign(**{AT: pd.to_datetime([at for _, _, at, _ in rows], utc=True)})


def outcomes_table(rows: Sequence[tuple[str, datetime, Mapping[str, float | None]]]) -> pd.DataFrame:
    """Outcomes (unit, moment, values) as `Log.outcomes`; a column that a row leaves out is 0 there, null is missing."""
    import pandas as pd

    columns = dict.fromkeys(name for _, _, values in rows for name in values)
    table = pd.DataFrame({UNIT: pd.Series([unit for unit, _, _ in rows], dtype=object)})
    for name in columns:
        table[name] = np.array([values.get(name, 0.0) for _, _, values in rows], dtype=np.float64)
    return table.assign(**{AT: pd.to_datetime([at for _, at, _ in rows], utc=True)})
