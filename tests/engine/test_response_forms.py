"""Forms of demand: curvature and substitution are read from the data, whatever the prior thinks of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from response_shop import make_panel, panel_of

from engine.demand.category_weeks import category_weeks
from engine.demand.channels import split_prices
from engine.demand.curvature import CURVATURE_RANGE, TYPICAL_SD, estimate_curvature
from engine.demand.fitting import fit_panel
from engine.demand.response import OWN_RANGE, estimate_response
from engine.demand.substitution import _index_weights, _own_groups, _shares, estimate_substitution
from engine.settings import Settings

SETTINGS = Settings()
PRODUCTS, WEEKS, CATEGORIES = 120, 104, 8


def bent_panel(seed, *, curvature=0.0, diversion=0.0, by_units=False, lift=0.0, products=PRODUCTS):
    """Own elasticities of -2 that bend by `curvature`; rivals win `diversion` of what a product loses.

    `by_units`: what a rival's price counts follows its units; otherwise its revenue. Also the true index weights.
    """
    rng = np.random.default_rng(seed)
    shape = (products, WEEKS)
    category = np.arange(products) % CATEGORIES
    own = -2.0 + rng.normal(0, 0.3, (products, 1))
    steps = np.repeat(rng.normal(0, 0.09, (products, WEEKS // 13)), 13, axis=1)
    offer = rng.random(shape) < 0.15
    discount = np.where(offer, np.log1p(-rng.uniform(0.1, 0.35, shape)), 0.0)
    base = np.exp(rng.normal(1.2, 0.8, (products, 1)))
    units_weight = np.exp(rng.normal(0, 0.5, products))
    weight = units_weight * (1.0 if by_units else base[:, 0])
    weight = weight / np.bincount(category, weight)[category]
    log_price = steps + discount
    index = np.zeros((CATEGORIES, WEEKS))
    np.add.at(index, category, weight[:, None] * log_price)
    others = (index[category] - weight[:, None] * log_price) / (1 - weight[:, None])

    def moved(log_move):
        return np.expm1(curvature * log_move) / curvature if curvature else log_move

    log_mean = np.log(30.0 * units_weight[:, None]) + own * (moved(steps) + moved(discount)) + lift * offer
    log_mean = log_mean + diversion * 2.0 * others
    units = rng.poisson(np.exp(log_mean) * rng.gamma(20, 1 / 20, shape))
    return panel_of(units, base * np.exp(log_price), base * np.exp(steps), category=category), weight


def parts(panel):
    channels = split_prices(panel)
    return channels, fit_panel(panel, channels)


def curvature_of(panel):
    channels, fit = parts(panel)
    return estimate_curvature(panel, channels, fit, np.full((panel.n_products, len(channels.names)), -2.0))


def substitution_of(panel, seed=0):
    channels, fit = parts(panel)
    rng = np.random.default_rng(seed)
    return estimate_substitution(panel, channels, fit, np.full(panel.n_products, -2.0), rng)


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_curvature_is_told_from_the_data(truth):
    found = curvature_of(bent_panel(1, curvature=truth)[0])
    assert abs(found.mean - truth) <= 0.45
    assert abs(found.mean - truth) <= 2.5 * found.sd
    assert found.sd < 0.7 * TYPICAL_SD


def test_a_lift_for_being_on_offer_is_not_taken_for_curvature():
    plain = curvature_of(bent_panel(2, curvature=1.0)[0])
    lifted = curvature_of(bent_panel(2, curvature=1.0, lift=0.35)[0])
    assert abs(lifted.mean - 1.0) <= 2.0 * lifted.sd
    assert lifted.sd > plain.sd


def test_elasticities_are_those_at_todays_price():
    panel, _ = bent_panel(3, curvature=1.0)
    response = estimate_response(panel, SETTINGS, seed=1)
    shift = response.curvature.shift
    last = np.log(panel.regular_price)
    np.testing.assert_allclose(shift, last[:, -1] - last.mean(axis=1), atol=0.03)
    dearer = shift > np.quantile(shift, 0.8)
    cheaper = shift < np.quantile(shift, 0.2)
    gap = response.elasticity[dearer].mean() - response.elasticity[cheaper].mean()
    assert gap < -0.1
    drawn = response.joint_draws(200, np.random.default_rng(1))
    own, cross = response.draws(200, np.random.default_rng(1))
    assert np.array_equal(own, drawn.own)
    assert np.array_equal(cross, drawn.cross)
    assert drawn.curvature.shape == (200,)
    assert CURVATURE_RANGE[0] <= drawn.curvature.min() <= drawn.curvature.max() <= CURVATURE_RANGE[1]
    assert OWN_RANGE[0] <= own.min() <= own.max() <= OWN_RANGE[1]
    np.testing.assert_allclose(own.mean(axis=0), response.elasticity, atol=0.25)


@pytest.mark.parametrize("truth", [0.0, 0.7])
def test_diversion_leaves_the_prior_where_the_data_say_so(truth):
    found = substitution_of(bent_panel(4, diversion=truth)[0])
    diversion = found.mean / found.scale
    assert abs(diversion.mean() - truth) <= 0.2
    assert (found.sd > 0).all()


def test_the_index_follows_units_or_revenue_as_the_data_say():
    for by_units in (True, False):
        panel, weight = bent_panel(5, diversion=0.7, by_units=by_units)
        other = bent_panel(5, diversion=0.7, by_units=not by_units)[1]
        found = substitution_of(panel).index_weight
        assert np.corrcoef(found, weight)[0, 1] > np.corrcoef(found, other)[0, 1]


def test_index_weights_are_shares_and_share_is_taken_from_the_own_elasticity():
    panel, _ = make_panel(6, products=60, weeks=60)
    found = substitution_of(panel)
    np.testing.assert_allclose(np.bincount(panel.category_code, found.index_weight), 1.0)
    held = np.minimum(found.index_weight, 0.5)
    np.testing.assert_allclose(found.own_share, held / (1 - held))
    drawn = found.draws(300, np.random.default_rng(2))
    assert drawn.min() >= 0
    np.testing.assert_allclose(drawn.mean(axis=0), found.mean, atol=0.25)
    together = np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]
    assert together > 0.2  # what is unknown about the shop's substitution moves every category


def test_a_unit_of_price_does_not_matter():
    panel, _ = make_panel(7, products=48, weeks=60)
    dearer = replace(panel, price=100 * panel.price, regular_price=100 * panel.regular_price)
    one, other = substitution_of(panel), substitution_of(dearer)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-6)
    np.testing.assert_allclose(one.index_weight, other.index_weight, rtol=1e-6)
    assert curvature_of(panel).mean == pytest.approx(curvature_of(dearer).mean, rel=1e-6)


def test_small_categories_take_the_shops_diversion():
    panel, _ = make_panel(8, products=42, weeks=60, categories=14)
    found = substitution_of(panel)
    assert (found.own_share == 0).all()
    diversion = found.mean / found.scale
    np.testing.assert_allclose(diversion, diversion[0])


@hypothesis_settings(deadline=None, max_examples=30)
@given(
    weight=st.lists(st.floats(0, 1e6), min_size=1, max_size=12),
    codes=st.lists(st.integers(0, 3), min_size=12, max_size=12),
)
def test_shares_add_up_in_every_category(weight, codes):
    category = np.unique(np.array(codes[: len(weight)]), return_inverse=True)[1]
    found = _shares(np.array(weight), category)
    assert (found >= 0).all()
    np.testing.assert_allclose(np.bincount(category, found), 1.0)


def test_weights_are_an_average_of_the_candidates():
    panel, _ = bent_panel(9, products=48)
    channels, fit = parts(panel)
    weeks = category_weeks(panel, channels, fit)
    group = _own_groups(fit.design.group, panel.category_code)
    found = _index_weights(panel, channels, fit, weeks, np.full(48, 2.0), group, np.full(CATEGORIES, 2.0))
    units, revenue = panel.units.sum(axis=1), (panel.units * panel.price).sum(axis=1)
    sides = np.stack([_shares(units, panel.category_code), _shares(revenue, panel.category_code)])
    middle = _shares(revenue / np.sqrt(revenue / units), panel.category_code)
    low, high = np.minimum(sides.min(axis=0), middle), np.maximum(sides.max(axis=0), middle)
    assert ((found >= low - 1e-9) & (found <= high + 1e-9)).all()
