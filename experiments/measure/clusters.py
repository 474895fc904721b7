"""Clusters: where whole stores, households or days were randomised, they are the units of the variance.

Each cluster's rows are summed first; a mean over rows is then the ratio of the cluster sums to the cluster sizes, with
a delta-method variance over clusters (Deng, Knoblich and Lu 2018), which is the cluster-robust one.
"""

# ruff: noqa: S608 - expressions come from the dialect

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.measure.components import Components
from experiments.measure.sums import Range, read_ranges, total_sql
from experiments.measure.units import KEPT, Units
from experiments.measure.warehouse import Warehouse
from experiments.statistics.contrast import Value


def sum_clusters(
    units: Units, relation: str, ready: Sequence[Components], ranges: Mapping[str, Range], keys: Sequence[str]
) -> tuple[str, tuple[Components, ...], dict[str, Range]]:
    """Sum each cluster's rows into one row that is kept for this session.

    Args:
        units: the source, with its cluster.
        relation: the rows inside the experiment.
        ready: the metrics' components by row.
        ranges: of the components over all rows.
        keys: columns whose values the clusters are further split by, the variant first.

    Returns:
        The relation of clusters, the components on it, and their ranges.
    """
    dialect = units.warehouse.dialect
    named: dict[str, str] = {}
    clustered = []
    for one in ready:
        totals = [total_sql(dialect, dialect.number(e), ranges[e].reach(0.0)) for e in one.expressions]
        sums = [named.setdefault(total, f"sum_{len(named)}") for total in totals]
        # A cluster without rows in the metric is no part of it: NULL like its sums, not a cluster of size nought.
        size = named.setdefault(f"NULLIF(COUNT({one.expressions[0]}), 0)", f"sum_{len(named)}")
        clustered.append(_by_cluster(one, (*sums, size)))
    columns = ", ".join(dialect.column(key) for key in (*keys, units.cluster or ""))
    sums_sql = ", ".join(f"{sql} AS {name}" for sql, name in named.items())
    name = f"{KEPT}_clusters"
    units.warehouse.keep(name, f"SELECT {columns}, {sums_sql} FROM {relation} GROUP BY {columns}")
    return name, tuple(clustered), read_ranges(units.warehouse, name, named.values())[1]


def _by_cluster(one: Components, expressions: tuple[str, ...]) -> Components:
    """A mean becomes a ratio to the number of rows; a ratio stays one."""
    rows = len(expressions) - 1
    return replace(
        one,
        expressions=expressions,
        value=_over(one.value, rows),
        covariate=None if one.covariate is None else _over(one.covariate, rows),
    )


def _over(value: Value, rows: int) -> Value:
    return value if value.denominator is not None else Value(value.numerator, rows)


def forget_clusters(warehouse: Warehouse) -> None:
    """Drop what `sum_clusters` kept."""
    warehouse.execute(warehouse.dialect.forget.format(name=f"{KEPT}_clusters"))
