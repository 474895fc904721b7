"""The checks of a reading: fetch what they need from the database, and hand it to the package trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engine.errors import ProblemError
from engine.proposal import Reason
from experiments.measure.breakdowns import MISSING
from experiments.measure.components import Components, Prepared
from experiments.measure.intervals import Look
from experiments.measure.reading import Breakdown, Effect
from experiments.measure.units import Inside, count_units
from experiments.statistics.arms import UnreadableError, pair
from experiments.statistics.contrast import contrast
from experiments.statistics.moments import Moments, merge
from experiments.trust.carry_over import check_before, check_independence, check_interaction
from experiments.trust.check import Check
from experiments.trust.outliers import check_miracle, check_outlier
from experiments.trust.sample_ratio import check_sample_ratio, check_segment_ratios


def planned_counts(by_variant: Mapping[int, int], weights: Sequence[float] | None) -> tuple[int, ...]:
    """Randomised units of each variant, control first.

    Raises:
        ProblemError: a weight is not positive, a planned variant has no unit, or a unit is in one that is not planned.
    """
    if weights is not None and (len(weights) < 2 or min(weights) <= 0):
        raise ProblemError(
            Reason(
                "weights {weights}: give one positive share for each of two or more variants",
                {"weights": list(weights)},
            )
        )
    found = 1 + max(by_variant)
    arms = len(weights) if weights is not None else max(2, found)
    counts = tuple(by_variant.get(arm, 0) for arm in range(max(arms, found)))
    if min(counts) == 0 or len(counts) > arms:
        raise ProblemError(
            Reason(
                "variants hold {counts} units for {arms} planned variants; every one needs units",
                {"counts": list(counts), "arms": arms},
            )
        )
    return counts


def count_variants(found: Inside) -> dict[int, int]:
    """Randomised units by variant."""
    return {variant_number(key[0]): count for key, count in count_units(found, [found.units.variant]).items()}


def judge_split(found: Inside, counts: Sequence[int], weights: Sequence[float], look: Look) -> list[Check]:
    """The split of units over variants: overall, by segment, and against those of earlier tests."""
    running = look.interval != "fixed"
    checks = [check_sample_ratio(counts, weights, looked_at_before_the_end=running)]
    for segment in found.units.segments:
        levels: dict[str, list[int]] = {}
        for (variant, level), count in _counted(found, segment).items():
            levels.setdefault(MISSING if level is None else str(level), [0] * len(counts))[variant] = count
        checks.append(check_segment_ratios(levels, weights, segment=segment))
    return [*checks, *(_independence(found, earlier, len(counts)) for earlier in found.units.earlier)]


def _counted(found: Inside, column: str) -> dict[tuple[int, object], int]:
    by_key = count_units(found, [found.units.variant, column])
    return {(variant_number(key[0]), key[1]): count for key, count in by_key.items()}


def variant_number(found: object) -> int:
    """Read the number of a variant.

    Raises:
        ProblemError: it is not a whole number.
    """
    number = float(str(int(found) if isinstance(found, bool) else found))
    if number != int(number):
        raise ProblemError(
            Reason("variant {found!r} is not a whole number; 0 is the control, 1, 2 … the treatments", {"found": found})
        )
    return int(number)


def _independence(found: Inside, earlier: str, variants: int) -> Check:
    counted = {key: count for key, count in _counted(found, earlier).items() if key[1] is not None}
    levels = sorted({str(level) for _, level in counted})
    table = np.zeros((variants, max(1, len(levels))), dtype=np.int64)
    for (variant, level), count in counted.items():
        table[variant, levels.index(str(level))] = count
    return check_independence(earlier, table[table.sum(axis=1) > 0])


def judge_units(
    found: Inside,
    prepared: Prepared,
    groups: Mapping[str, Mapping[int, Moments]],
    effects: Sequence[Effect],
    breakdowns: Sequence[Breakdown],
    look: Look,
) -> list[Check]:
    """Differences before the experiment, carry-over from earlier tests, outliers and miracles."""
    checks: list[Check] = []
    for one in prepared.ready:
        if one.metric.name in groups and found.units.cluster is None:
            checks += _judge_metric(one, prepared, groups[one.metric.name])
    for effect in effects:
        decided = look.is_decisive and effect.p_value <= look.plan.alpha
        miracle = check_miracle(effect.metric, effect.variant, effect.relative, is_decided=decided)
        checks += [] if miracle is None else [miracle]
    interactions = [one for one in breakdowns if one.segment in found.units.earlier]
    return [
        *checks,
        *(check_interaction(one.metric, one.variant, one.segment, one.differ_adjusted_p) for one in interactions),
    ]


def _judge_metric(one: Components, prepared: Prepared, by_variant: Mapping[int, Moments]) -> list[Check]:
    reach = prepared.ranges[one.expressions[0]]
    checks = [check_outlier(one.metric.name, merge(by_variant.values()), reach.low, reach.high)]
    if one.covariate is None or 0 not in by_variant:
        return checks
    for variant in sorted(by_variant.keys() - {0}):
        try:
            before = contrast(pair(by_variant[0], by_variant[variant]), one.covariate)
        except UnreadableError:
            continue  # the metric itself was refused for the same reason, by name
        checks.append(check_before(one.metric.name, variant, before))
    return checks
