"""A design: everything that is fixed before the first unit is assigned, as data that the store keeps.

Who is randomised and how, what is compared, how and when it is read, how many units for how long, and the rule by
which the result decides. `record_of` and `design_from` turn it into plain data and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.files import plain
from engine.proposal import N_, Reason
from experiments.assign import Holdout, Slice, Split
from experiments.decide import DecisionRule, Guardrail, Waiting
from experiments.history import Outcome
from experiments.power import Sizing, detectable_effect, power_at, required_units, weeks_until
from experiments.sequential import AnalysisPlan, Method, Spending
from experiments.statistics.contrast import Convention
from experiments.statistics.multiple import Correction
from experiments.switchback import SwitchbackPlan
from experiments.trust.check import Check

Treatment = Literal["price", "coupon", "recommendation", "other"]
Unit = Literal["customer", "product", "store", "time"]
Draw = Literal["hash", "rerandomised", "two_stage", "switchback", "budget_split"]

DRAWN: frozenset[str] = frozenset({"two_stage", "switchback", "budget_split"})
"""Draws that have an analysis of their own."""
WATCHED: frozenset[str] = frozenset({"rerandomised", "two_stage", "budget_split"})
"""Draws whose units are all there from the first day: time, not their number, says how far the plan is."""
TREATMENTS: tuple[str, ...] = get_args(Treatment)
UNITS: tuple[str, ...] = get_args(Unit)

SHARED = N_("{treatments} treatments share the error: each is read at alpha {alpha:.4f}.")
SHORT = N_("Even {weeks} weeks reach a power of {power:.0%} only; the smallest effect they show is {detectable:.4g}.")
CUPED = N_("What units did before explains {explained:.0%} of the variance; so many fewer units are needed.")
CLUSTERED = N_("Units in one cluster are alike (correlation {correlation:.2f}): {effect:.1f} times as many are needed.")
NO_LENGTH = N_(
    "experiment {experiment} is analysed by the method {method} and all its units take part from the start, so their "
    "number does not tell how far it is: give the number of weeks that it will run"
)
SOONER = N_(
    "If the effect is there, {looks} readings at equal distances show it after {share:.0%} of the time on average."
)


@dataclass(frozen=True)
class Assigned:
    """Units that are known and were drawn with the design; the draw is kept, so that nobody ever moves."""

    units: tuple[str, ...]
    variant: tuple[int, ...]
    cluster: tuple[str, ...] = ()
    """Category or region of each unit; empty: none."""
    saturation: tuple[float, ...] = ()
    """Two-stage draws: share of the unit's cluster that is treated."""


@dataclass(frozen=True)
class Design:
    """An experiment before it starts."""

    name: str
    treatment: Treatment
    unit: Unit
    draw: Draw
    metrics: tuple[Mapping[str, Any], ...]
    """As `experiments.measure.metric_from` reads them; the first one decides."""
    split: Split
    plan: AnalysisPlan
    rule: DecisionRule
    sizing: Sizing
    outcome: Outcome | None = None
    """What history said of the deciding metric."""
    assigned: Assigned | None = None
    """Draws other than by hash."""
    switchback: SwitchbackPlan | None = None
    budget: float | None = None
    """Money that the cells of a budget split share."""
    promise_scale: float | None = None
    """Effect for each unit times this is money over the proposal's horizon: what the promise is compared with."""
    notes: tuple[Reason, ...] = ()
    stratum: str | None = None
    """Column for post-stratification: each stratum weighs what it has of all units."""
    cluster: str | None = None
    """Column of what is hashed, so that its units are together; the sizing counts units, the plan clusters."""
    checks: tuple[Check, ...] = ()
    """What history said of the method before the start, such as its A/A replay."""
    wanted_power: float = 0.8
    """Chance of seeing the effect that was asked for; `sizing.power` is what is reached."""
    correction: Correction = "none"
    """Of the p-values over goals and treatments; the rule's metric decides by its interval, guardrails by theirs."""
    convention: Convention = "delta"
    """Which relative effect is named first."""

    def __post_init__(self) -> None:
        require_lawful(self.treatment, self.unit)
        if self.draw in WATCHED and self.plan.method != "fixed" and not self.sizing.weeks:
            raise ProblemError(Reason(NO_LENGTH, {"experiment": self.name, "method": self.plan.method}))
        if self.draw in DRAWN:
            _require_readable(self)


def _require_readable(design: Design) -> None:
    """Refuse what the analysis of a price test, a switchback or a budget split would pass over.

    Raises:
        ProblemError: a metric is more than a mean for each unit.
    """
    kind = design.draw.replace("_", " ")
    for metric in design.metrics:
        asked = sorted(key for key in ("where", "window", "winsorise", "margin") if metric.get(key))
        if metric.get("kind", "mean") not in {"mean", "proportion", "profit"}:
            asked.append(f"kind {metric['kind']}")
        if not isinstance(metric.get("covariate", ""), str | None):
            asked.append("a covariate that is no column")
        if asked:
            raise ProblemError(
                Reason(
                    "metric {metric!r} asks for {asked}; a {kind} compares means, proportions and profits of a "
                    "column, as it stands",
                    {"metric": metric.get("name"), "asked": ", ".join(asked), "kind": kind},
                )
            )


