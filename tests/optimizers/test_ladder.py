"""Ladders: never past the largest move, always with today's price, in whole cents or with a permitted ending."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from optimizers.prices.ladder import LadderRules, build_ladder

prices = st.lists(st.floats(0.02, 5000.0, allow_nan=False), min_size=1, max_size=6)
rules = st.builds(
    lambda step, times, margin, endings: LadderRules(min(step * times, 0.5), step, margin, endings),
    st.floats(0.005, 0.1),
    st.integers(1, 5),
    st.none() | st.floats(-0.5, 0.6),
    st.none() | st.sampled_from([(0.99,), (0.0,), (0.99, 0.49), (0.05, 0.15, 0.95)]),
)


@settings(deadline=None, max_examples=150)
@given(prices, rules, st.floats(0.3, 1.2))
def test_every_rung_is_permitted_and_todays_price_is_one(today: list[float], rule: LadderRules, cost: float) -> None:
    current = np.array(today)
    ladder = build_ladder(current, cost * current, np.ones(len(current), dtype=bool), rule)
    assert np.array_equal(ladder.price[:, ladder.today], current)
    for row, start in zip(ladder.price, today, strict=True):
        rungs = [p for p in row if np.isfinite(p)]
        assert rungs == sorted(set(rungs))
        for price in rungs:
            if price == start:
                continue
            assert abs(price / start - 1) <= rule.max_change + 1e-8
            assert price > 0
            assert abs(price - start) >= 0.005 - 1e-8
            assert round(price * 100) == pytest.approx(price * 100, abs=1e-6)
            assert rule.endings is None or round(price * 100) % 100 in [round(100 * e) for e in rule.endings]
            assert rule.min_margin is None or (price - cost * start) / price >= rule.min_margin - 1e-8


def test_default_ladder_is_steps_of_todays_price() -> None:
    ladder = build_ladder(np.array([2.0]), np.array([1.0]), np.array([True]), LadderRules(0.10, 0.025))
    assert ladder.price[0].tolist() == [1.80, 1.85, 1.90, 1.95, 2.0, 2.05, 2.10, 2.15, 2.20]


def test_cheap_products_lose_the_rungs_that_round_to_the_same_cent() -> None:
    ladder = build_ladder(np.array([0.30, 0.04]), np.zeros(2), np.ones(2, dtype=bool), LadderRules(0.10, 0.025))
    assert [p for p in ladder.price[0] if np.isfinite(p)] == [0.27, 0.28, 0.29, 0.30, 0.31, 0.32, 0.33]
    assert ladder.choices.tolist() == [7, 1], "a cent is more than 10 % of 0.04"


def test_endings_take_the_nearest_within_reach() -> None:
    rule = LadderRules(0.10, 0.025, None, (0.99, 0.49))
    ladder = build_ladder(np.array([19.0, 200.0]), np.zeros(2), np.ones(2, dtype=bool), rule)
    kept = [[p for p in row if np.isfinite(p)] for row in ladder.price]
    assert kept[0] == [17.49, 17.99, 18.49, 18.99, 19.0, 19.49, 19.99, 20.49]
    assert kept[1][:3] == [180.49, 180.99, 184.99]
    assert kept[1][-2:] == [219.49, 219.99]


def test_margin_floor_spares_todays_price() -> None:
    ladder = build_ladder(np.array([1.0]), np.array([0.99]), np.array([True]), LadderRules(0.10, 0.05, min_margin=0.05))
    assert [p for p in ladder.price[0] if np.isfinite(p)] == [1.0, 1.05, 1.10]


def test_seen_range_cuts_the_ladder_and_held_products_have_one_rung() -> None:
    today = np.array([2.0, 2.0])
    rule = LadderRules(0.10, 0.05)
    ladder = build_ladder(today, np.zeros(2), np.array([True, False]), rule, today * 0.96, today * 1.06)
    assert [p for p in ladder.price[0] if np.isfinite(p)] == [2.0, 2.10]
    assert ladder.choices.tolist() == [2, 1]


@pytest.mark.parametrize(
    "rule",
    [
        LadderRules(0.05, 0.10),
        LadderRules(0.10, 0.0),
        LadderRules(0.0, 0.0),
        LadderRules(1.0, 0.1),
        LadderRules(0.1, 0.05, 1.0),
        LadderRules(0.1, 0.05, None, ()),
        LadderRules(0.1, 0.05, None, (1.5,)),
        LadderRules(float("nan"), 0.05),
    ],
)
def test_rules_that_leave_no_ladder_are_refused(rule: LadderRules) -> None:
    with pytest.raises(ProblemError, match="give"):
        build_ladder(np.array([2.0]), np.array([1.0]), np.array([True]), rule)
