"""The effect by day since exposure, on the units that have lived through all the days."""

# ruff: noqa: S608 - names are quoted by the dialect

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from experiments.measure.logs import Logs, gather
from experiments.measure.metrics import Metric, Profit, Window
from experiments.measure.sums import read_moments, read_ranges
from experiments.measure.units import Inside, inside
from experiments.statistics.moments import Moments
from experiments.trust.check import Check
from experiments.trust.novelty import check_novelty

Floats = npt.NDArray[np.float64]

_HOURS = 24.0
_FEWEST_DAYS = 3


@dataclass(frozen=True)
class Trend:
    """The effect of one metric and variant by day since exposure."""

    effects: Floats
    """(days,) a day"""
    covariance: Floats
    """(days, days)"""


def read_trends(logs: Logs, metrics: Sequence[Metric], days: int) -> dict[tuple[str, int], Trend]:
    """Effects by day since exposure, of the metrics that are sums over outcomes.

    Args:
        logs: where exposures and outcomes are.
        metrics: means and profits; others have no daily part and are passed over.
        days: how many; units exposed less than so many days before the data end are left out.
    """
    daily = {metric.name: metric for metric in metrics if type(metric) in (Metric, Profit)}
    if days < _FEWEST_DAYS or not daily:
        return {}
    gathered = gather(logs, [part for metric in daily.values() for part in _parts(metric, days)])
    found = inside(gathered.units)
    found = _lived_through(found, gathered.metrics, days)
    trends = {}
    for place, name in enumerate(daily):
        parts = gathered.metrics[place * days : (place + 1) * days]
        by_variant = _moments(found, parts)
        for variant in sorted(by_variant.keys() - {0}):
            if 0 in by_variant:
                trends[name, variant] = _trend(by_variant[0], by_variant[variant])
    return trends


def _parts(metric: Metric, days: int) -> list[Metric]:
    """The metric of each single day."""
    return [
        replace(
            metric,
            name=f"{metric.name}:{day}",
            window=Window(day * _HOURS, (day + 1) * _HOURS),
            covariate=None,
            winsorise=None,
            missing="zero",
        )
        for day in range(days)
    ]


def _lived_through(found: Inside, parts: Sequence[Metric], days: int) -> Inside:
    """The units whose last day has ended."""
    ended = found.units.warehouse.dialect.condition(parts[days - 1].where[0])
    return replace(found, relation=f"(SELECT * FROM {found.relation} WHERE {ended}) lived_through")


def _moments(found: Inside, parts: Sequence[Metric]) -> Mapping[int, Moments]:
    dialect = found.units.warehouse.dialect
    expressions = tuple(_value(part, [dialect.column(c) for c in part.columns]) for part in parts)
    rows, ranges = read_ranges(found.units.warehouse, found.relation, expressions)
    if rows == 0:
        return {}
    keys = [found.units.variant_sql]
    groups = read_moments(found.units.warehouse, found.relation, keys, {"days": expressions}, ranges)
    return {int(variant): group["days"] for (variant,), group in groups.items() if group["days"].count > 1}


def _value(part: Metric, columns: Sequence[str]) -> str:
    return f"({columns[0]} - {columns[1]})" if isinstance(part, Profit) else columns[0]


def _trend(control: Moments, treatment: Moments) -> Trend:
    covariance = control.covariance / control.count + treatment.covariance / treatment.count
    return Trend(treatment.mean - control.mean, covariance)


def judge_trends(trends: Mapping[tuple[str, int], Trend]) -> list[Check]:
    """Check each trend for novelty; days on which nothing varies say nothing and are passed over."""
    checks = []
    for (metric, variant), trend in trends.items():
        alive = np.flatnonzero(np.diag(trend.covariance) > 0.0)
        if alive.size >= _FEWEST_DAYS and np.linalg.matrix_rank(trend.covariance[np.ix_(alive, alive)]) == alive.size:
            checks.append(check_novelty(metric, variant, trend.effects[alive], trend.covariance[np.ix_(alive, alive)]))
    return checks
