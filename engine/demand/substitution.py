"""Substitution: what the prices of the rest of the category do to a product's demand.

The counts are fitted with free category-week effects, so the prices of the rest of the category are not lost: they are
in those effects. With w_i the share of product i in its category's revenue and I_ct the category's log price index, the
index of the others is (I_ct - w_i x_it) / (1 - w_i), and therefore

    G_ct = gamma_c I_ct + season + noise         (the cross elasticity, read from the category-week effects)
    b_i  = beta_i - gamma_c w_i / (1 - w_i)      (what the free effects hide of the own elasticity, given back)

I is the index of everyday prices and random moves; that of promotions, which shops time to a category's good weeks,
stands beside it as a control. Categories whose weeks are known shrink towards each other; the others get their mean. A
negative cross elasticity is never acted on: draws are kept at zero or above.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.demand.channels import PROMOTION, Channels
from engine.demand.controls import WEEKS_FOR_SEASON, YEAR_WEEKS
from engine.demand.counts import CountFit
from engine.demand.noise import long_run_variance
from engine.demand.shrinkage import Prior, Shrunken, shrink
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PRIOR = Prior(
    mean=np.array([0.25]),
    covariance=np.array([[0.15**2]]),
    log_sd=np.array([np.log(0.06)]),
    log_sd_sd=np.array([0.4]),
    slope=np.zeros((1, 1)),
    slope_sd=np.ones((1, 1)),
)
"""Small, positive and alike. A year or two of category indices tells single categories apart badly, and an optimiser
lives on what looks different by chance, so the categories are held close together. The mean and the widths were set
with the simulator in sight, whose own cross elasticity is 0.25: its shops do not test them (the logit shop does)."""
CROSS_LIMIT = 3.0
LARGEST_SHARE = 0.5
GROUPS_FOR_WEEKS = 5
"""With this many groups the weeks they have in common are taken out."""


@dataclass(frozen=True)
class Substitution:
    """Posterior of the cross elasticity of P products."""

    mean: Floats
    """(P,) of the elasticity kept at zero or above."""
    sd: Floats
    unit: Ints
    """(P,) row of `posterior` that a product shares."""
    own_share: Floats
    """(P,) w / (1 - w): how much of the cross elasticity the category-week effects took from the own one; 0 where the
    week effects are not those of the category alone."""
    posterior: Shrunken = field(repr=False)

    def draws(self, n: int, rng: np.random.Generator) -> Floats:
        """(n, P) draws, not negative."""
        return np.clip(self.posterior.draws(n, rng)[:, self.unit, 0], 0.0, CROSS_LIMIT)


def estimate_substitution(panel: Panel, channels: Channels, fit: CountFit, rng: np.random.Generator) -> Substitution:
    """Estimate the cross elasticity of every product's category."""
    category = panel.category_code
    n = int(category.max(initial=-1)) + 1
    share = _revenue_share(panel, channels, category)
    estimate, variance = np.zeros(n), np.full(n, np.inf)
    group_estimate, group_variance = _by_group(panel, channels, fit)
    absorbed = np.zeros(n)
    for code in range(n):
        group = _own_group(fit.design.group, category, code)
        if group >= 0:
            estimate[code], variance[code], absorbed[code] = group_estimate[group], group_variance[group], 1.0
    precision = np.divide(1.0, variance, out=np.zeros(n), where=np.isfinite(variance))[:, None, None]
    posterior = shrink(estimate[:, None], precision, np.zeros(n, dtype=np.int64), PRIOR, rng=rng, states=40)
    centre, spread = posterior.mean[:, 0], np.sqrt(posterior.covariance[:, 0, 0])
    mean, sd = _kept_positive(centre, spread)
    return Substitution(mean[category], sd[category], category, absorbed[category] * share / (1.0 - share), posterior)


def _own_group(group: Ints, category: Ints, code: int) -> int:
    """The group that holds this category and no other; -1 where there is none."""
    own = int(group[category == code][0])
    return own if own >= 0 and bool(np.all(category[group == own] == code)) else -1


