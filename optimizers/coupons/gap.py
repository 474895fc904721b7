"""The relative gap of a plan."""

from __future__ import annotations

import math


def relative_gap(objective: float, bound: float) -> float:
    """(bound - objective) / |bound|, never negative; 0 where both agree, infinite where only the bound is 0."""
    if bound <= objective:
        return 0.0
    return (bound - objective) / abs(bound) if bound else math.inf
