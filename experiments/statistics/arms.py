"""One variant as the contrast needs it: its mean vector, and how far that would move if the units were drawn again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.statistics.moments import Moments, merge

Floats = npt.NDArray[np.float64]


class UnreadableError(ProblemError):
    """A metric cannot be read; `reason` says why, in any language."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.english())
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Part:
    """An independent part of a mean vector's covariance."""

    covariance: Floats
    """(k, k)"""
    freedom: int
    """Degrees of freedom that estimated it."""


@dataclass(frozen=True, eq=False)
class Arm:
    """A variant: the mean vector of its components, with its covariance in independent parts."""

    count: int
    """Units (clusters, where clusters were randomised)."""
    mean: Floats
    """(k,)"""
    parts: tuple[Part, ...]

    def variances(self, gradient: Floats) -> list[tuple[float, int]]:
        """Variance of the linear function with this gradient, part by part, with degrees of freedom."""
        return [(max(0.0, float(gradient @ part.covariance @ gradient)), part.freedom) for part in self.parts]


@dataclass(frozen=True, eq=False)
class Pair:
    """Control and treatment, and the scatter around their common means, from which CUPED takes its slope."""

    control: Arm
    treatment: Arm
    pooled_mean: Floats
    """(k,)"""
    pooled_scatter: Floats
    """(k, k)"""


def pair(control: Moments, treatment: Moments) -> Pair:
    """Two variants, compared as they are.

    Raises:
        UnreadableError: a variant has fewer than two units.
    """
    both = control.merged(treatment)
    return Pair(_arm(control, N_("control")), _arm(treatment, N_("treatment")), both.mean, both.scatter)


def _arm(group: Moments, role: str) -> Arm:
    if group.count < 2:
        raise UnreadableError(Reason(N_("the {role} has {count} unit(s); at least 2 are needed"), _of(role, group)))
    return Arm(group.count, group.mean, (Part(group.covariance / group.count, group.count - 1),))


def _of(role: str, group: Moments) -> dict[str, object]:
    return {"role": Reason(role), "count": group.count}


def stratified_pair(control: Mapping[str, Moments], treatment: Mapping[str, Moments]) -> Pair:
    """Two variants, post-stratified: each stratum weighs what it has of all units (Miratrix, Sekhon and Yu 2013).

    Args:
        control: statistics by stratum.
        treatment: statistics by stratum.

    Raises:
        UnreadableError: a stratum has fewer than two units in a variant.
    """
    strata = sorted(control.keys() | treatment.keys())
    for stratum in strata:
        if min(group[stratum].count if stratum in group else 0 for group in (control, treatment)) < 2:
            text = N_("stratum {stratum} has fewer than 2 units in a variant; merge it with another")
            raise UnreadableError(Reason(text, {"stratum": stratum}))
    within = [control[stratum].merged(treatment[stratum]) for stratum in strata]
    total = sum(group.count for group in within)
    weights = {stratum: group.count / total for stratum, group in zip(strata, within, strict=True)}
    scatter = np.sum([group.scatter for group in within], axis=0)
    return Pair(_weighted(control, weights), _weighted(treatment, weights), merge(within).mean, scatter)


def _weighted(groups: Mapping[str, Moments], weights: Mapping[str, float]) -> Arm:
    mean = np.sum([weights[name] * groups[name].mean for name in weights], axis=0)
    parts = tuple(
        Part(weight**2 * groups[name].covariance / groups[name].count, groups[name].count - 1)
        for name, weight in weights.items()
    )
    return Arm(sum(groups[name].count for name in weights), mean, parts)
