"""Coupons chosen by risk: the best of all plans on small problems, an honest bound always, limits kept."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from optimizers.coupons import CouponProblem
from optimizers.coupons.check import check_coupons
from optimizers.coupons.robust import AVERSION, QUANTILE, RISKS, solve_robust_coupons

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Loads:
    """Errors given cell by cell: (N, O, q)."""

    each: Floats

    def sd(self) -> Floats:
        return np.asarray(np.linalg.norm(self.each, axis=2))

    def loads_of(self, choice: npt.NDArray[np.int64]) -> Floats:
        return np.asarray(self.each[np.arange(len(choice)), choice].sum(axis=0))

    def moves(self, direction: Floats) -> Floats:
        return np.asarray(self.each @ direction)


def shop(seed: int, customers: int, offers: int, **limits: object) -> tuple[CouponProblem, Loads]:
    rng = np.random.default_rng(seed)
    profit = rng.normal(0.6, 1.0, (customers, offers))
    cost = rng.uniform(0.2, 1.5, (customers, offers))
    loads = 0.4 * rng.normal(0.4, 1.0, (customers, offers, 3))
    for values in (profit, cost, loads):
        values[:, 0] = 0.0
    given_ = {"budget": 0.4 * float(cost.max(axis=1).sum()), **limits}
    single = profit.astype(np.float32), cost.astype(np.float32)
    return CouponProblem(*single, **given_), Loads(loads)  # type: ignore[arg-type]


def worth(problem: CouponProblem, spread: Loads, choice: npt.NDArray[np.int64], risk: str) -> float:
    at = np.arange(len(choice))
    mean = float(problem.profit[at, choice].sum(dtype=np.float64))
    if risk == "lower":
        return mean - QUANTILE * float(spread.sd()[at, choice].sum())
    return mean - AVERSION.get(risk, 0.0) * float(np.linalg.norm(spread.loads_of(choice)))


@given(st.integers(0, 10**6), st.sampled_from(RISKS))
@settings(max_examples=12, deadline=None)
def test_the_bound_holds_for_every_plan_and_what_is_stated_is_recomputed(seed: int, risk: str) -> None:
    problem, spread = shop(seed, 5, 3)
    found = solve_robust_coupons(problem, spread, risk, gap=1e-6)
    check_coupons(problem, found.plan)
    stated = worth(problem, spread, found.plan.choice, risk)
    assert found.objective == pytest.approx(stated, abs=1e-9)
    plans = map(np.array, itertools.product(range(3), repeat=5))
    kept = [c for c in plans if problem.cost[np.arange(5), c].sum() <= problem.budget]
    best = max(worth(problem, spread, c, risk) for c in kept)
    assert found.objective <= best + 1e-9
    assert found.bound >= best - 1e-6 * max(abs(best), 1.0)
    if found.status == "optimal":
        assert found.objective == pytest.approx(best, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("risk", ["tail", "worst"])
def test_with_many_customers_the_game_closes_and_beats_the_plan_by_mean(risk: str) -> None:
    problem, spread = shop(3, 3000, 4, min_sent=200, max_sent=1500)
    found = solve_robust_coupons(problem, spread, risk, gap=1e-3)
    by_mean = solve_robust_coupons(problem, spread, "mean", gap=1e-3)
    check_coupons(problem, found.plan)
    assert found.gap <= 5e-3
    assert found.objective > worth(problem, spread, by_mean.plan.choice, risk)
    assert found.expected <= by_mean.expected + 1e-9
    assert 200 <= found.plan.sent <= 1500
    assert getattr(found, risk) == pytest.approx(found.objective)


def test_the_tail_is_the_mean_of_the_worst_tenth_of_the_posterior() -> None:
    problem, spread = shop(5, 200, 3)
    found = solve_robust_coupons(problem, spread, "tail")
    drawn = found.expected + np.random.default_rng(1).standard_normal((200_000, 3)) @ spread.loads_of(found.plan.choice)
    worst = np.sort(drawn)[:20_000]
    assert found.tail == pytest.approx(worst.mean(), abs=0.02 * drawn.std())


def test_effects_that_nobody_can_trust_are_not_sent_at_all() -> None:
    problem, spread = shop(7, 100, 3)
    wild = Loads(spread.each + 50.0 * (np.arange(3) > 0)[None, :, None])
    for risk in ("lower", "tail", "worst"):
        found = solve_robust_coupons(problem, wild, risk)
        assert (found.plan.sent, found.objective) == (0, 0.0)
        assert found.status == "optimal"


def test_the_random_share_is_drawn_the_same_whatever_the_risk() -> None:
    problem, spread = shop(9, 400, 3, explore=0.2)
    plans = [solve_robust_coupons(problem, spread, risk, seed=4).plan for risk in RISKS]
    for plan in plans:
        check_coupons(problem, plan)
        assert plan.explored is not None
        assert np.array_equal(plan.explored, plans[0].explored)  # type: ignore[arg-type]
        assert np.array_equal(plan.choice[plan.explored], plans[0].choice[plan.explored])


def test_an_unknown_risk_is_refused_and_no_time_still_gives_a_plan() -> None:
    problem, spread = shop(1, 50, 3)
    with pytest.raises(ProblemError, match="risk is 'bold'"):
        solve_robust_coupons(problem, spread, "bold")
    hurried = solve_robust_coupons(replace(problem), spread, "worst", seconds=0.0)
    check_coupons(problem, hurried.plan)
    assert hurried.bound >= hurried.objective
