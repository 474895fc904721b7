"""Compiled loops of the hash: FNV-1a, 32 bit (Fowler, Noll and Vo), over the text buffer of an Arrow array.

The hash runs over UTF-16 code units, as in every SDK that follows GrowthBook; the buffer holds UTF-8, so signs beyond
ASCII are decoded on the way. One thread, no allocation inside the loop.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_PRIME = np.uint32(0x01000193)
_BASIS = np.uint32(0x811C9DC5)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _hash_utf8(state: Any, text: Any, start: int, stop: int) -> Any:  # noqa: ANN401 - numba's own types
    """Carry `state` over the UTF-16 code units of the UTF-8 bytes text[start:stop]."""
    i = start
    while i < stop:
        byte = np.uint32(text[i])
        i += 1
        if byte < 0x80:
            state = np.uint32((state ^ byte) * _PRIME)
            continue
        if byte < 0xE0:
            point, more = byte & np.uint32(0x1F), 1
        elif byte < 0xF0:
            point, more = byte & np.uint32(0x0F), 2
        else:
            point, more = byte & np.uint32(0x07), 3
        for _ in range(more):
            point = (point << np.uint32(6)) | (np.uint32(text[i]) & np.uint32(0x3F))
            i += 1
        if point > 0xFFFF:
            above = point - np.uint32(0x10000)
            state = np.uint32((state ^ (np.uint32(0xD800) + (above >> np.uint32(10)))) * _PRIME)
            point = np.uint32(0xDC00) + (above & np.uint32(0x3FF))
        state = np.uint32((state ^ point) * _PRIME)
    return state


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _hash_decimal(value: Any) -> Any:  # noqa: ANN401
    """Hash a whole number as its decimal text, from the first digit to the last."""
    power = np.uint32(1)
    while value // power >= np.uint32(10):
        power = np.uint32(power * np.uint32(10))
    state = _BASIS
    while power > 0:
        digit = value // power
        value = value - digit * power
        state = np.uint32((state ^ (digit + np.uint32(48))) * _PRIME)
        power = power // np.uint32(10)
    return state


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def hash_twice(text: Any, offsets: Any, seeded: Any, buckets: Any) -> None:  # noqa: ANN401
    """Version 2 of the scheme: hash the decimal text of fnv(seed + id).

    Args:
        text: (bytes,) uint8, UTF-8 of all identifiers, one after the other.
        offsets: (n + 1,) where each begins and ends.
        seeded: uint32, the state after the seed.
        buckets: (n,) uint16 is filled with 0…9999.
    """
    for i in range(buckets.size):
        inner = _hash_utf8(seeded, text, offsets[i], offsets[i + 1])
        buckets[i] = _hash_decimal(inner) % np.uint32(10_000)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def hash_once(text: Any, offsets: Any, seed: Any, buckets: Any) -> None:  # noqa: ANN401
    """Version 1 of the scheme: hash id + seed.

    Args:
        text: (bytes,) uint8, UTF-8 of all identifiers, one after the other.
        offsets: (n + 1,) where each begins and ends.
        seed: (bytes,) uint8, UTF-8 of the seed.
        buckets: (n,) uint16 is filled with 0…999.
    """
    for i in range(buckets.size):
        state = _hash_utf8(_BASIS, text, offsets[i], offsets[i + 1])
        buckets[i] = _hash_utf8(state, seed, 0, seed.size) % np.uint32(1000)
