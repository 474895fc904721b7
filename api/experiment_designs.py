"""From what was asked for to a design: the history is read, the metric described, the experiment sized."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from api.experiment_options import refuse_idle
from api.experiment_proposals import design_for_proposal
from api.experiment_replay import units_of, with_replay
from engine.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from engine.settings import Settings
    from engine.store import Store
    from experiments.assign import Slice, Split
    from experiments.decide import DecisionRule, Guardrail
    from experiments.design import Design
    from experiments.history import Outcome

Asked = Mapping[str, Any]
"""What was asked for: options of `offerwright experiment design`, by name."""
Past = Callable[[Sequence[str], tuple[str, ...]], "pd.DataFrame"]
"""From the columns that are needed, and those of them that are identifiers, to the past units."""


def make_design(settings: Settings, store: Store, history: Past | None, name: str, asked: Asked) -> Design:
    """Make the design that was asked for.

    Args:
        settings: for the data of a proposal.
        store: proposals, and the layers that are taken.
        history: past units; only a proposal can do without.
        name: of the experiment.
        asked: `DEFAULTS` with what was asked for.

    Raises:
        InputError: something is missing, contradicts the rest, or has no meaning for this kind of design; the history
            or a figure is refused.
        InfeasibleError: no switchback or balanced draw is possible.
    """
    made = _made(settings, store, history, name, asked)
    made = replace(made, stratum=asked["stratum"])
    return replace(made, wanted_power=asked["power"], correction=asked["correction"], convention=asked["convention"])


def _made(settings: Settings, store: Store, history: Past | None, name: str, asked: Asked) -> Design:
    if asked["proposal_id"] is not None:
        return design_for_proposal(settings, store, history, name, asked)
    if history is None:
        raise InputError("give a HISTORY file, or --proposal")
    if not asked["metric"]:
        raise InputError("--metric names the column that decides")
    if asked["randomise"] == "time":
        return _switchback(history, name, asked)
    if asked["budget"] is not None:
        return _budget_split(history, name, asked)
    if asked["randomise"] != "customer":
        return _known(history, name, asked)
    return _arriving(history, name, _split(store, name, asked), asked)


def _arriving(history: Past, name: str, split: Split, asked: Asked) -> Design:
    import numpy as np

    from api.experiment_history import outcome_of
    from experiments.design import design_arriving
    from experiments.power import arrivals

    refuse_idle("units that turn up one by one", asked)
    needed = [
        column
        for column in (asked["metric"], asked["denominator"], asked["cost"], asked["cluster"], asked["first_week"])
        if column
    ]
    table = history([*needed, *asked["covariates"]], ())
    outcome = outcome_of(table, asked)
    effect = _effect(outcome, asked)
    weeks = table[asked["first_week"]].to_numpy(dtype=int) if asked["first_week"] else np.zeros(len(table), dtype=int)
    first = weeks - weeks.min()
    made = design_arriving(
        name,
        outcome,
        arrivals(first, int(first.max()) + 1),
        effect,
        treatment=asked["treatment"],
        metrics=_metrics(asked),
        unit=asked["randomise"],
        split=split,
        **_read_how(asked),
        alpha=asked["alpha"],
        power=asked["power"],
        cluster=asked["cluster"],
        rule=_rule(asked, effect),
    )
    return with_replay(made, units_of(table, asked), asked["replay"])


def _known(history: Past, name: str, asked: Asked) -> Design:
    """Products or stores: every row of HISTORY takes part."""
    from api.experiment_history import outcome_of
    from experiments.known_units import design_known

    refuse_idle("products or stores that are drawn as a whole", asked)
    covariates = list(asked["covariates"]) or [asked["metric"]]
    cluster = [asked["cluster"]] if asked["cluster"] else []
    cost = [asked["cost"]] if asked["cost"] else []
    table = history([asked["unit"], asked["metric"], *covariates, *cluster, *cost], (asked["unit"],))
    if cluster and asked["randomise"] != "product":
        raise InputError("--cluster of known units means the category of products; randomise the stores themselves")
    outcome = outcome_of(table, asked)
    effect = _effect(outcome, asked)
    made = design_known(
        name,
        [str(one) for one in table[asked["unit"]]],
        outcome,
        effect,
        table[covariates].to_numpy(dtype=float),
        treatment=asked["treatment"],
        unit=asked["randomise"],
        metrics=_metrics(asked),
        categories=[str(one) for one in table[cluster[0]]] if cluster else None,
        weights=asked["weights"],
        weeks=asked["weeks"],
        **_read_how(asked),
        alpha=asked["alpha"],
        power=asked["power"],
        rule=_rule(asked, effect),
    )
    return with_replay(made, units_of(table, asked), asked["replay"])


def _budget_split(history: Past, name: str, asked: Asked) -> Design:
    from api.experiment_history import outcome_of
    from experiments.budget_design import design_budget_split

    if asked["treatment"] != "coupon" or asked["randomise"] != "customer":
        raise InputError("--budget splits a coupon budget between customers: give --treatment coupon")
    refuse_idle("a budget split", asked)
    table = history([asked["metric"], *asked["covariates"]], ())
    outcome = outcome_of(table, {**asked, "cluster": None})
    effect = _effect(outcome, asked)
    metric = {"kind": "profit", "name": asked["metric"], "column": "margin", "cost": "coupon_cost"}
    if len(asked["covariates"]) == 1:
        metric["covariate"] = asked["covariates"][0]
    made = design_budget_split(
        name,
        outcome,
        len(table),
        effect,
        budget=asked["budget"],
        cells=asked["cells"],
        metrics=[metric, *_guarded(asked)],
        weeks=asked["weeks"],
        **_read_how(asked),
        alpha=asked["alpha"],
        power=asked["power"],
        rule=_rule(asked, effect),
    )
    return with_replay(made, units_of(table, asked), asked["replay"])


def _read_how(asked: Asked) -> dict[str, Any]:
    """How often a design is read while it runs."""
    return {name: asked[name] for name in ("method", "looks", "spending")}


def _rule(asked: Asked, effect: float) -> DecisionRule:
    from experiments.decide import DecisionRule, Waiting

    cost, decided = asked["cost_a_week"], asked["decides_for"]
    if (cost is None) != (decided is None):
        raise InputError("--cost-a-week and --decides-for go together")
    return DecisionRule(
        metric=asked["metric"],
        higher_is_better=not asked["lower_is_better"],
        smallest_gain=asked["smallest_gain"],
        guardrails=tuple(_guardrails(asked)),
        futility=asked["futility"] or None,
        planned_effect=abs(effect),
        waiting=None if cost is None else Waiting(cost, decided),
    )


def _effect(outcome: Outcome, asked: Asked) -> float:
    if (asked["effect"] is None) == (asked["relative_effect"] is None):
        raise InputError("give --effect or --relative-effect: the smallest difference that must not be missed")
    if asked["effect"] is not None:
        return float(asked["effect"])
    return float(asked["relative_effect"]) * outcome.mean


def _metrics(asked: Asked) -> list[dict[str, Any]]:
    first: dict[str, Any] = {"name": asked["metric"], "column": asked["metric"], "kind": asked["kind"]}
    if asked["denominator"]:
        first["denominator"] = asked["denominator"]
    if asked["cost"]:
        first["cost"] = asked["cost"]
    if asked["lower_is_better"]:
        first["higher_is_better"] = False
    if len(asked["covariates"]) == 1 and asked["kind"] != "ratio":
        first["covariate"] = asked["covariates"][0]
    return [_declared(first, asked["declare"]), *_guarded(asked), *_also(asked)]


def _declared(first: dict[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    """The deciding metric with what else was declared of it; its name and columns stay.

    Raises:
        ProblemError: the declaration is none of a metric.
    """
    from experiments.measure import metric_from

    if not more:
        return first
    whole = {**more, **first}
    metric_from(whole)
    return whole


def _also(asked: Asked) -> list[dict[str, Any]]:
    """Metrics that are read and do not decide, as they were declared."""
    from experiments.measure import metric_from

    declared = [dict(one) for one in asked["also"]]
    for one in declared:
        metric_from(one)
    return declared


def _guarded(asked: Asked) -> list[dict[str, Any]]:
    """The guardrails' columns as metrics."""
    return [{"name": column, "column": column} for column in asked["guardrails"]]


