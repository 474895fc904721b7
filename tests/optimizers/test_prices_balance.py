"""Cancelling moves: every set found lands in the window and moves a product once; the cheapest comes first."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.prices.balance import Alternatives, cancelling_moves


def options(seed: int, products: int, each: int) -> Alternatives:
    rng = np.random.default_rng(seed)
    size = products * each
    return Alternatives(np.repeat(np.arange(products), each), rng.normal(size=size), rng.exponential(size=size))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(-2, 2), st.floats(1e-3, 0.3))
def test_finds_the_cheapest_of_all_sets_of_up_to_four(seed: int, target: float, width: float) -> None:
    given_options = options(seed, 5, 2)
    found = cancelling_moves(given_options, target - width, target + width)
    costs = []
    for size in range(5):
        for rows in itertools.combinations(range(10), size):
            chosen = np.array(rows, dtype=np.int64)
            once = len(set(given_options.product[chosen].tolist())) == size
            if once and abs(given_options.shift[chosen].sum() - target) <= width:
                costs.append(given_options.loss[chosen].sum())
    assert bool(found) == bool(costs)
    if found:
        assert np.isclose(given_options.loss[found[0]].sum(), min(costs))
    for rows in found:
        assert len(set(given_options.product[rows].tolist())) == len(rows)
        assert abs(given_options.shift[rows].sum() - target) <= width + 1e-12


def test_meets_a_hairs_width_among_hundreds_of_alternatives() -> None:
    found = cancelling_moves(options(1, 150, 4), 0.123456789, 0.123456789 + 1e-7)
    assert found
    assert len(found) <= 50


def test_nothing_can_be_found_where_nothing_fits() -> None:
    assert cancelling_moves(options(1, 3, 2), 100.0, 101.0) == []
