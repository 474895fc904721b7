"""Where the units are: a relation with one row a unit, or with several rows in each randomised cluster."""

# ruff: noqa: S608 - names are quoted by the dialect

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.measure.reading import Exclusion
from experiments.measure.warehouse import Warehouse

KEPT = "offerwright_units"
"""Name of the table that a session keeps for one analysis."""


@dataclass(frozen=True)
class Units:
    """A relation of the database, with a variant and the metrics' columns on every row."""

    warehouse: Warehouse
    relation: str
    """What stands after FROM: a table, or a query in brackets with a name behind it."""
    variant: str = "variant"
    """Column: 0 control, 1, 2 … treatments; NULL or negative: outside the experiment."""
    unit: str | None = None
    """Column of the unit's identifier; given, a unit on two rows is refused."""
    cluster: str | None = None
    """Column of the cluster that was randomised, where that is more than one row (stores, households, days)."""
    stratum: str | None = None
    """Column for post-stratification."""
    segments: tuple[str, ...] = ()
    """Columns for breakdowns."""
    modifiers: tuple[str, ...] = ()
    """Columns with numbers along which the effect may change."""
    earlier: tuple[str, ...] = ()
    """Columns with the unit's variant in earlier tests, NULL where it was in none."""
    excluded: tuple[Exclusion, ...] = ()
    """What was left out before the units came here."""

    @property
    def variant_sql(self) -> str:
        """The variant as SQL."""
        return self.warehouse.dialect.column(self.variant)


@dataclass(frozen=True)
class Inside:
    """The units that take part."""

    units: Units
    relation: str
    """Rows inside the experiment."""
    rows: int
    outside: int
    """Rows outside the experiment."""
    variants: int
    """Number of the last variant, plus one."""


def check_columns(units: Units, needed: Sequence[str]) -> None:
    """Make sure that the relation has every column that is named.

    Raises:
        ProblemError: some are missing; the message lists them all.
    """
    named = [
        units.variant,
        units.unit,
        units.cluster,
        units.stratum,
        *units.segments,
        *units.modifiers,
        *units.earlier,
        *needed,
    ]
    present = set(units.warehouse.columns(units.relation))
    missing = sorted({name for name in named if name is not None} - present)
    if missing:
        raise ProblemError(
            Reason(
                "the table lacks the columns {missing}; it has {present}",
                {"missing": ", ".join(missing), "present": ", ".join(sorted(present))},
            )
        )


def inside(units: Units) -> Inside:
    """Find the rows of the experiment, and make sure that each unit has one.

    Raises:
        ProblemError: there is none, or a unit has several without a cluster being named.
    """
    variant = units.variant_sql
    row = units.warehouse.rows(
        f"SELECT COUNT(*), COUNT({variant}), MIN({variant}), MAX({variant}) FROM {units.relation}"
    )[0]
    total, known, lowest, highest = int(row[0]), int(row[1]), row[2], row[3]
    if isinstance(highest, str):
        raise ProblemError(
            Reason(
                "column '{column}' holds text such as {highest!r}; write 0 for the control, 1, 2 … for the others",
                {"column": units.variant, "highest": highest},
            )
        )
    if known == 0 or highest < 0:
        raise ProblemError(
            Reason(
                "no row of the table is in a variant (column '{column}'); 0 is the control", {"column": units.variant}
            )
        )
    relation, rows = units.relation, total
    if known < total or lowest < 0:
        relation = f"(SELECT * FROM {units.relation} WHERE {variant} >= 0) inside"
        rows = int(units.warehouse.rows(f"SELECT COUNT(*) FROM {relation}")[0][0])
    _refuse_repeated(units, relation)
    return Inside(units, relation, rows, total - rows, int(highest) + 1)


def _refuse_repeated(units: Units, relation: str) -> None:
    if units.unit is None or units.cluster is not None:
        return
    unit, variant = units.warehouse.dialect.column(units.unit), units.variant_sql
    repeated = f"SELECT {unit} AS u, MIN({variant}) AS a, MAX({variant}) AS b FROM {relation}"
    repeated = f"({repeated} GROUP BY {unit} HAVING COUNT(*) > 1) repeated"
    count, first, several = units.warehouse.rows(
        f"SELECT COUNT(*), MIN(u), COUNT(CASE WHEN a <> b THEN 1 END) FROM {repeated}"
    )[0]
    if count:
        raise ProblemError(
            Reason(
                "{count:,} unit(s) in column '{column}' are on more than one row, for example {first!r}, "
                "{several:,} of them in two variants; make it one row a unit, or name the column as the "
                "cluster",
                {"count": count, "column": units.unit, "first": first, "several": several},
            )
        )


def count_units(found: Inside, keys: Sequence[str]) -> dict[tuple[object, ...], int]:
    """Randomised units (clusters where there are any) by the columns `keys`."""
    dialect = found.units.warehouse.dialect
    columns = ", ".join(dialect.column(key) for key in keys)
    cluster = found.units.cluster
    counted = "COUNT(*)" if cluster is None else f"COUNT(DISTINCT {dialect.column(cluster)})"
    places = ", ".join(str(place + 1) for place in range(len(keys)))
    rows = found.units.warehouse.rows(f"SELECT {columns}, {counted} FROM {found.relation} GROUP BY {places}")
    return {tuple(row[:-1]): int(row[-1]) for row in rows}


def without_split_clusters(found: Inside) -> tuple[Inside, tuple[Exclusion, ...]]:
    """Leave out the clusters whose rows are in two variants."""
    units = found.units
    if units.cluster is None:
        return found, ()
    cluster, variant = units.warehouse.dialect.column(units.cluster), units.variant_sql
    split = f"SELECT {cluster} FROM {found.relation} GROUP BY {cluster} HAVING MIN({variant}) <> MAX({variant})"
    count = int(units.warehouse.rows(f"SELECT COUNT(*) FROM ({split}) split")[0][0])
    if count == 0:
        return found, ()
    kept = f"(SELECT * FROM {found.relation} WHERE {cluster} NOT IN ({split})) whole"
    rows = int(units.warehouse.rows(f"SELECT COUNT(*) FROM {kept}")[0][0])
    if rows == 0:
        raise ProblemError(
            Reason(
                "every cluster in column '{column}' has rows in two variants; clusters must be assigned whole",
                {"column": units.cluster},
            )
        )
    text = N_("{count} clusters had rows in two variants; they are left out")
    return Inside(units, kept, rows, found.outside, found.variants), (Exclusion(Reason(text, {"count": count}), count),)
