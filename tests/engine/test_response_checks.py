"""What a check of the response says: intervals may fail to hold the truth, but not for holding it too often."""

import math

import pytest

from engine.coupon_response.record import Overlap, Placebo
from engine.coupon_response.verdict import OVERLAP_FAILED, OVERLAP_PASSED, OVERLAP_UNKNOWN, _judge_targeted
from engine.demand.checks import ResponseDiagnostics, covered, judged

ASKED = {"low": 0.93, "high": 0.97, "count": 1000, "least": 100}


@pytest.mark.parametrize(
    ("share", "passed", "said"),
    [
        (0.929, False, "failed: placebo: 0.929 (asked for: 0.93 to 0.97; from 1,000)"),
        (0.93, True, "passed: placebo: 0.930 (asked for: 0.93 to 0.97; from 1,000)"),
        (0.97, True, "passed: placebo: 0.970 (asked for: 0.93 to 0.97; from 1,000)"),
        (0.974, None, "intervals wider than needed: placebo: 0.974 (asked for: 0.93 to 0.97; from 1,000)"),
    ],
)
def test_coverage_above_what_was_asked_is_too_wide_and_no_failure(share, passed, said):
    found = covered("placebo", share, **ASKED)
    assert found.passed is passed
    assert found.reason.english() == said
    assert ResponseDiagnostics((found,)).passed is (passed is not False)


def test_a_figure_that_is_no_coverage_fails_on_either_side():
    assert judged("ratio", 1.2, 0.93, 1.07, 1000, 100).passed is False
    assert judged("ratio", 0.8, 0.93, 1.07, 1000, 100).passed is False


def test_coverage_from_too_few_is_not_judged():
    assert covered("placebo", 1.0, 0.93, 0.97, 5, 100).reason.english() == "not judged: placebo: only 5 to judge from"
    assert covered("placebo", math.nan, **ASKED).passed is None


@pytest.mark.parametrize(
    ("auc", "outside", "code"),
    [
        (0.7, 0.1, OVERLAP_PASSED),
        (0.95, 0.1, OVERLAP_FAILED),
        (math.nan, 0.9, OVERLAP_FAILED),
        (math.nan, 0.0, OVERLAP_UNKNOWN),
    ],
)
def test_targeting_that_cannot_be_seen_is_not_given_a_figure(auc, outside, code):
    _, said = _judge_targeted(Overlap(500, auc, outside, 1.0), Placebo("", math.nan, math.nan, math.nan, None))
    assert said[0].code == code
    assert "nan" not in said[0].english()
