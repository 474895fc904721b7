"""The filter's noise: small where demand stands still, large where it wanders, the usual where nothing tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from level_panels import make_panel

from engine.demand.level import fit_level, forecast
from engine.demand.level_filter import USUAL_NOISE
from engine.demand.level_noise import STEPS, choose_noise, log_likelihood
from engine.settings import load_settings

NOTHING, ALL = np.zeros(4), np.ones(4, dtype=bool)
AHEAD = (1, 2, 4)


def wandering(seed, step, *, products=40, weeks=90):
    """A panel at constant prices whose log levels take steps of this standard deviation, and the last levels."""
    rng = np.random.default_rng(seed)
    log_level = rng.normal(3.5, 0.4, (products, 1)) + rng.normal(0, step, (products, weeks)).cumsum(axis=1)
    units = rng.poisson(np.exp(log_level) * rng.gamma(12, 1 / 12, log_level.shape)).astype(float)
    return make_panel(units), np.exp(log_level[:, -1])


def chosen(panel):
    return choose_noise(panel, NOTHING, ALL, np.zeros((len(panel.units), 4)), AHEAD)


def test_the_step_is_that_of_the_shop():
    steady, slow, fast = (chosen(wandering(1, step)[0]).step for step in (0.0, 0.05, 0.15))
    assert steady == min(STEPS)
    assert 0.001 <= slow <= 0.005
    assert fast >= 0.01


def test_steady_demand_is_forecast_better_than_with_the_usual_noise(monkeypatch):
    panel, level = wandering(2, 0.0)
    options = load_settings(None, ["demand.trees=20"])
    price = panel.price[:, -1]

    def error():
        model = replace(fit_level(panel, options, horizon=4, seed=1), booster=None)
        return np.log(forecast(model, panel, price).product_units / (4 * level)).std()

    ours = error()
    monkeypatch.setattr("engine.demand.level.choose_noise", lambda *_: USUAL_NOISE)
    assert ours < 0.7 * error()


def test_a_short_past_keeps_the_usual_noise():
    assert chosen(wandering(3, 0.0, weeks=20)[0]) == USUAL_NOISE


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 1000))
def test_cells_that_are_no_evidence_change_nothing(seed):
    panel, _ = wandering(seed, 0.05, products=8, weeks=40)
    out = (np.random.default_rng(seed).random(panel.units.shape) < 0.3).astype(float)
    one = replace(panel, stock_out=out)
    assert chosen(one) == chosen(replace(one, units=np.where(out > 0, 1e4, panel.units)))


def test_the_likelihood_is_highest_at_the_mean():
    rng = np.random.default_rng(4)
    mean = rng.uniform(2, 40, 4000)
    units = rng.poisson(mean * rng.gamma(8, 1 / 8, 4000)).astype(float)
    assert max((0.8, 0.9, 1.0, 1.1, 1.25), key=lambda share: log_likelihood(units, share * mean)) == 1.0
