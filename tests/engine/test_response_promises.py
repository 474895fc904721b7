"""What the response promises whatever the data: what must not matter does not, and nothing breaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from response_shop import make_panel, panel_of

from engine.demand.channels import closing, split_prices
from engine.demand.diagnostics import move_checks
from engine.demand.identification import FEW_WEEKS, NO_MOVES, NOT_IDENTIFIED, price_levels
from engine.demand.remarks import NOTHING
from engine.demand.response import estimate_response
from engine.settings import DemandSettings, Settings

SETTINGS = Settings()


def constant(products=3, weeks=30, units=5.0, price=2.0):
    return panel_of(np.full((products, weeks), units), np.full((products, weeks), price))


DEGENERATE = {
    "no price ever moves": constant(),
    "one product": constant(products=1),
    "one week": constant(weeks=1),
    "one product in one week": constant(products=1, weeks=1),
    "nothing was sold": constant(units=0.0),
    "nothing was observed": replace(constant(), observed=np.zeros((3, 30), dtype=bool)),
    "always out of stock": replace(constant(), stock_out=np.ones((3, 30))),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_nothing_to_learn_means_nothing_identified_and_the_prior(name):
    response = estimate_response(DEGENERATE[name], SETTINGS, seed=1)
    assert not response.identified.any()
    assert np.all((response.elasticity > -3) & (response.elasticity < 0))
    assert np.all(response.elasticity_se > 0.4)
    assert {note.code for note in response.notes} == {NOTHING}
    own, cross = response.draws(5, np.random.default_rng(0))
    assert np.isfinite(own).all()
    assert np.isfinite(cross).all()


def test_verdicts_say_why():
    panel, _ = make_panel(1, products=12, weeks=60, volume=3.0)
    price, regular, observed = panel.price.copy(), panel.regular_price.copy(), panel.observed.copy()
    price[0], regular[0] = 4.0, 4.0
    observed[1, 8:] = False
    response = estimate_response(
        replace(panel, price=price, regular_price=regular, observed=observed), SETTINGS, seed=1
    )
    assert response.verdict[0].code == NO_MOVES
    assert response.verdict[1].code == FEW_WEEKS
    strict = Settings(demand=DemandSettings(max_elasticity_se=0.01))
    held = estimate_response(panel, strict, seed=1)
    assert not held.identified.any()
    assert {reason.code for reason in held.verdict} == {NOT_IDENTIFIED}
    assert held.verdict[3].english().startswith("held at today's price: elasticity not identified (-")


def test_what_was_not_observed_or_out_of_stock_does_not_matter():
    panel, _ = make_panel(2, products=20, weeks=60)
    rng = np.random.default_rng(0)
    gone, empty = rng.random(panel.units.shape) < 0.1, rng.random(panel.units.shape) < 0.1
    masked = replace(panel, observed=~gone, stock_out=empty.astype(float))
    spoiled = replace(masked, units=np.where(gone | empty, 999.0, panel.units))
    first, second = (estimate_response(p, SETTINGS, seed=1) for p in (masked, spoiled))
    assert np.array_equal(first.elasticity, second.elasticity)


@settings(max_examples=3, deadline=None)
@given(factor=st.floats(0.01, 1000))
def test_the_currency_does_not_matter(factor):
    panel, _ = make_panel(3, products=12, weeks=40)
    other = replace(panel, price=panel.price * factor, regular_price=panel.regular_price * factor)
    few = Settings(demand=DemandSettings(draws=50))
    first, second = (estimate_response(p, few, seed=1) for p in (panel, other))
    assert np.allclose(first.elasticity, second.elasticity, atol=1e-5)
    assert np.allclose(first.price_high * factor, second.price_high)


def test_todays_price_lies_in_the_range_where_the_response_holds():
    panel, _ = make_panel(4, products=30)
    response = estimate_response(panel, SETTINGS, seed=1)
    assert np.all(response.price_low <= panel.price[:, -1] * 1.001)
    assert np.all(response.price_high >= panel.price[:, -1] * 0.999)
    assert np.all(response.price_high <= panel.price.max(axis=1) * np.exp(0.1) + 1e-9)
    blank = estimate_response(replace(panel, observed=np.zeros_like(panel.observed)), SETTINGS, seed=1)
    assert np.array_equal(blank.price_low, panel.price[:, -1])
    assert np.array_equal(blank.price_high, panel.price[:, -1])


@settings(max_examples=30, deadline=None)
@given(step=st.integers(8, 30), size=st.floats(-0.3, 0.3), dip=st.integers(1, 6), depth=st.floats(0.01, 0.5))
def test_closing_keeps_steps_and_fills_dips(step, size, dip, depth):
    path = np.where(np.arange(60) < step, 0.0, size)[None, :]
    promoted = path.copy()
    promoted[0, 45 : 45 + dip] -= depth
    assert np.allclose(closing(path), path)
    assert np.allclose(closing(promoted), path)


def test_channels_add_up_to_the_price():
    panel, _ = make_panel(5, products=10, experiments=0.2)
    channels = split_prices(panel)
    assert channels.names == ("promotion", "regular", "experiment")
    total = channels.values.sum(axis=2)
    assert np.allclose(total, np.log(panel.price))
    assert channels.column("promotion").max() <= 0
    assert not channels.column("promotion")[panel.experiment > 0].any()


def test_a_regular_price_that_follows_the_experiment_is_not_taken_for_everyday():
    panel, _ = make_panel(6, products=10, experiments=0.2)
    along = replace(panel, regular_price=np.where(panel.experiment > 0, panel.price, panel.regular_price))
    kept, moved = split_prices(panel), split_prices(along)
    same = np.isclose(kept.column("experiment"), moved.column("experiment"), atol=1e-9)
    assert same.mean() > 0.95


def test_prices_that_wobble_about_a_regular_price_that_follows_keep_the_random_moves():
    panel, _ = make_panel(6, products=10, experiments=0.2)
    noise = np.exp(np.random.default_rng(1).normal(0, 0.01, panel.price.shape))
    follows = np.where(panel.experiment > 0, panel.price, panel.regular_price)
    wobbling = split_prices(replace(panel, price=panel.price * noise, regular_price=follows))
    random = panel.experiment > 0
    kept = split_prices(panel).column("experiment")[random]
    assert np.abs(wobbling.column("experiment")[random] - kept).mean() < 0.02


def test_price_levels_need_more_than_a_wobble():
    price = np.tile([2.0, 2.001], (1, 20))
    price = np.vstack([price, np.tile([2.0, 1.8], (1, 20)), np.full((1, 40), 3.0)])
    panel = panel_of(np.full((3, 40), 4.0), price)
    levels = price_levels(panel, split_prices(panel))
    assert levels[1] >= 2
    assert levels[2] == 1


def test_moves_are_judged_where_only_one_half_has_random_ones():
    """Stores that moved prices at random may all lie in one half; and random moves may be read as everyday ones."""
    panel, _ = make_panel(6, products=10, experiments=0.2)
    quiet = replace(panel, experiment=np.zeros_like(panel.experiment), observed=panel.experiment < 0.5)
    apart, together = ("promotion", "regular", "experiment"), ("promotion", "regular")
    judged = {
        (half, names): move_checks(half_panel, names, np.full((10, len(names)), -1.5))
        for half, half_panel in (("random", panel), ("quiet", quiet))
        for names in (apart, together)
    }
    spoken = {case: any("experiment" in check.name for check in checks) for case, checks in judged.items()}
    assert spoken == {case: case == ("random", apart) for case in judged}
    assert all(judged.values())
