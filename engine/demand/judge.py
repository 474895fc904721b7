"""The judge of a price plan: what it would have gained by sales it was not made from, seen by another kind of model.

A model that re-judges its own plan confirms its own errors. The judge therefore shares neither data nor model with the
plan: it takes sales that were held out (other households, other stores) and fits, category by category, a Poisson
pseudo-maximum-likelihood regression with a constant for every series and every category-week (Santos Silva and
Tenreyro, "The Log of Gravity", Review of Economics and Statistics, 2006; effects absorbed as in Correia, Guimarães and
Zylkin, "Fast Poisson estimation with high-dimensional fixed effects", Stata Journal, 2020). It shares the plan's
definition of an everyday price (`engine.demand.channels`), as the question is about that price.

Every product has a slope of its own and nothing is shrunk: a plan raises what is less elastic than its neighbours, so
that a judge who gave all of a category the same slope would miss what the plan is made of. Unshrunken slopes are noisy,
but what was noise in one half is not repeated in the other, the gain is nearly linear in the slopes, and over many
products the noise averages out; what is left is in the interval. Only a product whose slope is hardly known
(`MAX_SE`) takes its category's, and a category that is hardly known the mean of all. The judge has no view on
substitution beyond what the category-week constants absorb.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.demand.channels import Channels, split_prices
from engine.errors import ProblemError
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DRAWS = 2000
MIN_SERIES = 3
"""A category with fewer series is all absorbed by its week effects; it is given the mean slope of the others."""
MAX_SE = 1.5
"""A slope less certain than this says nothing; the mean slope of the others takes its place."""
MAX_STEPS = 60


@dataclass(frozen=True)
class Judgement:
    """What held-out sales say about a plan. Money over the horizon of the `base_units` that were handed in."""

    gain: float
    """Judged gain over today's prices, at the point estimate."""
    gain_low: float
    """5 % quantile over draws of the slopes."""
    gain_high: float
    """95 % quantile."""
    profit_current: float
    """Profit at today's prices."""
    slope: Floats
    """(P,) elasticity to the everyday price that the judge used."""
    slope_se: Floats
    """(P,) its standard error."""
    own_evidence: Bools
    """(P,) False: the slope of the category, or the mean of all, stood in."""
    method: str
    """"product" or "category": for whom slopes were fitted first."""

    def agrees(self, promised: float) -> bool:
        """Whether the promised gain lies within the judged interval."""
        return self.gain_low <= promised <= self.gain_high