def _revenue_share(panel: Panel, channels: Channels, category: Ints) -> Floats:
    """(P,) share of a product in the revenue of its category."""
    by_series = (np.where(channels.usable, panel.units * panel.price, 0.0)).sum(axis=1)
    revenue = np.bincount(panel.series_product, weights=by_series, minlength=panel.n_products)
    total = np.bincount(category, weights=revenue)[category] if len(category) else revenue
    return np.minimum(np.divide(revenue, total, out=np.zeros_like(revenue), where=total > 0), LARGEST_SHARE)


def _price_index(panel: Panel, channels: Channels, fit: CountFit, log_price: Floats) -> Floats:
    """(G, T) index of (S, T) log prices in each group, each series against its own mean, weighted by revenue."""
    usable = channels.usable
    count = np.maximum(usable.sum(axis=1, keepdims=True), 1)
    moved = log_price - np.where(usable, log_price, 0.0).sum(axis=1, keepdims=True) / count
    revenue = np.where(usable, panel.units * panel.price, 0.0).sum(axis=1)
    group = fit.design.group[panel.series_product]
    index, mass = np.zeros(fit.group_effect.shape), np.zeros(fit.group_effect.shape)
    has = group >= 0
    weight = revenue[:, None] * usable
    np.add.at(index, group[has], (weight * moved)[has])
    np.add.at(mass, group[has], weight[has])
    return np.divide(index, mass, out=np.zeros_like(index), where=mass > 0)


def _by_group(panel: Panel, channels: Channels, fit: CountFit) -> tuple[Floats, Floats]:
    """(G,) cross elasticity and its variance, from a weighted regression of the group-week effects on the index."""
    discounts = channels.column(PROMOTION)
    index = _price_index(panel, channels, fit, channels.values.sum(axis=2) - discounts)
    promoted = _price_index(panel, channels, fit, discounts)
    n_groups, weeks = index.shape
    estimate, variance = np.zeros(n_groups), np.full(n_groups, np.inf)
    effect = fit.group_effect
    if n_groups >= GROUPS_FOR_WEEKS:
        effect, index = effect - np.median(effect, axis=0), index - index.mean(axis=0)
    calendar = _calendar(weeks)
    for g in range(n_groups):
        weight = fit.group_weight[g] / (fit.group_weight[g] + fit.group_ridge)
        known = np.column_stack([calendar, promoted[g]])
        left, score, information = _one_group(effect[g], index[g], weight, known)
        if information > 1e-3:
            robust = float(
                long_run_variance((score - left**2 * weight * (score.sum() / information))[None, :, None])[0, 0]
            )
            estimate[g] = score.sum() / information
            variance[g] = max(robust, 1e-8) / information**2 * weeks / max(weeks - known.shape[1] - 1, 1)
    return estimate, variance


def _one_group(effect: Floats, index: Floats, weight: Floats, known: Floats) -> tuple[Floats, Floats, float]:
    """Index net of what is known, its weekly scores against the effect, and its information."""
    root = np.sqrt(weight)[:, None]
    both = np.column_stack([effect, index])
    solved, *_ = np.linalg.lstsq(root * known, root * both, rcond=None)
    net = both - known @ solved
    return net[:, 1], weight * net[:, 1] * net[:, 0], float((weight * net[:, 1] ** 2).sum())


def _calendar(weeks: int) -> Floats:
    """(T, q) constant, trend and the season: waves where there is more than a year, else a cubic."""
    clock = np.arange(weeks)
    trend = clock / max(weeks, 1) - 0.5
    columns = [np.ones(weeks), trend]
    if weeks < WEEKS_FOR_SEASON:
        columns += [trend**2, trend**3]
    else:
        angle = 2 * np.pi * clock / YEAR_WEEKS
        columns += [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    return np.column_stack(columns)


def _kept_positive(mean: Floats, sd: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of max(0, x) for normal x."""
    ratio = mean / np.maximum(sd, 1e-12)
    above, density = stats.norm.cdf(ratio), stats.norm.pdf(ratio)
    first = mean * above + sd * density
    second = (mean**2 + sd**2) * above + mean * sd * density
    return first, np.sqrt(np.maximum(second - first**2, 0.0))
