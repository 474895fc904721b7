"""Rivals: what the other products of its category cost in the same store, and how each product answers to it.

Everyday prices of like products move together, and products answer to their rivals very differently. Category-week
effects take out what all products of a category share; what is a product's own stays behind and is read as its answer
to its own price. With an index R_st of the rivals' prices in the same store as a control,

    log mu_st = a_s + G_gt + rho_i R_st + b_i' d_st + ...,        rho_i ~ N(rho, spread²)

the rest of the category moves a product's demand by rho_i and, through the week effects, by what G answers to the
category's prices (engine.demand.substitution). The mean of rho can be told from the week effects only where the index
differs between the stores of a week: a panel with one series for each product has no such differences, its index
is the category's own price but for a trace of the product's, and there the control is not taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.demand.channels import Channels
from engine.demand.counts import CountFit
from engine.panel import Panel
from engine.proposal import N_

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RIVALS = N_("rivals' prices")
MANY_STORES = 8
"""Series a product, on the mean of a category, from which on its products are given answers of their own."""
LEAST_BETWEEN = 0.02
"""Share of the index's variance within series that must lie between the stores of a week."""


def rivals_index(panel: Panel, channels: Channels) -> Floats:
    """(S, T) log price index of the category's other products in the same store, each against its own mean.

    Discounts are part of it: to a rival a price is a price. Weights are the products' revenue over all stores, so that
    stores differ by their prices and not by what they happen to sell. 0 where the store has no rival, and in
    categories whose rivals' prices cannot be told from the category's weeks (`told_apart`).
    """
    usable = channels.usable
    moved = _centred(channels.values.sum(axis=2), usable)
    sold = np.where(usable, panel.units * panel.price, 0.0).sum(axis=1)
    revenue = np.bincount(panel.series_product, sold, panel.n_products)
    weight = np.where(usable, revenue[panel.series_product][:, None], 0.0)
    place = _places(panel)
    total, mass = _sums(weight * moved, place), _sums(weight, place)
    left = mass[place] - weight
    has = left > 1e-9 * np.maximum(mass[place], 1e-300)
    index = np.divide(total[place] - weight * moved, left, out=np.zeros_like(left), where=has)
    category = panel.category_code[panel.series_product]
    return np.where(told_apart(panel, index, usable)[category][:, None], index, 0.0)


def told_apart(panel: Panel, index: Floats, usable: Bools) -> Bools:
    """(C,) whether a category has many stores, and enough of the index's moves differ between stores in a week."""
    moved = _centred(index, usable)
    product, category = panel.series_product, panel.category_code
    mean = _sums(moved, product) / np.maximum(_sums(usable.astype(np.float64), product), 1.0)
    apart = np.where(usable, moved - mean[product], 0.0)
    n = int(category.max(initial=-1)) + 1
    series = np.bincount(category[product], usable.any(axis=1), minlength=n)
    between, within = (np.bincount(category[product], (v**2).sum(axis=1), minlength=n) for v in (apart, moved))
    many = series >= MANY_STORES * np.bincount(category, minlength=n)
    return np.asarray(many & (between > LEAST_BETWEEN * within))


@dataclass(frozen=True)
class RivalAnswers:
    """How P products answer to their rivals' prices: each one's rho, given its channel coefficients.

    Own and rivals' prices move together, so what is believed of one answer bears on the other: a product whose own
    elasticity is shrunk takes its answer to rivals along. All zero where the control is not taken.
    """

    rho: Floats
    """(P,) at the fitted channel coefficients."""
    coefficient: Floats
    """(P, K) those coefficients."""
    gain: Floats
    """(P, K) how rho moves with them."""
    sd: Floats
    """(P,) of rho at given channel coefficients."""
    weight: Floats
    """(P,) share in what its category tells; sums to 1 in a category with the control."""
    category: Ints
    """(P,) 0…C-1."""

    @property
    def taken(self) -> Bools:
        """(P,) whether the product's category has the control."""
        return np.asarray(self.weight > 0)

    def at(self, channels: Floats) -> Floats:
        """(…, P) mean of rho at channel coefficients (…, P, K)."""
        return np.asarray(self.rho + ((channels - self.coefficient) * self.gain).sum(axis=-1))

    def draws(self, channels: Floats, rng: np.random.Generator) -> Floats:
        """(N, P) draws of rho, one for each of N draws (N, P, K) of the channel coefficients."""
        mean = self.at(channels)
        return mean + self.sd * rng.standard_normal(mean.shape) if self.taken.any() else mean

    def shared(self, rho: Floats) -> Floats:
        """(…, P) mean of the category's rho, of (…, P)."""
        member = self.category == np.arange(int(self.category.max(initial=-1)) + 1)[:, None]
        return np.asarray(((self.weight * rho) @ member.T)[..., self.category])


