"""Units that are assigned with their cluster: customers of one household, visitors of one store.

The cluster is what is hashed, so that whoever belongs to it is in one variant, and what errors are counted by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import Reason
from experiments.design import Design

if TYPE_CHECKING:
    import pandas as pd

_NO_CLUSTER = "experiment {experiment!r} assigns whole clusters: give the column {column!r} with every unit"
_SOME_CLUSTER = "row {row} has no {column}; every unit is assigned with its cluster"


def hashed_ids(design: Design, ids: Sequence[Any] | npt.NDArray[Any], table: pd.DataFrame | None) -> Any:  # noqa: ANN401
    """What the split of a design hashes for (n,) units: their identifiers, or the clusters that they are in.

    Raises:
        ProblemError: clusters are assigned, and the table has none, or misses one.
    """
    if design.cluster is None:
        return ids
    if table is None or design.cluster not in table.columns:
        raise ProblemError(Reason(_NO_CLUSTER, {"experiment": design.name, "column": design.cluster}))
    clusters = table[design.cluster]
    if clusters.isna().any():
        raise ProblemError(Reason(_SOME_CLUSTER, {"column": design.cluster, "row": int(clusters.isna().argmax()) + 1}))
    return clusters.astype(str).to_numpy(dtype=object)


def count_randomised(design: Design, table: pd.DataFrame, unit: str) -> int:
    """How many units, or clusters, of a table with a column `variant` are in a variant."""
    return int(table.loc[table["variant"] >= 0, design.cluster or unit].nunique())
