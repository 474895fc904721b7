"""Clusters: where whole stores, households or days were randomised, they are the units of the variance.

Each cluster's rows are summed first; a mean over rows is then the ratio of the cluster sums to the cluster sizes, with
a delta-method variance over clusters (Deng, Knoblich and Lu 2018), which is the cluster-robust one.
"""

# ruff: noqa: S608 - expressions come from the dialect

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.measure.components import Components
from experiments.measure.sums import Range, read_ranges
from experiments.measure.units import KEPT, Units
from experiments.measure.warehouse import Warehouse
from experiments.statistics.contrast import Value


def sum_clusters(
    units: Units, relation: str, ready: Sequence[Components], keys: Sequence[str]
) -> tuple[str, tuple[Components, ...], dict[str, Range]]:
    """Sum each cluster's rows into one row that is kept for this session.

    Args:
        units: the source, with its cluster.
        relation: the rows inside the experiment.
        ready: the metrics' components by row.
        keys: columns whose values the clusters are further split by, the variant first.

    Returns:
        The relation of clusters, the components on it, and their ranges.
    """
    dialect = units.warehouse.dialect
    named: dict[str, str] = {}
    clustered = []
    for one in ready:
        sums = [named.setdefault(f"SUM({dialect.number(e)})", f"sum_{len(named)}") for e in one.expressions]
        size = named.setdefault(f"COUNT({one.expressions[0]})", f"sum_{len(named)}")
        clustered.append(_by_cluster(one, (*sums, size)))
    columns = ", ".join(dialect.column(key) for key in (*keys, units.cluster or ""))
    sums_sql = ", ".join(f"{sql} AS {name}" for sql, name in named.items())
    name = f"{KEPT}_clusters"
    units.warehouse.keep(name, f"SELECT {columns}, {sums_sql} FROM {relation} GROUP BY {columns}")
    _, ranges = read_ranges(units.warehouse, name, named.values())
    return name, tuple(clustered), ranges


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
