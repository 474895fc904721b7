"""Read an experiment: the road from the units to effects, intervals, checks and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.measure.breakdowns import read_breakdowns
from experiments.measure.clusters import forget_clusters, sum_clusters
from experiments.measure.components import Components, Prepared, prepare
from experiments.measure.cupac import forget_predictions, predict_covariates
from experiments.measure.effects import Rules, decide, read_effect
from experiments.measure.intervals import look
from experiments.measure.logs import Gathered, Logs, forget, gather
from experiments.measure.metrics import Metric, Proportion, Quantile, Retention
from experiments.measure.modifiers import read_modifications
from experiments.measure.quantiles import quantile_effect, read_quantiles
from experiments.measure.reading import Analysis, Effect, Refusal
from experiments.measure.sums import read_moments
from experiments.measure.tables import TableColumns, table_units
from experiments.measure.trend import judge_trends, read_trends
from experiments.measure.trust import count_variants, judge_split, judge_units, planned_counts, variant_number
from experiments.measure.units import Inside, Units, check_columns, inside, without_split_clusters
from experiments.sequential import AnalysisPlan
from experiments.statistics.arms import Pair, UnreadableError, pair, stratified_pair
from experiments.statistics.contrast import Convention
from experiments.statistics.moments import Moments, merge
from experiments.statistics.multiple import Correction
from experiments.statistics.posterior import Prior
from experiments.trust.check import Check, is_trustworthy
from experiments.trust.exposures import check_exposures, check_gaps
from experiments.trust.sample_ratio import sample_ratio_p

if TYPE_CHECKING:
    import pandas as pd

_NOT_SHARES = N_("column {column} holds values other than 0 and 1; use a mean")
_ROWS = ""
"""Stands for the rows among the metrics, whose names are not empty."""
_WHOLE = ""
"""The one stratum of an analysis without strata."""


def analyse(
    table: pd.DataFrame,
    metrics: Sequence[Metric],
    *,
    variant: str = "variant",
    unit: str | None = None,
    cluster: str | None = None,
    stratum: str | None = None,
    segments: Sequence[str] = (),
    modifiers: Sequence[str] = (),
    earlier: Sequence[str] = (),
    weights: Sequence[float] | None = None,
    alpha: float = 0.05,
    plan: AnalysisPlan | None = None,
    earlier_looks: Sequence[int] = (),
    elapsed: int | None = None,
    correction: Correction = "none",
    convention: Convention = "delta",
    prior: Prior | None = None,
    checks: Sequence[Check] = (),
) -> Analysis:
    """Read an experiment from a table in memory; `analyse_units` and `analyse_logs` read one in a database.

    Args:
        table: one row per randomised unit, or rows of the randomised clusters.
        metrics: what to compare.
        variant: column with 0 for the control, 1, 2 … for the treatments; -1 or missing: outside the experiment.
        unit: column with the unit's identifier; given, a unit on two rows is refused.
        cluster: column with the randomised cluster, where that is more than a row.
        stratum: column for post-stratification.
        segments: columns for breakdowns.
        modifiers: columns with numbers along which the effect may change.
        earlier: columns with the unit's variant in earlier tests, for the check on carry-over.
        weights: planned share of each variant; None means equal shares.
        alpha: 1 - confidence, where there is no plan.
        plan: how the design says that it is read; None: once, now.
        earlier_looks: `Analysis.looks` of the last reading, where this is not the first.
        elapsed: time since the start, as the plan's `planned_units` counts it, where all units are there from the first
            day; None: the units say how far the plan is.
        correction: of the p-values over goals and variants.
        convention: of the relative effects.
        prior: of the relative effects; asks for posteriors.
        checks: made on the way to the table; they count.

    Raises:
        ProblemError: a column is missing, a unit appears twice, a variant is empty, or no metric can be read.
    """
    columns = TableColumns(
        variant, unit, cluster, stratum, tuple(segments), modifiers=tuple(modifiers), earlier=tuple(earlier)
    )
    with table_units(table, metrics, columns) as units:
        return analyse_units(
            units,
            metrics,
            weights=weights,
            plan=plan or AnalysisPlan(alpha=alpha),
            earlier_looks=earlier_looks,
            elapsed=elapsed,
            correction=correction,
            convention=convention,
            prior=prior,
            checks=checks,
        )


def analyse_units(
    units: Units,
    metrics: Sequence[Metric],
    *,
    weights: Sequence[float] | None = None,
    plan: AnalysisPlan = AnalysisPlan(),  # noqa: B008 - frozen
    earlier_looks: Sequence[int] = (),
    elapsed: int | None = None,
    correction: Correction = "none",
    convention: Convention = "delta",
    prior: Prior | None = None,
    checks: Sequence[Check] = (),
) -> Analysis:
    """Read an experiment from units in a database; only sums, counts and quantiles leave it.

    The arguments are those of `analyse`; `checks` were made on the way to the units, and count.

    Raises:
        ProblemError: see `analyse`.
        DataError: the database refused a query.
    """
    _check_names(metrics)
    check_columns(units, _named(metrics))
    how = _How(weights, plan, tuple(earlier_looks), elapsed, correction, convention, prior, tuple(checks))
    try:
        return _analysis(units, metrics, how)
    finally:
        if units.cluster is not None:
            forget_clusters(units.warehouse)
        if any(metric.feature_columns for metric in metrics):
            forget_predictions(units)


@dataclass(frozen=True)
class _How:
    """The arguments of a reading, see `analyse`."""

    weights: Sequence[float] | None
    plan: AnalysisPlan
    earlier_looks: tuple[int, ...]
    elapsed: int | None
    correction: Correction
    convention: Convention
    prior: Prior | None
    checks: tuple[Check, ...]


def _analysis(units: Units, metrics: Sequence[Metric], how: _How) -> Analysis:
    found, split_clusters = without_split_clusters(inside(units))
    found, predictions = predict_covariates(found, metrics)
    summed = _sum(found, prepare(found.units.warehouse, found.relation, metrics, predictions))
    counts = planned_counts(summed.counts or count_variants(found), how.weights)
    shares = list(how.weights) if how.weights is not None else [1.0] * len(counts)
    far = sum(counts) if how.elapsed is None else how.elapsed
    now = look(how.plan, how.earlier_looks, far, watched=how.elapsed is not None)
    rules = Rules(now, how.convention, how.correction, how.prior)
    read = _read(found, metrics, summed, len(counts), rules)
    if not read.effects:
        raise ProblemError(_nothing_left(read.refused))
    segments = [*units.segments, *units.earlier]
    broken = read_breakdowns(found, summed.prepared.ready, summed.prepared.ranges, range(len(counts)), segments, rules)
    modified = read_modifications(found, summed.linear, range(len(counts)), units.modifiers, rules)
    checks = (
        *how.checks,
        *judge_split(found, counts, shares, rules.look),
        *judge_units(found, summed.prepared, summed.pooled, read.effects, broken.breakdowns, rules.look),
    )
    trustworthy = is_trustworthy(checks)
    return Analysis(
        effects=tuple(decide(read.effects, metrics, rules, trustworthy=trustworthy)),
        counts=counts,
        sample_ratio_p=sample_ratio_p(counts, shares),
        trustworthy=trustworthy,
        alpha=how.plan.alpha,
        excluded=found.outside,
        method=how.plan.method,
        interval=rules.look.interval,
        final=rules.look.is_decisive,
        convention=how.convention,
        correction=how.correction,
        checks=checks,
        refused=(*read.refused, *broken.refused, *modified.refused),
        exclusions=(*units.excluded, *split_clusters, *summed.prepared.exclusions),
        breakdowns=tuple(one for one in broken.breakdowns if one.segment in units.segments),
        modifications=modified.modifications,
        looks=rules.look.units,
    )


def analyse_logs(
    logs: Logs,
    metrics: Sequence[Metric],
    *,
    weights: Sequence[float] | None = None,
    plan: AnalysisPlan = AnalysisPlan(),  # noqa: B008 - frozen
    earlier_looks: Sequence[int] = (),
    correction: Correction = "none",
    convention: Convention = "delta",
    prior: Prior | None = None,
    trend_days: int = 0,
    checks: Sequence[Check] = (),
) -> Analysis:
    """Read an experiment from the logs of exposures and outcomes in a database.

    The arguments are those of `analyse`; `trend_days` asks for the effect by day since exposure, and checks it for
    novelty: 14 days see two of every weekday.

    Raises:
        ProblemError: see `analyse`.
        DataError: the database refused a query.
    """
    _check_names(metrics)
    try:
        trends = read_trends(logs, metrics, trend_days)
        gathered = gather(logs, metrics)
        reading = analyse_units(
            gathered.units,
            gathered.metrics,
            weights=weights,
            plan=plan,
            earlier_looks=earlier_looks,
            correction=correction,
            convention=convention,
            prior=prior,
            checks=[*checks, *check_exposures(gathered.counts), *_check_gaps(gathered, weights), *judge_trends(trends)],
        )
    finally:
        forget(logs)
    by_day = {f"{name}:{variant}": tuple(trend.effects.tolist()) for (name, variant), trend in trends.items()}
    return replace(reading, trend=by_day)


def _check_gaps(gathered: Gathered, weights: Sequence[float] | None) -> list[Check]:
    """Whether every variant ran from start to end; a variant that is not planned is refused later, by name."""
    shares = weights if weights is not None else [1.0] * max(2, 1 + max((g.variant for g in gathered.gaps), default=0))
    known = [gap for gap in gathered.gaps if gap.variant < len(shares)]
    return [check_gaps(known, shares)] if known else []


def _check_names(metrics: Sequence[Metric]) -> None:
    names = [metric.name for metric in metrics]
    if not names:
        raise ProblemError(N_("no metric to compare; name at least one"))
    if len(set(names)) < len(names):
        raise ProblemError(Reason("metric names {names}: each may be used once", {"names": ", ".join(names)}))


def _named(metrics: Sequence[Metric]) -> list[str]:
    """Columns that the metrics read."""
    return [
        column
        for metric in metrics
        for column in (
            *metric.columns,
            *metric.covariate_columns,
            *metric.feature_columns,
            *(condition.column for condition in metric.where),
        )
    ]


def _nothing_left(refused: Sequence[Refusal]) -> Reason:
    lines = {(one.metric, one.reason.english()): one for one in refused}
    said = [Reason("metric '{metric}': {why}", {"metric": one.metric, "why": one.reason}) for one in lines.values()]
    listed = said.pop()
    while said:
        listed = Reason("{first}; {rest}", {"first": said.pop(), "rest": listed})
    return Reason("no metric can be read: {why}", {"why": listed})


ByStratum = dict[str, dict[int, dict[str, Moments]]]
"""Moments by metric, variant and stratum."""


@dataclass(frozen=True)
class _Summed:
    """What the database summed."""

    prepared: Prepared
    linear: tuple[Components, ...]
    """Metrics other than quantiles, by row."""
    components: tuple[Components, ...]
    """The same by what was randomised."""
    groups: ByStratum
    counts: Mapping[int, int]
    """Rows by variant; empty where the randomised units have to be counted by themselves."""

    @property
    def pooled(self) -> dict[str, dict[int, Moments]]:
        """Moments by metric and variant, over the strata."""
        return {name: {v: merge(s.values()) for v, s in by.items()} for name, by in self.groups.items()}


def _sum(found: Inside, prepared: Prepared) -> _Summed:
    units, relation, ranges = found.units, found.relation, prepared.ranges
    linear = tuple(one for one in prepared.ready if not isinstance(one.metric, Quantile))
    if not linear:
        return _Summed(prepared, linear, linear, {}, {})
    components, strata = linear, [] if units.stratum is None else [units.stratum]
    if units.cluster is not None:
        relation, components, ranges = sum_clusters(units, relation, linear, ranges, [units.variant, *strata])
    keys = [units.variant_sql, *(units.warehouse.dialect.column(name) for name in strata)]
    metrics = {_ROWS: (), **{one.metric.name: one.expressions for one in components}}
    by_metric: ByStratum = {name: {} for name in metrics}
    for (variant, *stratum), groups in read_moments(units.warehouse, relation, keys, metrics, ranges).items():
        for name, moments in groups.items():
            if moments.count:
                number = variant_number(variant)
                by_metric[name].setdefault(number, {})[str(stratum[0]) if stratum else _WHOLE] = moments
    rows = by_metric.pop(_ROWS)
    counts = {variant: sum(group.count for group in by.values()) for variant, by in rows.items()}
    return _Summed(prepared, linear, components, by_metric, counts if units.cluster is None else {})


@dataclass(frozen=True)
class _Read:
    """The effects, and the metrics without."""

    effects: tuple[Effect, ...]
    refused: tuple[Refusal, ...]


def _read(found: Inside, metrics: Sequence[Metric], summed: _Summed, variants: int, rules: Rules) -> _Read:
    effects: dict[tuple[str, int], Effect] = {}
    refused = list(summed.prepared.refused)
    for one in summed.components:
        by_variant = summed.groups[one.metric.name]
        for variant in range(1, variants):
            try:
                _refuse_other_than_shares(one, by_variant)
                effects[one.metric.name, variant] = read_effect(one, _pair(one, by_variant, variant), variant, rules)
            except UnreadableError as error:
                refused.append(Refusal(one.metric.name, variant, error.reason))
    for one in summed.prepared.ready:
        if isinstance(one.metric, Quantile):
            found_effects, missed = _quantile_effects(found, one, variants, rules)
            effects.update(found_effects)
            refused += missed
    order = {metric.name: place for place, metric in enumerate(metrics)}
    ordered = sorted(effects.items(), key=lambda item: (order[item[0][0]], item[0][1]))
    return _Read(tuple(effect for _, effect in ordered), tuple(refused))


def _pair(one: Components, by_variant: Mapping[int, dict[str, Moments]], variant: int) -> Pair:
    size = len(one.expressions)
    nobody = {_WHOLE: Moments(0, np.zeros(size), np.zeros((size, size)))}
    control, treatment = by_variant.get(0, nobody), by_variant.get(variant, nobody)
    if control.keys() | treatment.keys() == {_WHOLE}:
        return pair(control[_WHOLE], treatment[_WHOLE])
    return stratified_pair(control, treatment)


def _refuse_other_than_shares(one: Components, by_variant: Mapping[int, Mapping[str, Moments]]) -> None:
    """0 and 1 have the variance p(1 - p); anything in between has less."""
    if not isinstance(one.metric, Proportion | Retention) or one.value.denominator is not None:
        return
    whole = merge(moments for strata in by_variant.values() for moments in strata.values())
    share = float(whole.mean[one.value.numerator])
    expected = whole.count * share * (1.0 - share)
    if abs(float(whole.scatter[one.value.numerator, one.value.numerator]) - expected) > 1e-9 * whole.count:
        raise UnreadableError(Reason(_NOT_SHARES, {"column": one.metric.column}))


def _quantile_effects(
    found: Inside, one: Components, variants: int, rules: Rules
) -> tuple[dict[tuple[str, int], Effect], list[Refusal]]:
    effects: dict[tuple[str, int], Effect] = {}
    refused = []
    name = one.metric.name
    for variant in range(1, variants):
        try:
            sides = read_quantiles(found, one, [0, variant], rules)
            effects[name, variant] = quantile_effect(one, sides, variant, rules)
        except UnreadableError as error:
            refused.append(Refusal(name, variant, error.reason))
    return effects, refused
