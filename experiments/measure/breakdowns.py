"""Effects by segment: how large, whether they differ by more than chance, and what to expect of each."""

# ruff: noqa: S608 - names are quoted by the dialect, literals too

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.proposal import N_, Reason
from experiments.measure.clusters import sum_clusters
from experiments.measure.components import Components
from experiments.measure.effects import Rules, read_effect
from experiments.measure.metrics import Quantile
from experiments.measure.quantiles import quantile_effect, read_quantiles
from experiments.measure.reading import Breakdown, Effect, Refusal, SegmentEffect
from experiments.measure.sums import Range, read_moments
from experiments.measure.units import Inside
from experiments.statistics.arms import UnreadableError, pair
from experiments.statistics.heterogeneity import heterogeneity
from experiments.statistics.moments import Moments
from experiments.statistics.multiple import holm

MOST_LEVELS = 50
MISSING = "(missing)"

_TOO_MANY = N_("{segment} has {levels} levels; a breakdown takes at most {most}")
_IN_SEGMENT = N_("where {segment} is {level}: {reason}")


@dataclass(frozen=True)
class Broken:
    """The breakdowns of an analysis, and what could not be broken down."""

    breakdowns: tuple[Breakdown, ...]
    refused: tuple[Refusal, ...]


ByLevel = Mapping[str, Mapping[int, Mapping[str, Moments]]]
"""Moments by level, variant and metric."""


def read_breakdowns(
    found: Inside,
    ready: Sequence[Components],
    ranges: Mapping[str, Range],
    variants: Sequence[int],
    segments: Sequence[str],
    rules: Rules,
) -> Broken:
    """Break every metric and treatment down by each of the segments; quantiles by those of the units alone.

    A column of an earlier test is a segment too, for the check on what that left behind, which rests on means.
    """
    breakdowns: list[Breakdown] = []
    refused: list[Refusal] = []
    quantiles = [one for one in ready if isinstance(one.metric, Quantile)]
    linear = [one for one in ready if not isinstance(one.metric, Quantile)]
    for segment in segments:
        levels = _levels(found, segment)
        if len(levels) > MOST_LEVELS:
            shown = {"segment": segment, "levels": len(levels), "most": MOST_LEVELS}
            refused += [Refusal(one.metric.name, None, Reason(_TOO_MANY, shown)) for one in ready]
            continue
        by_level, components = _read(found, linear, ranges, segment) if linear else ({}, ())
        for variant in variants[1:]:
            read = [(one, _effects(one, by_level, segment, variant, rules)) for one in components]
            sorted_by = quantiles if segment in found.units.segments else []
            read += [(one, _quantile_effects(found, one, levels, segment, variant, rules)) for one in sorted_by]
            for one, (found_effects, missed) in read:
                refused += missed
                if len(found_effects) > 1:
                    breakdowns.append(_breakdown(segment, one.metric.name, variant, found_effects, rules))
    adjusted = holm([one.differ_p for one in breakdowns]) if breakdowns else []
    corrected = [replace(one, differ_adjusted_p=p) for one, p in zip(breakdowns, adjusted, strict=True)]
    return Broken(tuple(corrected), tuple(refused))


def _levels(found: Inside, segment: str) -> dict[str, str]:
    """SQL that tells whether a row is in a level, by the level's name; one more than `MOST_LEVELS` are looked at."""
    dialect = found.units.warehouse.dialect
    column = dialect.column(segment)
    text = f"CAST({column} AS {dialect.text})"
    query = f"SELECT {column}, {text} FROM {found.relation} GROUP BY {column} ORDER BY 2 LIMIT {MOST_LEVELS + 1}"
    levels = {}
    for level, written in found.units.warehouse.rows(query):
        name = MISSING if level is None else str(level)
        levels[name] = f"{column} IS NULL" if level is None else f"{text} = {dialect.literal(str(written))}"
    return levels


def _quantile_effects(
    found: Inside, one: Components, levels: Mapping[str, str], segment: str, variant: int, rules: Rules
) -> tuple[dict[str, Effect], list[Refusal]]:
    """The effect on a quantile in each level: the database sorts each level by itself."""
    effects, missed = {}, []
    for level, test in levels.items():
        within = replace(found, relation=f"(SELECT * FROM {found.relation} WHERE {test}) one_level")
        try:
            effects[level] = quantile_effect(one, read_quantiles(within, one, [0, variant], rules), variant, rules)
        except UnreadableError as error:
            shown = {"segment": segment, "level": level, "reason": error.reason}
            missed.append(Refusal(one.metric.name, variant, Reason(_IN_SEGMENT, shown)))
    return effects, missed


def _read(
    found: Inside, ready: Sequence[Components], ranges: Mapping[str, Range], segment: str
) -> tuple[ByLevel, Sequence[Components]]:
    units, dialect, relation = found.units, found.units.warehouse.dialect, found.relation
    if units.cluster is not None:
        relation, ready, ranges = sum_clusters(units, relation, ready, ranges, [units.variant, segment])
    keys = [dialect.column(segment), units.variant_sql]
    metrics = {one.metric.name: one.expressions for one in ready}
    by_level: dict[str, dict[int, Mapping[str, Moments]]] = {}
    for (level, variant), groups in read_moments(units.warehouse, relation, keys, metrics, ranges).items():
        by_level.setdefault(MISSING if level is None else str(level), {})[int(variant)] = groups
    return by_level, ready


def _effects(
    one: Components, by_level: ByLevel, segment: str, variant: int, rules: Rules
) -> tuple[dict[str, Effect], list[Refusal]]:
    """The effect in each level that can be read, and why the others cannot."""
    effects, missed = {}, []
    empty = Moments(0, np.zeros(len(one.expressions)), np.zeros((len(one.expressions),) * 2))
    for level, groups in by_level.items():
        control, treatment = (groups[v][one.metric.name] if v in groups else empty for v in (0, variant))
        try:
            effects[level] = read_effect(one, pair(control, treatment), variant, rules)
        except UnreadableError as error:
            shown = {"segment": segment, "level": level, "reason": error.reason}
            missed.append(Refusal(one.metric.name, variant, Reason(_IN_SEGMENT, shown)))
    return effects, missed


def _breakdown(segment: str, metric: str, variant: int, effects: Mapping[str, Effect], rules: Rules) -> Breakdown:
    estimates = np.array([effect.estimate for effect in effects.values()])
    found = heterogeneity(estimates, np.array([effect.error for effect in effects.values()]))
    half = rules.look.multiplier(math.inf) * found.shrunk_error
    lines = tuple(
        SegmentEffect(level, effect, *(float(x) for x in (centre, centre - width, centre + width)))
        for (level, effect), centre, width in zip(effects.items(), found.shrunk, half, strict=True)
    )
    return Breakdown(segment, metric, variant, lines, found.p_value, found.p_value, found.spread)
