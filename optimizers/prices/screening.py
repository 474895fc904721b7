"""Leave out of a node what cannot be worth more than the target: fixing by reduced costs. Compiled.

Rungs and parts of intervals at which the Lagrangian, bounded by its chord, does not reach the target are left out
(Crowder, Johnson and Padberg, Operations Research, 1983).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.compiled import compiled
from optimizers.prices.kernels import Array, RowArrays, Tables
from optimizers.prices.relaxation import larger_ends, tolled


@compiled()
def ask_all(
    tables: Tables,
    rows: RowArrays,
    place: Array,
    mask: Array,
    ends: Array,
    values: Array,
    units: Array,
    price: Array,
    asked: Array,
    top: Array,
    parts: Array,
) -> None:
    """Fill `asked` (2, n, K), what rungs are worth at both ends, `top` (2, n), the best left, and `parts` (2, nf)."""
    for e in range(2):
        for f in range(parts.shape[1]):
            parts[e, f] = -price[f] * ends[e, f]
        for n in range(mask.shape[0]):
            tolled(tables, rows, place, n, values[e], units[e], price, asked[e, n])
            top[e, n] = -np.inf
            for k in range(mask.shape[1]):
                if mask[n, k]:
                    top[e, n] = max(top[e, n], asked[e, n, k])
            parts[e, tables.family[place[0] + n] - place[2]] += top[e, n]


@compiled()
def screen(
    family: Array,
    mask: Array,
    low: Array,
    high: Array,
    asked: Array,
    top: Array,
    parts: Array,
    rest: float,
    target: float,
) -> Any:  # noqa: ANN401
    """Leave out rungs and ends of intervals.

    With one product held at a rung, or S at a point between the ends, the Lagrangian is bounded as it was: by its
    chord. `family` (n,) counts from 0; `asked`, `top` and `parts` are those of `ask_all`; `rest` is what the bound
    holds besides. Returns the least share that is left of the rungs or of an interval, and a bound on what was left
    out.
    """
    total = rest + larger_ends(parts)
    before, after, left_out = 0, 0, -np.inf
    for n in range(mask.shape[0]):
        f = family[n]
        others = total - max(parts[0, f], parts[1, f])
        for k in range(mask.shape[1]):
            if mask[n, k]:
                before += 1
                held = -np.inf
                for e in range(2):
                    held = max(held, parts[e, f] - top[e, n] + asked[e, n, k])
                if others + held <= target:
                    mask[n, k] = 0
                    left_out = max(left_out, others + held)
                else:
                    after += 1
    kept, cut_off = _cut_intervals(low, high, parts, total, target)
    return min(kept, after / max(before, 1)), max(left_out, cut_off)


@compiled()
def _cut_intervals(low: Array, high: Array, parts: Array, total: float, target: float) -> Any:  # noqa: ANN401
    """Cut off the ends of the intervals where the chord lies below the target; the result is as that of `screen`."""
    kept, left_out = 1.0, -np.inf
    for f in range(low.shape[0]):
        others = total - max(parts[0, f], parts[1, f])
        width = high[f] - low[f]
        down, up = others + parts[0, f], others + parts[1, f]
        if width < 1e-9 or (down <= target) == (up <= target):
            continue
        cut = width * (target - min(down, up)) / abs(up - down)
        left_out = max(left_out, target)
        kept = min(kept, 1 - cut / width)
        if down <= target:
            low[f] += cut
        else:
            high[f] -= cut
    return kept, left_out
