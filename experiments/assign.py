"""Deterministic assignment of units to variants, compatible with GrowthBook's hashing.

The hash is FNV-1a, 32 bit, over the UTF-16 code units of the text (Fowler, Noll and Vo). Version 2 hashes
``str(fnv(seed + id))`` into 10,000 buckets, version 1 hashes ``id + seed`` into 1,000. The same unit gets the same
variant on every machine and in every SDK that follows the scheme, and raising the coverage never moves a unit from one
variant to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError

UInt32 = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_OFFSET_BASIS = np.uint32(0x811C9DC5)
_PRIME = np.uint32(0x01000193)
_LAST_OF_BASIC_PLANE = 0xFFFF
NOT_ASSIGNED = -1
_WEIGHT_TOLERANCE = 1e-9


def _fnv1a(texts: npt.NDArray[np.str_]) -> UInt32:
    """Hash (n,) texts; column by column, so that a million identifiers take one pass per character."""
    state = np.full(texts.size, _OFFSET_BASIS, dtype=np.uint32)
    width = texts.dtype.itemsize // 4
    if texts.size == 0 or width == 0:
        return state
    points = np.ascontiguousarray(texts).view(np.uint32).reshape(texts.size, width)
    lengths = np.char.str_len(texts)
    for column in range(width):
        inside = lengths > column
        state[inside] = (state[inside] ^ points[inside, column]) * _PRIME
    for row in np.flatnonzero((points > _LAST_OF_BASIC_PLANE).any(axis=1)):
        state[row] = _fnv1a_code_units(str(texts[row]))
    return state


def _fnv1a_code_units(text: str) -> int:
    """Hash one text by its UTF-16 code units, in which a sign beyond the basic plane counts as two."""
    state = int(_OFFSET_BASIS)
    for unit in np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2").tolist():
        state = ((state ^ unit) * int(_PRIME)) & 0xFFFFFFFF
    return state


def _as_texts(ids: Sequence[Any] | npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    array = np.asarray(ids)
    if array.ndim != 1:
        raise ProblemError(f"unit identifiers have shape {array.shape}; expected one dimension")
    if array.dtype.kind == "f" and array.size:
        raise ProblemError("unit identifiers are decimal numbers; convert them to whole numbers or text first")
    return array.astype(np.str_)


def _is_one(ids: object) -> bool:
    return isinstance(ids, str | int | np.integer)


@overload
def bucket(ids: str | int, seed: str, version: int = 2) -> float: ...
@overload
def bucket(ids: Sequence[Any] | npt.NDArray[Any], seed: str, version: int = 2) -> Floats: ...
def bucket(ids: str | int | Sequence[Any] | npt.NDArray[Any], seed: str, version: int = 2) -> float | Floats:
    """Hash unit identifiers onto [0, 1).

    Args:
        ids: one identifier, or (n,) of them; whole numbers are taken in decimal form.
        seed: names the experiment; another seed gives an independent split.
        version: 2 (10,000 buckets) or 1 (1,000 buckets, for experiments begun with it).

    Returns:
        A float for one identifier, else (n,) float64, in [0, 1).

    Raises:
        ProblemError: the version is unknown, or the identifiers are decimal numbers or not one-dimensional.
    """
    texts = _as_texts([str(ids)] if _is_one(ids) else ids)  # type: ignore[arg-type]
    place = _places(texts, seed, version)
    return float(place[0]) if _is_one(ids) else place


def _places(texts: npt.NDArray[np.str_], seed: str, version: int) -> Floats:
    if version == 1:
        return (_fnv1a(np.char.add(texts, seed)) % np.uint32(1000)) / 1000.0
    if version == 2:
        inner = _fnv1a(np.char.add(seed, texts))
        return (_fnv1a(inner.astype(np.str_)) % np.uint32(10_000)) / 10_000.0
    raise ProblemError(f"hash version {version!r} is unknown; use 2, or 1 for experiments begun with it")


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
        ids: one unit identifier, or (n,) of them.
        seed: names the experiment.
        weights: share of each variant, adding up to 1; variant 0 is the control.
        coverage: share of the units that take part, 0…1.
        version: of the hash, see `bucket`.

    Returns:
        The variant 0…len(weights)-1, or `NOT_ASSIGNED` (-1) outside the coverage: an int for one identifier, else (n,).

    Raises:
        ProblemError: weights, coverage or identifiers are not usable.
    """
    ranges = variant_ranges(weights, coverage)
    place = np.atleast_1d(bucket(ids, seed, version))
    chosen = np.full(place.size, NOT_ASSIGNED, dtype=np.int64)
    # From the last variant to the first: where rounding makes two ranges touch, the earlier variant has the unit.
    for variant in range(len(ranges) - 1, -1, -1):
        low, high = ranges[variant]
        chosen[(place >= low) & (place < high)] = variant
    return int(chosen[0]) if _is_one(ids) else chosen
