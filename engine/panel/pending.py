"""Price cuts at the end of the data: promotions that will end, or new everyday prices? The shop's own past decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.panel.record import Bools, Floats, Ints
from engine.panel.references import LONGEST_PROMOTION, filled

SAME = 0.005
"""Prices within this share of each other are one level."""
DEPTH_STEP = 0.01
DEPTHS = 100
BANDWIDTH = 0.03
"""Depths (log price) within about this much of each other are alike."""


@dataclass(frozen=True)
class _Runs:
    """R stretches of weeks at one price."""

    row: Ints
    begin: Ints
    end: Ints
    """First week after the stretch."""
    depth: Floats
    """Log of the everyday price over the price in its first week."""
    step: Floats
    """Log of the everyday price before over that in its first week: positive where the everyday price was cut."""
    flagged: Bools
    """In the leaflet or on display."""

    @property
    def length(self) -> Ints:
        """(R,) weeks, 4 standing for more."""
        weeks: Ints = np.minimum(self.end - self.begin, LONGEST_PROMOTION)
        return weeks


def settle_pending(reference: Floats, price: Floats, seen: Bools, flags: Floats) -> Floats:
    """Decide, for each price below the everyday price in the last week, whether it is the new everyday price.

    Two kernel counts over all series of the shop whose fate is known: past prices below the everyday price that were
    as deep, and had held for as long; and past cuts of the everyday price that were as deep. Where the cuts are more,
    the price in force becomes the everyday price from the week it appeared (a naive Bayes rule on depth and age).
    A price that is advertised is compared with nothing: it is a promotion.

    Args:
        reference: (S, T) everyday prices of `everyday_reference`, NaN where there is none yet.
        price: (S, T) money per unit.
        seen: (S, T) False where the price is not known.
        flags: (S, T) leaflet or display, 0…1; zeros where not logged.

    Returns:
        (S, T) everyday prices.
    """
    path = filled(np.where(seen, price, np.nan))
    usable = np.flatnonzero(np.isfinite(path).all(axis=1) & np.isfinite(reference).any(axis=1))
    out = reference.copy()
    if not len(usable) or path.shape[1] < 2:
        return out
    weeks = path.shape[1]
    runs = _level_runs(path[usable], filled(reference[usable]), flags[usable])
    low = runs.depth > SAME
    known = (runs.begin > 0) & (runs.end <= weeks - LONGEST_PROMOTION - 1)
    pending = np.flatnonzero(low & (runs.end == weeks) & ~runs.flagged)
    promotions = _alike(runs, low & known & ~runs.flagged, runs.depth)
    cuts = _alike(runs, ~low & known & (runs.step > SAME), runs.step)
    for k in pending:
        at = int(runs.length[k]) - 1, _bin(runs.depth[k : k + 1])[0]
        if cuts[at] > promotions[at]:
            row, begin = usable[runs.row[k]], runs.begin[k]
            out[row, begin:] = path[row, begin:]
    return out


def _level_runs(path: Floats, reference: Floats, flags: Floats) -> _Runs:
    logs = np.log(path)
    starts = np.ones(path.shape, dtype=bool)
    starts[:, 1:] = np.abs(np.diff(logs, axis=1)) > SAME
    row, begin = np.nonzero(starts)
    end = np.append(begin[1:], 0)
    end[np.append(row[1:] != row[:-1], True)] = path.shape[1]
    everyday = np.log(reference)
    before = everyday[row, np.maximum(begin - 1, 0)]
    advertised = np.maximum.reduceat(flags.ravel(), row * path.shape[1] + begin) > 0.5
    return _Runs(row, begin, end, everyday[row, begin] - logs[row, begin], before - everyday[row, begin], advertised)


def _alike(runs: _Runs, chosen: Bools, depth: Floats) -> Floats:
    """(4, 100) kernel counts by age and depth: the chosen runs that held for that age, and were about as deep."""
    counts = np.zeros((LONGEST_PROMOTION, DEPTHS))
    np.add.at(counts, (runs.length[chosen] - 1, _bin(depth[chosen])), 1.0)
    held = np.cumsum(counts[::-1], axis=0)[::-1]
    apart = (np.arange(DEPTHS)[:, None] - np.arange(DEPTHS)) * DEPTH_STEP
    out: Floats = held @ np.exp(-0.5 * (apart / BANDWIDTH) ** 2)
    return out


def _bin(depth: Floats) -> npt.NDArray[np.int64]:
    return np.clip(np.round(depth / DEPTH_STEP), 0, DEPTHS - 1).astype(np.int64)
