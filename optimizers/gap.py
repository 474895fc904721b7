"""How far a plan may be from the best, relative to the bound."""

from __future__ import annotations

import math


def relative_gap(objective: float, bound: float | None) -> float:
    """|bound - objective| / |bound|, whichever is larger; 0 where both agree, infinite where nothing divides."""
    if bound is None:
        return math.inf
    if bound == objective:
        return 0.0
    return abs(bound - objective) / abs(bound) if bound else math.inf


def gap_below(objective: float, bound: float) -> float:
    """(bound - objective) / |bound| under an upper bound; 0 where rounding puts the objective above it."""
    return 0.0 if bound <= objective else relative_gap(objective, bound)