def require_lawful(treatment: str, unit: str) -> None:
    """Refuse to show two people two prices.

    Raises:
        ProblemError: prices would be randomised over customers, or a word is unknown.
    """
    if treatment not in TREATMENTS or unit not in UNITS:
        raise ProblemError(
            Reason(
                "treatment {treatment!r} over {unit!r}: treatments are {treatments}; units {units}",
                {"treatment": treatment, "unit": unit, "treatments": ", ".join(TREATMENTS), "units": ", ".join(UNITS)},
            )
        )
    if treatment == "price" and unit == "customer":
        raise ProblemError(
            N_(
                "prices are never randomised over customers: two people would see two prices for one thing; randomise "
                "products, stores or time"
            )
        )


def require_nobody_moves(before: Design, after: Design) -> None:
    """Make sure that a new version of a running design leaves every unit where it is.

    More units may come in (a larger coverage, a wider slice of the layer); size, plan, rule and metrics may change.

    Raises:
        ProblemError: somebody who takes part would change variant or drop out; says what to keep.
    """
    changed = [
        name
        for name, old, new in (
            ("treatment", before.treatment, after.treatment),
            ("unit", before.unit, after.unit),
            ("draw", before.draw, after.draw),
            ("drawn units", before.assigned, after.assigned),
            ("cluster", before.cluster, after.cluster),
            ("seed", before.split.seed, after.split.seed),
            ("weights", before.split.weights, after.split.weights),
            ("hash version", before.split.version, after.split.version),
            ("ranges", before.split.ranges, after.split.ranges),
            ("holdouts", before.split.holdouts, after.split.holdouts),
            ("target", before.split.target, after.split.target),
        )
        if old != new
    ]
    if after.split.coverage < before.split.coverage:
        changed.append("coverage (smaller)")
    if not _within(before.split.layer, after.split.layer):
        changed.append("layer")
    if changed:
        raise ProblemError(
            Reason(
                "experiment {experiment!r} runs, and the new version would move units ({changed}); keep these, "
                "or end it and design another under a new name",
                {"experiment": before.name, "changed": ", ".join(changed)},
            )
        )


def _within(before: Slice | None, after: Slice | None) -> bool:
    """Whether all units of a slice are in another."""
    if before is None or after is None:
        return after is None
    return before.layer == after.layer and after.low <= before.low and before.high <= after.high


def plan_for(
    method: Method, *, alpha: float, units: int, looks: int, spending: Spending = "obrien_fleming"
) -> AnalysisPlan:
    """How an experiment of `units` will be read: once, at some looks, or at any time."""
    return AnalysisPlan(method, alpha, spending, planned_units=units, looks=1 if method == "fixed" else looks)


def design_arriving(
    name: str,
    outcome: Outcome,
    arrived: npt.ArrayLike,
    effect: float,
    *,
    treatment: Treatment,
    metrics: Sequence[Mapping[str, Any]],
    unit: Unit = "customer",
    split: Split | None = None,
    method: Method = "fixed",
    looks: int = 5,
    spending: Spending = "obrien_fleming",
    alpha: float = 0.05,
    power: float = 0.8,
    guardrails: Sequence[Guardrail] = (),
    rule: DecisionRule | None = None,
    promise_scale: float | None = None,
    cluster: str | None = None,
) -> Design:
    """Design an experiment whose units turn up one by one and are put in variants by their hash.

    Args:
        name: of the experiment; the seed of its split, where none is given.
        outcome: what history says of the deciding metric.
        arrived: (weeks,) distinct units by the end of each week of a test, from history.
        effect: absolute difference for each unit that must not be missed.
        treatment: what is tried.
        metrics: as data, the deciding one first.
        unit: what is randomised.
        split: how; None: halves of everybody.
        method: how it is read.
        looks: planned readings, unless it is read once.
        spending: how a group-sequential plan spends its error over the looks.
        alpha: 1 - confidence, of all treatments together.
        power: wanted.
        guardrails: metrics that may not get worse.
        rule: how the result decides; None: the usual rule with these guardrails.
        promise_scale: see `Design`.
        cluster: column of what is randomised together, such as the household; `outcome` knows how alike its units are.

    Raises:
        ProblemError: prices over customers, or what `required_units` refuses.
    """
    require_lawful(treatment, unit)
    split = split or Split(name)
    weights = split.weights
    own_alpha, shared = share_alpha(alpha, weights)
    draft = plan_for(method, alpha=alpha, units=1_000_000, looks=looks, spending=spending)
    needed = required_units(outcome, effect, draft, power=power, weights=weights)
    weeks = weeks_until(needed, arrived, coverage=split.coverage)
    units = needed if weeks is not None else int(np.asarray(arrived)[-1] * split.coverage)
    reached = power_at(outcome, effect, units, draft, weights=weights)
    smallest = detectable_effect(outcome, units, draft, power=power, weights=weights)
    randomised = units if cluster is None else max(2, round(units / outcome.cluster_size))
    higher = bool(metrics[0].get("higher_is_better", True))
    notes = (*shared, *notes_on(outcome))
    if weeks is None:
        values = {"weeks": np.asarray(arrived).size, "power": reached, "detectable": smallest}
        notes = (*notes, Reason(SHORT, values))
    return Design(
        name=name,
        treatment=treatment,
        unit=unit,
        draw="hash",
        metrics=tuple(metrics),
        split=split,
        plan=plan_for(method, alpha=own_alpha, units=randomised, looks=looks, spending=spending),
        rule=rule or usual_rule(str(metrics[0]["name"]), effect, guardrails, higher_is_better=higher),
        sizing=Sizing(units, weeks, effect, reached, smallest),
        outcome=outcome,
        promise_scale=promise_scale,
        cluster=cluster,
        notes=notes,
    )


