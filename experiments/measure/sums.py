"""From a relation in the database to the moments of every metric in every group, in one or two scans.

Each addend is scaled by a power of two and rounded to a whole number of 52 bits, as many as a double has, so that its
sum is exact and the same whatever the order of the rows. The components are centred before they are multiplied: at a
guess from their range first, and once more, at the mean, where the guess was too far off to keep ten digits.
"""

# ruff: noqa: S608 - expressions come from the dialect

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Any, SupportsInt

import numpy as np

from experiments.measure.warehouse import LARGEST, Dialect, Warehouse
from experiments.statistics.moments import Moments, merge

Key = tuple[Any, ...]
Components = tuple[str, ...]
"""SQL expressions of one metric's components; all are NULL where a unit is not part of the metric. None: rows count."""

_BITS = 52
"""Bits of the largest addend. Sums of 62 bits overflow 64 bits at every fourth addition, and take twice as long."""
_FAR = 1e6
"""Squared distance of centre and mean, in variances, beyond which the centre is moved."""


@dataclass(frozen=True)
class Range:
    """Smallest and largest value of an expression; how many there are."""

    count: int
    low: float
    high: float
    has_gaps: bool = True
    """Whether it may be NULL on some row."""

    @property
    def is_finite(self) -> bool:
        """Say whether no value is NaN, infinite or as good as that."""
        return all(abs(end) <= LARGEST for end in (self.low, self.high))

    @property
    def centre(self) -> float:
        """A first guess at the mean: nought, unless all values are far from it."""
        if self.count == 0 or self.low <= 0.0 <= self.high:
            return 0.0
        near = self.low if self.low > 0.0 else self.high
        return near if abs(near) > (self.high - self.low) / 8 else 0.0

    def reach(self, centre: float) -> float:
        """Largest distance of a value from `centre`."""
        return max(abs(self.low - centre), abs(self.high - centre)) if self.count else 0.0


def read_ranges(warehouse: Warehouse, relation: str, expressions: Iterable[str]) -> tuple[int, dict[str, Range]]:
    """Rows of a relation, and the range of each expression over them (NULLs aside)."""
    wanted = list(dict.fromkeys(expressions))
    asked = "".join(f", COUNT({e}), MIN({e}), MAX({e})" for e in wanted)
    row = warehouse.rows(f"SELECT COUNT(*){asked} FROM {relation}")[0]
    found = {}
    for place, expression in enumerate(wanted):
        count, low, high = row[1 + 3 * place : 4 + 3 * place]
        found[expression] = Range(int(count), float(low or 0.0), float(high or 0.0), int(count) < int(row[0]))
    return int(row[0]), found


def read_moments(
    warehouse: Warehouse,
    relation: str,
    keys: Sequence[str],
    metrics: Mapping[str, Components],
    ranges: Mapping[str, Range],
) -> dict[Key, dict[str, Moments]]:
    """Moments of each metric in each group of rows.

    Args:
        warehouse: where the relation is.
        relation: what to read.
        keys: SQL expressions whose values make the groups.
        metrics: the components of each metric by its name.
        ranges: of each component over the whole relation; all finite.
    """
    centres = {e: ranges[e].centre for components in metrics.values() for e in components}
    found = _read(warehouse, relation, keys, metrics, ranges, centres)
    moved = _moved(metrics, found, centres)
    if not moved:
        return found
    affected = {name: components for name, components in metrics.items() if moved.keys() & set(components)}
    again = _read(warehouse, relation, keys, affected, ranges, {**centres, **moved})
    return {key: {**group, **again[key]} for key, group in found.items()}


def _moved(
    metrics: Mapping[str, Components], found: Mapping[Key, Mapping[str, Moments]], centres: Mapping[str, float]
) -> dict[str, float]:
    """Better centres, where the first ones cost digits."""
    moved = {}
    for name, components in metrics.items():
        groups = [group[name] for group in found.values() if group[name].count]
        if not groups:
            continue
        mean = merge(groups).mean
        for place, expression in enumerate(components):
            far = any(
                (group.mean[place] - centres[expression]) ** 2 * group.count > _FAR * group.scatter[place, place]
                for group in groups
            )
            if far and mean[place] != centres[expression]:
                moved[expression] = float(mean[place])
    return moved


