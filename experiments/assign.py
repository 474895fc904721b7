"""Deterministic assignment: the same unit gets the same variant on every machine, and in every SDK.

    assign("customer-17", seed="spring")                    # 0 control, 1 … treatments, -1 outside
    split = Split("spring", coverage=0.2, layer=Slice("checkout", 0.0, 0.5), holdouts=(Holdout("2027", 0.05),))
    enrol(ids, split).variant                               # millions of them

A split is pure data. A unit takes part when it is targeted, in the split's slice of its layer (mutual exclusion), in no
holdout, and inside the coverage. Raising the coverage never moves a unit from one variant to another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from experiments.hashing import BUCKETS, as_texts, bucket, bucket_of_one, buckets_of, is_one, require_version
from experiments.targeting import matches, matches_one

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "ENROLLED",
    "NOT_ASSIGNED",
    "REASONS",
    "Enrolment",
    "Holdout",
    "Slice",
    "Split",
    "assign",
    "bucket",
    "enrol",
    "enrol_one",
    "free_slice",
    "ramped",
    "require_exclusive",
    "variant_ranges",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Ranges = tuple[tuple[float, float], ...]

NOT_ASSIGNED = -1
_WEIGHT_TOLERANCE = 1e-9
_LAYER_VERSION = 1
"""GrowthBook's namespaces hash with version 1: 1,000 places."""

REASONS = ("enrolled", "not targeted", "held out", "elsewhere in the layer", "outside the coverage")
"""Why a unit takes part or doesn't; `Enrolment.why` holds positions in this list."""
ENROLLED, _NOT_TARGETED, _HELD_OUT, _ELSEWHERE, _OUTSIDE = range(5)


@dataclass(frozen=True)
class Slice:
    """Part [low, high) of a layer. Experiments on slices of one layer that do not overlap never share a unit."""

    layer: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high <= 1.0:
            raise ProblemError(f"slice {self.low:g}…{self.high:g} of layer {self.layer!r} is no part of 0…1")


@dataclass(frozen=True)
class Holdout:
    """Units kept out of everything that names this holdout: the baseline for the sum of all launches."""

    name: str
    share: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.share < 1.0:
            raise ProblemError(f"holdout {self.name!r}: share {self.share:g} is outside 0…1; a few per cent are usual")


@dataclass(frozen=True)
class Split:
    """How units are put into variants; pure data, stored with the design."""

    seed: str
    weights: tuple[float, ...] = (0.5, 0.5)
    """Share of each variant, adding up to 1; variant 0 is the control."""
    coverage: float = 1.0
    """Share of the units that take part."""
    version: int = 2
    """Of the hash: 2, or 1 for experiments begun with it."""
    ranges: Ranges | None = None
    """Explicit bucket ranges [low, high) of the variants; they win over weights and coverage."""
    layer: Slice | None = None
    holdouts: tuple[Holdout, ...] = ()
    target: Mapping[str, Any] | None = None
    """Targeting rule as data (see experiments.targeting); None: everybody."""

    def __post_init__(self) -> None:
        require_version(self.version)
        _checked_ranges(self.ranges) if self.ranges is not None else variant_ranges(self.weights, self.coverage)


@dataclass(frozen=True)
class Enrolment:
    """Who takes part, and why the others don't."""

    variant: Ints
    """(n,) variant, or `NOT_ASSIGNED`."""
    why: npt.NDArray[np.int8]
    """(n,) position in `REASONS`."""

    def counts(self) -> dict[str, int]:
        """Count the units by reason."""
        found = np.bincount(self.why, minlength=len(REASONS))
        return {reason: int(count) for reason, count in zip(REASONS, found, strict=True)}


def variant_ranges(weights: Sequence[float], coverage: float = 1.0) -> Floats:
    """Bucket ranges of the variants, (variants, 2): low included, high excluded.

    Each variant keeps its own starting point whatever the coverage, which is why a ramp never moves a unit.

    Raises:
        ProblemError: a weight is negative, the weights do not add up to 1, or the coverage is outside [0, 1].
    """
    share = np.asarray(weights, dtype=np.float64)
    if share.size < 2 or not np.all(np.isfinite(share)) or np.any(share < 0):
        raise ProblemError(f"weights {list(weights)}: give one non-negative share for each of two or more variants")
    if abs(share.sum() - 1.0) > _WEIGHT_TOLERANCE:
        raise ProblemError(f"weights {list(weights)} add up to {share.sum():g}; they must add up to 1")
    if not 0.0 <= coverage <= 1.0:
        raise ProblemError(f"coverage {coverage:g} is outside 0…1")
    low = np.concatenate([[0.0], np.cumsum(share)[:-1]])
    return np.column_stack([low, low + coverage * share])


