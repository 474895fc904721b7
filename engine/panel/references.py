"""The everyday price where the shop does not log it, and carrying prices over weeks without one."""

from __future__ import annotations

import numpy as np

from engine.panel.record import Bools, Floats

LONGEST_PROMOTION = 4
"""A lower price that holds for more weeks than this is the new everyday price, from its first week on."""
HALF_A_CENT = 0.005
WOBBLE = 0.05
LITTLE = 0.03
WOBBLING_SHARE = 0.05
"""Prices wobble where more than this share of the weeks differ from the week before by less than `LITTLE`."""
SMOOTHED_WEEKS = 5


def everyday_reference(price: Floats, seen: Bools, *, wobbles: bool = False) -> Floats:
    """Fill in dips of up to four weeks: what remains is the everyday price.

    The morphological closing of the price path by a flat element of five weeks (Serra 1982): the highest price within
    each window of five weeks, then the lowest of those over the windows that hold the week. A dip is filled up to the
    lower of its two sides; rises and lasting cuts keep their date. A cut in the last four weeks still counts as a dip,
    as only windows wholly inside the data are looked at, so that nothing after the last week is needed.

    Args:
        price: (S, T) money per unit.
        seen: (S, T) False where the price is not known; those cells do not count.
        wobbles: True for prices that are never quite the same (`wobbling`): the median of the neighbouring everyday
            prices within 5 % is taken, since the highest of five noisy prices is too high.

    Returns:
        (S, T) money per unit; NaN before the first price seen.
    """
    width = min(LONGEST_PROMOTION + 1, price.shape[1])
    highest = _windows(np.where(seen, price, -np.inf), width).max(axis=2)
    padded = np.pad(
        np.where(np.isfinite(highest), highest, np.inf), ((0, 0), (width - 1, width - 1)), constant_values=np.inf
    )
    lowest = _windows(padded, width).min(axis=2)
    reference = carried_forward(np.where(np.isfinite(lowest), lowest, np.nan))
    return _smoothed(reference, price, seen) if wobbles else reference


def wobbling(price: Floats, seen: Bools) -> bool:
    """Whether prices (S, T) keep moving a little, as those rebuilt from purchases in several stores do.

    Where every purchase of a week was made at one price, the rebuilt price is exact: it stands still, or makes a step.
    """
    both = seen[:, 1:] & seen[:, :-1]
    before, after = price[:, :-1][both], price[:, 1:][both]
    little = (np.abs(after - before) > HALF_A_CENT) & (np.abs(after - before) < LITTLE * before)
    return bool(little.sum() > WOBBLING_SHARE * len(before))


def _windows(values: Floats, width: int) -> Floats:
    """(S, T - width + 1, width) view."""
    return np.lib.stride_tricks.sliding_window_view(values, width, axis=1)


def _smoothed(reference: Floats, price: Floats, seen: Bools) -> Floats:
    """Centre each week's reference among the undiscounted prices near it in time and height."""
    low = reference * (1 - WOBBLE)
    near = SMOOTHED_WEEKS // 2
    padded = np.pad(np.where(seen & (price >= low), price, np.nan), ((0, 0), (near, near)), constant_values=np.nan)
    around = _windows(padded, SMOOTHED_WEEKS)
    usable = np.abs(around - reference[:, :, None]) <= WOBBLE * reference[:, :, None]
    ordered = np.sort(np.where(usable, around, np.inf), axis=2)
    count = usable.sum(axis=2)
    below, above = np.maximum(count - 1, 0) // 2, count // 2
    middle = [
        np.take_along_axis(ordered, np.minimum(k, SMOOTHED_WEEKS - 1)[:, :, None], axis=2)[:, :, 0]
        for k in (below, above)
    ]
    return np.where(count > 0, (middle[0] + middle[1]) / 2, reference)


def carried_forward(values: Floats) -> Floats:
    """Replace each NaN by the last finite value before it in its row; leading NaN stay."""
    position = np.where(np.isfinite(values), np.arange(values.shape[1]), -1)
    last = np.maximum.accumulate(position, axis=1)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=1), np.nan)


def filled(values: Floats) -> Floats:
    """`carried_forward`, with leading NaN replaced by the first finite value of the row."""
    forward = carried_forward(values)
    return carried_forward(forward[:, ::-1])[:, ::-1]
