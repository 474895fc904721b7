"""Opening a source: find it, land it if it changed, hand over the shop."""

from __future__ import annotations

import difflib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from engine.errors import DataError
from engine.files import atomic_folder
from engine.frames import DuckDbBackend, open_backend, storage_errors
from engine.landing import Landed, RawShop, land
from engine.progress import Progress, Silent
from engine.settings import Settings
from engine.shop import Fault, Shop
from engine.sources import complete_journey, orange_juice, ta_feng
from engine.sources.database import is_url, read_database
from engine.sources.digests import Digests
from engine.sources.folder import find_files, read_folder
from engine.sources.record import read_shop, write_shop
from engine.sources.staged import Staged, raw_shop

VERSION = 5
"""Raised when the landing itself changes, so that tables landed before are not taken for its work."""
SIMULATED = "simulated"
STRAY_SECONDS = 24 * 3600
"""Work folders older than this belong to nobody any more."""
OLD_SECONDS = 30 * STRAY_SECONDS
KEPT = 3
"""The newest landed shops of a name stay, however old."""


@dataclass(frozen=True)
class Adapter:
    """A data set that comes with the product."""

    version: int
    files: Callable[[Settings], Sequence[Path]]
    stage: Callable[[Path, Settings, DuckDbBackend], Staged]


ADAPTERS = {
    "complete_journey": Adapter(complete_journey.VERSION, complete_journey.files, complete_journey.stage),
    "orange_juice": Adapter(orange_juice.VERSION, orange_juice.files, orange_juice.stage),
    "ta_feng": Adapter(ta_feng.VERSION, ta_feng.files, ta_feng.stage),
}


@dataclass(frozen=True)
class _Source:
    """A source that was found: what its content is, and how to read it."""

    name: str
    content: tuple[str, ...]
    """What the landed tables depend on, as text."""
    read: Callable[[Path, DuckDbBackend], RawShop]


def open_shop(source: str, settings: Settings, progress: Progress | None = None, *, today: date | None = None) -> Shop:
    """Land a data set and hand it over; tables that were landed from the same content are taken as they are.

    Args:
        source: complete_journey, orange_juice, ta_feng, simulated, a folder of Parquet or CSV files, or a database URL.
        settings: `data.home` (the landed tables go under its cache), limits, margins, `data.max_quarantined_share`.
        progress: told the share done.
        today: dates more than a year after it are mistakes; None: the clock's.

    Raises:
        DataError: the data set is not there, or refused; the message lists every fault.
        StorageError: the disk did not take the landed tables; nothing half written stays.
    """
    landed = _open(source, settings, progress or Silent(), today or _today())
    if landed.shop is None:
        raise DataError(refusal(source, landed.faults))
    return landed.shop


def check_data(source: str, settings: Settings, *, today: date | None = None) -> tuple[Fault, ...]:
    """Every fault of a data set, whether or not it refuses it; arguments and errors as for `open_shop`.

    Raises:
        DataError: the data set is not there at all.
        StorageError: the disk did not take the work files.
    """
    return _open(source, settings, Silent(), today or _today()).faults


def refusal(source: str, faults: Sequence[Fault]) -> str:
    """One readable block: what refuses the data set, then what else was found."""
    refusing = [fault for fault in faults if fault.refuses]
    others = [fault for fault in faults if not fault.refuses]
    lines = [f"{source}: the data set is refused for {len(refusing)} fault{'s' if len(refusing) > 1 else ''}"]
    lines += [f"  refused: {fault.sentence()}" for fault in refusing]
    lines += [f"  also: {fault.sentence()}" for fault in others]
    return "\n".join(lines)


def _today() -> date:
    return date.today()


def _open(source: str, settings: Settings, progress: Progress, today: date) -> Landed:
    if is_url(source):
        return _open_database(source, settings, progress, today)
    return _landed(_find(source, settings), settings, progress, today)


def _find(source: str, settings: Settings) -> _Source:
    digests = Digests(settings.home / "cache" / "digests.json")
    adapter = ADAPTERS.get(source)
    if adapter is not None:
        content = tuple(f"{path.name} {digests.of(path)}" for path in adapter.files(settings))
        digests.save()
        return _Source(source, (f"{source} {adapter.version}", *content), _reader(source, adapter, settings))
    folder = _simulated(settings) if source == SIMULATED else Path(source).expanduser()
    if not source.strip() or (source != SIMULATED and not folder.exists()):
        raise DataError(_unknown(source))
    files = [path for paths in find_files(folder).values() for path in paths]
    content = tuple(f"{path.relative_to(folder)} {digests.of(path)}" for path in files)
    digests.save()
    return _Source(folder.resolve().name, content, lambda work, backend: read_folder(folder, work, backend))


