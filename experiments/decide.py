"""What to do with an experiment: by a rule that was written before it started.

The rule reads the interval that is valid at this moment, and nothing else: first whether the result can be trusted,
then harm, then gain, then whether going on can still change the answer, then whether going on is worth its price.
Every decision comes with the sentences that led to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import stats

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.sequential import AnalysisPlan, rejection_boundary

Action = Literal["ship", "roll back", "go on", "stop", "look into it"]
ACTIONS: tuple[str, ...] = (N_("ship"), N_("roll back"), N_("go on"), N_("stop"), N_("look into it"))
"""Ship the treatment; roll back, as it does harm; go on; stop, keeping the control; look into what is not trusted."""

_EFFECT = "{metric}: {estimate:+.4g} for each unit, between {low:+.4g} and {high:+.4g}"
_UNTRUSTWORTHY = "The result cannot be trusted: {why}. No decision rests on it; find the cause, then begin again."
_HARM = "{metric} is worse, and not by chance."
_GUARDRAIL_BROKEN = "Guardrail {metric}: the loss is larger than the {margin:.1%} that was agreed on."
_GUARDRAIL_OPEN = "Guardrail {metric}: a loss of {margin:.1%} cannot be ruled out yet."
_GAIN = "{metric} gains more than {smallest:.4g}, and not by chance."
_TOO_SMALL = "{metric} changes by less than {smallest:.4g}: not worth a launch."
_EARLY = "This is reading at {fraction:.0%} of the plan; the plan decides at its end only."
_FUTILE = "Even if the planned effect were true, the chance of showing it by the end is {chance:.0%}."
_OPEN = "The answer is still open at {fraction:.0%} of the plan."
_NOTHING_SHOWN = "The plan is at its end and no gain was shown."
_GUARDRAILS_UNPROVEN = "The plan is at its end, and a guardrail could not be cleared."
_WAITING = (
    "Another {weeks:.1f} weeks cost {cost:,.0f}; knowing the effect exactly would be worth {worth:,.0f} at most, so "
    "the better guess is taken now."
)


@dataclass(frozen=True)
class Guardrail:
    """A metric that may not get worse by more than `margin`, a share of the control's value."""

    metric: str
    margin: float
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise ProblemError(
                Reason(
                    "guardrail {metric!r}: margin {margin:g}; give a share such as 0.02",
                    {"metric": self.metric, "margin": self.margin},
                )
            )


@dataclass(frozen=True)
class Waiting:
    """What it costs to go on, and how much the answer decides."""

    cost_a_week: float
    """Money that one more week of the test costs."""
    units_decided: float
    """Units to which the decision will apply, so that effect times units is money."""

    def __post_init__(self) -> None:
        if not self.cost_a_week >= 0 or not self.units_decided > 0:
            raise ProblemError(
                Reason(
                    "waiting costs {cost_a_week:g} a week and decides for {units_decided:g} units; give a cost "
                    "of at least 0 and a positive number of units",
                    {"cost_a_week": self.cost_a_week, "units_decided": self.units_decided},
                )
            )


@dataclass(frozen=True)
class DecisionRule:
    """Written before the start, stored with the design."""

    metric: str
    """The one that decides, such as profit net of coupon cost."""
    higher_is_better: bool = True
    smallest_gain: float = 0.0
    """Gain for each unit that a launch is worth; the interval must lie above it."""
    guardrails: tuple[Guardrail, ...] = ()
    futility: float | None = 0.1
    """Stop when the chance of showing the planned effect falls below this; None: never. Does not add false gains."""
    planned_effect: float | None = None
    """Effect that the size was planned for; futility needs it."""
    waiting: Waiting | None = None
    """Given, the better guess is taken once going on costs more than the answer is worth. Such a decision is a bet: its
    interval may hold no effect."""


@dataclass(frozen=True)
class Observed:
    """A metric as read now: treatment less control for each unit, with the interval that is valid now.

    Before the end of a plan that is read once that is a confidence sequence; harm is acted on then, a gain is not.
    """

    metric: str
    estimate: float
    low: float
    high: float
    standard_error: float
    control: float = 0.0
    """Value of the metric in the control group; guardrails need it."""


