"""Quantile metrics: the database sorts, two small queries say how sure the quantile is."""

# ruff: noqa: S608 - expressions come from the dialect

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from experiments.measure.clusters import sum_clusters
from experiments.measure.components import Components
from experiments.measure.effects import Rules, guardrail_verdict
from experiments.measure.metrics import Quantile
from experiments.measure.reading import Effect
from experiments.measure.sums import Range, read_moments
from experiments.measure.units import Inside
from experiments.statistics.arms import pair
from experiments.statistics.contrast import Relative, Value
from experiments.statistics.moments import Moments
from experiments.statistics.quantile import QuantileSide, level_bounds, quantile_contrast


def read_quantiles(found: Inside, one: Components, variants: Sequence[int], rules: Rules) -> dict[int, QuantileSide]:
    """Each variant's quantile, with the interval that is valid at this look.

    Raises:
        UnreadableError: a variant has too few units for this quantile.
    """
    level = one.metric.level if isinstance(one.metric, Quantile) else 0.5
    at = {variant: values[0] for variant, values in _percentiles(found, one, dict.fromkeys(variants, (level,))).items()}
    multiplier = rules.look.multiplier(math.inf)
    bounds, counts = {}, {}
    for variant in variants:
        error, counts[variant] = _level_error(found, one, variant, at[variant])
        bounds[variant] = level_bounds(level, error, multiplier, counts[variant])
    edges = _percentiles(found, one, bounds)
    return {v: QuantileSide(counts[v], at[v], edges[v][0], edges[v][1]) for v in variants}


def _percentiles(
    found: Inside, one: Components, levels: Mapping[int, tuple[float, ...]]
) -> dict[int, tuple[float, ...]]:
    """Discrete quantiles of each variant's rows at its levels, in one query."""
    variant, values = found.units.variant_sql, one.expressions[0]
    select = [
        f"PERCENTILE_DISC({level!r}) WITHIN GROUP (ORDER BY CASE WHEN {variant} = {number} THEN {values} END)"
        for number, asked in levels.items()
        for level in asked
    ]
    row = iter(found.units.warehouse.rows(f"SELECT {', '.join(select)} FROM {found.relation}")[0])
    return {
        number: tuple(0.0 if value is None else float(value) for value in islice(row, len(asked)))
        for number, asked in levels.items()
    }


def _level_error(found: Inside, one: Components, variant: int, quantile: float) -> tuple[float, int]:
    """Standard error of the share of values at or below the quantile, and the units or clusters behind it."""
    value = one.expressions[0]
    number = found.units.warehouse.dialect.number(value)
    share = f"CASE WHEN {number} <= {quantile!r} THEN 1 WHEN {number} > {quantile!r} THEN 0 END"
    marked = replace(one, expressions=(share,), value=Value(0), covariate=None)
    relation = f"(SELECT * FROM {found.relation} WHERE {found.units.variant_sql} = {variant}) one_variant"
    ranges: Mapping[str, Range] = {share: Range(found.rows, 0.0, 1.0)}
    if found.units.cluster is not None:
        relation, (marked,), ranges = sum_clusters(found.units, relation, [marked], ranges, [found.units.variant])
    grouped = read_moments(found.units.warehouse, relation, [], {"share": marked.expressions}, ranges)
    return _error(grouped[()]["share"], marked.value)


def _error(moments: Moments, value: Value) -> tuple[float, int]:
    arm = pair(moments, moments).control
    variance = sum(part for part, _ in arm.variances(value.gradient(arm.mean)))
    return math.sqrt(variance), arm.count


def quantile_effect(one: Components, sides: Mapping[int, QuantileSide], variant: int, rules: Rules) -> Effect:
    """Compare a treatment's quantile with the control's; the decision waits for `decide`.

    Raises:
        UnreadableError: the values do not spread around the quantile.
    """
    control, treatment = sides[0], sides[variant]
    multiplier = rules.look.multiplier(math.inf)
    found = quantile_contrast(control, treatment, multiplier)
    estimate, low, high = found.relative or (None, None, None)
    p_value = rules.look.p_value(found.estimate / found.error, math.inf)
    verdict = None
    if one.metric.margin is not None:
        known = low is not None and high is not None and rules.look.is_decisive
        verdict = guardrail_verdict(one.metric, low or 0.0, high or 0.0) if known else "undecided"
    return Effect(
        metric=one.metric.name,
        variant=variant,
        control_mean=control.value,
        treatment_mean=treatment.value,
        control_count=control.count,
        treatment_count=treatment.count,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        p_value=p_value,
        adjusted_p=p_value,
        relative=estimate,
        relative_low=low,
        relative_high=high,
        decision="undecided",
        error=found.error,
        guardrail=verdict,
        relatives={"log": Relative(*found.relative)} if found.relative else {},
    )
