"""The trust check before the start: the design's own draw and analysis on the history that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.errors import InfeasibleError, ProblemError
from engine.proposal import Reason

if TYPE_CHECKING:
    import pandas as pd

    from experiments.design import Design
    from experiments.replay_design import PastPeriods, PastUnits

MOST_UNITS = 100_000
"""Of more past units every so-many-th is replayed: the check is of the method, and this many show it."""
_NOT_REPLAYED = "The method was not replayed on history: {why}"


def with_replay(made: Design, past: PastUnits | PastPeriods, splits: int) -> Design:
    """The design with its A/A replay; where history does not allow one, with a note that says why.

    Args:
        made: the design.
        past: history that it was made from.
        splits: of the replay; 0: none.
    """
    from experiments.replay_design import replay_design

    if splits == 0:
        return made
    try:
        found = replay_design(made, past, splits=splits)
    except (ProblemError, InfeasibleError) as error:
        return replace(made, notes=(*made.notes, Reason(_NOT_REPLAYED, {"why": error.sentence})))
    return replace(made, checks=(*made.checks, found.check))


def units_of(table: pd.DataFrame, asked: Mapping[str, Any]) -> PastUnits:
    """Past units of a table of history, as a replay takes them.

    Args:
        table: with the columns that were asked for.
        asked: options of a design.
    """
    from experiments.replay_design import PastUnits, thinned

    kept = table.iloc[thinned(len(table), MOST_UNITS)]
    values = kept[asked["metric"]].to_numpy(dtype=float)
    if asked["cost"]:
        values = values - kept[asked["cost"]].to_numpy(dtype=float)
    covariates = list(asked["covariates"])
    known = asked["randomise"] != "customer"
    cluster = kept[asked["cluster"]].to_numpy() if asked["cluster"] else None
    return PastUnits(
        values,
        below=kept[asked["denominator"]].to_numpy(dtype=float) if asked["denominator"] else None,
        covariate=kept[covariates[0]].to_numpy(dtype=float) if len(covariates) == 1 else None,
        cluster=None if known else cluster,
        balanced=kept[covariates or [asked["metric"]]].to_numpy(dtype=float) if known else None,
        category=cluster if known else None,
    )
