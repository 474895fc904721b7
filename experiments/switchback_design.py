"""The design of a switchback: its schedule is drawn with it and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError, ProblemError
from engine.proposal import N_, Reason
from experiments.assign import Split
from experiments.decide import Guardrail
from experiments.design import SHORT, Assigned, Design, Treatment, plan_for, require_lawful, sooner, usual_rule
from experiments.few_units import FewLooks, require_enough
from experiments.power import Sizing
from experiments.randomise import seeded
from experiments.sequential import AnalysisPlan, Method, Spending
from experiments.switchback import SwitchbackPlan, draw_switchback, plan_switchback

_PERIODS = N_("Each region switches on and off in periods of {length} steps; the first {burn_in} of each are left out.")
_ONE_PAIR = N_(
    "{steps} steps hold a single pair of periods of {shortest} or more: there is nothing to read before the end; take "
    "shorter periods, more steps, or one reading"
)


def design_switchback(
    name: str,
    regions: Sequence[str],
    history: npt.ArrayLike,
    *,
    steps: int | None = None,
    effect: float,
    felt: Sequence[float],
    treatment: Treatment,
    metrics: Sequence[Mapping[str, Any]],
    guardrails: Sequence[Guardrail] = (),
    lengths: Sequence[int] | None = None,
    method: Method = "fixed",
    looks: int = 5,
    spending: Spending = "obrien_fleming",
    alpha: float = 0.05,
    power: float = 0.8,
) -> Design:
    """Design a switchback.

    Every pair of periods that is over tells as much as any other, and one that is not tells nothing: several readings
    come after whole pairs, and the pairs run over those planned are the information fraction.

    Args:
        name: of the experiment; it seeds the schedule.
        regions: that switch, each by its own schedule.
        history: (regions, past steps) the deciding metric.
        steps: of the test in each region; None: the fewest that show the effect with the power, at most as many as
            history has.
        effect: for each region and step that must not be missed.
        felt: share of the state before that is still felt, by step since the switch (`plan_switchback`).
        treatment: what is switched.
        metrics: as data, the deciding one first.
        guardrails: metrics that may not get worse.
        lengths: periods to consider, in steps.
        method: how it is read.
        looks: planned readings, unless it is read once; no more than there are pairs of periods in a region.
        spending: how a group-sequential plan spends its error over the looks.
        alpha: 1 - confidence.
        power: wanted.

    Raises:
        ProblemError: history is not finite or too short, or several readings of a single pair of periods.
        InfeasibleError: no period outlasts the carry-over.
    """
    require_lawful(treatment, "time")

    def planned(steps: int) -> _Planned:
        periods = lengths if method == "fixed" else _often_enough(steps, lengths)
        plan = plan_switchback(
            history, steps=steps, effect=effect, felt=felt, lengths=periods, alpha=alpha, power=power
        )
        reading = plan_for(method, alpha=alpha, units=plan.pairs, looks=min(looks, _in_time(plan)), spending=spending)
        return _read_by(plan, reading, effect, power)

    found = planned(steps) if steps is not None else _shortest(planned, np.shape(history)[-1], power)
    plan, reading = found.plan, found.reading
    ran = draw_switchback(plan, seeded(name))[:, :: plan.length]
    assigned = Assigned(
        units=tuple(f"{region}:{period}" for region in regions for period in range(ran.shape[1])),
        variant=tuple(np.ravel(ran).tolist()),
        cluster=tuple(region for region in regions for _ in range(ran.shape[1])),
    )
    notes = [Reason(_PERIODS, {"length": plan.length, "burn_in": plan.burn_in}), *sooner(reading, found.ends)]
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
        plan=reading,
        rule=usual_rule(str(metrics[0]["name"]), effect, guardrails, higher_is_better=higher),
        sizing=Sizing(plan.pairs, None, effect, plan.power, plan.detectable),
        assigned=assigned,
        switchback=plan,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Planned:
    """A schedule, how it is read, and the mean share of its time after which it ends."""

    plan: SwitchbackPlan
    reading: AnalysisPlan
    ends: float


def _shortest(planned: Callable[[int], _Planned], longest: int, power: float) -> _Planned:
    """The plan with the fewest steps whose power is enough; the longest one where none is."""

    def enough(steps: int) -> bool:
        try:
            return planned(steps).plan.power >= power
        except (ProblemError, InfeasibleError):
            return False

    if not enough(longest):
        return planned(longest)
    low, high = 1, longest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return planned(high)


def _often_enough(steps: int, lengths: Sequence[int] | None) -> list[int]:
    """Periods of which two pairs or more follow one another.

    Raises:
        ProblemError: there is none.
    """
    candidates = lengths if lengths is not None else range(1, steps // 4 + 1)
    found = [length for length in candidates if 4 * length <= steps]
    if not found:
        raise ProblemError(Reason(_ONE_PAIR, {"steps": steps, "shortest": min(candidates, default=1)}))
    return found


def _in_time(plan: SwitchbackPlan) -> int:
    """Pairs of periods that follow one another in a region."""
    return plan.steps // (2 * plan.length)


def _read_by(plan: SwitchbackPlan, reading: AnalysisPlan, effect: float, power: float) -> _Planned:
    """The plan with its power and smallest effect under the analysis."""
    if reading.method == "fixed" or plan.standard_error == 0.0:
        return _Planned(plan, reading, 1.0)
    whole = _in_time(plan)
    after = np.unique(np.round(reading.planned_fractions * whole)).astype(int)
    looks = FewLooks(reading, tuple((after / whole).tolist()), tuple((plan.regions * after - 1.0).tolist()))
    require_enough(reading, looks.freedom[-1], units=plan.pairs, what=N_("pairs of periods"))
    drift = abs(effect) / plan.standard_error
    detectable = plan.standard_error * looks.drift_for(power)
    return _Planned(replace(plan, power=looks.power(drift), detectable=detectable), reading, looks.duration(drift))
