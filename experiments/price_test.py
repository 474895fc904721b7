"""Price tests over products that see substitution inside the category.

A product that is made cheaper takes customers from its neighbours; where the neighbours are the control group, the
loss of the control is counted as a gain of the treatment. So prices are drawn in two stages (Hudgens and Halloran
2008; Baird, Bohren, McIntosh and Özler 2018): categories draw a saturation, the share of their products with the new
price, and products are drawn within it. Categories at 0 say what would have been, categories at 1 what a launch
earns, and those in between what the price does to the product itself and to its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.errors import ProblemError
from engine.proposal import Reason
from experiments.cluster_robust import clustered_fit
from experiments.randomise import by_cluster, stratified

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SATURATIONS = (0.0, 0.5, 1.0)
SATURATION_SHARES = (0.35, 0.3, 0.35)
"""Share of the categories at each saturation: most say what a launch earns, the rest why."""


@dataclass(frozen=True)
class PriceTest:
    """A two-stage draw."""

    saturation: Floats
    """(products,) saturation of the product's category."""
    variant: Ints
    """(products,) 1: the new price."""


@dataclass(frozen=True)
class PriceEffect:
    """One effect on a product's metric, with its interval."""

    estimate: float
    low: float
    high: float
    p_value: float
    error: float
    """Standard error."""
    freedom: float
    """Its degrees of freedom."""


@dataclass(frozen=True)
class PriceTestReading:
    """What a new price does, for each product."""

    launch: PriceEffect
    """New prices for all products of the category against none: what a launch earns."""
    own: PriceEffect
    """In half-treated categories, the product with the new price against its neighbours with the old one."""
    neighbour: PriceEffect
    """The neighbour with the old price, in half-treated categories, against products of untreated ones."""
    naive: PriceEffect
    """All products with the new price against all with the old one, as if no product knew another."""
    categories: tuple[int, ...]
    """Categories at saturation 0, between, and 1."""


def draw_price_test(
    categories: Sequence[Any] | npt.NDArray[Any],
    rng: np.random.Generator,
    *,
    saturations: Sequence[float] = SATURATIONS,
    shares: Sequence[float] = SATURATION_SHARES,
    strata: Sequence[Any] | npt.NDArray[Any] | None = None,
) -> PriceTest:
    """Draw saturations for categories, and prices for products.

    Args:
        categories: (products,) category of each product.
        rng: source of chance.
        saturations: shares of a category's products with the new price; with 0, 1 and one between.
        shares: share of the categories at each.
        strata: (products,) stratum of each product's category, such as its department; None: no strata.

    Raises:
        ProblemError: saturations without 0, 1 or one between, or fewer categories than saturations.
    """
    levels = np.asarray(saturations, dtype=np.float64)
    if not {0.0, 1.0} < set(levels.tolist()) or levels.min() < 0 or levels.max() > 1:
        raise ProblemError(
            Reason("saturations {saturations}: give 0, 1 and one or more between", {"saturations": list(saturations)})
        )
    level = levels[by_cluster(categories, shares, rng, strata)]
    variant = np.zeros(level.size, dtype=np.int64)
    names = np.asarray(categories)
    for share in levels.tolist():
        inside = level == share
        if share in {0.0, 1.0}:
            variant[inside] = int(share)
        elif inside.any():
            variant[inside] = stratified(names[inside], (1 - share, share), rng)
    return PriceTest(level, variant)


def read_price_test(
    values: npt.ArrayLike,
    test: PriceTest,
    categories: Sequence[Any] | npt.NDArray[Any],
    *,
    before: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> PriceTestReading:
    """Read a two-stage price test; categories are the clusters (CR2, Bell and McCaffrey 2002).

    Args:
        values: (products,) the metric of each product during the test, such as weekly profit.
        test: as it ran.
        categories: (products,) as in the draw.
        before: (products,) the same metric before the start; takes variance off.
        alpha: 1 - confidence.

    Raises:
        ProblemError: a value is missing, or a saturation has fewer than two categories.
    """
    y = np.asarray(values, dtype=np.float64)
    between = (test.saturation > 0) & (test.saturation < 1)
    groups = {
        "none": test.saturation == 0,
        "neighbour": between & (test.variant == 0),
        "own": between & (test.variant == 1),
        "all": test.saturation == 1,
    }
    names = np.asarray(categories)
    counts = tuple(np.unique(names[groups[name]]).size for name in ("none", "own", "all"))
    if min(counts) < 2 or not groups["neighbour"].any():
        raise ProblemError(
            Reason(
                "{counts} categories at saturation 0, between and 1; two or more of each are needed", {"counts": counts}
            )
        )
    columns = [mask.astype(np.float64) for mask in groups.values()]
    adjust = [] if before is None else [_centred(before, y.size)]
    fit = clustered_fit(np.column_stack(columns + adjust), y, names)
    ran = test.variant == 1
    plain = clustered_fit(np.column_stack([~ran, ran, *adjust]).astype(np.float64), y, np.arange(y.size))

    def effect(of: int, over: int) -> PriceEffect:
        return _effect(*fit.contrast(of, over), fit.freedom(of, over), alpha)

    return PriceTestReading(
        launch=effect(3, 0),
        own=effect(2, 1),
        neighbour=effect(1, 0),
        naive=_effect(*plain.contrast(1, 0), y.size - 2, alpha),
        categories=counts,
    )


def _centred(before: npt.ArrayLike, size: int) -> Floats:
    past = np.asarray(before, dtype=np.float64)
    if past.shape != (size,) or not np.all(np.isfinite(past)):
        raise ProblemError(
            Reason(
                "before has shape {shape} or missing values; give a finite number for {size} products",
                {"shape": past.shape, "size": size},
            )
        )
    centred: Floats = past - past.mean()
    return centred


def _effect(estimate: float, error: float, freedom: float, alpha: float) -> PriceEffect:
    width = float(stats.t.ppf(1 - alpha / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(estimate) / error, freedom)) if error else float(estimate == 0)
    return PriceEffect(estimate, estimate - width, estimate + width, p_value, error, freedom)