@overload
def assign(
    ids: str | int, seed: str, weights: Sequence[float] = ..., coverage: float = ..., version: int = ...
) -> int: ...
@overload
def assign(
    ids: Sequence[Any] | npt.NDArray[Any],
    seed: str,
    weights: Sequence[float] = ...,
    coverage: float = ...,
    version: int = ...,
) -> Ints: ...
def assign(
    ids: str | int | Sequence[Any] | npt.NDArray[Any],
    seed: str,
    weights: Sequence[float] = (0.5, 0.5),
    coverage: float = 1.0,
    version: int = 2,
) -> int | Ints:
    """Assign units to variants.

    Args:
        ids: one unit identifier, or (n,) of them (see `bucket`).
        seed: names the experiment.
        weights: share of each variant, adding up to 1; variant 0 is the control.
        coverage: share of the units that take part, 0…1.
        version: of the hash, see `bucket`.

    Returns:
        The variant 0…len(weights)-1, or `NOT_ASSIGNED` (-1) outside the coverage: an int for one identifier, else (n,).

    Raises:
        ProblemError: weights, coverage or identifiers are not usable.
    """
    require_version(version)
    ranges = variant_ranges(weights, coverage)
    if is_one(ids):
        return _variant_at(_place(str(ids), seed, version), ranges)
    return _variant_by_bucket(ranges, version)[buckets_of(ids, seed, version)]


def _variant_at(place: float, ranges: Floats) -> int:
    """Give a place to the first variant whose range holds it: where rounding makes two touch, the earlier has it."""
    inside = np.flatnonzero((ranges[:, 0] <= place) & (place < ranges[:, 1]))
    return int(inside[0]) if inside.size else NOT_ASSIGNED


def _variant_by_bucket(ranges: Floats, version: int) -> Ints:
    """Variant of every bucket: (buckets,)."""
    place = np.arange(BUCKETS[version]) / BUCKETS[version]
    variant = np.full(place.size, NOT_ASSIGNED, dtype=np.int64)
    for number in range(len(ranges) - 1, -1, -1):
        variant[(place >= ranges[number, 0]) & (place < ranges[number, 1])] = number
    return variant


def enrol(ids: Sequence[Any] | npt.NDArray[Any], split: Split, attributes: pd.DataFrame | None = None) -> Enrolment:
    """Put (n,) units into the variants of a split.

    Args:
        ids: (n,) unit identifiers; for a cluster experiment the cluster's identifier of each row.
        split: how.
        attributes: (n) rows with the columns that the split's targeting rule names.

    Raises:
        ProblemError: identifiers are not usable, or the targeting rule names a column that is not there.
    """
    texts = as_texts(ids)
    buckets = buckets_of(texts, split.seed, split.version)
    ranges = _checked_ranges(split.ranges) if split.ranges else variant_ranges(split.weights, split.coverage)
    variant = _variant_by_bucket(ranges, split.version)[buckets]
    why = np.where(variant == NOT_ASSIGNED, _OUTSIDE, ENROLLED).astype(np.int8)
    if split.layer is not None:
        why[~_in_slice(texts, split.layer)] = _ELSEWHERE
    for holdout in split.holdouts:
        why[_held_out(texts, holdout)] = _HELD_OUT
    if split.target is not None:
        why[~_targeted(attributes, split.target, variant.size)] = _NOT_TARGETED
    variant[why != ENROLLED] = NOT_ASSIGNED
    return Enrolment(variant, why)


def enrol_one(unit: str | int, split: Split, attributes: Mapping[str, Any] | None = None) -> int:
    """Put one unit into a variant, for a decision inside a request; the same answer as `enrol`.

    Args:
        unit: its identifier.
        split: how.
        attributes: what the split's targeting rule names.

    Returns:
        The variant, or `NOT_ASSIGNED`.

    Raises:
        ProblemError: the targeting rule names an attribute that is not there.
    """
    text = str(unit)
    if any(_place(text, "holdout:" + holdout.name, 2) < holdout.share for holdout in split.holdouts):
        return NOT_ASSIGNED
    layer = split.layer
    if layer is not None and not layer.low <= _place(text, "__" + layer.layer, _LAYER_VERSION) < layer.high:
        return NOT_ASSIGNED
    if split.target is not None and not matches_one(split.target, attributes or {}):
        return NOT_ASSIGNED
    ranges = _checked_ranges(split.ranges) if split.ranges else variant_ranges(split.weights, split.coverage)
    return _variant_at(_place(text, split.seed, split.version), ranges)


