"""Drawing an assignment for a list of units that is known beforehand: strata, clusters, re-randomisation.

Hashing (experiments.assign) suits units that turn up one by one. Products, stores and regions are few and known, and a
coin for each would leave the arms unlike; here shares are exact within strata, and splits that are out of balance in
covariates are thrown back (Morgan and Rubin 2012).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.errors import InfeasibleError, ProblemError
from engine.proposal import N_, Reason

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_PATIENCE = 100
"""Times the expected number of draws after which a re-randomisation gives up."""


@dataclass(frozen=True)
class Drawn:
    """An assignment that was drawn until it balanced."""

    variant: Ints
    """(n,) variant of each unit."""
    distance: float
    """Mahalanobis distance between the arms' covariate means, scaled so that chance gives χ² (`imbalance`)."""
    threshold: float
    """Largest distance that was accepted."""
    draws: int
    """How many splits were drawn."""


def seeded(name: str) -> np.random.Generator:
    """Chance that depends on a name alone."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def stratified(strata: Sequence[Any] | npt.NDArray[Any], weights: Sequence[float], rng: np.random.Generator) -> Ints:
    """Draw variants with exact shares in every stratum.

    Every unit is in variant a with probability weights[a]; each stratum's count is its share, rounded up or down.

    Args:
        strata: (n,) stratum of each unit, such as its category; equal entries for a draw without strata.
        weights: share of each variant, adding up to 1.
        rng: source of chance.

    Returns:
        (n,) variants.

    Raises:
        ProblemError: there are no units, or the weights do not add up to 1.
    """
    _, place = np.unique(np.asarray(strata), return_inverse=True)
    edges = _edges(weights)
    if place.ndim != 1 or place.size == 0:
        raise ProblemError(N_("no units to draw from; give one stratum for each unit"))
    variant = np.empty(place.size, dtype=np.int64)
    for stratum in range(int(place.max()) + 1):
        members = np.flatnonzero(place == stratum)
        ranks = (rng.permutation(members.size) + rng.random()) / members.size
        variant[members] = np.searchsorted(edges, ranks, side="right")
    return variant


def by_cluster(
    clusters: Sequence[Any] | npt.NDArray[Any],
    weights: Sequence[float],
    rng: np.random.Generator,
    strata: Sequence[Any] | npt.NDArray[Any] | None = None,
) -> Ints:
    """Draw one variant for each cluster, such as a store, and give it to all its units.

    Args:
        clusters: (n,) cluster of each unit.
        weights: share of the clusters in each variant.
        rng: source of chance.
        strata: (n,) stratum of each unit's cluster; None: no strata.

    Raises:
        ProblemError: fewer clusters than variants, or a cluster lies in two strata.
    """
    names, first, place = np.unique(np.asarray(clusters), return_index=True, return_inverse=True)
    if names.size < len(weights):
        raise ProblemError(
            Reason(
                "{clusters} clusters for {variants} variants; every variant needs one",
                {"clusters": names.size, "variants": len(weights)},
            )
        )
    of_unit = np.zeros(place.size) if strata is None else np.asarray(strata)
    mixed = np.flatnonzero(of_unit != of_unit[first][place])
    if mixed.size:
        raise ProblemError(
            Reason(
                "cluster {cluster!r} lies in two strata; give a cluster one stratum",
                {"cluster": names[place[mixed[0]]]},
            )
        )
    return stratified(of_unit[first], weights, rng)[place]


def rerandomised(
    covariates: npt.ArrayLike,
    weights: Sequence[float],
    rng: np.random.Generator,
    *,
    acceptance: float = 0.01,
    strata: Sequence[Any] | npt.NDArray[Any] | None = None,
) -> Drawn:
    """Draw splits until the covariates balance (Morgan and Rubin 2012).

    Args:
        covariates: (n, k) numbers known before the start, such as last quarter's profit; constant columns don't count.
        weights: share of each variant.
        rng: source of chance.
        acceptance: share of all splits that is good enough; .01 takes the best hundredth.
        strata: (n,) within which shares are exact.

    Raises:
        ProblemError: covariates that are not finite or acceptance outside 0…1.
        InfeasibleError: no split balances, as where there are more covariates than units can carry.
    """
    whitened = _whitened(covariates)
    if not 0.0 < acceptance <= 1.0:
        raise ProblemError(
            Reason(
                "acceptance {acceptance:g} is outside 0…1; 0.01 takes the best hundredth of all splits",
                {"acceptance": acceptance},
            )
        )
    freedom = whitened.shape[1] * (len(weights) - 1)
    threshold = float(stats.chi2.ppf(acceptance, freedom)) if freedom else 0.0
    within = np.zeros(whitened.shape[0]) if strata is None else np.asarray(strata)
    most = int(_PATIENCE / acceptance)
    for draw in range(1, most + 1):
        variant = stratified(within, weights, rng)
        distance = _distance(whitened, variant, len(weights))
        if distance <= threshold + 1e-12:
            return Drawn(variant, distance, threshold, draw)
    raise InfeasibleError(
        Reason(
            "none of {most:,} splits of {units} units balanced {covariates} covariates within "
            "{threshold:.3g}; use fewer covariates or a larger acceptance than {acceptance:g}",
            {
                "most": most,
                "units": whitened.shape[0],
                "covariates": whitened.shape[1],
                "threshold": threshold,
                "acceptance": acceptance,
            },
        )
    )


def imbalance(covariates: npt.ArrayLike, variant: npt.ArrayLike, variants: int = 2) -> float:
    """Distance between the arms' covariate means; by chance about χ² with k × (variants - 1) degrees of freedom.

    For two arms this is n0 n1 / n times Mahalanobis' distance between the two means.
    """
    return _distance(_whitened(covariates), np.asarray(variant, dtype=np.int64), variants)


def rerandomisation_p_value(
    values: npt.ArrayLike,
    drawn: Drawn,
    covariates: npt.ArrayLike,
    weights: Sequence[float],
    rng: np.random.Generator,
    *,
    draws: int = 999,
    strata: Sequence[Any] | npt.NDArray[Any] | None = None,
) -> float:
    """Exact p-value of "no effect on anybody", from splits that would have been accepted too (Fisher 1935).

    Args:
        values: (n,) outcome of each unit.
        drawn: the split that ran, of two variants.
        covariates: those that it balanced.
        weights: its weights.
        rng: source of chance.
        draws: splits to compare with.
        strata: those of the draw.

    Raises:
        ProblemError: the lengths differ, or there are more than two variants.
    """
    y, whitened = np.asarray(values, dtype=np.float64), _whitened(covariates)
    if len(weights) != 2 or y.shape != drawn.variant.shape or not np.all(np.isfinite(y)):
        raise ProblemError(
            Reason(
                "{outcomes} outcomes were given for {units} units in {variants} variants; this test compares two "
                "variants and needs one finite outcome for each unit",
                {"outcomes": y.size, "units": drawn.variant.size, "variants": len(weights)},
            )
        )
    within = np.zeros(y.size) if strata is None else np.asarray(strata)
    observed, larger, accepted = abs(_difference(y, drawn.variant)), 0, 0
    while accepted < draws:
        variant = stratified(within, weights, rng)
        if _distance(whitened, variant, 2) <= drawn.threshold + 1e-12:
            accepted += 1
            larger += abs(_difference(y, variant)) >= observed * (1 - 1e-12)
    return (1 + larger) / (1 + draws)


def _difference(values: Floats, variant: Ints) -> float:
    return float(values[variant == 1].mean() - values[variant == 0].mean())


def _edges(weights: Sequence[float]) -> Floats:
    share = np.asarray(weights, dtype=np.float64)
    if share.size < 2 or not np.all(share > 0) or abs(share.sum() - 1.0) > 1e-9:
        raise ProblemError(
            Reason("weights {weights}: give two or more positive shares that add up to 1", {"weights": list(weights)})
        )
    return np.cumsum(share)[:-1]


def _whitened(covariates: npt.ArrayLike) -> Floats:
    """Covariates turned into uncorrelated columns of variance 1; what others determine is left out."""
    x = np.asarray(covariates, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or x.shape[0] < 4 or not np.all(np.isfinite(x)):
        raise ProblemError(
            Reason(
                "covariates have shape {shape} or missing values; give finite numbers of 4 or more units",
                {"shape": x.shape},
            )
        )
    varied = x[:, x.std(axis=0) > 0]
    scaled = (varied - varied.mean(axis=0)) / varied.std(axis=0) if varied.size else varied
    left, size, _ = np.linalg.svd(scaled, full_matrices=False)
    kept: Floats = left[:, size > 1e-9 * max(size.max(initial=0.0), 1e-300)] * np.sqrt(x.shape[0] - 1)
    return kept


def _distance(whitened: Floats, variant: Ints, variants: int) -> float:
    total = 0.0
    for arm in range(variants):
        members = whitened[variant == arm]
        if members.shape[0] == 0:
            return float("inf")
        total += members.shape[0] * float(np.square(members.mean(axis=0)).sum())
    return total
