"""From a log of exposures and a log of outcomes to one row for each unit, in the database.

A unit's first exposure counts, and its outcomes from then on. Whoever was shown two variants, or was exposed before the
assignment, at no known time or after the data end, is left out and counted; outcomes from before the exposure, from
after the data end and of units never exposed are not counted as outcomes, but counted.
"""

# ruff: noqa: S608 - names are quoted by the dialect, literals too

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from engine.proposal import N_, Reason
from experiments.measure.metrics import Condition, Lookback, Metric, Profit, Ratio, Retention, Window
from experiments.measure.reading import Exclusion
from experiments.measure.sums import read_ranges, total_sql
from experiments.measure.units import KEPT, Units
from experiments.measure.warehouse import Dialect, Warehouse
from experiments.trust.exposures import ExposureCounts, Gap

_HOUR = 3600
_FIRST = f"{KEPT}_first"


@dataclass(frozen=True)
class Logs:
    """Exposures (unit, experiment, variant, timestamp) and outcomes (unit, metric columns, timestamp) in a database."""

    warehouse: Warehouse
    exposures: str
    """What stands after FROM: a table, or a query in brackets with a name behind it."""
    outcomes: str
    until: datetime
    """Where the data end; UTC, where it has no zone."""
    experiment: str | None = None
    """Value of the column `experiment` of the exposures; None: they are all of this experiment."""
    started: datetime | None = None
    """Exposures before it are before the assignment."""
    assigned: str | None = None
    """Column of the exposures with the time of assignment."""
    unit: str = "unit_id"
    variant: str = "variant"
    timestamp: str = "timestamp"
    cluster: str | None = None
    """Columns of the exposures: see `Units`."""
    stratum: str | None = None
    segments: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """Columns of the exposures that go with the unit."""
        named = [self.cluster, self.stratum, *self.segments, *self.modifiers, *self.earlier]
        return tuple(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True)
class Gathered:
    """Logs as units, with the metrics rewritten to the columns that were made for them."""

    units: Units
    metrics: tuple[Metric, ...]
    counts: ExposureCounts
    gaps: tuple[Gap, ...]
    """Of each variant that has units."""


def gather(logs: Logs, metrics: Sequence[Metric]) -> Gathered:
    """Bring both logs together into one kept row for each unit.

    Raises:
        DataError: the database refused a query.
    """
    _keep_first_exposures(logs, _attribute_covariates(metrics))
    counts = _count(logs)
    reaches = _reaches(logs, metrics)
    written = [_write(place, metric, logs, reaches) for place, metric in enumerate(metrics)]
    _keep_units(logs, _attribute_covariates(metrics), [column for one in written for column in one.columns])
    units = Units(
        warehouse=logs.warehouse,
        relation=KEPT,
        variant=logs.variant,
        unit=logs.unit,
        cluster=logs.cluster,
        stratum=logs.stratum,
        segments=logs.segments,
        modifiers=logs.modifiers,
        earlier=logs.earlier,
        excluded=(*_exclusions(counts), *_zeros(logs.warehouse, written), *_open_windows(logs.warehouse, written)),
    )
    return Gathered(units, tuple(one.metric for one in written), counts, _gaps(logs))


def forget(logs: Logs) -> None:
    """Drop what `gather` kept."""
    for name in (KEPT, _FIRST):
        logs.warehouse.execute(logs.warehouse.dialect.forget.format(name=name))


def _attribute_covariates(metrics: Sequence[Metric]) -> list[str]:
    """Covariates and features that are columns of the exposures."""
    return list(dict.fromkeys(c for metric in metrics for c in (*metric.covariate_columns, *metric.feature_columns)))


def _keep_first_exposures(logs: Logs, covariates: Sequence[str]) -> None:
    dialect = logs.warehouse.dialect
    time = dialect.epoch.format(dialect.column(logs.timestamp))
    assigned = "0" if logs.assigned is None else dialect.epoch.format(dialect.column(logs.assigned))
    carried = "".join(
        f", MIN({dialect.column(name)}) AS k_attribute_{place}"
        for place, name in enumerate([*logs.attributes, *covariates])
    )
    where = "" if logs.experiment is None else f" WHERE experiment = {dialect.literal(logs.experiment)}"
    variant = dialect.column(logs.variant)
    query = (
        f"SELECT {dialect.column(logs.unit)} AS k_unit, MIN({variant}) AS k_variant, MAX({variant}) AS k_other, "
        f"MIN({time}) AS k_at, COUNT(*) AS k_times, MIN({assigned}) AS k_assigned{carried} "
        f"FROM {logs.exposures}{where} GROUP BY {dialect.column(logs.unit)}"
    )
    logs.warehouse.keep(_FIRST, query)


