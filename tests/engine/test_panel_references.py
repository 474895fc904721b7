"""Everyday prices, stock-outs and the state of the shop at a panel's end, on paths whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.panel.pending import settle_pending
from engine.panel.references import carried_forward, everyday_reference, filled, wobbling
from engine.panel.stock_outs import improbable_zero_runs

SEEN = np.ones((1, 20), dtype=bool)


def path(*levels: tuple[float, int]) -> np.ndarray:
    return np.array([[price for price, weeks in levels for _ in range(weeks)]])


def test_a_promotion_is_filled_in_and_a_lasting_cut_keeps_its_date() -> None:
    price = path((4.0, 5), (3.0, 3), (4.0, 2), (3.5, 10))
    expected = path((4.0, 10), (3.5, 10))
    assert (everyday_reference(price, SEEN) == expected).all()


def test_a_rise_keeps_its_date_though_promotions_surround_it() -> None:
    price = path((4.0, 3), (3.0, 2), (5.0, 4), (4.2, 3), (5.0, 8))
    assert (everyday_reference(price, SEEN) == path((4.0, 5), (5.0, 15))).all()


def test_a_deeper_promotion_within_a_cut_hides_neither() -> None:
    price = path((8.19, 5), (7.19, 2), (5.59, 2), (7.19, 11))
    assert (everyday_reference(price, SEEN) == path((8.19, 5), (7.19, 15))).all()


def test_a_cut_in_the_last_four_weeks_still_counts_as_a_promotion() -> None:
    price = path((4.0, 16), (3.5, 4))
    assert (everyday_reference(price, SEEN) == 4.0).all()
    assert everyday_reference(path((4.0, 15), (3.5, 5)), SEEN)[0, -1] == 3.5


def test_wobbling_prices_are_met_in_their_middle() -> None:
    rng = np.random.default_rng(5)
    truth = np.repeat([[4.0], [6.0], [9.0]], 60, axis=1)
    price = truth * np.where(np.arange(60) % 7 == 3, 0.8, 1.0) * np.exp(0.01 * rng.standard_normal((3, 60)))
    seen = rng.random((3, 60)) < 0.95
    error = np.log(everyday_reference(price, seen, wobbles=True) / truth)
    assert abs(error.mean()) < 0.003
    assert np.abs(error).mean() < 0.01


@settings(deadline=None, max_examples=60)
@given(arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 25)), elements=st.integers(1, 9)), st.data())
def test_the_reference_never_undercuts_the_price_nor_exceeds_what_was_seen(
    price: np.ndarray, data: st.DataObject
) -> None:
    seen = data.draw(arrays(np.bool_, price.shape))
    reference = everyday_reference(price, seen)
    for row in range(len(price)):
        if seen[row].any():
            first = int(np.argmax(seen[row]))
            assert (reference[row][seen[row]] >= price[row][seen[row]]).all()
            assert reference[row][first:].max() <= price[row][seen[row]].max()
        else:
            assert np.isnan(reference[row]).all()


@given(arrays(np.float64, (2, 9), elements=st.sampled_from([1.0, 2.0, np.nan])))
def test_carrying_forward_is_what_a_walk_would_do(values: np.ndarray) -> None:
    for row, forward, everywhere in zip(values, carried_forward(values), filled(values), strict=True):
        last = np.nan
        for t, value in enumerate(row):
            last = value if np.isfinite(value) else last
            assert forward[t] == last or (np.isnan(forward[t]) and np.isnan(last))
        assert np.isfinite(everywhere).all() == np.isfinite(row).any()


def test_a_run_of_zeros_that_chance_would_not_give_is_a_stock_out() -> None:
    rng = np.random.default_rng(2)
    units = rng.poisson(12, (1, 40)).astype(float)
    units[0, 20:23] = 0
    marked = improbable_zero_runs(units, np.ones(units.shape, dtype=bool))
    assert np.flatnonzero(marked[0]).tolist() == [20, 21, 22]


def test_a_product_that_left_the_list_is_not_out_of_stock() -> None:
    units = np.full((1, 40), 12.0)
    units[0, 25:] = 0
    assert not improbable_zero_runs(units, np.ones(units.shape, dtype=bool)).any()


@pytest.mark.parametrize(("mean", "spread"), [(0.4, None), (3.0, 0.6), (20.0, 1.5)])
def test_few_weeks_are_marked_where_zeros_are_chance(mean: float, spread: float | None) -> None:
    """Slow, overdispersed and lumpy sellers whose zeros are real."""
    rng = np.random.default_rng(7)
    level = mean if spread is None else mean * rng.gamma(1 / spread, spread, (300, 104))
    units = rng.poisson(level, (300, 104)).astype(float)
    marked = improbable_zero_runs(units, np.ones(units.shape, dtype=bool))
    assert (units == 0).any()
    assert marked.mean() < 0.002


def shop_of(promotion_weeks: int, cut: float, deal: float) -> np.ndarray:
    """Forty products over sixty weeks: a promotion every ten weeks, a lasting cut every thirty; all staggered."""
    price = np.full((40, 60), 10.0)
    for row in range(40):
        for week in range(row % 10, 60, 10):
            price[row, week : week + promotion_weeks] *= 1 - deal
        for week in range(row % 30 + 5, 60, 30):
            price[row, week:] *= 1 - cut
    return price


def test_a_small_cut_that_holds_is_settled_as_lasting_and_a_deep_new_one_is_not() -> None:
    price = shop_of(promotion_weeks=2, cut=0.05, deal=0.25)
    price = np.vstack([price, path((10.0, 57), (9.5, 3)), path((10.0, 59), (7.5, 1))])
    seen = np.ones(price.shape, dtype=bool)
    reference = everyday_reference(price, seen)
    assert reference[-2:, -1].tolist() == [10.0, 10.0]
    settled = settle_pending(reference, price, seen, np.zeros(price.shape))
    assert settled[-2, 56:].tolist() == [10.0, 9.5, 9.5, 9.5]
    assert settled[-1, -1] == 10.0


def test_an_advertised_cut_is_a_promotion_whatever_its_depth() -> None:
    price = np.vstack([shop_of(promotion_weeks=2, cut=0.05, deal=0.25), path((10.0, 57), (9.5, 3))])
    seen = np.ones(price.shape, dtype=bool)
    flags = np.zeros(price.shape)
    flags[-1, 57:] = 1.0
    settled = settle_pending(everyday_reference(price, seen), price, seen, flags)
    assert settled[-1, -1] == 10.0


@settings(deadline=None, max_examples=40)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 20)), elements=st.sampled_from([8.0, 9.0, 10.0])),
    st.data(),
)
def test_settling_only_ever_moves_the_end_of_a_path_to_its_price(price: np.ndarray, data: st.DataObject) -> None:
    seen = data.draw(arrays(np.bool_, price.shape))
    reference = everyday_reference(price, seen)
    settled = settle_pending(reference, price, seen, np.zeros(price.shape))
    for row in range(len(price)):
        changed = np.flatnonzero(~((settled[row] == reference[row]) | np.isnan(reference[row])))
        if len(changed):
            assert len(changed) == changed[-1] - changed[0] + 1
            assert changed[-1] == price.shape[1] - 1
            last = price[row, np.flatnonzero(seen[row])[-1]]
            assert (settled[row, changed] == last).all()


def test_prices_that_stand_still_or_step_do_not_wobble() -> None:
    steps = shop_of(promotion_weeks=2, cut=0.05, deal=0.25)
    rng = np.random.default_rng(3)
    seen = rng.random(steps.shape) < 0.9
    unseen = np.where(seen, steps, np.nan)
    assert not wobbling(unseen, seen)
    assert wobbling(unseen * np.exp(0.01 * rng.standard_normal(steps.shape)), seen)
    assert not wobbling(steps[:, :1], seen[:, :1])
