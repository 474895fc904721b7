"""Checks of designs that were drawn as a whole: price tests, stores, switchbacks, budget splits.

Who takes part is known to the last unit, so that nobody can be lost by chance, what ran can be held against what was
drawn, and money can be held against the cell it was given to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.proposal import N_, Reason
from experiments.statistics.moments import moments
from experiments.trust.check import Check, Verdict
from experiments.trust.exposures import TOLERATED
from experiments.trust.outliers import check_outlier
from experiments.trust.sample_ratio import SAMPLE_RATIO_ALPHA

Floats = npt.NDArray[np.float64]

OVERSPENT = 0.05
"""Share of the whole budget that cells may spend beyond theirs before the policies are no longer apart."""


def check_present(present: Sequence[int], drawn: Sequence[int]) -> Check:
    """See whether the units that are missing belong to one arm rather than another (Fisher's exact test).

    Args:
        present: units with values, by arm.
        drawn: units of the design, by arm: two of them.
    """
    lost = [whole - here for whole, here in zip(drawn, present, strict=True)]
    shown = {"count": sum(lost), "units": sum(drawn), "lost": " : ".join(f"{one:,}" for one in lost)}
    if sum(lost) == 0:
        return Check("present", "passed", Reason(N_("all {units} units of the design have values"), shown))
    p_value = float(stats.fisher_exact([lost, list(present)])[1])
    shown["p"] = p_value
    if p_value >= SAMPLE_RATIO_ALPHA:
        text = N_("{count} of the {units} units of the design have no values; they are left out")
        return Check("present", "notice", Reason(text, shown), p_value)
    text = N_(
        "{count} of the {units} units of the design have no values, {lost} by arm (p = {p:.2g}): what is left of the "
        "arms cannot be compared"
    )
    return Check("present", "broken", Reason(text, shown), p_value)


def check_obeyed(other: int, known: int) -> Check:
    """See whether what ran is what was drawn; `other` of `known` units or steps were given another arm."""
    shown = {"count": other, "units": known}
    if other == 0:
        return Check("obeyed", "passed", Reason(N_("what ran is what was drawn"), shown))
    verdict: Verdict = "broken" if other > TOLERATED * known else "notice"
    text = N_("{count} of {units} were given another arm than was drawn for them; they count as drawn")
    return Check("obeyed", verdict, Reason(text, shown))


def check_forgotten(metric: str, felt: int, burn_in: int) -> Check:
    """See whether the burn-in outlasts the carry-over that the test itself shows.

    Args:
        metric: its name.
        felt: steps after a switch for which the state before is still felt, beyond chance.
        burn_in: steps that are left out after a switch.
    """
    shown = {"metric": metric, "felt": felt, "burn_in": burn_in}
    name = f"carry_over:{metric}"
    if felt <= burn_in:
        text = N_("{metric}: what ran before a switch is not felt beyond the steps that are left out")
        return Check(name, "passed", Reason(text, shown))
    text = N_(
        "{metric}: what ran before a switch is felt for {felt} steps and {burn_in} are left out: the effect is "
        "understated; design it again with a longer burn-in"
    )
    return Check(name, "broken", Reason(text, shown))


def forgotten_unknown(metric: str) -> Check:
    """Say that a switchback is too short to see its own carry-over."""
    text = N_("{metric}: too few switches to see what is carried over; the burn-in rests on the design alone")
    return Check(f"carry_over:{metric}", "notice", Reason(text, {"metric": metric}))


def check_purses(spent: npt.ArrayLike, budget: npt.ArrayLike) -> Check:
    """See whether each cell of a budget split lived on its own money.

    Args:
        spent: (cells,) money that went out.
        budget: (cells,) money that each had.
    """
    out, purse = np.asarray(spent, dtype=np.float64), np.asarray(budget, dtype=np.float64)
    beyond = np.maximum(out - purse * (1 + 1e-9), 0.0)
    worst = int(beyond.argmax())
    shown = {
        "cells": int((beyond > 0).sum()),
        "cell": worst,
        "spent": float(out[worst]),
        "budget": float(purse[worst]),
        "share": float(beyond.sum() / purse.sum()),
    }
    if not beyond.any():
        return Check("purses", "passed", Reason(N_("no cell spent more than its share of the budget"), shown))
    verdict: Verdict = "broken" if beyond.sum() > OVERSPENT * purse.sum() else "notice"
    text = N_(
        "{cells} cells spent more than their share, {share:.1%} of the whole budget (cell {cell}: {spent:,.0f} of "
        "{budget:,.0f}): the policies lived on one another's money"
    )
    return Check("purses", verdict, Reason(text, shown))


def check_largest(metric: str, values: Floats) -> Check:
    """See whether one unit of the analysis (product, pair of periods, cell) makes the result, (n,) two or more."""
    return check_outlier(metric, moments(values), float(values.min()), float(values.max()))
