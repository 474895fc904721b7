"""A table in memory as units of an embedded database, so that notebook and warehouse take the same road."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from engine.errors import ProblemError
from engine.proposal import Reason
from experiments.measure.metrics import Metric
from experiments.measure.units import Units
from experiments.measure.warehouse import duckdb_warehouse

if TYPE_CHECKING:
    import pandas as pd

_TABLE = "handed_in"


@dataclass(frozen=True)
class TableColumns:
    """Which column of a data frame is what; see `Units`."""

    variant: str
    unit: str | None
    cluster: str | None
    stratum: str | None
    segments: tuple[str, ...]
    modifiers: tuple[str, ...]
    earlier: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """All columns that are named."""
        named = [self.variant, self.unit, self.cluster, self.stratum, *self.segments, *self.modifiers, *self.earlier]
        return [name for name in named if name is not None]


@contextmanager
def table_units(table: pd.DataFrame, metrics: Sequence[Metric], columns: TableColumns) -> Iterator[Units]:
    """Units of a data frame, for the length of the block. Metric columns that hold text are read as numbers.

    Raises:
        ProblemError: a column is missing.
    """
    # Imported here: a reading of a warehouse needs no data frames, and 70 MB less without them.
    import pandas as pd

    numbers = {c for metric in metrics for c in (*metric.columns, *metric.covariate_columns, *metric.feature_columns)}
    filters = {condition.column for metric in metrics for condition in metric.where}
    wanted = list(dict.fromkeys([*columns.names, *sorted(numbers | filters)]))
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        present = ", ".join(map(str, table.columns))
        raise ProblemError(
            Reason(
                "the table lacks the columns {missing}; it has {present}",
                {"missing": ", ".join(missing), "present": present},
            )
        )
    frame = table[wanted].copy(deep=False)
    for column in sorted(numbers - filters):
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
    connection = duckdb.connect(config={"threads": 1})
    try:
        connection.register(_TABLE, frame)
        yield Units(duckdb_warehouse(connection), _TABLE, **vars(columns))
    finally:
        connection.close()
