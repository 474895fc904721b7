"""Writing files so that a reader, or the next run, never meets half of one.

Everything is written beside its destination under a temporary name, flushed to the disk, then renamed over it: a
rename within one folder is atomic, so that a kill or a full disk leaves the former content.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from engine.errors import StorageError


def require_writable(folder: Path) -> None:
    """Find out before hours of work whether files can be written to `folder`, which need not be there yet.

    Raises:
        StorageError: they cannot.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise _storage_error(folder, NotADirectoryError(errno.ENOTDIR, f"{there} is a file"))
    if not os.access(there, os.W_OK | os.X_OK):
        raise _storage_error(folder, PermissionError(errno.EACCES, f"{there} cannot be written to"))


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, what was written there becomes `path`.

    Raises:
        StorageError: the disk did not take it (full, read-only, no permission); `path` is as it was.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; when the block ends well it becomes `path`.

    A folder that already stands at `path` is set aside first and removed last, so that a kill at any point leaves
    either the old or the new one complete (at worst beside a stray ``.name.….old`` that nobody reads).

    Raises:
        StorageError: the disk did not take it; `path` is as it was.
    """
    temporary = _temporary(path)
    aside = temporary.with_suffix(".old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in sorted(temporary.rglob("*")):
            _flush(file)
        if path.exists():
            path.rename(aside)
        temporary.rename(path)
        _flush(path.parent)
    except OSError as error:
        if aside.exists() and not path.exists():
            aside.rename(path)
        raise _storage_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def atomic_texts(folder: Path, contents: Mapping[str, str]) -> Iterator[None]:
    """Write every file of `contents` (name → text) beside its destination; once the block ends, all count.

    When the block fails, or the disk does not take one of them, no file of the folder has changed. A kill while they
    are renamed, one after the other, may leave the first ones new; none is half written.

    Raises:
        StorageError: the disk did not take one of them; what stood there before is intact.
    """
    temporary = {folder / name: _temporary(folder / name) for name in contents}
    at = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in zip(temporary, contents.values(), strict=True):
            at = path
            temporary[at].write_bytes(content.encode("utf-8"))
            _flush(temporary[at])
        yield
        for path, beside in temporary.items():
            at = path
            beside.replace(at)
        _flush(folder)
    except OSError as error:
        raise _storage_error(at, error) from error
    finally:
        for beside in temporary.values():
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically.

    Raises:
        StorageError: the disk did not take it; the former file stands.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8.

    Raises:
        StorageError: the disk did not take it; the former file stands.
    """
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` atomically, as indented JSON (see `to_json`)."""
    write_text(path, to_json(value, indent=2) + "\n")


def write_private(path: Path, content: bytes) -> bool:
    """Create `path` with `content`, readable by its owner only (mode 0600), unless it exists already.

    Returns:
        True if this call created it; False if the file was there (its content is left alone).

    Raises:
        StorageError: the disk did not take it.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        path.hardlink_to(temporary)  # unlike a rename, a link fails where the name is taken
    except FileExistsError:
        return False
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


def to_json(value: object, *, indent: int | None = None) -> str:
    """Write any record as JSON: data classes, arrays, paths, dates; NaN and ±∞, which JSON lacks, become null."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:  # noqa: ANN401, PLR0911 - any record in, JSON's types out
    """Put `value` into the types that JSON knows.

    Raises:
        TypeError: a type that has no meaning in JSON.
    """
    if value is None or (isinstance(value, bool | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return _plain_rare(value)


def _plain_rare(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")


def _flush(path: Path) -> None:
    """Make sure that what was written reached the disk before anything is renamed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_error(path: Path, error: OSError) -> StorageError:
    why = error.strerror or str(error)
    return StorageError(
        f"{path}: not written ({why}); free space or choose another place, what stood there before is intact"
    )
