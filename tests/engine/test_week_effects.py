"""Cross-fitting: the week effects that a product is explained by owe nothing to the product itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from response_shop import make_panel

from engine.demand.channels import split_prices
from engine.demand.fitting import fit_panel
from engine.demand.week_effects import Cells, Sums, WeekEffects, folds

GROUPS = st.lists(st.integers(-1, 4), min_size=1, max_size=60).map(np.array)


@hypothesis_settings(deadline=None, max_examples=40)
@given(group=GROUPS, count=st.integers(2, 12))
def test_the_products_of_a_group_are_dealt_evenly(group, count):
    dealt = folds(group, count)
    for g in np.unique(group):
        sizes = np.bincount(dealt[group == g], minlength=count)
        assert sizes.max() - sizes.min() <= 1


def poisson_cells(units, level):
    def at(effect):
        mean = np.exp(level + effect)
        return Cells(mean, mean, mean, units - mean)

    return at


def settled(units, product, group):
    weeks = WeekEffects(product, group, Sums(product, group), units.shape[1])
    level = np.log(units.mean(axis=1, keepdims=True) + 0.1)
    for _ in range(12):
        weeks.step(poisson_cells(units, level))
    return weeks, poisson_cells(units, level)


@hypothesis_settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), products=st.integers(2, 14), stores=st.integers(1, 3))
def test_a_products_own_sales_do_not_touch_what_it_is_explained_by(seed, products, stores):
    rng = np.random.default_rng(seed)
    product, group = np.repeat(np.arange(products), stores), np.zeros(products, dtype=np.int64)
    units = rng.poisson(8.0, (products * stores, 6)).astype(float)
    mine = product == rng.integers(products)
    # The same total, in other weeks: the level stays.
    moved = np.where(mine[:, None], units[:, ::-1], units)
    before, after = (settled(values, product, group)[0].by_series() for values in (units, moved))
    np.testing.assert_array_equal(before[mine], after[mine])


def test_with_nothing_left_out_the_effects_are_those_of_all():
    rng = np.random.default_rng(1)
    product = np.arange(12)
    wave = np.sin(np.arange(30) / 3)
    units = rng.poisson(200 * np.exp(wave) * np.ones((12, 1))).astype(float)
    weeks, cells = settled(units, product, np.zeros(12, dtype=np.int64))
    effect, weight = weeks.whole(cells)
    np.testing.assert_allclose(effect[0] - effect[0].mean(), wave - wave.mean(), atol=0.06)
    assert np.all(weight > weeks.weight.max(axis=0))
    score = weeks.sums.by_group(cells(effect[np.zeros(12, dtype=np.int64)]).score)
    np.testing.assert_allclose(score, weeks.ridge * effect, atol=1e-6)


def test_products_without_a_group_have_no_week_effects():
    panel, _ = make_panel(3, products=3, weeks=40)
    fit = fit_panel(panel, split_prices(panel))
    assert fit.group_effect.shape == (0, 40)
    assert np.isfinite(fit.coefficient).all()
