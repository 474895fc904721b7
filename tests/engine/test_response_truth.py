"""On shops whose elasticities are known, the response finds them, and its intervals hold them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from response_shop import make_panel

from engine.demand.diagnostics import FUTURE_PRICES
from engine.demand.remarks import AGREE, DISAGREE, ONLY_DISCOUNTS
from engine.demand.response import OWN_RANGE, diagnose_response, estimate_response
from engine.settings import Settings

SETTINGS = Settings()


def error(response, known):
    return float(np.abs(response.elasticity - known.everyday).mean())


def coverage(response, known):
    return float((np.abs(response.elasticity - known.everyday) < 1.645 * response.elasticity_se).mean())


@pytest.fixture(scope="module")
def plain():
    panel, known = make_panel(1)
    return panel, known, estimate_response(panel, SETTINGS, seed=1)


def test_elasticities_are_near_the_truth_and_intervals_hold_them(plain):
    _, known, response = plain
    assert error(response, known) <= 0.35
    assert coverage(response, known) >= 0.87
    assert abs((response.elasticity - known.everyday).mean()) <= 0.15
    assert response.identified.mean() >= 0.8
    assert np.all(response.elasticity[response.identified] < 0)


def test_shrinkage_beats_the_products_own_estimates(plain):
    _, known, response = plain
    own = np.abs(response.raw - known.everyday)
    assert error(response, known) < 0.9 * float(np.mean(own[np.isfinite(own)]))


def test_everyday_response_is_not_read_from_discounts():
    panel, known = make_panel(2, ratio=0.4)
    response = estimate_response(panel, SETTINGS, seed=1)
    assert response.channels == ("promotion", "regular")
    assert abs(response.shop_mean[-1] - known.everyday.mean()) <= 0.25
    assert abs(response.shop_mean[0] - known.promotion.mean()) <= 0.35
    assert error(response, known) <= 0.35


def test_everyday_price_that_is_not_logged_is_told_from_promotions():
    panel, known = make_panel(3, logged=False)
    response = estimate_response(panel, SETTINGS, seed=1)
    assert error(response, known) <= 0.45


def test_random_moves_rescue_the_estimate_from_a_hidden_confounder_and_tell():
    panel, known = make_panel(4, hidden=1.0, experiments=0.2)
    response = estimate_response(panel, SETTINGS, seed=1)
    blind = estimate_response(
        replace(panel, experiment=np.zeros_like(panel.experiment), observed=panel.experiment < 0.5), SETTINGS, seed=1
    )
    assert response.channels[-1] == "experiment"
    assert error(response, known) <= 0.45
    assert error(response, known) < 0.7 * error(blind, known)
    assert any(note.code == DISAGREE for note in response.notes)


def test_random_moves_without_a_confounder_agree_with_history():
    panel, _ = make_panel(5, experiments=0.2)
    response = estimate_response(panel, SETTINGS, seed=1)
    codes = [note.code for note in response.notes]
    assert AGREE in codes
    assert DISAGREE not in codes
    assert response.channels == ("promotion", "regular")


def test_a_few_random_moves_do_not_hide_what_the_others_tell():
    panel, known = make_panel(5, experiments=0.02)
    response = estimate_response(panel, SETTINGS, seed=1)
    without = estimate_response(replace(panel, observed=panel.experiment < 0.5), SETTINGS, seed=1)
    assert response.identified.mean() >= without.identified.mean() - 0.05
    assert error(response, known) <= error(without, known) + 0.02


def test_a_shop_that_only_discounts_is_told_so_and_its_intervals_are_wide():
    panel, known = make_panel(6)
    base = np.repeat(panel.regular_price[:, :1], panel.units.shape[1], axis=1)
    flat = replace(panel, price=base * panel.price / panel.regular_price, regular_price=base)
    response = estimate_response(flat, SETTINGS, seed=1)
    assert any(note.code == ONLY_DISCOUNTS for note in response.notes)
    assert response.shop_sd[-1] >= 0.3
    assert coverage(response, known) >= 0.9


def test_sparse_counts_are_read_without_bias():
    panel, known = make_panel(7, volume=1.0, products=200)
    response = estimate_response(panel, SETTINGS, seed=1)
    assert abs(response.shop_mean[-1] - known.everyday.mean()) <= 3 * response.shop_sd[-1]
    assert coverage(response, known) >= 0.87


def test_rebuilt_prices_that_are_unknown_when_nothing_is_sold_do_not_bias_the_response():
    panel, known = make_panel(8, volume=1.5, products=200)
    unknown = panel.units == 0
    filled = np.where(unknown, panel.regular_price, panel.price)
    rebuilt = replace(panel, price=filled, prices_reconstructed=True)
    naive = estimate_response(replace(panel, price=filled), SETTINGS, seed=1)
    response = estimate_response(rebuilt, SETTINGS, seed=1)
    truth = known.promotion.mean()
    assert abs(response.shop_mean[0] - truth) <= 0.35
    assert abs(response.shop_mean[0] - truth) < 0.6 * abs(naive.shop_mean[0] - truth)


def test_products_without_a_history_get_an_honest_width():
    panel, known = make_panel(9, products=160)
    new = np.arange(160) % 8 == 3
    observed = panel.observed & ~(new[:, None] & (np.arange(104) < 100))
    response = estimate_response(replace(panel, observed=observed), SETTINGS, seed=1)
    z = (response.elasticity - known.everyday)[new] / response.elasticity_se[new]
    assert not response.identified[new].any()
    assert (np.abs(z) < 1.645).mean() >= 0.8
    assert np.median(response.elasticity_se[new]) > np.median(response.elasticity_se[~new])


def test_words_that_tell_help_and_words_that_do_not_do_no_harm():
    panel, known = make_panel(10, spread=0.7, volume=6.0)
    rng = np.random.default_rng(0)
    lean = np.round(known.everyday + rng.normal(0, 0.1, 120), 1)[:, None]
    telling = np.hstack([np.cos(lean * np.arange(1, 9)), np.sin(lean * np.arange(1, 9))])
    noise = rng.normal(size=(120, 16))
    without = error(estimate_response(panel, SETTINGS, seed=1), known)
    assert error(estimate_response(panel, SETTINGS, text=telling, seed=1), known) < 0.95 * without
    assert error(estimate_response(panel, SETTINGS, text=noise, seed=1), known) < 1.05 * without


def test_draws_are_reproducible_and_as_wide_as_they_say(plain):
    _, _, response = plain
    own, cross = response.draws(400, np.random.default_rng(3))
    again, _ = response.draws(400, np.random.default_rng(3))
    assert own.shape == cross.shape == (400, 120)
    assert np.array_equal(own, again)
    assert own.min() >= OWN_RANGE[0]
    assert own.max() <= OWN_RANGE[1]
    assert cross.min() >= 0
    sure = response.elasticity + 2.5 * response.elasticity_se < 0
    assert np.allclose(own.mean(axis=0)[sure], response.elasticity[sure], atol=0.15)
    assert np.allclose(own.std(axis=0)[sure], response.elasticity_se[sure], rtol=0.3)


def test_same_data_and_seed_give_the_same_bytes(plain):
    panel, _, response = plain
    again = estimate_response(panel, SETTINGS, seed=1)
    assert response.elasticity.tobytes() == again.elasticity.tobytes()
    assert response.cross_se.tobytes() == again.cross_se.tobytes()


def test_a_clean_shop_passes_its_checks(plain):
    panel, _, response = plain
    passed = diagnose_response(panel, *_halves(panel), response, SETTINGS, seed=1)
    assert passed.passed, [check.reason.english() for check in passed.checks]
    assert len(passed.checks) >= 5


def test_prices_that_follow_demand_are_caught_by_their_future():
    panel, _ = make_panel(4)
    later = np.zeros_like(panel.price)
    later[:, :-3] = np.log(panel.price / panel.regular_price)[:, 3:]
    panel = replace(panel, units=np.round(panel.units * np.exp(-1.0 * later)))
    response = estimate_response(panel, SETTINGS, seed=1)
    found = diagnose_response(panel, *_halves(panel), response, SETTINGS, seed=1)
    assert not found.passed
    assert found.value(FUTURE_PRICES) < 0.93


def _halves(panel):
    first = np.random.default_rng(0).binomial(panel.units.astype(int), 0.5).astype(float)
    return replace(panel, units=first), replace(panel, units=panel.units - first)