def _place(text: str, seed: str, version: int) -> float:
    return bucket_of_one(text, seed, version) / BUCKETS[version]


def _in_slice(ids: pa.ChunkedArray, part: Slice) -> npt.NDArray[np.bool_]:
    place = buckets_of(ids, "__" + part.layer, _LAYER_VERSION) / BUCKETS[_LAYER_VERSION]
    return (place >= part.low) & (place < part.high)


def _held_out(ids: pa.ChunkedArray, holdout: Holdout) -> npt.NDArray[np.bool_]:
    return buckets_of(ids, "holdout:" + holdout.name, 2) / BUCKETS[2] < holdout.share


def _targeted(attributes: pd.DataFrame | None, rule: Mapping[str, Any], units: int) -> npt.NDArray[np.bool_]:
    if attributes is None or len(attributes) != units:
        rows = "none" if attributes is None else f"{len(attributes):,} rows"
        raise ProblemError(f"the split targets {dict(rule)}: hand in attributes of all {units:,} units (given: {rows})")
    return matches(rule, attributes)


def _checked_ranges(ranges: Ranges) -> Floats:
    array = np.asarray(ranges, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] != 2 or not np.all(np.isfinite(array)):
        raise ProblemError(f"ranges {ranges}: give (low, high) for each of two or more variants")
    if np.any(array < 0) or np.any(array > 1) or np.any(array[:, 0] > array[:, 1]):
        raise ProblemError(f"ranges {ranges} must lie in 0…1, low before high")
    order = array[np.argsort(array[:, 0], kind="stable")]
    if np.any(order[1:, 0] < order[:-1, 1] - _WEIGHT_TOLERANCE):
        raise ProblemError(f"ranges {ranges} overlap: a unit would be in two variants")
    return array


def ramped(split: Split, coverage: float) -> Split:
    """Take in more units: the same split with a larger coverage; nobody who takes part changes variant or leaves.

    Raises:
        ProblemError: the coverage is smaller than before, or the split has explicit ranges.
    """
    if split.ranges is not None:
        raise ProblemError("a split with explicit ranges cannot be ramped; widen its ranges in a new version")
    if coverage < split.coverage:
        raise ProblemError(
            f"coverage {coverage:g} is below {split.coverage:g}: units would drop out after they were exposed; "
            "stop the experiment instead"
        )
    return replace(split, coverage=coverage)


def free_slice(layer: str, share: float, taken: Sequence[Slice]) -> Slice:
    """Find room for one more experiment in a layer.

    Args:
        layer: its name.
        share: of the layer's units, a multiple of .001.
        taken: slices of the experiments that run; those of other layers are ignored.

    Raises:
        ProblemError: no gap is wide enough; says how wide the widest is.
    """
    edges = sorted((part.low, part.high) for part in taken if part.layer == layer)
    starts = [0.0, *(high for _, high in edges)]
    ends = [*(low for low, _ in edges), 1.0]
    widest = max(end - start for start, end in zip(starts, ends, strict=True))
    for start, end in zip(starts, ends, strict=True):
        if end - start >= share - _WEIGHT_TOLERANCE:
            return Slice(layer, start, min(round(start + share, 3), 1.0))
    raise ProblemError(
        f"layer {layer!r} has no free slice of {share:g}; the widest is {max(widest, 0):g}: wait, or take another layer"
    )


def require_exclusive(part: Slice, taken: Mapping[str, Slice]) -> None:
    """Make sure that a slice overlaps with none that is taken.

    Args:
        part: the slice wanted.
        taken: slices in use, by the name of their experiment.

    Raises:
        ProblemError: it overlaps; names the experiment.
    """
    for name, other in taken.items():
        if other.layer == part.layer and part.low < other.high and other.low < part.high:
            raise ProblemError(
                f"slice {part.low:g}…{part.high:g} of layer {part.layer!r} overlaps with experiment {name!r} "
                f"({other.low:g}…{other.high:g}); take another slice"
            )
