"""A/A replay: split historical units at random, many times, and see how often the method finds what is not there.

A method that rejects more often than it promises on splits that mean nothing will do so on real ones: the variance is
by the wrong unit, or the metric too heavy-tailed for its sample (Kohavi, Tang and Xu 2020, chapter 19).
"""

# ruff: noqa: S608 - names are quoted by the dialect

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.measure.clusters import forget_clusters, sum_clusters
from experiments.measure.components import Components, prepare
from experiments.measure.metrics import Metric, Predicted, Quantile
from experiments.measure.sums import Range, read_moments
from experiments.measure.units import Units, check_columns
from experiments.statistics.arms import pair
from experiments.statistics.contrast import contrast
from experiments.trust.check import Check, Verdict

REPLAY_ALPHA = 0.001
"""A share of significant splits that a valid method would exceed less often than this is not chance."""
PER_SCAN = 32
"""Splits that one hash of 32 digits gives."""
_FINE = N_(
    "{metric}: of {splits} splits of history that mean nothing {share:.1%} were significant ({low:.1%} to {high:.1%}), "
    "{promised:.1%} are promised"
)
_WRONG = N_(
    "{metric}: of {splits} splits of history that mean nothing {share:.1%} were significant ({low:.1%} to {high:.1%}), "
    "{promised:.1%} are promised: the variance is by the wrong unit, or the metric is too heavy-tailed for its "
    "sample"
)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Replay:
    """How a metric behaved on splits that mean nothing."""

    metric: str
    splits: int
    alpha: float
    rejected: float
    """Share of the splits on which it found an effect; alpha is what it promises."""
    low: float
    """95 % interval of the share (Wilson 1927)."""
    high: float
    z_spread: float
    """Standard deviation of z over the splits: 1 where the standard error is right, more where it is too small."""
    check: Check


def replay(units: Units, metric: Metric, *, splits: int = 320, salt: str = "replay", alpha: float = 0.05) -> Replay:
    """Read a metric on random splits of historical units.

    Args:
        units: the historical units; `unit` (or `cluster`) is what is split, and the variant column plays no part.
        metric: a mean, share, profit or ratio, with its covariate if it has one.
        splits: how many; rounded up to a multiple of 32.
        salt: makes the splits; the same salt gives the same ones.
        alpha: what the method promises.

    Raises:
        ProblemError: there is no identifier to split by, the metric cannot be read, or is a quantile or predicted.
    """
    if isinstance(metric, Quantile) or isinstance(metric.covariate, Predicted):
        raise ProblemError(f"metric '{metric.name}': the replay takes means, shares, profits and ratios with columns")
    name = units.cluster or units.unit
    if name is None:
        raise ProblemError("the replay needs the unit's identifier to split the units by; name its column")
    check_columns(replace(units, variant=name), [*metric.columns, *metric.covariate_columns])
    relation, one, ranges = _summed(units, metric)
    scans = -(-splits // PER_SCAN)
    z = np.concatenate([_scan(units, relation, name, one, ranges, f"{salt}:{scan}") for scan in range(scans)])
    if units.cluster is not None:
        forget_clusters(units.warehouse)
    return judge_replay(metric.name, z, 2 * stats.norm.sf(np.abs(z)), alpha)


def _summed(units: Units, metric: Metric) -> tuple[str, Components, Mapping[str, Range]]:
    """The metric's components by the unit that is split; rows of a unit on several rows are left as they are."""
    prepared = prepare(units.warehouse, units.relation, [metric], {})
    if not prepared.ready:
        raise ProblemError(f"metric '{metric.name}': {prepared.refused[0].reason.english()}")
    if units.cluster is None:
        return units.relation, prepared.ready[0], prepared.ranges
    relation, (one,), ranges = sum_clusters(units, units.relation, prepared.ready, prepared.ranges, [])
    return relation, one, ranges


def _scan(units: Units, relation: str, name: str, one: Components, ranges: Mapping[str, Range], salt: str) -> Floats:
    """Estimate over standard error of 32 splits; each takes one digit of the hash."""
    dialect = units.warehouse.dialect
    salted = f"CONCAT({dialect.literal(salt)}, CAST({dialect.column(name)} AS {dialect.text}))"
    hashed = f"(SELECT r.*, {dialect.hash(salted)} AS k_hash FROM {relation} r) hashed"
    halves = {}
    known = dict(ranges)
    for split in range(PER_SCAN):
        for side, test in enumerate(("<", ">=")):
            digit = f"SUBSTR(k_hash, {split + 1}, 1) {test} '8'"
            sides = tuple(f"CASE WHEN {digit} THEN {e} END" for e in one.expressions)
            known.update({s: replace(ranges[e], has_gaps=True) for s, e in zip(sides, one.expressions, strict=True)})
            halves[f"{split}:{side}"] = sides
    found = read_moments(units.warehouse, hashed, [], halves, known)[()]
    pairs = [pair(found[f"{split}:0"], found[f"{split}:1"]) for split in range(PER_SCAN)]
    return np.array([contrast(both, one.value, one.covariate).z for both in pairs])


def judge_replay(metric: str, z: Floats, p_values: Floats, alpha: float) -> Replay:
    """Say how often splits that mean nothing were significant.

    Args:
        metric: its name.
        z: (splits,) effect over its error.
        p_values: (splits,) two-sided.
        alpha: what the method promises.
    """
    wrong = int((p_values <= alpha).sum())
    interval = stats.binomtest(wrong, z.size).proportion_ci(0.95, method="wilson")
    share = wrong / z.size
    p_value = float(stats.binomtest(wrong, z.size, alpha, alternative="greater").pvalue)
    low, high = float(interval.low), float(interval.high)
    shown = {"metric": metric, "share": share, "low": low, "high": high, "promised": alpha, "splits": z.size}
    verdict: Verdict = "passed" if p_value >= REPLAY_ALPHA else "broken"
    check = Check(f"replay:{metric}", verdict, Reason(_FINE if verdict == "passed" else _WRONG, shown), p_value)
    return Replay(metric, z.size, alpha, share, low, high, float(np.sqrt(np.mean(z**2))), check)
