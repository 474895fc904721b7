"""From declared metrics to the SQL of their components, with every bad value refused, excluded or counted as zero.

The rule for bad input stands in the metric (`missing`); whatever it leaves out is counted and named.
"""

# ruff: noqa: S608 - expressions come from the dialect

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.proposal import N_, Reason
from experiments.measure.metrics import Lookback, Metric, Profit, Proportion, Ratio, Retention, Winsorise
from experiments.measure.reading import Exclusion, Refusal
from experiments.measure.sums import Range, read_ranges
from experiments.measure.warehouse import Dialect, Warehouse
from experiments.statistics.contrast import Value

_NO_VALUE = N_("no unit has a value")
_BAD_VALUES = N_("{count} value(s) are missing, NaN or infinite in column {columns}; fill them, or exclude those units")
_NOT_SHARES = N_("column {columns} holds values other than 0 and 1 (from {low} to {high}); use a mean")
_EXCLUDED = N_("{metric}: {count} units without a finite value were left out")
_ZERO = N_("{metric}: {count} missing values counted as zero, as the metric says")
_FILTERED = N_("{metric}: {count} units do not pass its filter")
_NO_COVARIATE = N_("a look-back needs the log of outcomes; name a column as covariate")


@dataclass(frozen=True)
class Components:
    """One metric, ready to be summed."""

    metric: Metric
    expressions: tuple[str, ...]
    """The outcome's components, then the covariate's; all NULL where a unit is not part of the metric."""
    value: Value
    covariate: Value | None


@dataclass(frozen=True)
class Prepared:
    """All metrics of an analysis, ready to be summed."""

    ready: tuple[Components, ...]
    ranges: Mapping[str, Range]
    refused: tuple[Refusal, ...]
    exclusions: tuple[Exclusion, ...]


def prepare(
    warehouse: Warehouse, relation: str, metrics: Sequence[Metric], predictions: Mapping[str, tuple[str, ...]]
) -> Prepared:
    """Write each metric's components, look at their ranges, and apply the rule for bad values.

    Args:
        warehouse: where the relation is.
        relation: the rows inside the experiment.
        metrics: what to prepare.
        predictions: SQL of a covariate's components by metric, in place of the declared one (CUPAC).
    """
    dialect = warehouse.dialect
    written = {metric.name: _write(metric, dialect, predictions.get(metric.name, ())) for metric in metrics}
    asked = [e for one in written.values() for e in (*one.expressions, *_filter_count(one.metric, dialect))]
    rows, ranges = read_ranges(warehouse, relation, asked)
    ready: list[Components] = []
    refused: list[Refusal] = []
    exclusions: list[Exclusion] = []
    for one in written.values():
        finding = _judge(one, rows, ranges, _Table(warehouse, relation))
        refused += finding.refused
        exclusions += finding.exclusions
        ready += finding.ready
    ready = _winsorised(warehouse, relation, ready)
    changed = {e for one in ready for e in one.expressions} - ranges.keys()
    if changed:
        ranges = {**ranges, **read_ranges(warehouse, relation, sorted(changed))[1]}
    return Prepared(tuple(ready), ranges, tuple(refused), tuple(exclusions))


def _write(metric: Metric, dialect: Dialect, prediction: tuple[str, ...]) -> Components:
    columns = [dialect.column(name) for name in metric.columns]
    if isinstance(metric, Profit):
        outcome, value = [f"({columns[0]} - {columns[1]})"], Value(0)
    elif isinstance(metric, Ratio):
        outcome, value = columns, Value(0, 1)
    else:
        outcome, value = columns, Value(0)
    before = list(prediction) or [dialect.column(name) for name in metric.covariate_columns]
    size = len(outcome)
    covariate = None if not before else Value(size) if len(before) == 1 else Value(size, size + 1)
    filtered = [_where(metric, dialect, e) for e in (*outcome, *before)]
    return Components(metric, tuple(filtered), value, covariate)


def _where(metric: Metric, dialect: Dialect, expression: str) -> str:
    if not metric.where:
        return expression
    return f"CASE WHEN {_conditions(metric, dialect)} THEN {expression} END"


def _conditions(metric: Metric, dialect: Dialect) -> str:
    return " AND ".join(dialect.condition(condition) for condition in metric.where)


def _filter_count(metric: Metric, dialect: Dialect) -> list[str]:
    return [_where(metric, dialect, "1")] if metric.where else []


@dataclass(frozen=True)
class _Table:
    warehouse: Warehouse
    relation: str

    def finite_rows(self, expressions: Sequence[str]) -> int:
        """Rows in which every expression is a finite number."""
        whole = " AND ".join(self.warehouse.dialect.finite(e) for e in expressions)
        return int(self.warehouse.rows(f"SELECT COUNT(CASE WHEN {whole} THEN 1 END) FROM {self.relation}")[0][0])


