"""All splits of the sales together: the median over splits, and an interval no narrower than what they disagree by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.heldout import HalfPlan
from benchmarks.heldout import Estimate, cross_fitted, over_splits

shares = st.floats(-0.05, 0.05)
splits = st.lists(st.builds(lambda v, a, b: Estimate(v, v - a, v + b), shares, *[st.floats(0, 0.02)] * 2), min_size=1)


def half(promised, judged, profit=200.0):
    return HalfPlan(promised, promised - 1, promised + 3, judged, judged - 4, judged + 4, 7, 0.002, profit)


def test_one_split_is_its_own_aggregate():
    found = over_splits([Estimate(0.01, 0.005, 0.02)])
    assert (found.value, found.low, found.high) == pytest.approx((0.01, 0.005, 0.02))


def test_the_directions_of_a_split_are_averaged_as_shares_of_profit():
    found = cross_fitted([half(2.0, 1.0), half(4.0, 5.0)], "promised")
    assert (found.value, found.low, found.high) == pytest.approx((0.015, 0.01, 0.03))
    assert cross_fitted([half(2.0, 1.0), half(4.0, 5.0)], "judged").value == pytest.approx(0.015)


def test_the_interval_holds_errors_and_spread_by_the_published_formula():
    """sqrt of the median of s² + (θ - median)², times 1.645: worked by hand for three splits."""
    error = 0.001 * 1.6449
    found = over_splits([Estimate(v, v - error, v + error) for v in (0.010, 0.012, 0.017)])
    assert found.value == 0.012
    # squared: 1 + 4, 1 + 0, 1 + 25 (in 1e-6), the median is 5
    assert found.high - found.value == pytest.approx(1.6449 * np.sqrt(5) * 1e-3)
    assert found.value - found.low == pytest.approx(1.6449 * np.sqrt(5) * 1e-3)


@settings(deadline=None, max_examples=60)
@given(splits, st.randoms())
def test_it_does_not_matter_in_which_order_splits_come_and_agreement_never_widens(found, order):
    mixed = list(found)
    order.shuffle(mixed)
    assert over_splits(mixed) == over_splits(found)
    whole = over_splits(found)
    assert whole.low <= whole.value <= whole.high
    least = np.median([one.high - one.value for one in found])
    assert whole.high - whole.value >= least - 1e-12
