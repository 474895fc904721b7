"""Sources: a folder, a database or a data set that comes with the product, as a shop in the contract's form."""

from __future__ import annotations

from engine.sources.open import check_data, open_shop

__all__ = ["check_data", "open_shop"]