@dataclass(frozen=True)
class Reading:
    """One look at an experiment."""

    metrics: tuple[Observed, ...]
    units: int
    """Units of all variants together; time, where the plan's end is counted in time."""
    trustworthy: bool = True
    doubts: tuple[Reason, ...] = ()
    """Why it is not trustworthy."""

    def of(self, metric: str) -> Observed:
        """Find a metric.

        Raises:
            ProblemError: it was not read.
        """
        for one in self.metrics:
            if one.metric == metric:
                return one
        raise ProblemError(
            Reason(
                "metric {metric!r} was not read; there are {known}",
                {"metric": metric, "known": ", ".join(one.metric for one in self.metrics)},
            )
        )


@dataclass(frozen=True)
class Verdict:
    """What to do, and why."""

    action: Action
    reasons: tuple[Reason, ...]
    chance: float | None
    """Chance of showing the planned effect by the end (conditional power); None where there is no plan for it."""


def decide(rule: DecisionRule, plan: AnalysisPlan, reading: Reading, weeks_left: float | None = None) -> Verdict:
    """Apply the rule to a reading.

    Args:
        rule: written before the start.
        plan: how the experiment is read; its `planned_units` are the end.
        reading: what is seen now.
        weeks_left: to the planned end; without it waiting is not weighed.

    Raises:
        ProblemError: a metric of the rule was not read, or an interval is not finite.
    """
    primary = _signed(reading.of(rule.metric), rule.higher_is_better)
    seen = tuple(_effect_sentence(reading.of(name)) for name in (rule.metric, *(g.metric for g in rule.guardrails)))
    if not reading.trustworthy:
        doubts = reading.doubts or (Reason(N_("a trust check failed")),)
        return Verdict("look into it", (*(Reason(_UNTRUSTWORTHY, {"why": why}) for why in doubts), *seen), None)
    fraction = plan.fraction(reading.units)
    chance = _chance(rule, plan, primary, fraction)
    action, why = _act(rule, plan, reading, primary, fraction, chance, weeks_left)
    return Verdict(action, (*why, *seen), chance)


def _act(
    rule: DecisionRule,
    plan: AnalysisPlan,
    reading: Reading,
    primary: Observed,
    fraction: float,
    chance: float | None,
    weeks_left: float | None,
) -> tuple[Action, list[Reason]]:
    broken, still_open = _guardrails(rule, reading)
    if broken:
        return "roll back", broken
    if primary.high < 0:
        return "roll back", [Reason(_HARM, {"metric": rule.metric})]
    if plan.method == "fixed" and fraction < 1.0:
        return "go on", [Reason(_EARLY, {"fraction": fraction})]
    at_end = fraction >= 1.0
    if primary.low > rule.smallest_gain:
        gain = Reason(_GAIN, {"metric": rule.metric, "smallest": rule.smallest_gain})
        if not still_open:
            return "ship", [gain]
        end = Reason(_GUARDRAILS_UNPROVEN)
        return ("stop", [end, *still_open]) if at_end else ("go on", [gain, *still_open])
    return _unproven(rule, primary, fraction, chance, still_open, weeks_left)


def _unproven(
    rule: DecisionRule,
    primary: Observed,
    fraction: float,
    chance: float | None,
    still_open: list[Reason],
    weeks_left: float | None,
) -> tuple[Action, list[Reason]]:
    """Neither gain nor harm is shown: whether it is worth going on."""
    if primary.high < rule.smallest_gain:
        return "stop", [Reason(_TOO_SMALL, {"metric": rule.metric, "smallest": rule.smallest_gain})]
    if fraction >= 1.0:
        return "stop", [Reason(_NOTHING_SHOWN)]
    if rule.futility is not None and chance is not None and chance < rule.futility:
        return "stop", [Reason(_FUTILE, {"chance": chance})]
    if rule.waiting is not None and weeks_left is not None and not still_open:
        cost, worth = rule.waiting.cost_a_week * weeks_left, answer_worth(rule, primary, rule.waiting.units_decided)
        if cost > worth:
            better: Action = "ship" if primary.estimate > rule.smallest_gain else "stop"
            return better, [Reason(_WAITING, {"weeks": weeks_left, "cost": cost, "worth": worth})]
    return "go on", [Reason(_OPEN, {"fraction": fraction}), *still_open]


