"""Experiments that live in the store: joins design, assignment and reading to what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from api.experiment_designs import make_design
from engine.errors import ConflictError, DataError, NotFoundError, StateError
from engine.files import plain
from engine.proposal import Reason
from engine.store import ExperimentState, Store, StoredExperiment

if TYPE_CHECKING:
    import pandas as pd

    from engine.settings import Settings
    from experiments.design import Design
    from experiments.measure import Prior
    from experiments.reading import DesignReading

BY_THE_CLOCK = (
    "Read {weeks:.1f} weeks after the start by the clock, {planned} are planned; give the weeks where the figures end "
    "earlier."
)
EXISTS = "experiment {experiment!r} exists; choose another identifier, or send a new version of it"
NOT_RUNNING = "experiment {experiment!r} is {state}; nobody is assigned but while it is running"
NOT_STARTED = "experiment {experiment!r} has not started; there is nothing to read"


def design_experiment(
    settings: Settings,
    store: Store,
    name: str,
    asked: Mapping[str, Any],
    history: Mapping[str, Sequence[Any]] | None,
    *,
    why: str,
    by: str,
    now: datetime,
) -> StoredExperiment:
    """Make the design that was asked for and store it, as a new experiment or a new version.

    Args:
        settings: for the data of a proposal.
        store: where the design is kept.
        name: of the experiment.
        asked: `api.experiment_options.DEFAULTS` with what was asked for, and `proposal_id`.
        history: past units by column; None: a proposal's own data.
        why: reason of a new version.
        by: who asks.
        now: when.

    Raises:
        InputError: what was asked for is refused (`make_design`), or the experiment runs and no reason is given.
        InfeasibleError: no switchback or balanced draw is possible.
        StateError: the experiment has ended.
    """
    past = None if history is None else lambda needed, names: columns_of(history, needed, names)
    made = make_design(settings, store, past, name, asked)
    return keep_design(store, name, made, proposal_id=asked["proposal_id"], why=why, by=by, now=now)


def refuse_known(store: Store, experiment_id: str) -> None:
    """Refuse an identifier that is taken.

    Raises:
        ConflictError: there is an experiment with this identifier.
    """
    try:
        store.experiments.get(experiment_id)
    except NotFoundError:
        return
    raise ConflictError(Reason(EXISTS, {"experiment": experiment_id}))


def keep_design(
    store: Store, name: str, made: Design, *, proposal_id: str | None, why: str, by: str, now: datetime
) -> StoredExperiment:
    """Store a new experiment, or a new version of one that is there.

    Raises:
        ProblemError: the experiment runs, and somebody would move.
        InputError: it runs, and no reason is given.
        StateError: it has ended.
    """
    from experiments.design import design_from, record_of, require_nobody_moves

    try:
        stored = store.experiments.get(name)
    except NotFoundError:
        record = record_of(made)
        return store.experiments.add(name, salt=made.split.seed, design=record, by=by, now=now, proposal_id=proposal_id)
    if stored.state is ExperimentState.RUNNING:
        before = design_from(stored.design)
        made = _where_they_are(before, made)
        require_nobody_moves(before, made)
    return store.experiments.redesign(name, record_of(made), why=why, by=by, now=now)


def _where_they_are(before: Design, after: Design) -> Design:
    """A design of the same known units keeps the draw that runs: history that came since would draw them anew."""
    if before.assigned is None or after.assigned is None or before.draw != after.draw:
        return after
    same = set(before.assigned.units) == set(after.assigned.units)
    return replace(after, assigned=before.assigned) if same else after


def columns_of(history: Mapping[str, Sequence[Any]], needed: Sequence[str], identifiers: Sequence[str]) -> pd.DataFrame:
    """Columns that came with a request as a table.

    Raises:
        DataError: a column is missing, is of another length than the rest, or an identifier is missing.
    """
    import pandas as pd

    missing = [name for name in needed if name not in history]
    if missing:
        raise DataError(f"the history has no column {', '.join(missing)}; it has {', '.join(history)}")
    lengths = {name: len(values) for name, values in history.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"the history's columns differ in length: {lengths}; give one value a unit")
    table = pd.DataFrame({name: list(values) for name, values in history.items()})
    for name in identifiers:
        absent = table[name].isna()
        if absent.any():
            raise DataError(f"the history's row {int(absent.argmax()) + 1} has no {name}")
        table[name] = table[name].astype(str)
    return table


def assign_units(
    stored: StoredExperiment, units: Sequence[str], attributes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Variant of each unit by the stored design; of a budget split its cell as well.

    Raises:
        StateError: the experiment does not run.
        ProblemError: it is a switchback, whose schedule is part of the design; or its target needs an attribute.
    """
    import numpy as np
    import pandas as pd

    from experiments.design import design_from
    from experiments.design_reading import variants_of
    from experiments.hashing import BUCKETS, buckets_of

    _require_running(stored)
    made = design_from(stored.design)
    ids = np.array(units, dtype=object)
    if made.draw == "budget_split" and made.assigned is not None:
        # A cell does not depend on who else is asked for: only its money does, which a whole table tells (the command).
        policies = made.assigned.variant
        cells = buckets_of(ids, made.split.seed, 2).astype(np.int64) * len(policies) // BUCKETS[2]
        return [
            {"unit_id": unit, "variant": policies[cell], "cell": cell}
            for unit, cell in zip(units, cells.tolist(), strict=True)
        ]
    table = pd.DataFrame(list(attributes), index=range(len(units))) if any(attributes) else None
    variants = variants_of(made, ids, table)
    return [{"unit_id": unit, "variant": int(one)} for unit, one in zip(units, variants, strict=True)]


