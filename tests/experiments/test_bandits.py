"""Bandits: propensities that are true, learning in any order, budgets that hold, drift that is seen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.errors import ProblemError
from experiments.bandits import (
    BanditDesign,
    BetaThompson,
    Budget,
    Cusum,
    GaussianThompson,
    LinearThompson,
    LinearUcb,
    LogisticThompson,
    NormalInverseGammaThompson,
    Ucb,
    decide,
    learn,
    remove_arm,
    start,
)
from experiments.bandits.marginals import Beta, Normal, StudentT, best_probability
from experiments.bandits.record import design_record, read_design, read_state, state_record

POLICIES = [
    BetaThompson(3),
    GaussianThompson(3, noise_sd=0.5),
    NormalInverseGammaThompson(3),
    Ucb(3),
    LinearThompson(3, 2),
    LinearUcb(3, 2),
    LogisticThompson(3, 2),
]
named = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)


def rewards(rng, n, policy):
    context = rng.normal(size=(n, policy.features))
    return rng.integers(0, policy.arms, n), rng.integers(0, 2, n).astype(float), context


def taught(design, rng, n=60):
    arm, reward, context = rewards(rng, n, design.policy)
    return learn(design, start(design), arm=arm, reward=reward, context=context)


@named
@pytest.mark.parametrize("top_two", [None, 0.5])
def test_the_logged_chances_are_the_chances(policy, top_two):
    rng = np.random.default_rng(1)
    design = BanditDesign(policy, min_exploration=0.2, top_two=top_two)
    state = taught(design, rng)
    context = np.tile(rng.normal(size=(1, policy.features)), (6_000, 1))
    decisions, _ = decide(design, state, rng=rng, context=context)
    first, _ = decide(design, state, rng=rng, context=context[:1])
    chance = first.probabilities()[0]
    assert chance.sum() == pytest.approx(1)
    assert chance.min() >= 0.2 / 3 - 1e-12
    counted = np.bincount(decisions.arm, minlength=3)
    assert stats.chisquare(counted, 6_000 * chance).pvalue > 1e-4


@pytest.mark.parametrize(
    "belief",
    [
        Normal(np.array([[0.0, 1.0, 0.9]]), np.array([[1.0, 0.001, 0.2]])),
        Beta(np.array([[1.0, 50.0, 3.0]]), np.array([[1.0, 60.0, 900.0]])),
        StudentT(np.array([[0.0, 0.2, 0.1]]), np.array([[1.0, 0.1, 3.0]]), np.array([[2.0, 30.0, 5.0]])),
    ],
    ids=["normal", "beta", "student"],
)
def test_the_chance_of_being_best_is_exact(belief):
    chance = best_probability(belief, np.arange(3))[0]
    rng = np.random.default_rng(2)
    drawn = np.concatenate([belief.rows(np.zeros(100_000, dtype=int)).draw(rng) for _ in range(4)])
    counted = np.bincount(drawn.argmax(axis=1), minlength=3) / len(drawn)
    assert np.abs(chance - counted).max() < 0.004


def test_two_normal_arms_have_the_textbook_chance():
    belief = Normal(np.array([[0.3, 0.0]]), np.array([[0.4, 1e-5]]))
    assert best_probability(belief, np.arange(2))[0, 0] == pytest.approx(stats.norm.cdf(0.75), abs=1e-6)


@pytest.mark.parametrize("policy", POLICIES[:-1], ids=lambda policy: type(policy).__name__)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1_000), cut=st.integers(1, 29))
def test_rewards_may_come_late_and_in_any_order(policy, seed, cut):
    rng = np.random.default_rng(seed)
    design = BanditDesign(policy)
    arm, reward, context = rewards(rng, 30, policy)
    together = learn(design, start(design), arm=arm, reward=reward, context=context)
    order = rng.permutation(30)
    parts = start(design)
    for rows in (order[:cut], order[cut:]):
        parts = learn(design, parts, arm=arm[rows], reward=reward[rows], context=context[rows])
    for name, value in state_record(together)["learned"].items():
        if name != "kind":
            np.testing.assert_allclose(state_record(parts)["learned"][name], value, atol=1e-9, rtol=1e-9)


@named
def test_design_and_state_survive_a_restart(policy):
    design = BanditDesign(policy, min_exploration=0.1, change=Cusum(), half_life=10.0)
    state = taught(design, np.random.default_rng(3))
    design_again = read_design(json.loads(json.dumps(design_record(design))))
    state_again = read_state(json.loads(json.dumps(state_record(state))))
    assert design_again == design
    context = np.ones((50, policy.features))
    before, _ = decide(design, state, rng=np.random.default_rng(4), context=context)
    after, _ = decide(design_again, state_again, rng=np.random.default_rng(4), context=context)
    assert before.arm.tolist() == after.arm.tolist()


def test_each_row_has_a_draw_of_its_own():
    design = BanditDesign(GaussianThompson(2))
    decisions, _ = decide(design, start(design), rng=np.random.default_rng(5), rows=1_000)
    assert 400 < decisions.arm.sum() < 600


def test_top_two_explores_the_runner_up():
    design = BanditDesign(GaussianThompson(3, noise_sd=0.1), top_two=0.5)
    state = learn(design, start(design), arm=np.arange(300) % 3, reward=np.tile([1.0, 0.9, 0.0], 100))
    decisions, _ = decide(design, state, rng=np.random.default_rng(6), rows=4_000)
    share = np.bincount(decisions.arm, minlength=3) / 4_000
    assert share[0] == pytest.approx(0.5, abs=0.05)
    assert share[1] > share[2]


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    total=st.floats(0, 60),
    costs=st.lists(st.floats(0, 5), min_size=2, max_size=4),
    batch=st.integers(1, 80),
)
def test_a_budget_is_never_overspent(seed, total, costs, batch):
    costs[0] = 0.0
    design = BanditDesign(
        GaussianThompson(len(costs)), min_exploration=0.3, budget=Budget(total, tuple(costs), decisions=200)
    )
    state, rng, spent = start(design), np.random.default_rng(seed), 0.0
    for _ in range(200 // batch + 1):
        decisions, state = decide(design, state, rng=rng, rows=batch)
        spent += float(np.array(costs)[decisions.arm].sum())
        assert decisions.propensity().min() > 0
        state = learn(design, state, arm=decisions.arm, reward=np.array(costs)[decisions.arm])
    assert spent <= total * (1 + 1e-12)
    assert state.purse.spent == pytest.approx(spent)


def test_a_budget_is_spent_where_it_brings_most():
    """Two paid arms, one worth its money three times as much: with a scarce budget it takes nearly all of it."""
    design = BanditDesign(BetaThompson(3), budget=Budget(200.0, (0.0, 1.0, 1.0), decisions=2_000, learning_rate=0.02))
    chance, state, rng = np.array([0.05, 0.6, 0.25]), start(design), np.random.default_rng(7)
    arms = []
    for _ in range(200):
        decisions, state = decide(design, state, rng=rng, rows=10)
        state = learn(design, state, arm=decisions.arm, reward=(rng.random(10) < chance[decisions.arm]).astype(float))
        arms.append(decisions.arm)
    played = np.bincount(np.concatenate(arms), minlength=3)
    assert played[1] > 3 * played[2]
    assert state.purse.spent > 150


def test_a_budget_that_pays_for_nothing_is_refused():
    design = BanditDesign(GaussianThompson(2), budget=Budget(1.0, (2.0, 3.0), decisions=10))
    with pytest.raises(ProblemError, match="costs nothing"):
        decide(design, start(design), rng=np.random.default_rng(8))


def test_old_rewards_fade():
    design = BanditDesign(GaussianThompson(2, prior_sd=100.0), half_life=5.0)
    state = learn(design, start(design), arm=[0] * 50, reward=[1.0] * 50, at=[0.0] * 50)
    state = learn(design, state, arm=[0] * 50, reward=[0.0] * 50, at=[5.0] * 50)
    assert design.policy.belief(state.learned, np.empty((1, 0))).mean[0, 0] == pytest.approx(1 / 3, abs=1e-3)


def test_a_late_reward_counts_by_the_age_of_its_decision():
    design = BanditDesign(GaussianThompson(2), half_life=5.0)
    in_time = learn(design, start(design), arm=[0, 1], reward=[1.0, 2.0], at=[0.0, 5.0])
    late = learn(design, start(design), arm=[1], reward=[2.0], at=[5.0])
    late = learn(design, late, arm=[0], reward=[1.0], at=[0.0])
    np.testing.assert_allclose(late.learned.weight, in_time.learned.weight)
    np.testing.assert_allclose(late.learned.mean, in_time.learned.mean)


def test_a_changed_arm_is_forgotten_and_a_steady_one_is_not():
    design = BanditDesign(BetaThompson(2), change=Cusum())
    rng = np.random.default_rng(9)
    state = learn(design, start(design), arm=np.zeros(2_000, dtype=int), reward=(rng.random(2_000) < 0.3) * 1.0)
    assert not state.changes
    state = learn(design, state, arm=np.zeros(200, dtype=int), reward=(rng.random(200) < 0.8) * 1.0)
    assert [arm for arm, _ in state.changes] == [0]


def test_a_removed_arm_is_not_chosen_but_still_learned():
    design = BanditDesign(BetaThompson(3), min_exploration=0.5)
    state = remove_arm(design, start(design), 1)
    decisions, state = decide(design, state, rng=np.random.default_rng(10), rows=500)
    assert set(decisions.arm.tolist()) == {0, 2}
    assert decisions.probabilities()[:, 1].max() == 0
    assert learn(design, state, arm=[1], reward=[1.0]).learned.weight[1] == 1
    with pytest.raises(ProblemError, match="last one"):
        remove_arm(design, remove_arm(design, state, 0), 2)


def test_logistic_beliefs_match_a_penalised_regression():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(11)
    context = rng.normal(size=(400, 3))
    reward = (rng.random(400) < 1 / (1 + np.exp(-context @ [1.0, -0.5, 0.2]))).astype(float)
    design = BanditDesign(LogisticThompson(2, 3, ridge=2.0))
    state = learn(design, start(design), arm=np.zeros(400, dtype=int), reward=reward, context=context)
    fitted = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10).fit(context, reward)
    np.testing.assert_allclose(state.learned.mean[0], fitted.coef_[0], atol=1e-5)
    batches = start(design)
    for rows in np.split(np.arange(400), 8):
        batches = learn(design, batches, arm=np.zeros(50, dtype=int), reward=reward[rows], context=context[rows])
    # Each batch is summed up by a normal, so batches agree nearly: within a fraction of the posterior's own width.
    width = np.sqrt(np.diag(np.linalg.inv(state.learned.precision[0])))
    assert (np.abs(batches.learned.mean[0] - state.learned.mean[0]) < 0.3 * width).all()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"arm": [3], "reward": [1.0]}, "does not exist"),
        ({"arm": [0], "reward": [np.nan]}, r"reward\[0\]"),
        ({"arm": [0, 1], "reward": [1.0]}, "one reward for each"),
        ({"arm": [0], "reward": [5.0]}, "outside 0…1"),
        ({"arm": [0.5], "reward": [1.0]}, "whole numbers"),
    ],
)
def test_rewards_that_cannot_be_right_are_refused(wrong, named):
    design = BanditDesign(BetaThompson(3))
    with pytest.raises(ProblemError, match=named):
        learn(design, start(design), **wrong)


def test_contexts_that_do_not_fit_are_refused():
    design = BanditDesign(LinearThompson(2, 3))
    rng = np.random.default_rng(12)
    with pytest.raises(ProblemError, match=r"\(rows, 3\)"):
        decide(design, start(design), rng=rng, context=np.ones((4, 2)))
    with pytest.raises(ProblemError, match=r"context\[1, 2\]"):
        decide(design, start(design), rng=rng, context=np.array([[1.0, 1, 1], [1, 1, np.inf]]))
    with pytest.raises(ProblemError, match="3 features"):
        decide(design, start(design), rng=rng)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: BetaThompson(1),
        lambda: GaussianThompson(2, noise_sd=0.0),
        lambda: BanditDesign(BetaThompson(2), min_exploration=1.5),
        lambda: BanditDesign(BetaThompson(2), top_two=0.0),
        lambda: BanditDesign(BetaThompson(2), half_life=-1.0),
        lambda: BanditDesign(BetaThompson(2), budget=Budget(1.0, (0.0,), decisions=1)),
        lambda: Budget(np.inf, (0.0, 1.0), decisions=10),
        lambda: read_design({"policy": {"kind": "Oracle"}}),
        lambda: read_design({"policy": {"kind": "BetaThompson", "arms": 2, "luck": 1}}),
        lambda: read_state({"learned": {}}),
    ],
)
def test_designs_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ProblemError):
        wrong()