def _reader(name: str, adapter: Adapter, settings: Settings) -> Callable[[Path, DuckDbBackend], RawShop]:
    return lambda work, backend: raw_shop(name, adapter.stage(work, settings, backend), backend)


def _simulated(settings: Settings) -> Path:
    from engine.simulation import simulate_shop

    folder = settings.home / "data" / f"{SIMULATED}-{settings.seed}"
    if not (folder / "truth").is_dir():
        simulate_shop(folder, seed=settings.seed)
    return folder


def _unknown(source: str) -> str:
    names = (*ADAPTERS, SIMULATED)
    close = difflib.get_close_matches(source, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    named = source.strip() or "an empty name"
    return f"{named}: no such data set or folder; {hint}give {', '.join(names)}, a folder, or a database URL"


def _open_database(url: str, settings: Settings, progress: Progress, today: date) -> Landed:
    """Tables are copied first: only their content says whether anything changed."""
    with _work_folder(settings) as copies:
        with storage_errors("the copy of the database"):
            raw = read_database(url, copies)
        digests = Digests(None)
        content = tuple(f"{path.name} {digests.of(path)}" for path in sorted(copies.iterdir()))
        source = _Source(raw.name or "database", content, lambda _work, _backend: raw)
        return _landed(source, settings, progress, today)


def _landed(source: _Source, settings: Settings, progress: Progress, today: date) -> Landed:
    target = settings.home / "cache" / "shops" / f"{source.name}-{_key(source, settings)[:16]}"
    shop = read_shop(target)
    if shop is not None:
        progress.advance(1.0)
        return Landed(shop, shop.faults)
    return _land(source, target, settings, progress, today)


def _key(source: _Source, settings: Settings) -> str:
    """Everything that the landed tables and notes depend on."""
    data = settings.data
    assumed = {
        "max_quarantined_share": data.max_quarantined_share,
        "default_margin": data.default_margin,
        "margin_by_department": dict(sorted(data.margin_by_department.items())),
    }
    text = json.dumps([VERSION, source.name, sorted(source.content), assumed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _RefusedError(Exception):
    """Leaves the folder that was being written."""

    def __init__(self, landed: Landed) -> None:
        super().__init__()
        self.landed = landed


def _land(source: _Source, target: Path, settings: Settings, progress: Progress, today: date) -> Landed:
    try:
        with _work_folder(settings) as work, open_backend(settings) as backend, atomic_folder(target) as folder:
            with storage_errors(source.name):
                raw = source.read(work, backend)
            landed = land(raw, folder, settings, backend, progress, today=today)
            if landed.shop is None:
                raise _RefusedError(landed)
            write_shop(landed.shop, folder)
    except _RefusedError as refused:
        return refused.landed
    _tidy(settings.home / "cache", source.name, time.time())
    shop = read_shop(target)
    if shop is None:
        raise DataError(f"{target}: the landed tables vanished; another process cleans the cache, run again")
    return Landed(shop, shop.faults)


def _tidy(cache: Path, name: str, now: float) -> None:
    """Remove what killed runs left behind, and shops of this name that were landed long ago, save the newest."""
    stray = [*cache.glob(".landing-*"), *(cache / "shops").glob(".*.part"), *(cache / "shops").glob(".*.old")]
    landed = sorted((cache / "shops").glob(f"{name}-{'?' * 16}"), key=_age_key)
    for folder in [*stray, *landed[:-KEPT]]:
        with suppress(OSError):
            if now - folder.stat().st_mtime > (STRAY_SECONDS if folder.name.startswith(".") else OLD_SECONDS):
                shutil.rmtree(folder, ignore_errors=True)


def _age_key(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


@contextmanager
def _work_folder(settings: Settings) -> Iterator[Path]:
    """A folder for intermediate files, gone afterwards whatever happens."""
    parent = settings.home / "cache"
    with storage_errors(str(parent)):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".landing-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
