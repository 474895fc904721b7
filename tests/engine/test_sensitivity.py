"""Sensitivity to a hidden confounder: the published formula, and the bias that really voids a plan."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from response_shop import make_panel, panel_of

from engine.demand import sensitivity
from engine.demand.sensitivity import (
    BREAKS,
    BREAKS_BESIDE,
    HOLDS,
    NO_GAIN,
    Benchmark,
    Strength,
    assess_sensitivity,
    measure_strength,
    robustness_value,
)

STRENGTH = Strength(0.15, (Benchmark("season", 0.1), Benchmark("trend", -0.4)))


def test_robustness_value_of_the_published_example():
    """Cinelli & Hazlett (2020), Darfur: t = 4.18 on 783 degrees of freedom has RV = 13.9 %."""
    assert robustness_value(4.18, 1 / np.sqrt(783)) == pytest.approx(0.139, abs=5e-4)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.01, 0.95))
def test_a_confounder_of_the_robustness_value_causes_just_that_bias(share):
    """With equal shares R of price and demand explained, |bias| sd(price)/sd(demand) is R / √(1 − R)."""
    assert robustness_value(share / np.sqrt(1 - share), 1.0) == pytest.approx(share, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(at=st.floats(0.05, 3.9))
def test_the_breaking_bias_is_found(at):
    found = assess_sensitivity(lambda bias: 10.0 * (1 - bias / at), STRENGTH)
    assert found.breaking_bias == pytest.approx(at, abs=1e-4)
    assert found.times_strongest == pytest.approx(at / 0.4, abs=1e-3)
    assert found.reason.code == BREAKS_BESIDE
    assert "trend" in found.reason.english()


def test_the_first_of_several_crossings_counts():
    found = assess_sensitivity(lambda bias: (bias - 0.3) * (bias - 0.7), STRENGTH)
    assert found.breaking_bias == pytest.approx(0.3, abs=1e-4)


def test_a_plan_that_no_bias_voids_and_a_plan_without_gain():
    assert assess_sensitivity(lambda bias: 5.0, STRENGTH).reason.code == HOLDS
    assert assess_sensitivity(lambda bias: -1.0, STRENGTH).reason.code == NO_GAIN
    assert assess_sensitivity(lambda bias: 1 - bias, Strength(0.1, ())).reason.code == BREAKS


def test_leaving_out_a_confounder_that_matters_shows():
    rng = np.random.default_rng(0)
    products, weeks = 60, 80
    display = (rng.random((products, weeks)) < 0.3).astype(float)
    price = 2.0 * np.exp(-0.1 * display + rng.normal(0, 0.05, (products, weeks)))
    units = rng.poisson(np.exp(3 + 0.6 * display - 1.5 * np.log(price)))
    panel = panel_of(units, price, price, category=np.arange(products) % 4, display=display)
    strength = measure_strength(panel)
    assert strength.strongest is not None
    assert strength.strongest.name == "display"
    assert strength.strongest.shift < -0.5


def test_a_bare_panel_has_no_benchmarks_but_an_answer():
    panel = panel_of(np.full((1, 5), 3.0), np.full((1, 5), 2.0))
    strength = measure_strength(panel)
    assert strength.benchmarks == ()
    assert strength.price_over_demand == 0.0


def test_hidden_confounding_of_everyday_prices_shows_in_the_trend_benchmark():
    panel, _ = make_panel(1, products=40, weeks=80)
    names = {benchmark.name for benchmark in measure_strength(panel).benchmarks}
    assert {"trend", "season", "stockpiling", "category weeks"} <= names


def test_a_product_known_without_error_does_not_speak_for_the_shop_alone(monkeypatch):
    """Products differ: beside that spread it matters little that one is known a thousand times better."""
    known, vague = 1e6, 4.0
    precision = np.array([known, vague, 0.0])[:, None, None]
    monkeypatch.setattr(sensitivity, "noise_precision", lambda _: precision)
    monkeypatch.setattr(sensitivity, "unshrunken", lambda _: np.array([[-1.0], [-3.0], [9.0]]))
    mean = sensitivity._shop_mean(SimpleNamespace(target=0), None)
    weights = [1 / (sensitivity.SPREAD_VARIANCE + 1 / each) for each in (known, vague)]
    assert mean == pytest.approx(np.average([-1.0, -3.0], weights=weights))
    assert -3.0 < mean < -1.2, "what nothing is known of does not count, the best known not for all"
