"""Substitution: what the prices of the rest of the category do to a product's demand.

With w_i the share of product i in its category's price index I_ct, the index of the others is
(I_ct - w_i x_it) / (1 - w_i), and with free category-week effects G in the counts therefore

    G_ct = gamma_c I_ct + season + noise         (the cross elasticity, read from the category-week effects)
    b_i  = beta_i - gamma_c w_i / (1 - w_i)      (what the free effects hide of the own elasticity, given back)

I is the index of everyday prices and random moves; that of promotions, which shops time to a category's good weeks,
stands beside it as a control. What is shrunk is the diversion delta_c = gamma_c / mean |beta| of the category: the part
of the lost sales that the rest of the category wins. Its prior is the third that van Heerde, Gupta and Wittink (Journal
of Marketing Research 2003) find in units, made so wide that a year of data outweighs it.

Whose price counts how much in the index is not known beforehand. Money is diverted in proportion to revenue when
shoppers spread a budget (CES), customers in proportion to units when they choose one product (multinomial logit), and
more of them leave where demand is more elastic. The candidates are weighed by their marginal likelihood and averaged.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.demand.category_weeks import (
    CategoryWeeks,
    IndexFit,
    category_weeks,
    everyday_index,
    regress,
    series_revenue,
)
from engine.demand.channels import Channels
from engine.demand.counts import CountFit
from engine.demand.shrinkage import Prior, Shrunken, shrink
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DIVERSION, DIVERSION_SD = 0.33, 0.25
SPREAD = 0.05
"""Between categories, before the data speak. Small: a year or two of category indices tells single categories apart
badly, and an optimiser lives on what looks different by chance (.1 cost 1 to 5 % of the oracle on three generators)."""
ENDOGENEITY_SD = 0.15
"""Common error of what the weeks say about diversion, however many there are: shops price a whole category with an eye
on how busy it is. On shops that lower everyday prices in busy weeks the estimate lay .1 to .35 below the truth, up to
two and a half of its standard errors."""
PRIOR = Prior(
    mean=np.array([DIVERSION]),
    covariance=np.array([[DIVERSION_SD**2 + ENDOGENEITY_SD**2]]),
    log_sd=np.array([np.log(SPREAD)]),
    log_sd_sd=np.array([0.3]),
    slope=np.zeros((1, 1)),
    slope_sd=np.ones((1, 1)),
)
DIVERSION_RANGE = (0.0, 0.95)
"""Draws are kept in this range: dearer rivals lose no sales to themselves, nor does a category grow by being dearer."""
LARGEST_SHARE = 0.5
LEAST_SENSITIVITY = 0.3
PRICE_POWERS, SENSITIVITY_POWERS = (0.0, 0.5, 1.0), (0.0, 1.0)
"""Weights of the candidate indices: revenue / price^a · |elasticity|^b."""
STATES = 40


@dataclass(frozen=True)
class Substitution:
    """Posterior of the cross elasticity of P products."""

    mean: Floats
    """(P,) of the elasticity, its diversion kept at zero or above."""
    sd: Floats
    scale: Floats
    """(P,) mean absolute own elasticity of the product's category: cross elasticity over diversion."""
    unit: Ints
    """(P,) row of `posterior` that a product shares."""
    index_weight: Floats
    """(P,) how much the product's price counts in the index of its category; sums to 1 in each category."""
    own_share: Floats
    """(P,) w / (1 - w): how much of the cross elasticity the category-week effects took from the own one; 0 where the
    week effects are not those of the category alone."""
    bias: tuple[float, float]
    """Mean and standard deviation of the common error of the diversion as the weeks show it."""
    posterior: Shrunken = field(repr=False)
    """Of the diversion as the weeks show it, by category."""

    def draws(self, n: int, rng: np.random.Generator) -> Floats:
        """(n, P) draws, not negative."""
        mean, sd = self.bias
        bias = mean + sd * rng.standard_normal((n, 1))
        diversion = np.clip(self.posterior.draws(n, rng)[:, :, 0] - bias, *DIVERSION_RANGE)
        return np.asarray(diversion[:, self.unit] * self.scale)


def estimate_substitution(
    panel: Panel, channels: Channels, fit: CountFit, elasticity: Floats, rng: np.random.Generator
) -> Substitution:
    """Estimate the cross elasticity of every product's category.

    Args:
        panel: weekly sales and prices.
        channels: its prices, taken apart.
        fit: its counts, explained.
        elasticity: (P,) own elasticities as far as known, negative as a rule.
        rng: draws the spreads.
    """
    category = panel.category_code
    sensitivity = np.maximum(-elasticity, LEAST_SENSITIVITY)
    revenue = series_revenue(panel, channels)
    scale = _category_mean(sensitivity, _by_product(panel, revenue), category)
    group = _own_groups(fit.design.group, category)
    weeks = category_weeks(panel, channels, fit)
    weight = _index_weights(panel, channels, fit, weeks, sensitivity, group, scale)
    found = regress(weeks, everyday_index(panel, channels, fit, weight))
    estimate, variance = _by_category(found, group)
    precision = np.divide(scale**2, variance, out=np.zeros(len(scale)), where=np.isfinite(variance))[:, None, None]
    alike = np.zeros(len(scale), dtype=np.int64)
    posterior = shrink((estimate / scale)[:, None], precision, alike, PRIOR, rng=rng, states=STATES)
    bias = _bias(float(posterior.shop_mean[0]))
    mean, sd = kept_positive(posterior.mean[:, 0] - bias[0], np.sqrt(posterior.covariance[:, 0, 0] + bias[1] ** 2))
    share = _by_product(panel, weight)
    held = np.minimum(share, LARGEST_SHARE)
    return Substitution(
        mean=(mean * scale)[category],
        sd=(sd * scale)[category],
        scale=scale[category],
        unit=category,
        index_weight=share,
        own_share=np.where(group >= 0, 1.0, 0.0)[category] * held / (1.0 - held),
        bias=bias,
        posterior=posterior,
    )


