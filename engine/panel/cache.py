"""Panels kept on the disk, found again by what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.archive import keep_archive, load_archive, table_of, table_words
from engine.panel.read import Scope
from engine.panel.record import Panel
from engine.settings import Settings
from engine.shop import Shop

VERSION = 7
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
        "products": table_words(panel.products),
        "regular_logged": panel.regular_logged,
        "price_caveats": panel.price_caveats,
        "prices_reconstructed": panel.prices_reconstructed,
        "stock_out_logged": panel.stock_out_logged,
    }
    keep_archive(path, {name: getattr(panel, name) for name in (*MATRICES, *VECTORS)}, about)


def _load(path: Path) -> Panel | None:
    found = load_archive(path)
    if found is None:
        return None
    arrays, about = found
    parts: dict[str, Any] = arrays | about
    parts |= {"products": table_of(about["products"]), "price_caveats": tuple(about["price_caveats"])}
    return Panel(**parts)
