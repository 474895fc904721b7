"""Runs of zero sales that a product which sells cannot have by chance: it was not on the shelf."""

from __future__ import annotations

import numpy as np

from engine.panel.record import Bools, Floats

TAIL_PROBABILITY = 1e-4
TRAILING_WEEKS = 13
MIN_HISTORY = 6
MAX_WEEKS_AT_END = 3
"""A longer run that reaches the end of the data may be a product taken off the list, not one that will come back."""


def improbable_zero_runs(units: Floats, observed: Bools) -> Bools:
    """Cells in runs of zeros whose probability is below 1e-4.

    The count of a week is negative binomial with the mean of the last 13 observed weeks before the run and their
    dispersion (method of moments; Poisson where they are not overdispersed): P(0) = (1 + a m)^(-1/a).

    Args:
        units: (S, T) units sold.
        observed: (S, T) cells that count.

    Returns:
        (S, T) True in such a run; False for a run of more than three weeks that reaches the last week.
    """
    marked = np.zeros(units.shape, dtype=bool)
    for s in np.flatnonzero(((units == 0) & observed).any(axis=1) & (units.sum(axis=1) > 0)):
        _mark(units[s], observed[s], marked[s])
    return marked


def _mark(units: Floats, observed: Bools, marked: Bools) -> None:
    weeks = np.flatnonzero(observed)
    counts = units[weeks]
    zero = counts == 0
    edges = np.flatnonzero(np.diff(np.concatenate(([0], zero.astype(np.int8), [0]))))
    good = np.ones(len(weeks), dtype=bool)
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        before = counts[:begin][good[:begin]][-TRAILING_WEEKS:]
        if len(before) < MIN_HISTORY or (end == len(weeks) and end - begin > MAX_WEEKS_AT_END):
            continue
        if (end - begin) * _log_zero(before) < np.log(TAIL_PROBABILITY):
            marked[weeks[begin:end]] = True
            good[begin:end] = False


def _log_zero(counts: Floats) -> float:
    """Log-probability of a week without a sale, negative binomial by moments."""
    mean = float(counts.mean())
    if mean <= 0:
        return 0.0
    excess = (float(counts.var(ddof=1)) - mean) / mean**2
    return -mean if excess <= 1e-9 else -float(np.log1p(excess * mean)) / excess
