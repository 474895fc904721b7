"""A table in memory as units of an embedded database, so that notebook and warehouse take the same road."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pandas as pd

from engine.errors import ProblemError
from experiments.measure.metrics import Metric
from experiments.measure.units import Units
from experiments.measure.warehouse import duckdb_warehouse

_TABLE = "handed_in"


@contextmanager
def table_units(
    table: pd.DataFrame,
    metrics: Sequence[Metric],
    *,
    variant: str,
    unit: str | None,
    cluster: str | None,
    stratum: str | None,
    segments: Sequence[str],
    earlier: Sequence[str],
) -> Iterator[Units]:
    """Units of a data frame, for the length of the block. Metric columns that hold text are read as numbers.

    Raises:
        ProblemError: a column is missing.
    """
    numbers = {c for metric in metrics for c in (*metric.columns, *metric.covariate_columns, *metric.feature_columns)}
    filters = {condition.column for metric in metrics for condition in metric.where}
    named = [variant, unit, cluster, stratum, *segments, *earlier, *sorted(numbers | filters)]
    wanted = list(dict.fromkeys(name for name in named if name is not None))
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        present = ", ".join(map(str, table.columns))
        raise ProblemError(f"the table lacks the columns {', '.join(missing)}; it has {present}")
    frame = table[wanted].copy(deep=False)
    for column in sorted(numbers - filters):
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
    connection = duckdb.connect(config={"threads": 1})
    try:
        connection.register(_TABLE, frame)
        yield Units(
            warehouse=duckdb_warehouse(connection),
            relation=_TABLE,
            variant=variant,
            unit=unit,
            cluster=cluster,
            stratum=stratum,
            segments=tuple(segments),
            earlier=tuple(earlier),
        )
    finally:
        connection.close()
