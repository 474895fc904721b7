"""The judge of a price plan: what it would have gained by sales it was not made from, seen by another kind of model.

A model that re-judges its own plan confirms its own errors. The judge therefore shares neither data nor model with the
plan: it takes sales that were held out (other households, other stores) and fits, category by category, a Poisson
regression with a constant for every series and every category-week (`absorbed`, `judge_category`). It shares the plan's
definition of an everyday price (`engine.demand.channels`), as the question is about that price.

Every product has a slope of its own and no slope is shrunk: a plan raises what is less elastic than its neighbours, so
that a judge who gave all of a category the same slope would miss what the plan is made of. Unshrunken slopes are
noisy, but what was noise in one half is not repeated in the other, and over many products the noise averages out; what
is left is in the interval. Only a product whose slope is hardly known (`MAX_SE`) takes the mean of the others, with
their spread.

Sales that a dearer product loses go in part to its category. A plan raises what shoppers cling to and cuts what they
leave, so a judge without substitution finds too much (docs/figures.md says how much it was). The diversion
ratio is read from the weeks of each category and is pooled over categories, which know little alone.

Three things the sales cannot tell, and each draw takes them anew: by how much each slope and each ratio is wrong;
whether substitution follows a price index or what each rival loses; and whether demand bends as a constant elasticity
or as an exponential curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.demand.channels import Channels, split_prices
from engine.demand.judge_category import LEANS, CategoryFit, fit_category
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
DIVERSION, DIVERSION_SD = 0.35, 0.25
"""The mean diversion ratio before the weeks speak: a third of lost sales stays in the category, ± a quarter."""
LARGEST_SPREAD = 0.15
"""Of diversion ratios over categories."""
FORM_SD = 0.12
"""How far the ratio that the weeks show may lie from the one that a plan meets: neither form of substitution is the
truth. Chosen on seeds 101 to 107 of `benchmarks.judge`."""
WIDEN = 1.4
"""On those shops, of seven forms of demand, gains were off by 1.4 times what the draws say; the interval is as wide."""


@dataclass(frozen=True)
class Judgement:
    """What held-out sales say about a plan. Money over the horizon of the `base_units` that were handed in."""

    gain: float
    """Judged gain over today's prices, the mean over draws."""
    gain_low: float
    """5 % quantile over draws, the distance from the mean widened by `WIDEN`."""
    gain_high: float
    """95 % quantile, likewise."""
    profit_current: float
    """Profit at today's prices."""
    slope: Floats
    """(P,) elasticity to the everyday price that the judge used, while all other prices stay."""
    slope_se: Floats
    """(P,) its standard error."""
    own_evidence: Bools
    """(P,) False: the mean of the others stood in."""
    diversion: float
    """Mean over categories of the part of lost sales that stays in the category."""
    diversion_se: float

    def agrees(self, promised: float) -> bool:
        """Whether the promised gain lies within the judged interval."""
        return self.gain_low <= promised <= self.gain_high


@dataclass(frozen=True)
class _Plan:
    current_price: Floats
    price: Floats
    unit_cost: Floats
    base_units: Floats


@dataclass(frozen=True)
class _Market:
    """D draws of how P products in C categories answer."""

    slope: Floats
    """(D, P) net of the category's weeks."""
    noise: Floats
    """(P,) variance of each slope's own error: the exponential of a noisy slope is too large by half of it, squared
    move by squared move."""
    rivals: Floats
    """(D, P) answer to the category's price index beyond the category's own."""
    share: Floats
    """(C, P) revenue share in the category; 0 elsewhere."""
    pull: Floats
    """(LEANS, C, P)."""
    diversion: Floats
    """(D, C, LEANS)."""
    category: Ints