@dataclass(frozen=True)
class _Finding:
    ready: tuple[Components, ...] = ()
    refused: tuple[Refusal, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()


def _judge(one: Components, rows: int, ranges: Mapping[str, Range], table: _Table) -> _Finding:
    """Apply the metric's rule for bad values."""
    metric, dialect = one.metric, table.warehouse.dialect
    if isinstance(metric.covariate, Lookback):
        return _refuse(metric, Reason(_NO_COVARIATE))
    expected = ranges[_where(metric, dialect, "1")].count if metric.where else rows
    kept = () if expected == rows else (_exclusion(_FILTERED, metric, rows - expected),)
    found = [ranges[e] for e in one.expressions]
    if expected and all(one.is_finite and one.count == expected for one in found):
        return _refuse_other_than_shares(one, ranges) or _Finding((one,), (), kept)
    bad = expected - table.finite_rows(one.expressions)
    if bad == expected:
        return _refuse(metric, Reason(_NO_VALUE))
    if metric.missing == "refuse":
        names = ", ".join([*metric.columns, *metric.covariate_columns])
        return _refuse(metric, Reason(_BAD_VALUES, {"count": bad, "columns": names}))
    return _Finding((_repaired(one, dialect),), (), (*kept, _exclusion(_rule_text(metric), metric, bad)))


def _rule_text(metric: Metric) -> str:
    return _ZERO if metric.missing == "zero" else _EXCLUDED


def _refuse(metric: Metric, reason: Reason) -> _Finding:
    return _Finding(refused=(Refusal(metric.name, None, reason),))


def _exclusion(text: str, metric: Metric, count: int) -> Exclusion:
    return Exclusion(Reason(text, {"metric": metric.name, "count": count}), count)


def _refuse_other_than_shares(one: Components, ranges: Mapping[str, Range]) -> _Finding | None:
    """Refuse a share whose values leave 0…1; values in between are seen from the moments, later."""
    found = ranges[one.expressions[0]]
    if not isinstance(one.metric, Proportion | Retention) or (found.low >= 0.0 and found.high <= 1.0):
        return None
    shown = {"columns": one.metric.column, "low": found.low, "high": found.high}
    return _refuse(one.metric, Reason(_NOT_SHARES, shown))


def _repaired(one: Components, dialect: Dialect) -> Components:
    """Bad values as zero, or their units left out of every component alike."""
    if one.metric.missing == "zero":
        repaired = [f"CASE WHEN {dialect.finite(e)} THEN {e} ELSE 0 END" for e in one.expressions]
        return replace(one, expressions=tuple(_where(one.metric, dialect, e) for e in repaired))
    whole = " AND ".join(dialect.finite(e) for e in one.expressions)
    return replace(one, expressions=tuple(f"CASE WHEN {whole} THEN {e} END" for e in one.expressions))


def _winsorised(warehouse: Warehouse, relation: str, ready: list[Components]) -> list[Components]:
    """Bound the outcomes of the metrics that ask for it, by quantiles over all variants."""
    bounds: dict[str, list[float]] = {}
    asked = []
    for one in ready:
        if one.metric.winsorise is not None:
            asked += [(one.metric.name, sql) for sql in _quantiles(one.expressions[0], one.metric.winsorise)]
    if not asked:
        return ready
    row = warehouse.rows(f"SELECT {', '.join(sql for _, sql in asked)} FROM {relation}")[0]
    for (name, _), found in zip(asked, row, strict=True):
        # All values are zero and zeros are passed over: the metric has no variance, and is refused for that later.
        bounds.setdefault(name, []).append(float(found or 0.0))
    return [_bounded(one, bounds[one.metric.name]) if one.metric.name in bounds else one for one in ready]


def _quantiles(expression: str, rule: Winsorise) -> list[str]:
    values = f"CASE WHEN {expression} <> 0 THEN {expression} END" if rule.ignore_zeros else expression
    levels = [level for level in (rule.low, rule.high) if level is not None]
    return [f"PERCENTILE_DISC({level!r}) WITHIN GROUP (ORDER BY {values})" for level in levels]


def _bounded(one: Components, bounds: list[float]) -> Components:
    rule = one.metric.winsorise
    outcome = one.expressions[0]
    bounded = outcome
    if rule is not None and rule.low is not None:
        bounded = f"GREATEST({bounded}, {bounds[0]!r})"
    if rule is not None and rule.high is not None:
        bounded = f"LEAST({bounded}, {bounds[-1]!r})"
    # LEAST and GREATEST pass over NULL in some engines; a unit outside the metric must stay outside.
    kept = f"CASE WHEN {outcome} IS NOT NULL THEN {bounded} END"
    return replace(one, expressions=(kept, *one.expressions[1:]))
