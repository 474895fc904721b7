"""The record of customer profiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

LAYERS = ("basic", "behaviour", "household")


@dataclass(frozen=True)
class Profiles:
    """N customers, F features, as they could be known at the end of week `as_of`."""

    customer_ids: tuple[str, ...]
    """(N,) in alphabetical order."""
    features: pd.DataFrame
    """(N, F) fᵢ(u): columns ``layer.name``; each centred and scaled over the customers known that week, within ±4."""
    score: Floats
    """(N,) P(u) = Σ wᵢ fᵢ(u): log-odds, up to `intercept`, of what `target` says."""
    weights: pd.DataFrame
    """(F,) rows: feature, layer, weight, low, high (90 % interval of the penalised weight; NaN where not learned)."""
    intercept: float
    auc: float
    """Area under the ROC curve of P(u) on weeks that its weights had not seen; NaN where not learned."""
    auc_rfm: float
    """The same of the hand-set sum of recency, frequency and monetary quintiles."""
    auc_gain_low: float
    """5 % quantile of `auc - auc_rfm` over bootstrapped customers."""
    auc_gain_high: float
    as_of: int
    learned: bool
    """False: the history is too short or too small, and the weights are the hand-set ones."""
    target: str
    notes: tuple[str, ...] = ()

    @property
    def probability(self) -> Floats:
        """(N,) estimated probability of the target."""
        out: Floats = 1.0 / (1.0 + np.exp(-(self.score + self.intercept)))
        return out