@dataclass(frozen=True)
class Slopes:
    """Slopes of G groups (categories or products) in the everyday price."""

    slope: Floats
    """(G,) NaN where nothing could be fitted."""
    se: Floats
    """(G,) standard error, clustered by series; inf where nothing could be fitted."""
    blocks: tuple[tuple[Ints, Floats], ...] = ()
    """Groups fitted together, with the correlation of their slopes' errors; groups in no block stand alone."""

    def draws(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw slopes from their joint normal distribution, (count, G); a slope of unknown error is not moved."""
        noise = rng.standard_normal((count, len(self.se)))
        for groups, correlation in self.blocks:
            values, vectors = np.linalg.eigh(correlation)
            noise[:, groups] = noise[:, groups] @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
        return np.asarray(self.slope + np.where(np.isfinite(self.se), self.se, 0.0) * noise)


def judge_plan(
    panel: Panel,
    *,
    current_price: Floats,
    price: Floats,
    unit_cost: Floats,
    base_units: Floats,
    seed: int,
    prices_from: Panel | None = None,
    by: Literal["product", "category"] = "product",
) -> Judgement:
    """Judge a price plan on held-out sales.

    Args:
        panel: the held-out half; its `products` are those of the plan.
        current_price: (P,) today's everyday prices, money per unit.
        price: (P,) the plan's.
        unit_cost: (P,) money per unit.
        base_units: (P,) units over the horizon at today's prices, on the scale of the promise.
        seed: of the draws that make the interval.
        prices_from: a panel of the same series and weeks whose prices are taken (the whole shop's, where prices are
            rebuilt from purchases and a half has not bought everything every week); None: the held-out panel's.
        by: for whom slopes are fitted; "category" is the more certain and the coarser.

    Raises:
        ProblemError: shapes differ, or the held-out sales cannot tell any slope.
    """
    arrays = {"current_price": current_price, "price": price, "unit_cost": unit_cost, "base_units": base_units}
    _check(panel, arrays)
    channels = _channels(panel, prices_from)
    ladder = _fallbacks(panel, channels, by)
    normal = np.random.default_rng([seed, 77])
    slope, se, own, drawn = _draw_slopes(ladder, panel.n_products, normal)
    low, high = np.quantile(_gain(drawn, arrays), (0.05, 0.95))
    return Judgement(
        gain=float(_gain(slope[None, :], arrays)[0]),
        gain_low=float(low),
        gain_high=float(high),
        profit_current=float(base_units @ (current_price - unit_cost)),
        slope=slope,
        slope_se=se,
        own_evidence=own,
        method=by,
    )


def fit_slopes(panel: Panel, channels: Channels, label: Ints) -> Slopes:
    """Fit the slope in the everyday price for each label 0…G-1 of the products (P,), category by category.

    Every category is one regression: series effects, week effects, promotions, leaflet and display, and one everyday
    price slope for each label that occurs in it.
    """
    groups = int(label.max(initial=-1)) + 1
    slope, se = np.full(groups, np.nan), np.full(groups, np.inf)
    blocks = []
    for rows, labels in _categories(panel, label):
        present = np.unique(labels)
        fit = _fit_category(panel, channels, rows, labels)
        if fit is not None:
            own = slice(0, len(present))
            slope[present], se[present] = fit.coefficient[own], fit.se[own]
            blocks.append((present, fit.correlation[own, own]))
    return Slopes(slope, se, tuple(blocks))


def _check(panel: Panel, arrays: dict[str, Floats]) -> None:
    for name, values in arrays.items():
        if values.shape != (panel.n_products,):
            raise ProblemError(f"{name} has shape {values.shape}; the held-out panel has {panel.n_products} products")
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ProblemError(f"{name} of product {panel.product_ids[first]} is {values[first]}; give a number")
    if np.any(arrays["price"] <= 0) or np.any(arrays["current_price"] <= 0):
        raise ProblemError("a price of 0 or below cannot be judged; leave the product out")


def _channels(panel: Panel, prices_from: Panel | None) -> Channels:
    if prices_from is None:
        return split_prices(panel)
    if prices_from.units.shape != panel.units.shape or prices_from.product_ids != panel.product_ids:
        raise ProblemError(
            f"prices_from has series × weeks {prices_from.units.shape}, the held-out panel {panel.units.shape}; "
            "both must have the same series in the same order"
        )
    channels = split_prices(prices_from)
    sold = np.where(channels.usable, panel.units, 0.0).sum(axis=1) > 0
    return replace(channels, usable=channels.usable & sold[:, None])


def _fallbacks(panel: Panel, channels: Channels, by: str) -> list[tuple[Ints, Slopes]]:
    """Labels (P,) and slopes, the finest first; the last is the mean of all categories, the same for everybody."""
    category = panel.category_code
    coarse = fit_slopes(panel, channels, category)
    mean, spread = _mean_slope(coarse)
    everybody = np.zeros(panel.n_products, dtype=np.int64)
    rest = [(category, coarse), (everybody, Slopes(np.array([mean]), np.array([spread])))]
    if by == "category":
        return rest
    product = np.arange(panel.n_products, dtype=np.int64)
    return [(product, fit_slopes(panel, channels, product)), *rest]


def _draw_slopes(
    ladder: list[tuple[Ints, Slopes]], products: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Bools, Floats]:
    """Give every product the first slope that is known well enough.

    Returns:
        slopes (P,), their standard errors (P,), whether each is the finest (P,), and joint draws (DRAWS, P).
    """
    slope, se = np.full(products, np.nan), np.full(products, np.nan)
    drawn = np.full((DRAWS, products), np.nan)
    for step, (label, slopes) in enumerate(ladder):
        last = step == len(ladder) - 1
        take = np.isnan(slope) & (last | (slopes.se[label] <= MAX_SE))
        slope[take], se[take] = slopes.slope[label][take], slopes.se[label][take]
        drawn[:, take] = slopes.draws(DRAWS, rng)[:, label[take]]
        if step == 0:
            own = take
    return slope, se, own, drawn


def _categories(panel: Panel, label: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Series of each category that has enough of them, with the labels of these series."""
    category = panel.category_code[panel.series_product]
    for code in range(int(category.max(initial=-1)) + 1):
        rows = np.flatnonzero(category == code)
        if len(rows) >= MIN_SERIES:
            yield rows, label[panel.series_product[rows]]


def _fit_category(panel: Panel, channels: Channels, rows: Ints, labels: Ints) -> AbsorbedFit | None:
    """Fit one category; the first coefficients are those of the sorted labels."""
    groups = sorted(set(labels.tolist()))
    usable = channels.usable[rows]
    units = np.where(usable, panel.units[rows], 0.0)
    # Series and weeks in which nothing was sold carry no information and have no finite effect.
    usable = usable & (units.sum(axis=1) > 0)[:, None] & (units.sum(axis=0) > 0)[None, :]
    target = channels.values[rows][:, :, channels.target]
    own = [np.where(labels[:, None] == group, target, 0.0) for group in groups]
    rest = [channels.values[rows][:, :, k] for k in range(len(channels.names)) if k != channels.target]
    design = np.stack([*own, *rest, panel.mailer[rows], panel.display[rows]], axis=2)
    return poisson_absorbed(np.where(usable, panel.units[rows], 0.0), design, usable)


@dataclass(frozen=True)
class AbsorbedFit:
    """A regression with absorbed effects."""

    coefficient: Floats
    """(K,) NaN for a regressor without variation of its own."""
    se: Floats
    """(K,) clustered by row, never below the cell-wise robust ones; inf where there is no variation of its own."""
    correlation: Floats
    """(K, K) of the coefficients' errors."""


def poisson_absorbed(units: Floats, design: Floats, usable: Bools) -> AbsorbedFit | None:
    """Poisson pseudo-maximum likelihood with row and column effects absorbed.

    Args:
        units: (S, T) counts, not negative.
        design: (S, T, K) regressors.
        usable: (S, T) cells that count.

    Returns:
        the fit; None where there are too few cells or it does not converge.
    """
    cells = int(usable.sum())
    effects = int(usable.any(axis=1).sum() + usable.any(axis=0).sum())
    if cells <= effects + design.shape[2]:
        return None
    mask = usable.astype(np.float64)
    mean = mask * (units + units.sum() / cells) / 2
    eta = np.log(np.where(usable, mean, 1.0))
    last = np.inf
    for _ in range(MAX_STEPS):
        step = _weighted_step(units, design, mean, eta)
        if step is None:
            return None
        eta = np.clip(step.eta, -30.0, 30.0)
        mean = mask * np.exp(eta)
        deviance = _deviance(units, mean, usable)
        if abs(last - deviance) <= 1e-9 * (1.0 + abs(deviance)):
            return _with_errors(step, units - mean, cells, effects)
        last = deviance
    return None


@dataclass(frozen=True)
class _Step:
    coefficient: Floats
    eta: Floats
    inner: Floats
    """(S, T, K) regressors with the effects projected out."""
    inverse: Floats
    """(K, K) inverse of inner' W inner; zero rows where a regressor has no variation of its own."""
    kept: Bools


def _weighted_step(units: Floats, design: Floats, mean: Floats, eta: Floats) -> _Step | None:
    """One step of iteratively reweighted least squares with the effects projected out."""
    working = eta + np.divide(units - mean, mean, out=np.zeros_like(mean), where=mean > 0)
    both = _project_out(np.concatenate([design, working[:, :, None]], axis=2), mean)
    if both is None:
        return None
    inner, left = both[:, :, :-1], both[:, :, -1]
    gram = np.einsum("stk,st,stl->kl", inner, mean, inner)
    raw = np.einsum("stk,st,stk->k", design, mean, design)
    kept = np.diag(gram) > 1e-7 * np.maximum(raw, 1e-12)
    inverse = np.zeros_like(gram)
    inverse[np.ix_(kept, kept)] = np.linalg.pinv(gram[np.ix_(kept, kept)], rcond=1e-9, hermitian=True)
    coefficient = inverse @ np.einsum("stk,st,st->k", inner, mean, left)
    fitted: Floats = working - (left - inner @ coefficient)
    return _Step(np.where(kept, coefficient, np.nan), fitted, inner, inverse, kept)


def _project_out(values: Floats, weight: Floats) -> Floats | None:
    """Take weighted row and column means out of (S, T, K) values by alternating projections; None: no convergence."""
    row, column = weight.sum(axis=1)[:, None, None], weight.sum(axis=0)[None, :, None]
    current = values
    size = np.sqrt((weight[:, :, None] * values**2).sum(axis=(0, 1))) + 1e-300
    for _ in range(500):
        before = current
        current = current - _mean(current, weight, 1, row)
        current = current - _mean(current, weight, 0, column)
        change = np.sqrt((weight[:, :, None] * (current - before) ** 2).sum(axis=(0, 1)))
        if np.all(change <= 1e-8 * size):
            return np.asarray(np.where(weight[:, :, None] > 0, current, 0.0))
    return None


def _mean(values: Floats, weight: Floats, axis: int, total: Floats) -> Floats:
    summed = (weight[:, :, None] * values).sum(axis=axis, keepdims=True)
    return np.asarray(np.divide(summed, total, out=np.zeros_like(summed), where=total > 0))


def _deviance(units: Floats, mean: Floats, usable: Bools) -> float:
    ratio = np.where(units > 0, units, 1.0) / np.where(usable, mean, 1.0)
    part = np.where(units > 0, units * np.log(ratio), 0.0) - np.where(usable, units - mean, 0.0)
    return float(2 * part.sum())


def _with_errors(step: _Step, residual: Floats, cells: int, effects: int) -> AbsorbedFit:
    score = step.inner * residual[:, :, None]
    rows = score.sum(axis=1)
    count = max(int((np.abs(rows) > 0).any(axis=1).sum()), 2)
    clustered = count / (count - 1) * rows.T @ rows
    single = score.reshape(-1, score.shape[2])
    robust = cells / max(cells - effects - score.shape[2], 1) * single.T @ single
    by_row, by_cell = (step.inverse @ middle @ step.inverse for middle in (clustered, robust))
    variance = np.maximum(np.maximum(np.diag(by_row), np.diag(by_cell)), 0.0)
    scale = np.sqrt(np.maximum(np.diag(by_cell), 1e-300))
    correlation = by_cell / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return AbsorbedFit(step.coefficient, np.where(step.kept, np.sqrt(variance), np.inf), correlation)


def _mean_slope(slopes: Slopes) -> tuple[float, float]:
    """Random-effects mean of the slopes and the spread of a new group around it.

    DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials, 1986.
    """
    told = np.isfinite(slopes.slope) & np.isfinite(slopes.se) & (slopes.se > 0)
    if not told.any():
        raise ProblemError("the held-out sales cannot judge the plan: no category has everyday price moves of its own")
    value, weight = slopes.slope[told], slopes.se[told] ** -2
    fixed = float(weight @ value / weight.sum())
    excess = float(weight @ (value - fixed) ** 2) - (len(value) - 1)
    room = float(weight.sum() - (weight**2).sum() / weight.sum())
    between = max(0.0, excess / room) if room > 0 else 0.0
    weight = 1 / (slopes.se[told] ** 2 + between)
    mean = float(weight @ value / weight.sum())
    return mean, float(np.sqrt(between + 1 / weight.sum()))


def _gain(slope: Floats, arrays: dict[str, Floats]) -> Floats:
    """Gain of the plan for slopes (D, P), (D,)."""
    today, price, cost = arrays["current_price"], arrays["price"], arrays["unit_cost"]
    factor = np.exp(slope * np.log(price / today))
    return np.asarray((factor * (price - cost) - (today - cost)) @ arrays["base_units"])