def rival_answers(panel: Panel, fit: CountFit, widen: Floats) -> RivalAnswers:
    """Read the answers to rivals' prices from fitted counts.

    Args:
        panel: weekly sales and prices.
        fit: its counts, explained.
        widen: (P,) noise variance of a product's estimates over that of the model.
    """
    if RIVALS not in fit.design.control_names:
        return _none(panel, fit)
    at, c = fit.design.control_names.index(RIVALS), len(fit.design.control_names)
    taken = _taken(fit, at)
    weight = np.where(taken, np.bincount(fit.design.product, fit.weight.sum(axis=1), panel.n_products), 0.0)
    total = np.bincount(panel.category_code, weight)[panel.category_code]
    own = fit.projection[:, c:, c:]
    cross = fit.projection[:, c:, at]
    gain = np.linalg.solve(own, cross[:, :, None])[:, :, 0]
    left = np.maximum(fit.projection[:, at, at] - (gain * cross).sum(axis=1), 0.0)
    return RivalAnswers(
        rho=np.where(taken, fit.control_coefficient[:, at], 0.0),
        coefficient=fit.coefficient,
        gain=np.where(taken[:, None], gain, 0.0),
        sd=np.where(taken, np.sqrt(left * widen), 0.0),
        weight=np.divide(weight, total, out=np.zeros_like(weight), where=total > 0),
        category=panel.category_code,
    )


def with_rivals(fit: CountFit) -> CountFit:
    """Fitted counts whose category weeks hold what the products' answers to rivals have in common.

    The control shares the answer to the category's prices with the week effects; held against a price index, both
    together are what the category answers.
    """
    if RIVALS not in fit.design.control_names:
        return fit
    at = fit.design.control_names.index(RIVALS)
    answer = fit.control_coefficient[fit.design.product, at, None] * _centred(
        fit.design.controls[:, :, at], fit.design.usable
    )
    group = fit.design.group[fit.design.product]
    has = group >= 0
    total, mass = np.zeros_like(fit.group_effect), np.zeros_like(fit.group_effect)
    np.add.at(total, group[has], (fit.weight * answer)[has])
    np.add.at(mass, group[has], fit.weight[has])
    common = np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)
    trust = fit.group_weight / (fit.group_weight + fit.group_ridge)
    return replace(fit, group_effect=fit.group_effect + trust * common)


def _none(panel: Panel, fit: CountFit) -> RivalAnswers:
    zeros = np.zeros(panel.n_products)
    return RivalAnswers(zeros, fit.coefficient, np.zeros_like(fit.coefficient), zeros, zeros, panel.category_code)


def _taken(fit: CountFit, at: int) -> Bools:
    """(P,) whether the control moves in any series of the product."""
    moves = np.ptp(fit.design.controls[:, :, at], axis=1) > 0
    return np.asarray(np.bincount(fit.design.product, moves, fit.design.n_products) > 0)


def _places(panel: Panel) -> Ints:
    """(S,) which store and category a series belongs to, as a running number."""
    store = np.unique(panel.series_store.astype(str), return_inverse=True)[1].astype(np.int64)
    key = store * (int(panel.category_code.max(initial=-1)) + 1) + panel.category_code[panel.series_product]
    return np.asarray(np.unique(key, return_inverse=True)[1], dtype=np.int64)


def _sums(values: Floats, place: Ints) -> Floats:
    """(S, T) summed by place."""
    out = np.zeros((int(place.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(out, place, values)
    return out


def _centred(values: Floats, usable: Bools) -> Floats:
    count = np.maximum(usable.sum(axis=1, keepdims=True), 1)
    mean = np.where(usable, values, 0.0).sum(axis=1, keepdims=True) / count
    return np.where(usable, values - mean, 0.0)