def _guardrails(asked: Asked) -> list[Guardrail]:
    from experiments.decide import Guardrail

    return [Guardrail(column, share) for column, share in asked["guardrails"].items()]


def _split(store: Store, name: str, asked: Asked) -> Split:
    from experiments.assign import Holdout, Split

    layer = _slice(store, name, asked["layers"]) if asked["layers"] else None
    holdouts = tuple(Holdout(one, share) for one, share in asked["holdouts"].items())
    weights = tuple(asked["weights"])
    return Split(name, weights, asked["coverage"], layer=layer, holdouts=holdouts, target=asked["target"])


def _slice(store: Store, name: str, layers: Mapping[str, float]) -> Slice:
    """Find room beside the experiments that have not ended; an experiment that is there keeps its own."""
    from engine.store import ExperimentState
    from experiments.assign import Slice, free_slice

    if len(layers) != 1:
        raise InputError("an experiment is in one layer; give --layer once")
    ((layer, share),) = layers.items()
    states = ExperimentState.DESIGNED, ExperimentState.RUNNING
    kept = {one.experiment_id: _layer_of(one.design) for state in states for one in store.experiments.in_state(state)}
    own = kept.pop(name, None)
    if own is not None and own["layer"] == layer and abs(own["high"] - own["low"] - share) < 1e-9:
        return Slice(**own)
    return free_slice(layer, share, [Slice(**one) for one in kept.values() if one])


def _layer_of(design: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The slice that a stored design takes; None where it takes none."""
    found: Mapping[str, Any] | None = design.get("split", {}).get("layer")
    return found


def _switchback(history: Past, name: str, asked: Asked) -> Design:
    import numpy as np

    from engine.errors import DataError
    from experiments.replay_design import PastPeriods
    from experiments.switchback_design import design_switchback

    if asked["effect"] is None:
        raise InputError("a switchback needs --effect")
    refuse_idle("a switchback", asked)
    table = history([asked["unit"], "step", asked["metric"]], (asked["unit"],))
    if not np.isfinite(table[asked["metric"]].to_numpy(dtype=float)).all():
        raise DataError(f"the history's {asked['metric']} is missing or not finite in places; fill in what is missing")
    wide = table.pivot_table(index=asked["unit"], columns="step", values=asked["metric"], aggfunc="sum", dropna=False)
    if np.isnan(wide.to_numpy(dtype=float)).any():
        raise DataError("the history has not a row of every region for every step; fill in what is missing")
    history_of_regions = wide.to_numpy(dtype=float)
    made = design_switchback(
        name,
        [str(region) for region in wide.index],
        history_of_regions,
        steps=asked["steps"],
        effect=asked["effect"],
        felt=[1.0] * asked["carry_over"],
        lengths=asked["periods"] or None,
        treatment=asked["treatment"],
        metrics=_metrics(asked),
        guardrails=_guardrails(asked),
        **_read_how(asked),
        alpha=asked["alpha"],
        power=asked["power"],
    )
    return with_replay(made, PastPeriods(history_of_regions), asked["replay"])