def judge_plan(
    panel: Panel,
    *,
    current_price: Floats,
    price: Floats,
    unit_cost: Floats,
    base_units: Floats,
    seed: int,
    prices_from: Panel | None = None,
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

    Raises:
        ProblemError: shapes differ, or the held-out sales cannot tell any slope.
    """
    plan = _Plan(current_price, price, unit_cost, base_units)
    _check(panel, plan)
    fits = list(_fit_categories(panel, _channels(panel, prices_from), current_price))
    rng = np.random.default_rng([seed, 77])
    slope, se, own = _known_slopes(fits, panel.n_products)
    market = _draw_market(fits, (slope, se, own), panel.category_code, rng)
    gain = _gain_draws(market, plan, rng)
    low, high = gain.mean() + WIDEN * (np.quantile(gain, (0.05, 0.95)) - gain.mean())
    typical = market.diversion.mean(axis=(1, 2))
    given_back = (market.pull.mean(axis=0) * market.diversion.mean(axis=(0, 2))[:, None]).sum(axis=0)
    return Judgement(
        gain=float(gain.mean()),
        gain_low=float(low),
        gain_high=float(high),
        profit_current=float(base_units @ (current_price - unit_cost)),
        slope=market.slope.mean(axis=0) + given_back + (market.rivals.mean(axis=0) * market.share).sum(axis=0),
        slope_se=market.slope.std(axis=0),
        own_evidence=own,
        diversion=float(typical.mean()),
        diversion_se=float(typical.std()),
    )


def _check(panel: Panel, plan: _Plan) -> None:
    for name, values in vars(plan).items():
        if values.shape != (panel.n_products,):
            raise ProblemError(f"{name} has shape {values.shape}; the held-out panel has {panel.n_products} products")
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ProblemError(f"{name} of product {panel.product_ids[first]} is {values[first]}; give a number")
    if np.any(plan.price <= 0) or np.any(plan.current_price <= 0):
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


def _fit_categories(panel: Panel, channels: Channels, current_price: Floats) -> Sequence[CategoryFit]:
    category = panel.category_code[panel.series_product]
    every = (np.flatnonzero(category == code) for code in range(int(category.max(initial=-1)) + 1))
    found = (fit_category(panel, channels, rows, current_price, MAX_SE) for rows in every if len(rows) >= MIN_SERIES)
    return [fit for fit in found if fit is not None]


def _known_slopes(fits: Sequence[CategoryFit], products: int) -> tuple[Floats, Floats, Bools]:
    """(P,) slopes and standard errors, and whether they are known well enough to stand for themselves."""
    slope, se = np.full(products, np.nan), np.full(products, np.inf)
    for fit in fits:
        slope[fit.products], se[fit.products] = fit.slope, fit.slope_se
    return slope, se, np.isfinite(slope) & (se <= MAX_SE)


def _draw_market(
    fits: Sequence[CategoryFit], known: tuple[Floats, Floats, Bools], category: Ints, rng: np.random.Generator
) -> _Market:
    slope, se, own = known
    products, categories = len(slope), int(category.max(initial=-1)) + 1
    mean, mean_se, spread = _random_effects(slope, se)
    others = mean + mean_se * rng.standard_normal((DRAWS, 1)) + spread * rng.standard_normal((DRAWS, products))
    slopes, rivals = others, np.zeros((DRAWS, products))
    share, pull = np.zeros((categories, products)), np.zeros((len(LEANS), categories, products))
    ratio = np.full((DRAWS, categories, len(LEANS)), np.nan)
    for fit in fits:
        at, code = fit.products, int(category[fit.products[0]])
        drawn, drawn_rivals, drawn_ratio = fit.draws(DRAWS, rng)
        slopes[:, at] = np.where(own[at], drawn, others[:, at])
        rivals[:, at] = np.where(own[at], drawn_rivals, 0.0)
        share[code, at] = fit.share
        ratio[:, code] = drawn_ratio
        for k, form in enumerate(fit.diversion):
            pull[k, code, at] = form.pull
    diversion = np.stack([_pooled(ratio[:, :, k], rng) for k in range(len(LEANS))], axis=2)
    return _Market(slopes, np.where(own, se, 0.0) ** 2, rivals, share, pull, diversion, category)


def _pooled(ratio: Floats, rng: np.random.Generator) -> Floats:
    """Draws (D, C) of the categories' ratios, each pulled towards their mean as far as its error warrants; within 0…1.

    A category without a ratio of its own (NaN) takes the mean, with the spread.
    """
    draws, categories = ratio.shape
    told = np.isfinite(ratio).all(axis=0)
    value, se = np.zeros(categories), np.full(categories, np.inf)
    value[told], se[told] = ratio[:, told].mean(axis=0), ratio[:, told].std(axis=0)
    spread = min(_between(value[told], se[told]), LARGEST_SPREAD)
    weight = 1.0 / (se**2 + spread**2)
    before = DIVERSION + DIVERSION_SD * rng.standard_normal(draws)
    around = np.where(told, ratio, 0.0) + spread * rng.standard_normal(ratio.shape)
    mean = (around @ weight + before / DIVERSION_SD**2) / (weight.sum() + DIVERSION_SD**-2)
    trust = np.divide(spread**2, se**2 + spread**2, out=np.zeros(categories), where=told & (spread > 0))
    rest = mean[:, None] + spread * rng.standard_normal(ratio.shape)
    form = FORM_SD * rng.standard_normal((draws, 1))
    return np.asarray(np.clip(trust * np.where(told, ratio, 0.0) + (1 - trust) * rest + form, 0.0, 1.0))


def _random_effects(value: Floats, se: Floats) -> tuple[float, float, float]:
    """Mean of noisy values, its standard error, and their spread.

    Raises:
        ProblemError: no value is known at all.
    """
    told = np.isfinite(value) & np.isfinite(se) & (se > 0)
    if not told.any():
        raise ProblemError("the held-out sales cannot judge the plan: no product has everyday price moves of its own")
    spread = _between(value[told], se[told])
    weight = 1.0 / (se[told] ** 2 + spread**2)
    total = float(weight.sum())
    return float(weight @ value[told]) / total, total**-0.5, spread


def _between(value: Floats, se: Floats) -> float:
    """Spread of the values beyond their errors.

    DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials, 1986.
    """
    weight = se**-2.0
    total = float(weight.sum())
    room = total - float((weight**2).sum()) / total if total > 0 else 0.0
    if room <= 0:
        return 0.0
    excess = float(weight @ (value - weight @ value / total) ** 2) - (len(value) - 1)
    return float(np.sqrt(max(0.0, excess / room)))


def _gain_draws(market: _Market, plan: _Plan, rng: np.random.Generator) -> Floats:
    """(D,) gain of the plan in every draw."""
    draws = len(market.slope)
    ratio = plan.price / plan.current_price
    bend = rng.random((draws, 1))
    lean = np.arange(draws) % len(LEANS)
    moves = (np.log(ratio), ratio - 1.0)

    def bent(weights: Floats) -> Floats:
        """(D, …) weighted sums of the moves, between constant elasticity and exponential demand."""
        return np.asarray((1 - bend) * (weights @ moves[0]) + bend * (weights @ moves[1]))

    move = (1 - bend) * moves[0] + bend * moves[1]
    lost = np.stack([bent(pull) for pull in market.pull])[lean, np.arange(draws)]
    kept = market.diversion[np.arange(draws), :, lean] * lost
    category = market.category
    effect = market.slope * move - market.noise * move**2 + market.rivals * bent(market.share)[:, category]
    effect = effect + kept[:, category]
    margin = plan.price - plan.unit_cost
    today = plan.current_price - plan.unit_cost
    return np.asarray((np.exp(effect) * margin - today) @ plan.base_units)
