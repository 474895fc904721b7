"""The trust check before the start: the design's own draw and analysis on the history that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.errors import InfeasibleError, ProblemError
from engine.proposal import Reason

if TYPE_CHECKING:
    import pandas as pd

    from experiments.design import Design
    from experiments.replay_design import PastPeriods, PastUnits

Past = Callable[[Sequence[str], tuple[str, ...]], "pd.DataFrame"]
"""From the columns that are needed, and those of them that are identifiers, to a table of history."""
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


def past_of(made: Design, history: Past, unit: str) -> PastUnits | PastPeriods:
    """History of a stored design, as it was made from it.

    Args:
        made: the design.
        history: where it is.
        unit: column of the unit's identifier.

    Raises:
        DataError: a column is missing.
    """
    metric = made.metrics[0]
    if made.draw == "switchback" and made.promise_scale is None:
        return _periods(made, history([unit, "step", metric["column"]], (unit,)), unit, "step", metric["column"])
    if made.promise_scale is not None and made.treatment == "price":
        key = "product_id" if made.unit == "product" else "store_id"
        return _periods(made, history([key, "week", "profit"], (key,)), key, "week", "profit")
    known = made.assigned is not None and made.draw != "budget_split"
    covariates = [metric["covariate"]] if isinstance(metric.get("covariate"), str) else []
    above = made.rule.metric if made.draw == "budget_split" else metric["column"]
    given = {"metric": above, "cost": None if made.draw == "budget_split" else metric.get("cost")}
    given |= {"denominator": metric.get("denominator"), "covariates": covariates}
    given |= {"randomise": made.unit, "cluster": made.cluster}
    named = [name for name in (above, given["cost"], given["denominator"], made.cluster, *covariates) if name]
    table = history([*([unit] if known else []), *named], (unit,) if known else ())
    found = units_of(table, given)
    if made.assigned is None or not made.assigned.cluster:
        return found
    of = dict(zip(made.assigned.units, made.assigned.cluster, strict=True))
    inside = table[unit].isin(of).to_numpy()
    return replace(
        found,
        values=found.values[inside],
        covariate=None if found.covariate is None else found.covariate[inside],
        balanced=None if found.balanced is None else found.balanced[inside],
        category=table[unit][inside].map(of).to_numpy(),
    )


def _periods(made: Design, table: pd.DataFrame, unit: str, period: str, column: str) -> PastPeriods:
    from experiments.replay_design import PastPeriods

    wide = table.pivot_table(index=unit, columns=period, values=column, aggfunc="sum", dropna=False)
    if made.assigned is None or made.draw == "switchback":
        return PastPeriods(wide.to_numpy(dtype=float))
    kept = wide.reindex(list(made.assigned.units))
    category = made.assigned.cluster
    return PastPeriods(kept.to_numpy(dtype=float), _array(category) if category else None)


def _array(names: Sequence[str]) -> Any:  # noqa: ANN401 - an array of names
    import numpy as np

    return np.array(names)


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
