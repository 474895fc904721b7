"""The design of a switchback: its schedule is drawn with it and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.proposal import N_, Reason
from experiments.assign import Split
from experiments.decide import Guardrail
from experiments.design import SHORT, Assigned, Design, Treatment, require_lawful, usual_rule
from experiments.power import Sizing
from experiments.randomise import seeded
from experiments.sequential import AnalysisPlan
from experiments.switchback import draw_switchback, plan_switchback

_PERIODS = N_("Each region switches on and off in periods of {length} steps; the first {burn_in} of each are left out.")


def design_switchback(
    name: str,
    regions: Sequence[str],
    history: npt.ArrayLike,
    *,
    steps: int,
    effect: float,
    felt: Sequence[float],
    treatment: Treatment,
    metrics: Sequence[Mapping[str, Any]],
    guardrails: Sequence[Guardrail] = (),
    lengths: Sequence[int] | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> Design:
    """Design a switchback; it is read once, at its end.

    Args:
        name: of the experiment; it seeds the schedule.
        regions: that switch, each by its own schedule.
        history: (regions, past steps) the deciding metric.
        steps: of the test in each region.
        effect: for each region and step that must not be missed.
        felt: share of the state before that is still felt, by step since the switch (`plan_switchback`).
        treatment: what is switched.
        metrics: as data, the deciding one first.
        guardrails: metrics that may not get worse.
        lengths: periods to consider, in steps.
        alpha: 1 - confidence.
        power: wanted.

    Raises:
        ProblemError: history is not finite or too short.
        InfeasibleError: no period outlasts the carry-over.
    """
    require_lawful(treatment, "time")
    plan = plan_switchback(history, steps=steps, effect=effect, felt=felt, lengths=lengths, alpha=alpha, power=power)
    ran = draw_switchback(plan, seeded(name))[:, :: plan.length]
    assigned = Assigned(
        units=tuple(f"{region}:{period}" for region in regions for period in range(ran.shape[1])),
        variant=tuple(np.ravel(ran).tolist()),
        cluster=tuple(region for region in regions for _ in range(ran.shape[1])),
    )
    notes = [Reason(_PERIODS, {"length": plan.length, "burn_in": plan.burn_in})]
    if plan.power < power:
        notes.append(Reason(SHORT, {"weeks": plan.steps, "power": plan.power, "detectable": plan.detectable}))
    higher = bool(metrics[0].get("higher_is_better", True))
    return Design(
        name=name,
        treatment=treatment,
        unit="time",
        draw="switchback",
        metrics=tuple(metrics),
        split=Split(name),
        plan=AnalysisPlan("fixed", alpha, planned_units=plan.pairs),
        rule=usual_rule(str(metrics[0]["name"]), effect, guardrails, higher_is_better=higher),
        sizing=Sizing(plan.pairs, None, effect, plan.power, plan.detectable),
        assigned=assigned,
        switchback=plan,
        notes=tuple(notes),
    )