def share_alpha(alpha: float, weights: Sequence[float]) -> tuple[float, tuple[Reason, ...]]:
    """Error probability of each treatment, so that all together keep `alpha` (Bonferroni), with a note on it.

    The rule decides on each treatment by its interval, so the intervals themselves have to share the error.
    """
    treatments = len(weights) - 1
    if treatments < 2:
        return alpha, ()
    return alpha / treatments, (Reason(SHARED, {"treatments": treatments, "alpha": alpha / treatments}),)


def usual_rule(
    metric: str, effect: float, guardrails: Sequence[Guardrail] = (), *, higher_is_better: bool = True
) -> DecisionRule:
    """Ship what gains, roll back what harms, stop what can no longer show the planned effect (below one in ten)."""
    return DecisionRule(metric, higher_is_better, guardrails=tuple(guardrails), planned_effect=abs(effect))


def sooner(plan: AnalysisPlan, share: float) -> tuple[Reason, ...]:
    """Say after which share of the time the readings end the test on average; nothing of a plan that is read once."""
    return () if plan.method == "fixed" else (Reason(SOONER, {"looks": plan.looks, "share": share}),)


def notes_on(outcome: Outcome) -> tuple[Reason, ...]:
    """Say what history does to the size."""
    notes: list[Reason] = []
    if outcome.explained >= 0.005:
        notes.append(Reason(CUPED, {"explained": outcome.explained}))
    if outcome.design_effect > 1.01:
        values = {"correlation": outcome.correlation, "effect": outcome.design_effect}
        notes.append(Reason(CLUSTERED, values))
    return tuple(notes)


def record_of(design: Design) -> dict[str, Any]:
    """A design as plain data."""
    record: dict[str, Any] = plain(design)
    return record


def design_from(record: Mapping[str, Any]) -> Design:
    """A design from the plain data that `record_of` made.

    Raises:
        ProblemError: something is missing, or unknown: the record was not made by this version.
    """
    try:
        return Design(**{name: _part(name, value) for name, value in record.items()})
    except (TypeError, KeyError, AttributeError) as error:
        raise ProblemError(
            Reason(
                "the stored design cannot be read ({error}); it was not made by `experiment design`", {"error": error}
            )
        ) from error


def _part(name: str, value: Any) -> Any:  # noqa: ANN401 - one field of the record
    if value is None:
        return None
    readers: Mapping[str, Any] = {
        "split": _split_from,
        "plan": lambda given: AnalysisPlan(**given),
        "rule": _rule_from,
        "sizing": lambda given: Sizing(**given),
        "outcome": lambda given: Outcome(**given),
        "assigned": lambda given: Assigned(**{key: tuple(part) for key, part in given.items()}),
        "switchback": lambda given: SwitchbackPlan(**given),
        "metrics": tuple,
        "notes": lambda given: tuple(_reason_from(one) for one in given),
        "checks": lambda given: tuple(Check(**{**one, "reason": _reason_from(one["reason"])}) for one in given),
    }
    return readers[name](value) if name in readers else value


def _reason_from(record: Mapping[str, Any]) -> Reason:
    return Reason.of(record["code"], record["values"])


def _split_from(record: Mapping[str, Any]) -> Split:
    given = dict(record)
    ranges = given.get("ranges")
    return Split(
        **given
        | {
            "weights": tuple(given["weights"]),
            "ranges": None if ranges is None else tuple((low, high) for low, high in ranges),
            "layer": None if given.get("layer") is None else Slice(**given["layer"]),
            "holdouts": tuple(Holdout(**one) for one in given.get("holdouts", ())),
        }
    )


def _rule_from(record: Mapping[str, Any]) -> DecisionRule:
    waiting = record.get("waiting")
    parts = {
        "guardrails": tuple(Guardrail(**one) for one in record["guardrails"]),
        "waiting": None if waiting is None else Waiting(**waiting),
    }
    return DecisionRule(**dict(record) | parts)
