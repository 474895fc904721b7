"""From the moments of two variants to an effect with its valid interval, and from all effects to decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.measure.components import Components
from experiments.measure.intervals import Look
from experiments.measure.metrics import Metric
from experiments.measure.reading import Decision, Effect, Guardrail
from experiments.statistics.arms import Pair, UnreadableError
from experiments.statistics.contrast import (
    CONVENTIONS,
    Contrast,
    Convention,
    Relative,
    contrast,
    log_freedom,
    relative,
)
from experiments.statistics.multiple import CORRECTIONS, Correction, adjust
from experiments.statistics.posterior import Posterior, Prior, posterior


@dataclass(frozen=True)
class Rules:
    """How effects are read, the same for all metrics; fixed in the design."""

    look: Look
    convention: Convention = "delta"
    correction: Correction = "none"
    prior: Prior | None = None

    def __post_init__(self) -> None:
        """Check the words.

        Raises:
            ProblemError: a convention or correction is unknown.
        """
        if self.convention not in CONVENTIONS:
            raise ProblemError(f"convention {self.convention!r} is unknown; use one of {', '.join(CONVENTIONS)}")
        if self.correction not in CORRECTIONS:
            raise ProblemError(f"correction {self.correction!r} is unknown; use one of {', '.join(CORRECTIONS)}")


def read_effect(one: Components, variants: Pair, variant: int, rules: Rules) -> Effect:
    """Compare a treatment with the control; the decision waits for `decide`.

    Raises:
        UnreadableError: the metric cannot be read on these units.
    """
    found = contrast(variants, one.value, one.covariate)
    multiplier = rules.look.multiplier(found.freedom)
    relatives = _relatives(found, rules.look)
    share = relatives.get(rules.convention)
    return Effect(
        metric=one.metric.name,
        variant=variant,
        control_mean=found.control.raw,
        treatment_mean=found.treatment.raw,
        control_count=variants.control.count,
        treatment_count=variants.treatment.count,
        estimate=found.estimate,
        low=found.estimate - multiplier * found.error,
        high=found.estimate + multiplier * found.error,
        p_value=(p_value := rules.look.p_value(found.z, found.freedom)),
        adjusted_p=p_value,
        relative=share.estimate if share else None,
        relative_low=share.low if share else None,
        relative_high=share.high if share else None,
        decision="undecided",
        error=found.error,
        variance_ratio=found.variance_ratio,
        guardrail=_guardrail(one.metric, share, rules.look),
        posterior=_posterior(one.metric, found, rules),
        relatives=relatives,
    )


def _relatives(found: Contrast, look: Look) -> dict[Convention, Relative]:
    """The relative effect in every convention that has a meaning for these values."""
    positive = found.control.adjusted > 0.0 and found.treatment.adjusted > 0.0
    freedom: dict[Convention, float] = {"delta": found.freedom}
    if positive:
        freedom["log"] = log_freedom(found)
    read = {name: relative(found, name, look.multiplier(degrees)) for name, degrees in freedom.items()}
    return {name: share for name, share in read.items() if share is not None}


def _guardrail(metric: Metric, share: Relative | None, look: Look) -> Guardrail | None:
    """Non-inferiority: the whole interval lies on the good side of the margin (or beyond it)."""
    if metric.margin is None:
        return None
    if share is None:
        raise UnreadableError(Reason(N_("a guardrail's margin is a share of the control's value, which is zero here")))
    return guardrail_verdict(metric, share.low, share.high) if look.is_decisive else "undecided"


def guardrail_verdict(metric: Metric, low: float, high: float) -> Guardrail:
    """Judge the relative interval of a metric with a margin."""
    margin = metric.margin or 0.0
    best, worst = (high, low) if metric.higher_is_better else (-low, -high)
    return "safe" if worst > -margin else "harmed" if best < -margin else "undecided"


def _posterior(metric: Metric, found: Contrast, rules: Rules) -> Posterior | None:
    if rules.prior is None or found.share_error is None:
        return None
    alpha, better = rules.look.plan.alpha, metric.higher_is_better
    share = found.estimate / found.control.raw
    return posterior(share, found.share_error, rules.prior, alpha=alpha, higher_is_better=better)


def decide(effects: Sequence[Effect], metrics: Sequence[Metric], rules: Rules, *, trustworthy: bool) -> list[Effect]:
    """Correct the p-values over all goals and variants, and decide each effect.

    A metric with a margin is a guardrail: it is not corrected, for a harm must not hide behind the number of goals.
    """
    by_name = {metric.name: metric for metric in metrics}
    goals = [place for place, effect in enumerate(effects) if by_name[effect.metric].margin is None]
    adjusted = dict(zip(goals, adjust([effects[place].p_value for place in goals], rules.correction), strict=True))
    return [
        _decided(
            replace(effect, adjusted_p=adjusted.get(place, effect.p_value)), by_name[effect.metric], rules, trustworthy
        )
        for place, effect in enumerate(effects)
    ]


def _decided(effect: Effect, metric: Metric, rules: Rules, trustworthy: bool) -> Effect:
    if not trustworthy:
        return replace(effect, decision="untrustworthy", guardrail=effect.guardrail and "untrustworthy")
    if not rules.look.is_decisive or effect.adjusted_p > rules.look.plan.alpha:
        return effect
    decision: Decision = "better" if (effect.estimate > 0) == metric.higher_is_better else "worse"
    return replace(effect, decision=decision)
