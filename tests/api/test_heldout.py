"""Promise and judgement beside each other: what is said of them follows from their figures."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.heldout import APART, BY_CHANCE, NOTHING, WITHIN, HalfPlan, together


def half(promised: float, width: float, judged: float, judged_width: float) -> HalfPlan:
    return HalfPlan(
        promised=promised,
        promised_low=promised - width,
        promised_high=promised + width,
        judged=judged,
        judged_low=judged - judged_width,
        judged_high=judged + judged_width,
        changed=3,
        index_change=0.001,
        profit_current=1000.0,
    )


@pytest.mark.parametrize(
    ("figures", "verdict", "said"),
    [
        ((100, 30, 80, 5), WITHIN, "80% of the promise, within its interval"),
        ((100, 30, 60, 40), BY_CHANCE, "60% of the promise, outside its interval"),
        ((100, 30, 20, 10), APART, "20% of the promise, further from it than the errors of both allow"),
        ((0, 0, 0, 0), NOTHING, "nothing was promised"),
    ],
)
def test_the_verdict_says_which_comparison_holds(figures, verdict, said):
    found = together("stores", (half(*figures), half(*figures)))
    assert found.reason.values["verdict"].code == verdict
    assert said in found.reason.english()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.floats(0, 1e6)] * 4), min_size=1, max_size=2))
def test_what_lies_within_the_promise_also_agrees_given_both_errors(figures):
    plans = tuple(half(*figure) for figure in figures)
    found = together("households", plans)
    assert not found.within or found.agrees
    assert min(p.promised for p in plans) <= found.promised + 1e-6
    assert found.promised <= max(p.promised for p in plans) + 1e-6
