"""Substitution: what the prices of the rest of the category do to a product's demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.channels import Channels
from engine.demand.counts import CountFit
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Substitution:
    """Posterior of the cross elasticity of P products."""

    mean: Floats
    """(P,)."""
    sd: Floats
    category: Ints

    def draws(self, n: int, rng: np.random.Generator) -> Floats:
        """(n, P) draws, not negative."""
        return np.zeros((n, len(self.mean)))


def estimate_substitution(panel: Panel, channels: Channels, fit: CountFit) -> Substitution:
    """Estimate the cross elasticity of every product."""
    zero = np.zeros(panel.n_products)
    return Substitution(zero, zero.copy(), panel.category_code)
