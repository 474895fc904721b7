"""Panels kept on the disk, found again by what they were made from."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from engine.errors import StorageError
from engine.files import write_bytes
from engine.panel.read import Scope
from engine.panel.record import Panel
from engine.settings import Settings
from engine.shop import Shop

VERSION = 2
"""Raised whenever the same tables would give another panel."""
MATRICES = ("units", "price", "regular_price", "mailer", "display", "stock_out", "experiment", "observed")
VECTORS = ("series_product", "series_store", "weeks", "week_start")


def kept(shop: Shop, settings: Settings, scope: Scope, build: Callable[[], Panel], selection: str = "") -> Panel:
    """Take the panel from the cache, or build and keep it. A cache that cannot be read or written is done without."""
    path = settings.home / "cache" / "panels" / f"{_key(shop, settings, scope, selection)}.npz"
    panel = _load(path)
    if panel is None:
        panel = build()
        _keep(path, panel)
    return panel


def _key(shop: Shop, settings: Settings, scope: Scope, selection: str) -> str:
    made_from = {
        "version": VERSION,
        "shop": shop.fingerprint,
        "calendar": [shop.first_monday, shop.first_week],
        "reconstructed": shop.prices_reconstructed,
        "scope": [scope.until_week, scope.half, scope.salt],
        "selection": selection,
        "costs_assumed": shop.costs_assumed,
        "top": settings.demand.top_products,
        "margins": [settings.data.default_margin, sorted(settings.data.margin_by_department.items())],
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]


def _keep(path: Path, panel: Panel) -> None:
    about = {
        "products": {name: panel.products[name].tolist() for name in panel.products},
        "regular_logged": panel.regular_logged,
        "price_caveats": panel.price_caveats,
        "prices_reconstructed": panel.prices_reconstructed,
    }
    arrays = {name: getattr(panel, name) for name in (*MATRICES, *VECTORS)}
    stream = io.BytesIO()
    np.savez(stream, about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8), **arrays)
    try:
        write_bytes(path, stream.getvalue())
    except StorageError:
        return  # the cache only saves time


def _load(path: Path) -> Panel | None:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            about = json.loads(stored["about"].tobytes())
            arrays = {name: stored[name] for name in (*MATRICES, *VECTORS)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    products = pd.DataFrame({name: _column(values) for name, values in about.pop("products").items()})
    about["price_caveats"] = tuple(about["price_caveats"])
    return Panel(products=products, **arrays, **about)


def _column(values: list[object]) -> pd.Series:
    text = any(isinstance(value, str) for value in values)
    return pd.Series(values, dtype=object) if text else pd.Series(values)
