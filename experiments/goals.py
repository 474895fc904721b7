"""Many goals, many treatments: which effects of a reading are more than chance, by the correction of the design.

The metric of the rule decides by its interval, and its treatments share the error (`design.share_alpha`); guardrails
are never corrected, for a harm must not hide behind the number of goals. What is read beside these is corrected here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.design import Design
from experiments.measure import Analysis, Effect
from experiments.reading import Row
from experiments.statistics.multiple import adjust


def rows_of(design: Design, found: Analysis) -> tuple[Row, ...]:
    """The effects of a reading as its rows, corrected as the design says."""
    return tuple(
        Row(
            metric=effect.metric,
            variant=effect.variant,
            estimate=effect.estimate,
            low=effect.low,
            high=effect.high,
            decision=effect.decision,
            p_value=effect.p_value,
            adjusted_p=effect.adjusted_p,
            relatives=effect.relatives,
            posterior=effect.posterior,
        )
        for effect in _corrected(design, found)
    )


def _corrected(design: Design, found: Analysis) -> Sequence[Effect]:
    """Correct over the goals of all treatments, at the error that all treatments have together."""
    if design.correction == "none":
        return found.effects
    guarded = {guardrail.metric for guardrail in design.rule.guardrails}
    guarded |= {str(one["name"]) for one in design.metrics if one.get("margin")}
    goals = [effect for effect in found.effects if effect.metric not in guarded]
    corrected = dict(zip(map(id, goals), adjust([one.p_value for one in goals], design.correction), strict=True))
    alpha = design.plan.alpha * max(1, len(design.split.weights) - 1)
    return [
        _decided(design, effect, corrected[id(effect)], alpha, final=found.final) if id(effect) in corrected else effect
        for effect in found.effects
    ]


def _decided(design: Design, effect: Effect, adjusted: float, alpha: float, *, final: bool) -> Effect:
    if effect.decision == "untrustworthy" or not final:
        return replace(effect, adjusted_p=adjusted)
    if adjusted > alpha:
        return replace(effect, adjusted_p=adjusted, decision="undecided")
    higher = next(bool(one.get("higher_is_better", True)) for one in design.metrics if one["name"] == effect.metric)
    return replace(effect, adjusted_p=adjusted, decision="better" if (effect.estimate > 0) == higher else "worse")
