"""Content hashes of files, remembered by size and time of change, so that opening a shop twice reads nothing twice."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from engine.errors import StorageError
from engine.files import write_json


class Digests:
    """SHA-256 of files."""

    def __init__(self, memory: Path | None) -> None:
        """Remember in the JSON file `memory`; None: remember nothing."""
        self._memory = memory
        self._known: dict[str, list[object]] = {}
        self._changed = False
        if memory is not None:
            with suppress(OSError, ValueError):
                self._known = dict(json.loads(memory.read_text(encoding="utf-8")))

    def of(self, path: Path) -> str:
        """SHA-256 of the file's content, hexadecimal."""
        stat = path.stat()
        name = str(path.resolve())
        mark: list[object] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        known = self._known.get(name)
        if known is not None and known[:3] == mark:
            return str(known[3])
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        self._known[name] = [*mark, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Keep what was learned; a disk that takes nothing only costs time."""
        if self._memory is not None and self._changed:
            with suppress(StorageError):
                write_json(self._memory, self._known)