def _guardrails(rule: DecisionRule, reading: Reading) -> tuple[list[Reason], list[Reason]]:
    """Guardrails that are broken, and those that could still be."""
    broken, still_open = [], []
    for guardrail in rule.guardrails:
        seen = _signed(reading.of(guardrail.metric), guardrail.higher_is_better)
        values = {"metric": guardrail.metric, "margin": guardrail.margin}
        bearable = guardrail.margin * abs(seen.control)
        if seen.high < -bearable:
            broken.append(Reason(_GUARDRAIL_BROKEN, values))
        elif seen.low <= -bearable:
            still_open.append(Reason(_GUARDRAIL_OPEN, values))
    return broken, still_open


def answer_worth(rule: DecisionRule, primary: Observed, units_decided: float) -> float:
    """Expected gain of knowing the effect exactly over taking the better guess now, money (Raiffa and Schlaifer 1961).

    The effect is taken as normal around the estimate; `primary` is signed so that more is better.
    """
    ahead = abs(primary.estimate - rule.smallest_gain) / primary.standard_error
    loss = float(stats.norm.pdf(ahead) - ahead * stats.norm.sf(ahead))
    return units_decided * primary.standard_error * loss


def conditional_power(plan: AnalysisPlan, z: float, fraction: float, drift: float) -> float:
    """Chance that the plan's last look shows a gain, given z now and the planned effect (Lan and Wittes 1988).

    Args:
        plan: the analysis plan.
        z: estimate over standard error now, signed so that more is better.
        fraction: information fraction now, below 1.
        drift: expected z at the end under the planned effect.
    """
    critical = _critical_at_end(plan, fraction)
    left = 1.0 - fraction
    ahead = z * math.sqrt(fraction) + drift * left
    return float(stats.norm.sf((critical - ahead) / math.sqrt(left)))


@lru_cache(maxsize=256)
def _critical_at_end(plan: AnalysisPlan, fraction: float) -> float:
    """Critical z at the planned end, when the reading before it is at `fraction`."""
    return float(rejection_boundary(plan, [fraction, 1.0])[-1])


def _chance(rule: DecisionRule, plan: AnalysisPlan, primary: Observed, fraction: float) -> float | None:
    if rule.planned_effect is None or not 0.0 < fraction < 1.0 or plan.planned_units is None:
        return None
    z = primary.estimate / primary.standard_error
    drift = abs(rule.planned_effect) / primary.standard_error / math.sqrt(fraction)
    return conditional_power(plan, z, fraction, drift)


def _signed(seen: Observed, higher_is_better: bool) -> Observed:
    """Turn a metric so that more is better.

    Raises:
        ProblemError: a figure is not finite.
    """
    numbers = (seen.estimate, seen.low, seen.high, seen.standard_error)
    if not np.all(np.isfinite(numbers)) or seen.standard_error <= 0:
        raise ProblemError(
            Reason(
                "metric {metric!r} was read as {numbers}; a decision needs finite figures and an error",
                {"metric": seen.metric, "numbers": numbers},
            )
        )
    if higher_is_better:
        return seen
    return Observed(seen.metric, -seen.estimate, -seen.high, -seen.low, seen.standard_error, seen.control)


def _effect_sentence(seen: Observed) -> Reason:
    values = {"metric": seen.metric, "estimate": seen.estimate, "low": seen.low, "high": seen.high}
    return Reason(_EFFECT, values)


def in_words(verdict: Verdict) -> Iterator[str]:
    """The verdict in English, a sentence at a time."""
    return (reason.english() for reason in verdict.reasons)
