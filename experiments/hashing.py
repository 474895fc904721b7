"""Hashing of unit identifiers onto [0, 1), compatible with GrowthBook's SDKs.

The hash is FNV-1a, 32 bit, over the UTF-16 code units of the text (Fowler, Noll and Vo). Version 2 hashes
``str(fnv(seed + id))`` into 10,000 buckets, version 1 hashes ``id + seed`` into 1,000. The same unit gets the same
place on every machine and in every SDK that follows the scheme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Buckets = npt.NDArray[np.uint16]

BUCKETS: Mapping[int, int] = {1: 1000, 2: 10_000}
"""Number of buckets by version of the hash."""

_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193


@overload
def bucket(ids: str | int, seed: str, version: int = 2) -> float: ...
@overload
def bucket(ids: Sequence[Any] | npt.NDArray[Any], seed: str, version: int = 2) -> Floats: ...
def bucket(ids: str | int | Sequence[Any] | npt.NDArray[Any], seed: str, version: int = 2) -> float | Floats:
    """Hash unit identifiers onto [0, 1).

    Args:
        ids: one identifier, or (n,) of them in a list, an array, a pandas Series or an Arrow array; whole numbers are
            taken in decimal form.
        seed: names the experiment; another seed gives an independent split.
        version: 2 (10,000 buckets) or 1 (1,000 buckets, for experiments begun with it).

    Returns:
        A float for one identifier, else (n,) float64, in [0, 1).

    Raises:
        ProblemError: the version is unknown, an identifier is missing or no text, or they are not one-dimensional.
    """
    if is_one(ids):
        return bucket_of_one(str(ids), seed, version) / BUCKETS[version]
    return buckets_of(ids, seed, version) / BUCKETS[version]


def is_one(ids: object) -> bool:
    """Whether this is a single identifier rather than a table of them."""
    return isinstance(ids, str | int | np.integer)


def bucket_of_one(text: str, seed: str, version: int) -> int:
    """Bucket of one identifier, without loading anything: for decisions inside a request.

    Raises:
        ProblemError: the version is unknown.
    """
    require_version(version)
    if version == 1:
        return _fnv1a(text + seed) % BUCKETS[1]
    return _fnv1a(str(_fnv1a(seed + text))) % BUCKETS[2]


def buckets_of(ids: Sequence[Any] | npt.NDArray[Any] | pa.ChunkedArray, seed: str, version: int) -> Buckets:
    """Buckets of (n,) identifiers, (n,) uint16.

    Raises:
        ProblemError: the version is unknown, or the identifiers are not usable (see `bucket`).
    """
    require_version(version)
    texts = as_texts(ids)
    parts = [_buckets_of_chunk(chunk, seed, version) for chunk in texts.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint16), *parts])


def require_version(version: int) -> None:
    """Refuse a version of the hash that nobody knows.

    Raises:
        ProblemError: it is neither 1 nor 2.
    """
    if version not in BUCKETS:
        raise ProblemError(f"hash version {version!r} is unknown; use 2, or 1 for experiments begun with it")


def _fnv1a(text: str) -> int:
    """Hash one text by its UTF-16 code units, in which a sign beyond the basic plane counts as two."""
    ascii_ = text.isascii()
    units = text.encode() if ascii_ else memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")
    state = _OFFSET_BASIS
    for unit in units:
        state = ((state ^ unit) * _PRIME) & 0xFFFFFFFF
    return state


def _buckets_of_chunk(texts: pa.Array, seed: str, version: int) -> Buckets:
    from experiments import hash_kernels

    _, offset_buffer, text_buffer = texts.buffers()
    buckets = np.empty(len(texts), dtype=np.uint16)
    if not len(texts):
        return buckets
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    text = np.frombuffer(text_buffer, dtype=np.uint8) if text_buffer is not None else np.empty(0, np.uint8)
    if version == 1:
        hash_kernels.hash_once(text, offsets, np.frombuffer(seed.encode(), dtype=np.uint8), buckets)
    else:
        hash_kernels.hash_twice(text, offsets, np.uint32(_fnv1a(seed)), buckets)
    return buckets


def as_texts(ids: Sequence[Any] | npt.NDArray[Any] | pa.ChunkedArray) -> pa.ChunkedArray:
    """Identifiers as Arrow texts with 64-bit offsets, without a copy where they are that already.

    Raises:
        ProblemError: one is missing or no text, or they are decimal numbers or not one-dimensional.
    """
    import pyarrow as pa

    if isinstance(ids, pa.ChunkedArray | pa.Array):
        found = ids
    elif hasattr(ids, "__arrow_array__"):
        found = pa.array(ids)
    else:
        found = pa.array(_checked_array(ids))
    chunked = found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])
    if pa.types.is_floating(chunked.type):
        raise ProblemError("unit identifiers are decimal numbers; convert them to whole numbers or text first")
    if chunked.null_count:
        row = next(i for i, missing in enumerate(chunked.is_null().to_pylist()) if missing)
        raise ProblemError(f"unit identifier {row + 1} is missing ({chunked.null_count:,} are); leave such rows out")
    return chunked.cast(pa.large_string()) if chunked.type != pa.large_string() else chunked


def _checked_array(ids: Sequence[Any] | npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Identifiers as a one-dimensional array of whole numbers or of Python's texts."""
    array = np.asarray(ids) if not isinstance(ids, list | tuple) else _array_of_list(ids)
    if array.ndim != 1:
        raise ProblemError(f"unit identifiers have shape {array.shape}; expected one dimension")
    if array.dtype.kind == "f" and array.size:
        raise ProblemError("unit identifiers are decimal numbers; convert them to whole numbers or text first")
    if array.dtype.kind in "iu":
        return array
    return np.array([_text_of(value, row) for row, value in enumerate(array.tolist())], dtype=object)


def _array_of_list(ids: Sequence[Any]) -> npt.NDArray[Any]:
    if ids and all(isinstance(value, int | np.integer) for value in ids):
        return np.asarray(ids)
    array = np.empty(len(ids), dtype=object)
    array[:] = ids
    return array


def _text_of(value: object, row: int) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN alone differs from itself
        raise ProblemError(f"unit identifier {row + 1} is missing; leave such rows out")
    if isinstance(value, float | np.floating):
        raise ProblemError(f"unit identifier {row + 1} is the decimal number {value}; convert it to text first")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ProblemError(f"unit identifier {row + 1}, {text!r}, is no valid text ({error.reason})") from error
    return text