@dataclass(frozen=True)
class _Sum:
    """One sum of the query: of a component, or of a product of two."""

    sql: str
    shift: int
    """The addends were multiplied by 2^shift."""


def _read(
    warehouse: Warehouse,
    relation: str,
    keys: Sequence[str],
    metrics: Mapping[str, Components],
    ranges: Mapping[str, Range],
    centres: Mapping[str, float],
) -> dict[Key, dict[str, Moments]]:
    sums: dict[Components, _Sum] = {}
    for components in metrics.values():
        for factors in [*((e,) for e in components), *combinations_with_replacement(components, 2)]:
            sums.setdefault(factors, _sum(warehouse, factors, ranges, centres))
    places = {factors: len(keys) + len(metrics) + place for place, factors in enumerate(sums)}
    counts = [f"COUNT({c[0]})" if c and ranges[c[0]].has_gaps else "COUNT(*)" for c in metrics.values()]
    select = ", ".join([*keys, *counts, *(one.sql for one in sums.values())])
    grouped = f" GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))}" if keys else ""
    found: dict[Key, dict[str, Moments]] = {}
    for row in warehouse.rows(f"SELECT {select} FROM {relation}{grouped}"):
        exact = {factors: _exact(row[place], sums[factors].shift) for factors, place in places.items()}
        found[row[: len(keys)]] = {
            name: _moments(int(row[len(keys) + place]), components, exact, centres)
            for place, (name, components) in enumerate(metrics.items())
        }
    return {key: found[key] for key in sorted(found, key=lambda key: tuple((part is None, str(part)) for part in key))}


def _sum(warehouse: Warehouse, factors: Components, ranges: Mapping[str, Range], centres: Mapping[str, float]) -> _Sum:
    shift = _shift(math.prod(ranges[e].reach(centres[e]) for e in factors))
    product = " * ".join([*(_centred(warehouse, e, centres[e]) for e in factors), f"{math.ldexp(1.0, shift):.17e}"])
    return _Sum(warehouse.dialect.whole.format(product), shift)


def _shift(reach: float) -> int:
    """Power of two that takes addends up to `reach` to whole numbers of `_BITS` bits."""
    # frexp gives reach < 2^exponent, so the largest addend stays below 2^_BITS.
    return min(1000, max(-1000, _BITS - math.frexp(reach)[1])) if reach > 0.0 else 0


def total_sql(dialect: Dialect, number: str, reach: float) -> str:
    """SQL of a sum within a group of rows that does not depend on their order.

    Args:
        dialect: of the engine.
        number: a double precision expression, NULL or at most `reach` in size.
        reach: the largest size.
    """
    shift = _shift(reach)
    whole = dialect.whole.format(f"{number} * {math.ldexp(1.0, shift):.17e}")
    return f"{dialect.number(whole)} * {dialect.number(f'{math.ldexp(1.0, -shift):.17e}')}"


def _centred(warehouse: Warehouse, expression: str, centre: float) -> str:
    number = warehouse.dialect.number(expression)
    return number if centre == 0.0 else f"({number} - {warehouse.dialect.number(f'{centre:.17e}')})"


def _exact(total: SupportsInt | None, shift: int) -> Fraction:
    return Fraction(0) if total is None else Fraction(int(total)) / Fraction(2) ** shift


def _moments(
    count: int, components: Components, exact: Mapping[Components, Fraction], centres: Mapping[str, float]
) -> Moments:
    """The last subtraction is done in exact numbers, so that nothing cancels in it."""
    size = len(components)
    mean, scatter = np.zeros(size), np.zeros((size, size))
    if count == 0:
        return Moments(0, mean, scatter)
    for i, left in enumerate(components):
        mean[i] = float(Fraction(centres[left]) + exact[(left,)] / count)
        for j in range(i, size):
            right = components[j]
            deviation = exact[left, right] - exact[(left,)] * exact[(right,)] / count
            scatter[i, j] = scatter[j, i] = float(deviation)
    return Moments(count, mean, scatter)
