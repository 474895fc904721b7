"""No plan may count on demand that rises with its price, whatever a posterior's draws say."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.demand.response import OWN_RANGE, Response

PRODUCTS, DRAWS = 3, 4
bounded = st.floats(-40.0, 40.0)


def response(channels: np.ndarray, category: np.ndarray, rho: np.ndarray) -> Response:
    """A response whose parts draw just these: own by channel, substitution, answers to rivals."""
    parts = {
        "posterior": SimpleNamespace(draws=lambda *_: channels[:, :, None]),
        "substitution": SimpleNamespace(draws=lambda *_: category, own_share=np.full(PRODUCTS, 0.5)),
        "rivals": SimpleNamespace(
            draws=lambda *_: rho, shared=lambda given: 0.1 * given, taken=np.array([True, False, True])
        ),
        "curvature": SimpleNamespace(draws=lambda n, _: np.zeros(n), shift=np.zeros(PRODUCTS)),
    }
    return Response(**{one.name: parts.get(one.name) for one in fields(Response)})  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(st.lists(bounded, min_size=PRODUCTS * DRAWS, max_size=PRODUCTS * DRAWS), st.floats(0, 5), bounded)
def test_drawn_responses_fall_with_their_own_price_and_never_with_that_of_others(own, substitution, rivals) -> None:
    shape = (DRAWS, PRODUCTS)
    given = np.reshape(own, shape), np.full(shape, substitution), np.full(shape, rivals)
    drawn = response(*given).joint_draws(DRAWS, np.random.default_rng(0))
    assert (drawn.own <= 0.0).all()
    assert (drawn.own >= OWN_RANGE[0]).all()
    assert (drawn.cross >= 0.0).all()


def test_draws_inside_the_range_are_left_as_they_are() -> None:
    channels = np.linspace(-3.0, -0.5, PRODUCTS * DRAWS).reshape(DRAWS, PRODUCTS)
    nothing = np.zeros((DRAWS, PRODUCTS))
    drawn = response(channels, nothing, nothing).joint_draws(DRAWS, np.random.default_rng(0))
    assert np.array_equal(drawn.own, channels)
