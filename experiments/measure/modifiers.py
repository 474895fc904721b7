"""Effects along a number: does the effect grow or shrink with what is known of a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.measure.components import Components
from experiments.measure.effects import Rules
from experiments.measure.reading import Modification, Refusal
from experiments.measure.sums import Components as Expressions
from experiments.measure.sums import Range, read_moments, read_ranges
from experiments.measure.units import Inside
from experiments.statistics.arms import UnreadableError, pair
from experiments.statistics.modification import slope_contrast
from experiments.statistics.moments import Moments


@dataclass(frozen=True)
class Modified:
    """What was read along the modifiers, and what could not be."""

    modifications: tuple[Modification, ...]
    refused: tuple[Refusal, ...]


def read_modifications(
    found: Inside, ready: Sequence[Components], variants: Sequence[int], modifiers: Sequence[str], rules: Rules
) -> Modified:
    """Read how each effect changes along each modifier.

    Metrics with one component are read: means, shares, profits, each unit for itself; ratios and clusters are not.
    """
    modifications: list[Modification] = []
    refused: list[Refusal] = []
    means = [one for one in ready if one.value.denominator is None]
    for modifier in modifiers if found.units.cluster is None else ():
        for one in means:
            by_variant = _moments(found, one, modifier)
            for variant in variants[1:]:
                try:
                    modifications.append(_modification(one, modifier, by_variant, variant, rules))
                except UnreadableError as error:
                    refused.append(Refusal(one.metric.name, variant, error.reason))
    return Modified(tuple(modifications), tuple(refused))


def _moments(found: Inside, one: Components, modifier: str) -> Mapping[int, Moments]:
    """Moments of y, x, xy and x² by variant, x centred; of the units that have both."""
    dialect, warehouse = found.units.warehouse.dialect, found.units.warehouse
    column = dialect.column(modifier)
    outcome = dialect.number(one.expressions[0])
    known = f"CASE WHEN {one.expressions[0]} IS NOT NULL AND {dialect.finite(column)} THEN {dialect.number(column)} END"
    _, ranges = read_ranges(warehouse, found.relation, [known])
    whole = read_moments(warehouse, found.relation, [], {"x": (known,)}, ranges)[()]["x"]
    centred = f"({known} - {dialect.number(f'{float(whole.mean[0]):.17e}')})"
    factors: Expressions = (
        f"CASE WHEN {known} IS NOT NULL THEN {outcome} END",
        centred,
        f"({outcome} * {centred})",
        f"({centred} * {centred})",
    )
    found_ranges: Mapping[str, Range] = read_ranges(warehouse, found.relation, factors)[1]
    groups = read_moments(warehouse, found.relation, [found.units.variant_sql], {"xy": factors}, found_ranges)
    return {int(variant): group["xy"] for (variant,), group in groups.items()}


def _modification(
    one: Components, modifier: str, by_variant: Mapping[int, Moments], variant: int, rules: Rules
) -> Modification:
    nobody = Moments(0, np.zeros(4), np.zeros((4, 4)))
    found = slope_contrast(pair(by_variant.get(0, nobody), by_variant.get(variant, nobody)))
    half = rules.look.multiplier(found.freedom) * found.error
    step = found.slope * found.spread
    return Modification(
        modifier=modifier,
        metric=one.metric.name,
        variant=variant,
        slope=found.slope,
        low=found.slope - half,
        high=found.slope + half,
        p_value=rules.look.p_value(found.slope / found.error, found.freedom),
        effect_below=found.at_mean - step,
        effect_above=found.at_mean + step,
    )
