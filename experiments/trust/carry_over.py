"""What an earlier test left behind: differences that were there before the experiment, and splits that are tied."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.proposal import N_, Reason
from experiments.trust.check import Check
from experiments.trust.sample_ratio import SAMPLE_RATIO_ALPHA

Ints = npt.NDArray[np.int64]

BEFORE_ALPHA = 0.001


class Difference(Protocol):
    """Treatment less control, by whatever analysis the design asks for."""

    @property
    def estimate(self) -> float:
        """In the metric's unit."""

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference."""


def check_before(metric: str, variant: int, before: Difference) -> Check:
    """See whether the variants differed on the covariate, before anything was shown to anybody.

    Random assignment makes no such difference; an earlier test, or a broken assignment, does.
    """
    p_value = before.p_value
    shown = {"metric": metric, "variant": variant, "p": p_value, "estimate": before.estimate}
    name = f"before:{metric}:{variant}"
    if p_value >= BEFORE_ALPHA:
        return Check(
            name, "passed", Reason(N_("{metric}: the groups were alike before the experiment"), shown), p_value
        )
    text = N_(
        "{metric}: variant {variant} differed from the control by {estimate:+.4g} before the experiment began "
        "(p = {p:.2g}): an earlier test left its mark, or the assignment is broken"
    )
    return Check(name, "broken", Reason(text, shown), p_value)


def check_independence(earlier: str, table: Ints) -> Check:
    """See whether this split is independent of an earlier test's (Pearson's chi-square).

    Args:
        earlier: the earlier test's name.
        table: (variants, earlier variants) units; every row and column has some.
    """
    p_value = 1.0 if min(table.shape) < 2 else float(stats.chi2_contingency(table, correction=False).pvalue)
    shown = {"earlier": earlier, "p": p_value}
    name = f"carry_over:{earlier}"
    if p_value >= SAMPLE_RATIO_ALPHA:
        return Check(
            name, "passed", Reason(N_("the split is independent of the earlier test {earlier}"), shown), p_value
        )
    text = N_(
        "the split is tied to that of the earlier test {earlier} (p = {p:.2g}): its effect is mixed into this one; "
        "use another seed"
    )
    return Check(name, "broken", Reason(text, shown), p_value)


def check_interaction(metric: str, variant: int, earlier: str, differ_p: float) -> Check:
    """See whether the effect depends on what a unit saw in an earlier test.

    `differ_p` is that of Cochran's Q over the earlier test's variants, corrected for the number of such checks.
    """
    shown = {"metric": metric, "variant": variant, "earlier": earlier, "p": differ_p}
    name = f"carry_over:{earlier}:{metric}:{variant}"
    if differ_p >= BEFORE_ALPHA:
        text = N_("{metric}: the effect does not depend on the earlier test {earlier}")
        return Check(name, "passed", Reason(text, shown), differ_p)
    text = N_(
        "{metric}: the effect of variant {variant} depends on what units saw in the earlier test {earlier} "
        "(p = {p:.2g}): it will not repeat itself without that test"
    )
    return Check(name, "notice", Reason(text, shown), differ_p)
