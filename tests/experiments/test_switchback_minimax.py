"""The minimax switchback, held against every schedule that its coins can give."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from experiments.switchback_minimax import draw_minimax, minimax_points, read_minimax, spread_coins


def outcomes(base, effects, ran):
    """What happens under a schedule when each of the last steps adds its own effect."""
    lagged = [np.concatenate([np.zeros(lag, int), ran[: ran.size - lag]]) for lag in range(len(effects))]
    return base + np.sum([effect * past for effect, past in zip(effects, lagged, strict=True)], axis=0)


def every_schedule(steps, carry_over):
    for coins in itertools.product((0, 1), repeat=minimax_points(steps, carry_over).size):
        yield spread_coins(coins, steps, carry_over)


def read(values, ran, carry_over, **more):
    return read_minimax(values, ran, carry_over, rng=np.random.default_rng(1), redraws=more.pop("redraws", 1), **more)


def test_the_points_are_those_of_the_paper():
    assert (minimax_points(12, 2) + 1).tolist() == [1, 5, 7, 9]
    assert (minimax_points(12, 3) + 1).tolist() == [1, 7]
    assert (minimax_points(8, 1) + 1).tolist() == [1, 3, 4, 5, 6, 7]
    assert minimax_points(5, 0).tolist() == [0, 1, 2, 3, 4]


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([(8, 1), (12, 2), (12, 3), (6, 0)]), st.integers(0, 1000))
def test_the_estimate_is_unbiased_over_all_coins(size, seed):
    steps, carry_over = size
    rng = np.random.default_rng(seed)
    base, effects = rng.normal(5, 2, steps), rng.normal(1, 1, (carry_over + 1, steps))
    found = [read(outcomes(base, effects, ran), ran, carry_over).estimate for ran in every_schedule(steps, carry_over)]
    assert np.mean(found) == pytest.approx(effects.sum(axis=0)[carry_over:].mean())


def test_the_error_is_that_of_the_coins_and_a_forecast_makes_it_small():
    rng = np.random.default_rng(2)
    base = 50 + rng.normal(0, 1, 120)
    readings = [read(base - 50, draw_minimax(120, 2, rng), 2) for _ in range(1200)]
    spread, said = np.std([one.estimate for one in readings]), np.mean([one.standard_error for one in readings])
    assert said == pytest.approx(spread, rel=0.1)
    ran = draw_minimax(120, 2, rng)
    plain = read(base + 3.0 * ran, ran, 2)
    foretold = read(base + 3.0 * ran, ran, 2, expected=50.0)
    assert foretold.standard_error < 0.1 * plain.standard_error
    assert abs(foretold.estimate - 3.0) < 4 * foretold.standard_error


def test_the_p_value_is_exact():
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(200):
        ran = draw_minimax(40, 1, rng)
        p_values.append(read_minimax(rng.normal(size=40), ran, 1, rng=rng, redraws=19).p_value)
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.05)
    ran = draw_minimax(120, 1, rng)
    assert read_minimax(rng.normal(size=120) + 5.0 * ran, ran, 1, rng=rng, redraws=199, expected=2.5).p_value < 0.02


@pytest.mark.parametrize(
    ("steps", "carry_over", "schedule", "says"),
    [
        (13, 2, np.zeros(13), "take a multiple"),
        (6, 2, np.zeros(6), "take a multiple"),
        (12, 2, np.arange(12) % 2, "elsewhere"),
        (12, 2, np.zeros(11), "one finite value"),
    ],
)
def test_what_is_no_minimax_switchback_is_refused(steps, carry_over, schedule, says):
    with pytest.raises(ProblemError, match=says):
        read(np.zeros(steps), schedule, carry_over)