def drawn_rows(stored: StoredExperiment) -> list[dict[str, Any]]:
    """What was drawn with a design: the variant of each unit, of a switchback that of each region and step.

    Raises:
        StateError: the experiment does not run.
    """
    from experiments.design import design_from
    from experiments.design_reading import schedule_of

    made = design_from(stored.design)
    if made.draw != "switchback":
        units = list(made.assigned.units) if made.assigned is not None else []
        return assign_units(stored, units, [{}] * len(units))
    _require_running(stored)
    return [
        {"unit_id": region, "step": step, "variant": int(on)}
        for region, ran in schedule_of(made).items()
        for step, on in enumerate(ran)
    ]


def _require_running(stored: StoredExperiment) -> None:
    if stored.state is not ExperimentState.RUNNING:
        raise StateError(Reason(NOT_RUNNING, {"experiment": stored.experiment_id, "state": stored.state.value}))


@dataclass(frozen=True)
class Asked:
    """What is asked of a reading that a design leaves open."""

    weeks: float | None = None
    """Since the start, where the units are there from the first day; None: what the clock says."""
    segments: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()
    prior: Prior | None = None
    trend_days: int = 0
    """Of logs."""


def read_now(store: Store, experiment_id: str, asked: Asked, *, by: str, now: datetime) -> int:
    """Read an experiment from what was sent, and store the reading beside its promise; gives the reading's number.

    Where the units are there from the first day the clock says how far the plan is, unless weeks are asked for: their
    number would take a look on the second day for the last one.

    Raises:
        NotFoundError: there is no such experiment.
        StateError: it has not started.
        ProblemError: nothing was sent that can be read.
    """
    from experiments.design import design_from
    from experiments.design_logs import Log, exposures_table, outcomes_table, read_logs_by_design

    stored = store.experiments.get(experiment_id)
    if stored.started_at is None:
        raise StateError(Reason(NOT_STARTED, {"experiment": experiment_id}))
    exposures = store.experiment_logs.exposures(experiment_id)
    outcomes = store.experiment_logs.outcomes(experiment_id)
    log = Log(
        exposures_table([(one.unit_id, one.variant, one.at, one.attributes) for one in exposures]),
        outcomes_table([(one.unit_id, one.at, one.measured) for one in outcomes]),
        started=stored.started_at,
        until=now,
    )
    made = design_from(stored.design)
    weeks, by_the_clock = _elapsed(made, stored, asked.weeks, now)
    reading = read_logs_by_design(
        made,
        log,
        elapsed_weeks=weeks,
        earlier_looks=earlier_looks(store, experiment_id),
        segments=asked.segments,
        earlier=asked.earlier,
        modifiers=asked.modifiers,
        prior=asked.prior,
        trend_days=asked.trend_days,
    )
    return keep_reading(store, stored, _noted(reading, by_the_clock), by=by, now=now)


def read_table_now(
    store: Store, stored: StoredExperiment, table: pd.DataFrame, unit: str, asked: Asked, *, by: str, now: datetime
) -> DesignReading:
    """Read an experiment from a table with one row a unit, and store the reading beside its promise.

    Raises:
        ProblemError: what `read_by_design` refuses.
    """
    from experiments.design import design_from
    from experiments.design_reading import read_by_design

    made = design_from(stored.design)
    weeks, by_the_clock = _elapsed(made, stored, asked.weeks, now)
    reading = read_by_design(
        made,
        table,
        unit=unit,
        elapsed_weeks=weeks,
        earlier_looks=earlier_looks(store, stored.experiment_id),
        segments=asked.segments,
        earlier=asked.earlier,
        modifiers=asked.modifiers,
        prior=asked.prior,
        started=stored.started_at,
    )
    noted = _noted(reading, by_the_clock)
    keep_reading(store, stored, noted, by=by, now=now)
    return noted


def _elapsed(
    made: Design, stored: StoredExperiment, weeks: float | None, now: datetime
) -> tuple[float | None, tuple[Reason, ...]]:
    """Weeks since the start, and a note on it where nobody but the clock said so."""
    if weeks is not None:
        return weeks, ()
    so_far = weeks_so_far(made, stored, now)
    if so_far is None:
        return None, ()
    return so_far, (Reason(BY_THE_CLOCK, {"weeks": so_far, "planned": made.sizing.weeks}),)


def _noted(reading: DesignReading, notes: tuple[Reason, ...]) -> DesignReading:
    return replace(reading, notes=(*notes, *reading.notes)) if notes else reading


def weeks_so_far(made: Design, stored: StoredExperiment, now: datetime) -> float | None:
    """Weeks that a running or ended experiment took so far, a day at least; None: its units tell how far it is."""
    from experiments.design import WATCHED

    at_once = made.draw == "hash" and made.promise_scale is not None and made.plan.method == "fixed"
    if stored.started_at is None or not made.sizing.weeks or not (made.draw in WATCHED or at_once):
        return None
    took = min(now, stored.ended_at or now) - stored.started_at
    return max(took, timedelta(days=1)) / timedelta(weeks=1)


def earlier_looks(store: Store, experiment_id: str) -> Sequence[int]:
    """Units at the looks so far, from the last reading."""
    kept = [one.reading.get("looks") or [] for one in store.experiments.readings(experiment_id)]
    return kept[-1] if kept else ()


def keep_reading(store: Store, stored: StoredExperiment, reading: DesignReading, *, by: str, now: datetime) -> int:
    """Store a reading beside what the experiment's proposal promised; gives the reading's number."""
    kept: dict[str, Any] = {**plain(reading), "promise": plain(stored.promise)}
    return store.experiments.store_reading(stored.experiment_id, kept, by=by, now=now)
