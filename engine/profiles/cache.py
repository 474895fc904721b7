"""Profiles kept on the disk, found again by what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from engine.archive import keep_archive, load_archive, table_words
from engine.profiles.record import Profiles
from engine.settings import Settings
from engine.shop import Shop

VERSION = 2
"""Raised whenever the same tables would give other profiles."""
WORDS = ("intercept", "auc", "auc_rfm", "auc_gain_low", "auc_gain_high", "as_of", "learned", "target")


def kept(shop: Shop, settings: Settings, as_of: int | None, build: Callable[[], Profiles]) -> Profiles:
    """Take the profiles from the cache, or build and keep them. A cache that cannot be used is done without."""
    made_from = [VERSION, shop.fingerprint, shop.first_monday, shop.first_week, as_of, settings.seed]
    name = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]
    path = settings.home / "cache" / "profiles" / f"{name}.npz"
    profiles = _load(path)
    if profiles is None:
        profiles = build()
        _keep(path, profiles)
    return profiles


def _keep(path: Path, profiles: Profiles) -> None:
    about = {name: getattr(profiles, name) for name in WORDS}
    about |= {
        "customer_ids": profiles.customer_ids,
        "columns": list(profiles.features.columns),
        "weights": table_words(profiles.weights),
        "notes": profiles.notes,
    }
    arrays = {"features": profiles.features.to_numpy(dtype=np.float64), "score": profiles.score}
    keep_archive(path, arrays, about)


def _load(path: Path) -> Profiles | None:
    found = load_archive(path)
    if found is None:
        return None
    arrays, about = found
    ids = tuple(about["customer_ids"])
    return Profiles(
        customer_ids=ids,
        features=pd.DataFrame(arrays["features"], index=pd.Index(list(ids)), columns=about["columns"]),
        score=arrays["score"],
        weights=pd.DataFrame(about["weights"]),
        notes=tuple(about["notes"]),
        **{name: about[name] for name in WORDS},
    )
