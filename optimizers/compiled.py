"""Functions that numba compiles, their machine code kept on disk until anything they were compiled from changes.

numba keeps machine code beside the source, with a stamp of the file that the function is written in. But compiled into
a function is also what it calls in other files and their constants; when only those change, numba alone would go on
with the old code. So the stamp here is of the file and of every file of this package that it imports, directly or not.

Code of one function is written over the old, whatever line the function moved to: nothing piles up. Where neither the
folder of the source nor the user's cache can be written to, functions are compiled in each process anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import numba
from numba.core import caching

R = TypeVar("R")

PACKAGE = Path(__file__).parent
_IMPORT = re.compile(rf"^(?:from|import)\s+{PACKAGE.name}\.([\w.]+)(?:\s+import\s+(?:\(([^)]*)\)|([^\n#]*)))?", re.M)


def compiled(**options: bool | str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Compile a function when it is first called with arguments of its types.

    Args:
        options: of `numba.njit`, such as `inline="always"` or `nogil=True`.
    """

    def compile_later(function: Callable[..., R]) -> Callable[..., R]:
        try:
            with _own_stamps():
                made: Callable[..., R] = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder that could keep it
            made = numba.njit(**options)(function)
        return made

    return compile_later


@cache
def source_stamp(file: Path) -> str:
    """SHA-256 of a source file and of every file of this package that its functions may be compiled from."""
    digest = hashlib.sha256()
    for each in sorted(_reach(file)):
        digest.update(f"{each.name}\0{len(_text(each))}\0{_text(each)}".encode())
    return digest.hexdigest()


def _reach(file: Path) -> set[Path]:
    """The file and all that it imports from this package, directly or not."""
    found, open_ = {file}, [file]
    while open_:
        new = _imported(open_.pop()) - found
        found |= new
        open_.extend(new)
    return found


@cache
def _imported(file: Path) -> frozenset[Path]:
    """Files of this package that a file imports at its top level."""
    places: set[Path] = set()
    for module, listed, named in _IMPORT.findall(_text(file)):
        at = PACKAGE.joinpath(*module.split("."))
        words = re.findall(r"\w+", listed or named)
        places |= {at.with_suffix(".py"), at / "__init__.py", *(at / f"{word}.py" for word in words)}
    return frozenset(place for place in places if place.is_file())


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


class _Stamped:
    """What this package's locators of machine code do differently from numba's."""

    _py_file: str

    def get_source_stamp(self) -> str:
        return source_stamp(Path(self._py_file))

    def get_disambiguator(self) -> str:
        """Nothing: names are unique in our files, and a line number would leave old code behind."""
        return "kernel"


class InTree(_Stamped, caching.InTreeCacheLocator):  # type: ignore[misc]
    """Beside the source."""


class UserWide(_Stamped, caching.UserWideCacheLocator):  # type: ignore[misc]
    """In the user's cache."""


class UserProvided(_Stamped, caching.UserProvidedCacheLocator):  # type: ignore[misc]
    """Where NUMBA_CACHE_DIR says."""


@contextmanager
def _own_stamps() -> Iterator[None]:
    """Let numba look for machine code by our locators."""
    before = numba.config.CACHE_LOCATOR_CLASSES
    numba.config.CACHE_LOCATOR_CLASSES = ",".join(f"{__name__}.{c.__name__}" for c in (UserProvided, InTree, UserWide))
    try:
        yield
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = before
