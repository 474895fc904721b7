"""Scoring many rows with a fitted model, here or on the partitions of an Apache Spark table (extra `spark`).

A scorer is a frozen record of numbers and, for trees, of XGBoost's own binary format: it travels to the executors in
one broadcast, and each row's score depends on that row alone, so that it does not matter how the rows are divided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from engine.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from engine.coupon_response.effect import Effect
    from engine.demand.level import LevelModel

Floats = npt.NDArray[np.float64]

OFFSET, EXPECTED = "offset", "expected"
"""Columns of a demand row beside its features: log units the trees start from, and log units the filter expects."""


class Scorer(Protocol):
    """Scores rows from some columns into others."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that a row needs, all numbers."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Columns that come out."""

    def score(self, rows: Floats) -> Floats:
        """(n, outputs) scores of (n, inputs) rows."""


@dataclass(frozen=True)
class DemandScorer:
    """Expected units of product-weeks."""

    names: tuple[str, ...]
    trees: bytes | None
    """The booster in XGBoost's binary JSON; None: the filter stands alone."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, offset and expected."""
        return (*self.names, OFFSET, EXPECTED)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Units."""
        return ("units",)

    def score(self, rows: Floats) -> Floats:
        """(n, 1) units."""
        from engine.demand.level import corrected

        values = np.ascontiguousarray(rows[:, : len(self.names)], dtype=np.float32)
        return corrected(self._booster(), values, rows[:, -2], rows[:, -1])[:, None]

    def _booster(self) -> Any:  # noqa: ANN401 - an xgboost.Booster
        if self.trees is None:
            return None
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(self.trees))
        return booster


@dataclass(frozen=True)
class ResponseScorer:
    """Expected incremental gross profit of each offer for customers, before the coupon's own cost."""

    names: tuple[str, ...]
    """Standardised attributes, in the order of the effect's features."""
    offers: tuple[str, ...]
    """(O,) the first is no coupon and is not written out."""
    effect: Effect

    @property
    def inputs(self) -> tuple[str, ...]:
        """The attributes."""
        return self.names

    @property
    def outputs(self) -> tuple[str, ...]:
        """One column for each offer."""
        return self.offers[1:]

    def score(self, rows: Floats) -> Floats:
        """(n, O - 1) money."""
        return self.effect.predict(rows)[:, 1:]


def demand_scorer(model: LevelModel) -> DemandScorer:
    """What a fitted level model needs to score rows elsewhere."""
    trees = None if model.booster is None else bytes(model.booster.save_raw("ubj"))
    return DemandScorer(model.names, trees)


def score_table(table: DataFrame, scorer: Scorer, keys: Sequence[str]) -> DataFrame:
    """Score a Spark table where it lies: its key columns, and the scorer's outputs.

    Raises:
        DataError: the table lacks a column that the scorer needs.
    """
    missing = [name for name in (*keys, *scorer.inputs) if name not in table.columns]
    if missing:
        raise DataError(f"the table to score lacks {', '.join(missing)}; it has {', '.join(table.columns)}")
    from pyspark.sql.types import DoubleType, StructField, StructType

    fields = [table.schema[name] for name in keys]
    schema = StructType([*fields, *(StructField(name, DoubleType()) for name in scorer.outputs)])
    sent = table.sparkSession.sparkContext.broadcast((scorer, tuple(keys)))
    inputs = (table[f"`{name}`"].cast("double").alias(f"input_{i}") for i, name in enumerate(scorer.inputs))
    chosen = table.select(*keys, *inputs)  # numbered, as names may hold dots, which Spark takes for fields

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model, held = sent.value
        for batch in batches:
            yield _scored(batch, model, held)

    return chosen.mapInArrow(work, schema)


def _scored(batch: pa.RecordBatch, scorer: Scorer, keys: tuple[str, ...]) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [
        np.asarray(batch.column(len(keys) + i).to_numpy(zero_copy_only=False)) for i in range(len(scorer.inputs))
    ]
    scores = scorer.score(np.column_stack(columns).astype(np.float64))
    arrays = [*(batch.column(i) for i in range(len(keys))), *(pa.array(scores[:, i]) for i in range(scores.shape[1]))]
    return pa.RecordBatch.from_arrays(arrays, names=[*keys, *scorer.outputs])
