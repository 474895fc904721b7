"""The parity report compares groups by reference formulas, and a protected attribute decides nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from engine.errors import ProblemError
from optimizers.coupons import CouponPlan, CouponProblem, allocate_coupons
from optimizers.coupons.parity import parity_report


def sending(rates: dict[str, tuple[int, int]]) -> tuple[CouponProblem, CouponPlan, list[str]]:
    """A plan that sends `sent` of `customers` in each group a coupon worth 2 at a cost of 1."""
    group = [name for name, (_, customers) in rates.items() for _ in range(customers)]
    sent = [int(i < sent) for sent, customers in rates.values() for i in range(customers)]
    worth = np.where(np.array(sent)[:, None], [[0.0, 2.0]], [[0.0, -1.0]])
    problem = CouponProblem(worth, np.tile([0.0, 1.0], (len(group), 1)), None)
    return problem, allocate_coupons(problem), group


def test_rates_and_their_intervals_are_those_of_the_textbook():
    problem, plan, group = sending({"a": (30, 100), "b": (90, 150)})
    report = parity_report(problem, plan, "sex", group)
    assert report.reference == "b"
    a, b = report.groups
    assert (a.customers, a.sent, a.send_rate.value) == (100, 30, 0.3)
    wilson = stats.binomtest(30, 100).proportion_ci(method="wilson")
    assert (a.send_rate.low, a.send_rate.high) == pytest.approx((wilson.low, wilson.high))
    assert a.send_rate_ratio.value == pytest.approx(0.5) == report.least_ratio
    katz = stats.contingency.relative_risk(30, 100, 90, 150).confidence_interval()
    assert (a.send_rate_ratio.low, a.send_rate_ratio.high) == pytest.approx((katz.low, katz.high), rel=0.02)
    assert (b.send_rate_ratio.value, b.mean_cost_ratio.value) == (1, 1)
    assert (a.mean_profit.value, a.mean_cost.value) == (pytest.approx(0.6), pytest.approx(0.3))


def test_the_ratio_of_means_covers_what_it_estimates():
    rng, covered = np.random.default_rng(5), 0
    for _ in range(300):
        cost = np.hstack([np.zeros((400, 1)), rng.gamma(2, 1, (400, 1))])
        problem = CouponProblem(np.hstack([np.zeros((400, 1)), np.ones((400, 1))]), cost, None)
        group = np.repeat(["a", "b"], 200)
        report = parity_report(problem, allocate_coupons(problem, "dual"), "sex", group)
        other = report.groups[report.reference == "a"]
        covered += other.mean_cost_ratio.low <= 1 <= other.mean_cost_ratio.high
    assert 0.9 < covered / 300 < 0.99


def test_nobody_is_sent_anything_and_missing_values():
    problem, plan, _ = sending({"a": (0, 3), "b": (0, 3)})
    report = parity_report(problem, plan, "age", [None, "x", math.nan, "x", "y", "y"])
    assert [g.group for g in report.groups] == ["", "x", "y"]
    assert report.least_ratio == 1
    assert math.isnan(report.groups[0].send_rate_ratio.value)


def test_budgets_that_follow_the_attribute_are_refused():
    problem, plan, group = sending({"a": (5, 10), "b": (5, 10)})
    follows = replace(problem, segment=np.repeat([0, 1], 10), segment_budget=np.array([9.0, 9.0]))
    with pytest.raises(ProblemError, match="protected attribute decides"):
        parity_report(follows, plan, "sex", group)
    apart = replace(problem, segment=np.tile([0, 1], 10), segment_budget=np.array([9.0, 9.0]))
    assert len(parity_report(apart, plan, "sex", group).groups) == 2


def test_wrong_shapes_and_too_many_groups_are_refused():
    problem, plan, _ = sending({"a": (60, 120)})
    with pytest.raises(ProblemError, match="per customer"):
        parity_report(problem, plan, "sex", ["a"])
    with pytest.raises(ProblemError, match="band it"):
        parity_report(problem, plan, "birthday", np.arange(120))
