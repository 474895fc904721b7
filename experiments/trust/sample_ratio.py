"""Sample-ratio mismatch: a split that chance would not make, the surest sign of lost or doubled units.

At the end of a fixed plan Pearson's chi-square is used; a test that is looked at while it runs needs one that may be
looked at: the Dirichlet-multinomial e-process of Lindon and Malek (2022), whose chance of ever exceeding 1/alpha under
the planned split is at most alpha.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special, stats

from engine.proposal import N_, Reason
from experiments.trust.check import Check

SAMPLE_RATIO_ALPHA = 0.001
"""A split that chance would make less often than this is not chance (Fabijan et al. 2019)."""
CONCENTRATION = 1_000.0
"""Weight of the planned split in the Dirichlet mixture: deviations of 1-2 percentage points are found fastest."""


def sample_ratio_p(counts: Sequence[int], weights: Sequence[float]) -> float:
    """P-value of Pearson's chi-square test that `counts` come from `weights` (no continuity correction)."""
    observed = np.asarray(counts, dtype=np.float64)
    expected = observed.sum() * np.asarray(weights, dtype=np.float64) / np.sum(weights)
    return float(stats.chi2.sf(float(((observed - expected) ** 2 / expected).sum()), observed.size - 1))


def sample_ratio_log_evidence(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Logarithm of the e-value against the planned split (Lindon and Malek 2022, equation 3, Dirichlet prior).

    The Bayes factor of a Dirichlet mixture around the planned shares against these shares themselves.
    """
    observed = np.asarray(counts, dtype=np.float64)
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    prior = CONCENTRATION * share
    mixed = special.gammaln(prior + observed).sum() - special.gammaln(prior).sum()
    total = special.gammaln(CONCENTRATION) - special.gammaln(CONCENTRATION + observed.sum())
    return float(mixed + total - (observed * np.log(share)).sum())


def sequential_sample_ratio_p(counts: Sequence[int], weights: Sequence[float]) -> float:
    """P-value that holds at every look: one over the e-value, at most 1."""
    return math.exp(-max(0.0, sample_ratio_log_evidence(counts, weights)))


def check_sample_ratio(counts: Sequence[int], weights: Sequence[float], *, looked_at_before_the_end: bool) -> Check:
    """Check the split of the units over the variants."""
    test = sequential_sample_ratio_p if looked_at_before_the_end else sample_ratio_p
    p_value = test(counts, weights)
    shown = {"counts": _shown(counts), "p": p_value}
    if p_value >= SAMPLE_RATIO_ALPHA:
        return Check("sample_ratio", "passed", Reason(N_("the split {counts} fits its weights"), shown), p_value)
    text = N_("the split {counts} differs from its weights (p = {p:.2g}): units were lost or counted twice")
    return Check("sample_ratio", "broken", Reason(text, shown), p_value)


def check_segment_ratios(counts: Mapping[str, Sequence[int]], weights: Sequence[float], *, segment: str) -> Check:
    """Check the split within each level of a segment, by e-values with Bonferroni's correction.

    Args:
        counts: units by variant, by level.
        weights: planned shares.
        segment: the segment's name.
    """
    p_values = {
        level: min(1.0, len(counts) * sequential_sample_ratio_p(split, weights)) for level, split in counts.items()
    }
    level, p_value = min(p_values.items(), key=lambda item: (item[1], item[0]))
    name = f"sample_ratio:{segment}"
    shown = {"segment": segment, "level": level, "counts": _shown(counts[level]), "p": p_value}
    if p_value >= SAMPLE_RATIO_ALPHA:
        return Check(
            name, "passed", Reason(N_("the split fits its weights in every level of {segment}"), shown), p_value
        )
    text = N_("the split differs from its weights where {segment} is {level}: {counts} (p = {p:.2g})")
    return Check(name, "broken", Reason(text, shown), p_value)


def _shown(counts: Sequence[int]) -> str:
    return " : ".join(f"{count:,}" for count in counts)
