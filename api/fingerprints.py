"""What a proposal was made from, in a form that can be compared: configuration and code."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import metadata
from pathlib import Path

from engine.settings import Settings

PACKAGES = ("engine", "optimizers", "experiments", "api")
_DECIDES = {"seed", "data", "demand", "pricing", "coupons"}
"""Sections that can change a plan; where files lie and how pages look cannot."""


def configuration_fingerprint(settings: Settings) -> str:
    """SHA-256 over the settings that can change a plan."""
    tree = settings.model_dump(mode="json", include=_DECIDES)
    for key in ("home", "memory_limit_gb", "threads"):
        tree["data"].pop(key)
    rules = Path(str(settings.pricing.rules))
    if isinstance(settings.pricing.rules, str | Path) and rules.is_file():
        tree["pricing"]["rules"] = hashlib.sha256(rules.read_bytes()).hexdigest()  # what it says, not where it lies
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


@cache
def code_fingerprint() -> str:
    """SHA-256 over the version and every Python source of the four packages."""
    digest = hashlib.sha256(metadata.version("offerwright").encode())
    root = Path(__file__).resolve().parent.parent
    for package in PACKAGES:
        for source in sorted((root / package).rglob("*.py")):
            digest.update(str(source.relative_to(root)).encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()