def _seconds(moment: datetime) -> str:
    return repr((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _faults(logs: Logs) -> dict[str, str]:
    """Tests on a unit's first exposure that leave it out, in the order in which they are named."""
    start = "k_at < k_assigned" if logs.started is None else f"k_at < k_assigned OR k_at < {_seconds(logs.started)}"
    return {
        "in_two_variants": "k_variant <> k_other",
        "without_time": "k_at IS NULL",
        "before_assignment": start,
        "in_future": f"k_at > {_seconds(logs.until)}",
    }


def _count(logs: Logs) -> ExposureCounts:
    warehouse, dialect = logs.warehouse, logs.warehouse.dialect
    tests = ", ".join(f"COUNT(CASE WHEN {test} THEN 1 END)" for test in _faults(logs).values())
    row = warehouse.rows(f"SELECT COUNT(*), COUNT(CASE WHEN k_times > 1 THEN 1 END), {tests} FROM {_FIRST}")[0]
    time = dialect.epoch.format(dialect.column(logs.timestamp))
    outcomes = f"(SELECT {dialect.column(logs.unit)} AS o_unit, {time} AS o_at FROM {logs.outcomes}) o"
    late = warehouse.rows(
        f"SELECT COUNT(CASE WHEN o_at < k_at THEN 1 END), COUNT(CASE WHEN o_at > {_seconds(logs.until)} THEN 1 END), "
        f"COUNT(CASE WHEN k_unit IS NULL THEN 1 END) FROM {outcomes} LEFT JOIN {_FIRST} f ON o_unit = k_unit"
    )[0]
    found = dict(zip(_faults(logs), (int(count) for count in row[2:]), strict=True))
    before, in_future, elsewhere = (int(count) for count in late)
    return ExposureCounts(
        units=int(row[0]),
        repeated=int(row[1]),
        outcomes_before=before,
        outcomes_in_future=in_future,
        outcomes_elsewhere=elsewhere,
        **found,
    )


@dataclass(frozen=True)
class _Written:
    """One metric on the kept units."""

    metric: Metric
    name: str
    columns: tuple[tuple[str, str], ...]
    """(name, SQL over the joined rows of one unit)."""
    closes: bool
    """Whether its window ends, so that some units may not have lived through it."""
    fills: bool
    """Whether missing values count as zero."""


def _write(place: int, metric: Metric, logs: Logs, reaches: Reaches) -> _Written:
    """The columns that a metric needs, and the metric in terms of them."""
    dialect, prefix = logs.warehouse.dialect, f"m{place}"
    within = _within(metric.window, metric, dialect)
    if isinstance(metric, Retention):
        columns = [(f"{prefix}_c0", f"MAX(CASE WHEN {within} THEN 1 ELSE 0 END)")]
    else:
        columns = [(f"{prefix}_c{i}", _total(c, within, metric, logs, reaches)) for i, c in enumerate(metric.columns)]
    renamed = _renamed(metric, [name for name, _ in columns])
    if isinstance(metric.covariate, Lookback):
        before = _before(metric, metric.covariate, prefix, logs, reaches)
        columns += before
        renamed = _with_covariate(renamed, [name for name, _ in before])
    closes = metric.window.end_hours is not None
    if closes:
        columns.append((f"{prefix}_in", f"CASE WHEN {_closed(metric.window, logs)} THEN 1 ELSE 0 END"))
        renamed = replace(renamed, where=(Condition(f"{prefix}_in", "=", 1),))
    fills = metric.missing == "zero" and not isinstance(metric, Retention)
    if fills:
        columns.append((f"{prefix}_bad", _bad_rows(metric.columns, within, dialect)))
    return _Written(renamed, metric.name, tuple(columns), closes, fills)


def _within(window: Window, metric: Metric, dialect: Dialect) -> str:
    """Test of an outcome row: inside the window, and passing the metric's filter."""
    tests = [f"o_at >= k_at + {window.start_hours * _HOUR!r}"]
    if window.end_hours is not None:
        tests.append(f"o_at < k_at + {window.end_hours * _HOUR!r}")
    return " AND ".join([*tests, *(dialect.condition(condition) for condition in metric.where)])


def _total(column: str, test: str, metric: Metric, logs: Logs, reaches: Reaches) -> str:
    """Sum of a column over the rows that pass; a value that is no number makes it NaN, for the metric's rule to see."""
    dialect = logs.warehouse.dialect
    quoted = dialect.column(column)
    value = f"CASE WHEN {test} AND {dialect.finite(quoted)} THEN {dialect.number(quoted)} END"
    total = f"COALESCE({total_sql(dialect, value, reaches[column])}, 0)"
    if metric.missing == "zero":
        return total
    nan = dialect.number(dialect.literal("NaN"))
    return f"CASE WHEN {_bad_rows([column], test, dialect)} > 0 THEN {nan} ELSE {total} END"


def _bad_rows(columns: Sequence[str], test: str, dialect: Dialect) -> str:
    """Number of the rows that pass with a value that is no number."""
    whole = " AND ".join(f"COALESCE({dialect.finite(dialect.column(column))}, FALSE)" for column in columns)
    return f"COUNT(CASE WHEN {test} AND NOT ({whole}) THEN 1 END)"


Reaches = Mapping[str, float]
"""Largest size of a number in each column of the outcomes."""


def _reaches(logs: Logs, metrics: Sequence[Metric]) -> Reaches:
    """How far the summed columns reach."""
    warehouse, dialect = logs.warehouse, logs.warehouse.dialect
    columns = dict.fromkeys(c for metric in metrics if not isinstance(metric, Retention) for c in metric.columns)
    names = {dialect.column(column): column for column in columns}
    _, found = read_ranges(warehouse, logs.outcomes, names)
    bad = {sql: f"CASE WHEN {dialect.finite(sql)} THEN {sql} END" for sql in names if not found[sql].is_finite}
    repaired = read_ranges(warehouse, logs.outcomes, bad.values())[1] if bad else {}
    return {column: (repaired[bad[sql]] if sql in bad else found[sql]).reach(0.0) for sql, column in names.items()}


def _before(metric: Metric, covariate: Lookback, prefix: str, logs: Logs, reaches: Reaches) -> list[tuple[str, str]]:
    """The metric's columns over the hours before exposure."""
    dialect = logs.warehouse.dialect
    tests = ["o_at < k_at", f"o_at >= k_at - {covariate.hours * _HOUR!r}"]
    test = " AND ".join([*tests, *(dialect.condition(condition) for condition in metric.where)])
    if isinstance(metric, Retention):
        return [(f"{prefix}_x0", f"MAX(CASE WHEN {test} THEN 1 ELSE 0 END)")]
    totals = [_total(column, test, metric, logs, reaches) for column in metric.columns]
    if isinstance(metric, Profit):
        return [(f"{prefix}_x0", f"{totals[0]} - {totals[1]}")]
    return [(f"{prefix}_x{i}", total) for i, total in enumerate(totals)]


def _renamed(metric: Metric, names: Sequence[str]) -> Metric:
    """The metric on the kept columns: its window and filter have been applied."""
    renamed = replace(metric, column=names[0], where=(), window=Window())
    if isinstance(renamed, Profit):
        return replace(renamed, cost=names[1])
    if isinstance(renamed, Ratio):
        return replace(renamed, denominator=names[1])
    return renamed


def _with_covariate(metric: Metric, names: Sequence[str]) -> Metric:
    if isinstance(metric, Ratio):
        return replace(metric, covariate=names[0], covariate_denominator=names[1])
    return replace(metric, covariate=names[0])


def _closed(window: Window, logs: Logs) -> str:
    return f"MIN(k_at) + {(window.end_hours or 0.0) * _HOUR!r} <= {_seconds(logs.until)}"


def _keep_units(logs: Logs, covariates: Sequence[str], columns: Sequence[tuple[str, str]]) -> None:
    dialect = logs.warehouse.dialect
    time = dialect.epoch.format(dialect.column(logs.timestamp))
    carried = [
        f"MIN(k_attribute_{place}) AS {dialect.column(name)}"
        for place, name in enumerate([*logs.attributes, *covariates])
    ]
    unit = f"k_unit AS {dialect.column(logs.unit)}"
    kept = [
        unit,
        f"MIN(k_variant) AS {dialect.column(logs.variant)}",
        *carried,
        *(f"{sql} AS {n}" for n, sql in columns),
    ]
    outcomes = (
        f"(SELECT r.*, {dialect.column(logs.unit)} AS o_unit, {time} AS o_at FROM {logs.outcomes} r "
        f"WHERE {time} <= {_seconds(logs.until)}) o"
    )
    logs.warehouse.keep(
        KEPT,
        f"SELECT {', '.join(kept)} FROM {_FIRST} f LEFT JOIN {outcomes} ON o_unit = k_unit "
        f"WHERE {_sound(logs)} GROUP BY k_unit",
    )


def _sound(logs: Logs) -> str:
    """Test of a unit's first exposure: nothing is wrong with it."""
    return " AND ".join(f"NOT COALESCE({test}, FALSE)" for test in _faults(logs).values())


def _gaps(logs: Logs) -> tuple[Gap, ...]:
    """How long each variant went without units at either end."""
    inside = f"{_FIRST} WHERE k_variant >= 0 AND {_sound(logs)}"
    ends = logs.warehouse.rows(f"SELECT k_variant, MIN(k_at), MAX(k_at) FROM {inside} GROUP BY k_variant ORDER BY 1")
    if not ends:
        return ()
    asked = [
        f"COUNT(CASE WHEN k_at {test} {float(moment)!r} THEN 1 END)"
        for _, first, last in ends
        for test, moment in (("<", first), (">", last))
    ]
    row = logs.warehouse.rows(f"SELECT {', '.join(asked)} FROM {inside}")[0]
    return tuple(
        Gap(int(float(end[0])), int(row[2 * place]), int(row[2 * place + 1])) for place, end in enumerate(ends)
    )


def _exclusions(counts: ExposureCounts) -> list[Exclusion]:
    """What was left out on the way, beside the units that the checks name."""
    texts = {
        N_("{count} units were exposed more than once; their first exposure counts"): counts.repeated,
        N_("{count} units were shown two variants; they are left out"): counts.in_two_variants,
        N_("{count} units were exposed before their assignment; they are left out"): counts.before_assignment,
        N_("{count} units were exposed at no known time; they are left out"): counts.without_time,
        N_("{count} units were exposed after the data end; they are left out"): counts.in_future,
        N_("{count} outcomes from before the exposure are not counted"): counts.outcomes_before,
        N_("{count} outcomes from after the data end are not counted"): counts.outcomes_in_future,
        N_("{count} outcomes of units that were never exposed are not counted"): counts.outcomes_elsewhere,
    }
    return [Exclusion(Reason(text, {"count": count}), count) for text, count in texts.items() if count]


def _zeros(warehouse: Warehouse, written: Sequence[_Written]) -> list[Exclusion]:
    """Missing values that a metric counts as zero."""
    filled = [one for one in written if one.fills]
    return _named_counts(
        warehouse,
        [(one.name, f"SUM({one.columns[-1][0]})") for one in filled],
        N_("{metric}: {count} missing values counted as zero, as the metric says"),
    )


def _open_windows(warehouse: Warehouse, written: Sequence[_Written]) -> list[Exclusion]:
    """Units whose window has not ended yet."""
    closing = [
        (one.name, f"COUNT(CASE WHEN {one.metric.where[0].column} = 0 THEN 1 END)") for one in written if one.closes
    ]
    return _named_counts(warehouse, closing, N_("{metric}: the window of {count} units has not ended yet"))


def _named_counts(warehouse: Warehouse, asked: Sequence[tuple[str, str]], text: str) -> list[Exclusion]:
    if not asked:
        return []
    row = warehouse.rows(f"SELECT {', '.join(sql for _, sql in asked)} FROM {KEPT}")[0]
    counted = [(name, int(count or 0)) for (name, _), count in zip(asked, row, strict=True)]
    return [Exclusion(Reason(text, {"metric": name, "count": count}), count) for name, count in counted if count]
