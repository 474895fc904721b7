"""The reference that orange juice is held against: known truth, with rivals whose prices move together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from benchmarks.orange_juice import Slopes, agreement_with_itself, fixed_effects, rank, rival_index
from engine.panel import Panel

STORES, WEEKS = 12, 100
TRUTH = np.array([-3.0, -1.0, -2.2, -1.6])
CROSS = np.array([2.5, 0.2, 1.5, 0.8])


def juice(seed: int) -> Panel:
    """Four brands in twelve stores; everyday prices follow a cost that the brands share; no promotions."""
    rng = np.random.default_rng(seed)
    brands = len(TRUTH)
    cost = np.repeat(rng.normal(0, 0.08, (1, 1, WEEKS // 10)), 10, axis=2)
    own = np.repeat(rng.normal(0, 0.08, (STORES, brands, WEEKS // 10)), 10, axis=2)
    log_price = np.log(np.arange(2.0, 2.0 + brands))[None, :, None] + cost + own
    index = log_price - log_price.mean(axis=2, keepdims=True)
    rivals = (index.sum(axis=1, keepdims=True) - index) / (brands - 1)
    mean = 4 + rng.normal(0, 0.3, (STORES, brands, 1)) + TRUTH[:, None] * index + CROSS[:, None] * rivals
    units = np.exp(mean + rng.normal(0, 0.1, mean.shape)).reshape(-1, WEEKS)
    price = np.exp(log_price).reshape(-1, WEEKS)
    zeros = np.zeros_like(price)
    products = pd.DataFrame({"product_id": [str(i) for i in range(brands)], "category": "juice"})
    return Panel(
        products=products,
        series_product=np.tile(np.arange(brands), STORES),
        series_store=np.repeat([str(s) for s in range(STORES)], brands),
        weeks=np.arange(WEEKS),
        week_start=np.full(WEEKS, np.datetime64("NaT")),
        units=units,
        price=price,
        regular_price=price,
        mailer=zeros,
        display=zeros,
        stock_out=zeros,
        experiment=zeros,
        observed=np.ones(price.shape, dtype=bool),
        regular_logged=True,
    )


def test_slopes_equal_an_independent_regression_with_a_dummy_for_every_store() -> None:
    panel = juice(1)
    found = fixed_effects(panel, [np.log(panel.price)])
    rows = panel.series_product == 2
    design = np.column_stack([np.log(panel.price[rows]).ravel(), np.repeat(np.eye(STORES), WEEKS, axis=0)])
    fitted = sm.OLS(np.log(panel.units[rows]).ravel(), design).fit(
        cov_type="cluster", cov_kwds={"groups": np.tile(np.arange(WEEKS), STORES)}
    )
    assert found.value[2] == pytest.approx(fitted.params[0], abs=1e-9)
    assert 0.7 < found.se[2] / fitted.bse[0] < 3, "neighbouring weeks are clustered on top of stores"


def test_rivals_prices_hide_the_truth_until_they_are_let_in() -> None:
    panel = juice(2)
    price = np.log(panel.price)
    without = fixed_effects(panel, [price])
    beside = fixed_effects(panel, [price, rival_index(panel, price)])
    assert np.abs(beside.value - TRUTH).max() < 0.5 < np.abs(without.value - TRUTH).max()
    assert rank(beside.value, TRUTH) == pytest.approx(1.0)


def test_agreement_with_itself_falls_with_noise() -> None:
    sure, unsure = (agreement_with_itself(Slopes(TRUTH, np.full(4, se))) for se in (1e-9, 2.0))
    assert sure == pytest.approx(1.0)
    assert unsure < 0.8
