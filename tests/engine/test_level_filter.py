"""The filtered Poisson regression: finds what made the sales, and reads nothing it must not."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from level_panels import promoted

from engine.demand.level_features import series_groups
from engine.demand.level_filter import Filtered, filter_series, pooled_effects
from engine.demand.level_plan import drivers, first_everyday_price, live_cells, plan_of, usable_cells

ALL = np.ones(4, dtype=bool)


def filtered(panel, pooled=None) -> Filtered:
    seen = drivers(plan_of(panel), first_everyday_price(panel))
    usable = usable_cells(panel)
    pooled = pooled_effects(panel.units, usable, seen) if pooled is None else pooled
    return filter_series(panel.units, usable, live_cells(panel), seen, pooled, series_groups(panel), own=ALL)


def test_finds_the_effects_and_levels_that_made_the_sales():
    panel, level = promoted(1, products=60, weeks=80)
    seen = drivers(plan_of(panel), first_everyday_price(panel))
    pooled = pooled_effects(panel.units, usable_cells(panel), seen)
    assert abs(pooled[0] + 2.0) < 0.15
    assert abs(pooled[2] - 0.3) < 0.1
    error = filtered(panel).level[:, -1] - np.log(level)
    assert abs(error.mean()) < 0.05
    assert error.std() < 0.2


def test_an_average_level_is_kept_where_sales_are_sparse():
    rng = np.random.default_rng(2)
    panel, _ = promoted(2, products=200, weeks=60)
    sparse = rng.poisson(0.3, panel.units.shape).astype(float)
    state = filtered(type(panel)(**{**panel.__dict__, "units": sparse}), np.zeros(4))
    assert abs(np.exp(state.level[:, -1]).mean() / 0.3 - 1) < 0.15


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_cells_that_are_no_evidence_change_nothing(seed):
    panel, _ = promoted(seed, products=6, weeks=20)
    rng = np.random.default_rng(seed)
    out = (rng.random(panel.units.shape) < 0.3).astype(float)
    one = type(panel)(**{**panel.__dict__, "stock_out": out})
    other = type(panel)(**{**one.__dict__, "units": np.where(out > 0, 1e4, panel.units)})
    np.testing.assert_array_equal(filtered(one, np.zeros(4)).level, filtered(other, np.zeros(4)).level)


def test_a_newcomer_starts_from_its_category_and_grows_less_certain_unseen():
    panel, _ = promoted(3, products=9, weeks=30)
    observed = panel.observed.copy()
    observed[0, :] = np.arange(30) == 29
    observed[1, 15:] = False
    state = filtered(type(panel)(**{**panel.__dict__, "observed": observed}), np.zeros(4))
    category = state.level[[3, 6], 27]
    assert category.min() - 1 < state.level[0, 28] < category.max() + 1
    assert (np.diff(state.level_variance[1, 15:]) > 0).all()


def test_no_price_effect_pushes_a_forecast_up():
    panel, _ = promoted(4, products=8, weeks=30, elasticity=1.5)
    state = filtered(panel)
    week = np.array([29])
    cheap = state.log_mean(week, np.full((8, 1, 4), [-0.3, 0.0, 0.0, 0.0]))
    dear = state.log_mean(week, np.zeros((8, 1, 4)))
    assert (dear <= cheap).all()