def _bias(shown: float) -> tuple[float, float]:
    """Mean and standard deviation of the common error, when the weeks show this mean diversion.

    Truth and error are normal and independent beforehand, and their sum is known: the error takes its share of the
    surprise (the little that is not known about the sum is left in the posterior of both).
    """
    share = ENDOGENEITY_SD**2 / (DIVERSION_SD**2 + ENDOGENEITY_SD**2)
    return share * (shown - DIVERSION), float(np.sqrt(share)) * DIVERSION_SD


def _own_groups(group: Ints, category: Ints) -> Ints:
    """(C,) the group of week effects that holds this category and no other; -1 where there is none."""
    out = np.full(int(category.max(initial=-1)) + 1, -1)
    for code in range(len(out)):
        own = int(group[category == code][0])
        if own >= 0 and np.all(category[group == own] == code):
            out[code] = own
    return out


def _by_product(panel: Panel, values: Floats) -> Floats:
    """(P,) sums of (S,) values over the series of each product."""
    return np.asarray(np.bincount(panel.series_product, values, panel.n_products), dtype=np.float64)


def _category_mean(values: Floats, weight: Floats, category: Ints) -> Floats:
    """(C,) weighted mean of (P,) values; plain where nothing weighs anything."""
    heavy = weight + 1e-9 * max(float(weight.sum()), 1e-9)
    return np.asarray(np.bincount(category, heavy * values) / np.bincount(category, heavy))


def _by_category(found: IndexFit, group: Ints) -> tuple[Floats, Floats]:
    """(C,) estimate and variance of each category; nothing where it has no week effects of its own."""
    has = group >= 0
    estimate = np.append(found.estimate, 0.0)[np.where(has, group, -1)]
    variance = np.append(found.variance, np.inf)[np.where(has, group, -1)]
    return np.where(has, estimate, 0.0), np.where(has, variance, np.inf)


def _index_weights(
    panel: Panel,
    channels: Channels,
    fit: CountFit,
    weeks: CategoryWeeks,
    sensitivity: Floats,
    group: Ints,
    scale: Floats,
) -> Floats:
    """(S,) weight of each series in the price index of its category, averaged over the candidates; sums to 1."""
    category = panel.category_code[panel.series_product]
    candidates = [_shares(weight, category) for weight in _candidates(panel, channels, sensitivity)]
    fits = [regress(weeks, everyday_index(panel, channels, fit, weight)) for weight in candidates]
    log_evidence = np.array([_log_evidence(found, group, scale) for found in fits])
    belief = np.exp(log_evidence - log_evidence.max())
    return np.asarray(np.tensordot(belief / belief.sum(), np.stack(candidates), axes=1))


def _candidates(panel: Panel, channels: Channels, sensitivity: Floats) -> list[Floats]:
    """(S,) each: revenue, divided by a power of the price and multiplied by one of the own elasticity."""
    units = np.where(channels.usable, panel.units, 0.0).sum(axis=1)
    revenue = series_revenue(panel, channels)
    price = np.divide(revenue, units, out=np.ones_like(revenue), where=(units > 0) & (revenue > 0))
    own = sensitivity[panel.series_product]
    return [revenue / price**a * own**b for a, b in itertools.product(PRICE_POWERS, SENSITIVITY_POWERS)]


def _shares(weight: Floats, category: Ints) -> Floats:
    """(S,) share in the category's total; equal parts where nothing weighs anything."""
    total = np.bincount(category, weight)[category]
    count = np.bincount(category)[category]
    return np.divide(weight, total, out=1.0 / count, where=total > 0)


def _log_evidence(found: IndexFit, group: Ints, scale: Floats) -> float:
    """Log marginal likelihood of an index over all categories, the diversion integrated out, up to a constant."""
    told = group >= 0
    told[told] = np.isfinite(found.variance[group[told]])
    own, size = group[told], scale[told]
    estimate, variance = found.estimate[own] / size, found.variance[own] / size**2
    level = np.linspace(DIVERSION - 4 * DIVERSION_SD, DIVERSION + 4 * DIVERSION_SD, 81)[:, None]
    spread = variance + SPREAD**2
    at_level = -0.5 * (estimate - level) ** 2 / spread + 0.5 * np.log(variance / spread)
    log_prior = -0.5 * ((level[:, 0] - DIVERSION) / DIVERSION_SD) ** 2
    joint = at_level.sum(axis=1) + log_prior
    return float(found.log_likelihood[own].sum() + np.logaddexp.reduce(joint) - np.logaddexp.reduce(log_prior))


def kept_positive(mean: Floats, sd: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of max(0, x) for normal x."""
    ratio = mean / np.maximum(sd, 1e-12)
    above, density = stats.norm.cdf(ratio), stats.norm.pdf(ratio)
    first = mean * above + sd * density
    second = (mean**2 + sd**2) * above + mean * sd * density
    return first, np.sqrt(np.maximum(second - first**2, 0.0))
