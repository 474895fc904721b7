"""Sources: whether logged random price moves and a shop's other price moves tell of the same elasticity.

A random move of the everyday price is a move of the everyday price: where nothing hidden moves prices and demand, both
tell one elasticity, and together they tell it best. Taking them apart regardless leaves a shop with few random moves
knowing less than it would without them (ten in a hundred of plain shops' product weeks, of which a third were logged:
every price held; read together: none). Where they differ, what was drawn at random is believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.channels import EXPERIMENT
from engine.demand.elasticities import default_prior
from engine.demand.shrinkage import shrink

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ALARM_Z = 2.0
"""Standard errors at which experiments and history are said to disagree."""
STATES = 20


@dataclass(frozen=True)
class Disagreement:
    """Shop's mean everyday elasticity by experiment and by history."""

    experiment: float
    history: float
    se: float

    @property
    def difference(self) -> float:
        """Experiment less history."""
        return self.experiment - self.history

    @property
    def z(self) -> float:
        """Difference in standard errors."""
        return self.difference / self.se

    @property
    def agrees(self) -> bool:
        """Whether both may well tell the same elasticity."""
        return abs(self.z) < ALARM_Z


def compare_sources(
    estimate: Floats, precision: Floats, category: Ints, names: tuple[str, ...], rng: np.random.Generator
) -> Disagreement | None:
    """Estimate the shop's mean twice, from random moves alone and from all others; None without random moves.

    Args:
        estimate: (P, K) unshrunken elasticities.
        precision: (P, K, K) inverse noise covariance.
        category: (P,).
        names: (K,) channels.
        rng: draws the spreads.
    """
    if names[-1] != EXPERIMENT or len(names) < 2:
        return None
    covariance = np.linalg.pinv(precision, hermitian=True)
    found = []
    for part in ((len(names) - 1,), tuple(range(len(names) - 1))):
        grid = np.ix_(range(len(estimate)), part, part)
        own = np.linalg.pinv(covariance[grid], hermitian=True)
        kept = tuple(names[k] for k in part)
        result = shrink(estimate[:, list(part)], own, category, default_prior(kept), rng=rng, states=STATES)
        found.append((float(result.shop_mean[-1]), float(result.shop_covariance[-1, -1])))
    (experiment, first), (history, second) = found
    return Disagreement(experiment, history, float(np.sqrt(first + second)))
