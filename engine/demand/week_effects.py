"""Group-week effects, cross-fitted: what a product's demand is held against was learned from other products.

There are thousands of them, and an effect that a product had a hand in has taken up part of what that product did in
the week. The products of a group are therefore dealt into folds, and the effects that a product is explained by are
those of the other folds (cross-fitting: Chernozhukov et al., Econometrics Journal 2018). The other nuisances are a few
numbers for each product, which is no class of functions that could overfit; folds of weeks would only make them
noisier (docs/adr/0006-cross-fitting.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FOLDS = 10
"""With five, a fifth of a group is missing from its effects: errors of elasticities grow by 1 to 2 %."""
LARGEST_STEP = 1.0
GROUP_SD_RANGE = (0.3, 1.5)
"""Bounds of the standard deviation of group-week effects: near free, so that little confounding is left behind."""
LAST_STEPS = 4


@dataclass(frozen=True)
class Cells:
    """(S, T) each: fitted counts at given effects; 0 in cells that do not count."""

    plain: Floats
    """Mean of the count, sold or not."""
    expected: Floats
    """Mean of what is observed."""
    weight: Floats
    """Working weight: information of a cell about its log mean."""
    score: Floats
    """Weighted residual."""


class Sums:
    """Sums over the series of a product and over the series of a group."""

    def __init__(self, product: Ints, group: Ints) -> None:
        """Take (S,) products of the series and (P,) groups of the products; -1: none."""
        series = np.arange(len(product))
        ones = np.ones(len(series))
        self.product = sparse.csr_matrix((ones, (product, series)), shape=(len(group), len(series)))
        own = group[product]
        has = own >= 0
        self.n_groups = int(group.max(initial=-1)) + 1
        self.group = sparse.csr_matrix((ones[has], (own[has], series[has])), shape=(self.n_groups, len(series)))
        self.group_of = np.where(has, own, self.n_groups)

    def by_product(self, values: Floats) -> Floats:
        """(S, …) → (P, …)."""
        flat = self.product @ values.reshape(len(values), -1)
        return np.asarray(flat).reshape(-1, *values.shape[1:])

    def by_group(self, values: Floats) -> Floats:
        """(S, …) → (G, …)."""
        flat = self.group @ values.reshape(len(values), -1)
        return np.asarray(flat).reshape(-1, *values.shape[1:])


class WeekEffects:
    """The effects of every group and week, once for each fold of products that is left out."""

    def __init__(self, product: Ints, group: Ints, sums: Sums, weeks: int) -> None:
        self.sums = sums
        fold = folds(group)
        self.fold = fold[product]
        self.effect = np.zeros((int(fold.max(initial=0)) + 1, sums.n_groups, weeks))
        self.weight = np.zeros_like(self.effect)
        self.ridge = 1.0

    def by_series(self) -> Floats:
        """(S, T) the effects that each series is explained by: those of the other folds; 0 without a group."""
        padded = np.pad(self.effect, ((0, 0), (0, 1), (0, 0)))
        return padded[self.fold, self.sums.group_of]

    def step(self, cells: Callable[[Floats], Cells]) -> None:
        """One Newton step of every fold's effects; `cells` fits the counts at (S, T) effects."""
        for f in range(len(self.effect)):
            others = (self.fold != f)[:, None]
            at = cells(np.pad(self.effect[f], ((0, 1), (0, 0)))[self.sums.group_of])
            self.weight[f] = self.sums.by_group(at.weight * others)
            self.effect[f] += _newton(self.sums.by_group(at.score * others), self.weight[f], self.effect[f], self.ridge)

    def learn_ridge(self) -> None:
        """Update the inverse variance of the effects (EM step)."""
        left = 1.0 / (self.weight + self.ridge)
        has = self.weight > 0
        if has.any():
            variance = float((self.effect[has] ** 2 + left[has]).mean())
            self.ridge = 1.0 / float(np.clip(variance, GROUP_SD_RANGE[0] ** 2, GROUP_SD_RANGE[1] ** 2))

    def whole(self, cells: Callable[[Floats], Cells]) -> tuple[Floats, Floats]:
        """(G, T) effects and weights with no product left out, everything else as it is."""
        effect = self.effect.mean(axis=0)
        weight = np.zeros_like(effect)
        for _ in range(LAST_STEPS):
            at = cells(np.pad(effect, ((0, 1), (0, 0)))[self.sums.group_of])
            weight = self.sums.by_group(at.weight)
            effect = effect + _newton(self.sums.by_group(at.score), weight, effect, self.ridge)
        return effect, weight


def folds(group: Ints, count: int = FOLDS) -> Ints:
    """(P,) which of `count` folds each product is in: the products of a group are dealt in turn, in their order."""
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], group[order])
    out = np.zeros(len(group), dtype=np.int64)
    out[order] = (np.arange(len(group)) - first) % count
    return out


def _newton(score: Floats, weight: Floats, effect: Floats, ridge: float) -> Floats:
    step: Floats = (score - ridge * effect) / (weight + ridge)
    return np.clip(step, -LARGEST_STEP, LARGEST_STEP)
