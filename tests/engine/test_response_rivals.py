"""Answers to rivals: told where stores differ in price, left alone where they are one with the weeks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from response_shop import make_panel, panel_of

from engine.demand.channels import split_prices
from engine.demand.fitting import fit_panel
from engine.demand.noise import unshrunken
from engine.demand.response import estimate_response
from engine.demand.rivals import MANY_STORES, RIVALS, rivals_index, with_rivals
from engine.settings import Settings

SETTINGS = Settings()
STORES, WEEKS, CATEGORIES, RANGE = 12, 78, 3, 6


def chain(seed, *, stores=STORES, zones=0.05):
    """A chain whose everyday prices move together in each category, by `zones` differently from store to store.

    Returns the panel, own elasticities and answers to the rivals' prices (P,), which go from none to strong.
    """
    rng = np.random.default_rng(seed)
    products = CATEGORIES * RANGE
    category = np.repeat(np.arange(CATEGORIES), RANGE)
    own, rho = rng.normal(-2.2, 0.5, products), rng.uniform(0.0, 2.0, products)
    blocks = -(-WEEKS // 6)

    def steps(sd, *shape):
        return np.repeat(rng.normal(0, sd, (*shape, blocks)), 6, axis=-1)[..., :WEEKS]

    everyday = steps(0.07, CATEGORIES)[category][:, None] + steps(0.05, products)[:, None]
    everyday = everyday + steps(zones, CATEGORIES, stores)[category] + steps(0.6 * zones, products, stores)
    offer = rng.random((products, 1, WEEKS)) < 0.12
    price = everyday + np.where(offer, np.log1p(-rng.uniform(0.1, 0.3, (products, 1, WEEKS))), 0.0)
    size = np.exp(rng.normal(0, 0.4, products))
    base = rng.uniform(1, 4, products)
    weight = size * base
    member = category[:, None] == category
    mass = (member * weight).sum(axis=1)
    others = np.einsum("ij,jst->ist", member * weight / (mass - weight)[:, None] * ~np.eye(products, dtype=bool), price)
    season = 0.15 * np.sin(2 * np.pi * (np.arange(WEEKS) / 52 + rng.random((CATEGORIES, 1))))[category]
    shock = rng.normal(0, 0.1, (CATEGORIES, WEEKS))[category]
    log_mean = np.log(15 * size)[:, None, None] + rng.normal(0, 0.3, (1, stores, 1)) + (season + shock)[:, None]
    log_mean = log_mean + own[:, None, None] * price + rho[:, None, None] * others
    units = rng.poisson(np.exp(log_mean) * rng.gamma(10, 0.1, log_mean.shape)).reshape(-1, WEEKS)
    paid, regular = (base[:, None, None] * np.exp(v) for v in (price, everyday))
    rows = panel_of(np.zeros((products, WEEKS)), np.ones((products, WEEKS)), category=category)
    panel = panel_of(
        units,
        paid.reshape(-1, WEEKS),
        regular.reshape(-1, WEEKS),
        products=rows.products,
        series_product=np.repeat(np.arange(products), stores),
        series_store=np.tile([f"s{i}" for i in range(stores)], products).astype(object),
    )
    return panel, own, rho


def own_slopes(panel, without=frozenset()):
    channels = split_prices(panel)
    return unshrunken(fit_panel(panel, channels, without=without))[:, channels.target]


def control(panel):
    """(S, T) the control as the counts see it."""
    return rivals_index(panel, split_prices(panel))


@pytest.fixture(scope="module")
def told():
    panel, own, rho = chain(1)
    return panel, own, rho, estimate_response(panel, SETTINGS, seed=1)


def test_own_elasticities_are_not_those_of_the_whole_category(told):
    panel, own, _, response = told
    with_control = np.abs(own_slopes(panel) - own).mean()
    without = np.abs(own_slopes(panel, frozenset({RIVALS})) - own).mean()
    assert with_control < 0.5 * without
    assert np.abs(response.elasticity - own).mean() <= 0.25
    assert (np.abs(response.elasticity - own) < 1.645 * response.elasticity_se).mean() >= 0.75


def test_cross_elasticities_are_each_products_own(told):
    _, _, rho, response = told
    assert np.corrcoef(response.cross, rho)[0, 1] > 0.8
    assert np.abs(response.cross - rho).mean() <= 0.35
    assert (np.abs(response.cross - rho) < 1.645 * response.cross_se).mean() >= 0.75


def test_draws_are_as_wide_as_they_say_and_own_and_cross_err_against_each_other(told):
    _, _, _, response = told
    own, cross = response.draws(600, np.random.default_rng(3))
    assert cross.min() >= 0
    sure = (response.cross > 2 * response.cross_se) & (response.elasticity + 2.5 * response.elasticity_se < 0)
    assert sure.sum() >= 5
    np.testing.assert_allclose(cross.mean(axis=0)[sure], response.cross[sure], atol=0.1)
    np.testing.assert_allclose(cross.std(axis=0)[sure], response.cross_se[sure], rtol=0.35)
    np.testing.assert_allclose(own.mean(axis=0)[sure], response.elasticity[sure], atol=0.1)
    rng = np.random.default_rng(4)
    channels = response.posterior.draws(600, rng)
    rho = response.rivals.draws(channels, rng)
    together = [np.corrcoef(channels[:, i, -1], rho[:, i])[0, 1] for i in np.flatnonzero(sure)]
    assert np.mean(together) < -0.1  # prices of a category move together: only the sum is known well


def test_what_is_common_to_a_category_is_told_once(told):
    panel, _, rho, response = told
    channels = split_prices(panel)
    fit = fit_panel(panel, channels)
    whole = with_rivals(fit)
    assert np.std(whole.group_effect) > np.std(fit.group_effect)
    category = panel.category_code
    found, truth = (np.bincount(category, v) / np.bincount(category) for v in (response.cross, rho))
    assert np.abs(found - truth).max() <= 0.5


def test_the_same_data_and_seed_give_the_same_bytes(told):
    panel, _, _, response = told
    again = estimate_response(panel, SETTINGS, seed=1)
    assert response.elasticity.tobytes() == again.elasticity.tobytes()
    assert response.cross.tobytes() == again.cross.tobytes()


def test_one_series_a_product_cannot_tell_its_rivals_from_the_week():
    panel, _ = make_panel(2, products=24, weeks=60)
    channels = split_prices(panel)
    assert not control(panel).any()
    fit = fit_panel(panel, channels)
    assert RIVALS not in fit.design.control_names
    assert with_rivals(fit) is fit
    response = estimate_response(panel, SETTINGS, seed=1)
    assert not response.rivals.taken.any()
    np.testing.assert_array_equal(response.cross, response.substitution.mean)


def test_stores_with_the_same_prices_or_few_stores_cannot_either():
    assert not control(chain(3, zones=0.0)[0]).any()
    assert not control(chain(3, stores=MANY_STORES - 1)[0]).any()
    assert control(chain(3, stores=MANY_STORES)[0]).any()


def test_categories_are_decided_one_by_one():
    panel, _, _ = chain(4)
    lonely = (panel.category_code[panel.series_product] == 1) & (panel.series_store != "s0")
    index = control(replace(panel, observed=panel.observed & ~lonely[:, None]))
    by_category = [np.abs(index[panel.category_code[panel.series_product] == code]).sum() for code in range(CATEGORIES)]
    assert by_category[1] == 0
    assert by_category[0] > 0
    assert by_category[2] > 0


@hypothesis_settings(deadline=None, max_examples=8)
@given(product=st.integers(0, CATEGORIES * RANGE - 1), factor=st.floats(0.5, 2.0), week=st.integers(0, WEEKS - 1))
def test_a_products_own_price_is_no_rival_of_its_own(product, factor, week):
    panel, _, _ = chain(5)
    price = panel.price.copy()
    mine = panel.series_product == product
    price[mine, week] *= factor
    moved = replace(panel, price=price, regular_price=np.maximum(panel.regular_price, price), units=1.0 + 0 * price)
    plain = replace(panel, units=1.0 + 0 * price)
    shifted = replace(plain, price=plain.price * factor, regular_price=plain.regular_price * factor)
    before = control(plain)
    # Its revenue, and so its weight for others, moves with the price; its own index has no place for it.
    np.testing.assert_allclose(control(moved)[mine], before[mine], atol=1e-12)
    np.testing.assert_allclose(control(shifted), before, atol=1e-9)  # nor does the currency matter
