"""Runs of zero sales that a product which sells cannot have by chance: it was not on the shelf."""

from __future__ import annotations

import numpy as np

from engine.panel.record import Bools, Floats

TAIL_PROBABILITY = 1e-4
TRAILING_WEEKS = 26
MIN_HISTORY = 6
CAUTION = 2.0
"""The dispersion is taken this many standard errors above its estimate."""
MAX_WEEKS_AT_END = 3
"""A longer run that reaches the end of the data may be a product taken off the list, not one that will come back."""


def improbable_zero_runs(units: Floats, observed: Bools) -> Bools:
    """Cells in runs of zeros whose probability is below 1e-4.

    The count of a week is negative binomial with the mean m of the last 26 observed weeks before the run and a
    dispersion a two standard errors above their method-of-moments estimate: -log P(0) = log(1 + a m) / a. As m itself
    comes from n weeks only, k weeks in a row have the predictive probability P(0)^(n log(1 + k / n)), which for
    Poisson counts is that of a gamma posterior, (n / (n + k))^(n m).

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
        if _log_zeros(before, end - begin) < np.log(TAIL_PROBABILITY):
            marked[weeks[begin:end]] = True
            good[begin:end] = False


def _log_zeros(counts: Floats, weeks: int) -> float:
    """Log-probability of a run of weeks without a sale after these counts."""
    mean, n = float(counts.mean()), len(counts)
    if mean <= 0:
        return 0.0
    excess = (float(counts.var(ddof=1)) - mean) / mean**2
    excess = max(excess, 0.0) + CAUTION * np.sqrt(2.0 / (n - 1)) * (1.0 / mean + max(excess, 0.0))
    weekly = np.log1p(excess * mean) / excess
    return -float(n * weekly * np.log1p(weeks / n))
