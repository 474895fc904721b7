"""Off-policy evaluation: the published figures of Open Bandit, unbiasedness on known truth, the gate."""

from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from engine.errors import ProblemError
from engine.settings import load_settings
from engine.sources.fetch import OPEN_BANDIT_FILE
from experiments.off_policy import ESTIMATORS, LoggedFeedback, cross_fitted_rewards, evaluate, gate

ARMS = 5


@pytest.fixture(scope="module")
def open_bandit():
    """The sample's log with the probabilities of the Thompson policy, each position a decision of its own."""
    archive = load_settings().home / "data" / OPEN_BANDIT_FILE
    if not archive.is_file():
        pytest.skip(f"{OPEN_BANDIT_FILE} was not fetched: run `make data`")
    with zipfile.ZipFile(archive) as files:
        log = pd.read_csv(files.open("all.csv"), index_col=0).sort_values("timestamp")
        items = pd.read_csv(files.open("item_context.csv"), index_col=0)
        prior = yaml.safe_load(files.read("prior_bts.yaml"))["all"]
    position = np.unique(log["position"], return_inverse=True)[1]
    rng = np.random.RandomState(12345)
    shown = np.zeros((3, 80))
    for _ in range(100_000):
        shown[[0, 1, 2], rng.beta(prior["alpha"], prior["beta"]).argsort()[::-1][:3]] += 1
    feedback = LoggedFeedback(
        log["item_id"].to_numpy(), log["click"].to_numpy(float), log["propensity_score"].to_numpy()
    )
    users = pd.get_dummies(log[[c for c in log if c.startswith("user_feature")]], drop_first=True).to_numpy(float)
    names = [c for c in items if c.startswith("item_feature") and c != "item_feature_0"]
    described = np.column_stack(
        [*(np.unique(items[n], return_inverse=True)[1] for n in names), items["item_feature_0"]]
    )
    return feedback, shown[position] / 100_000, users, described.astype(float), position


def expected_clicks(feedback, users, described, position):
    """One regression for each position, three folds over all rows, as the published example does."""
    from sklearn.model_selection import KFold

    expected = np.empty((len(feedback), 80))
    for train, test in KFold(3, shuffle=True, random_state=12345).split(users):
        for place in range(3):
            mine = train[position[train] == place]
            model = LogisticRegression(max_iter=1000).fit(
                np.hstack([users[mine], described[feedback.arm[mine]]]), feedback.reward[mine]
            )
            rows = test[position[test] == place]
            for arm in range(80):
                table = np.hstack([users[rows], np.tile(described[arm], (len(rows), 1))])
                expected[rows, arm] = model.predict_proba(table)[:, 1]
    return expected


def test_open_bandit_gives_the_published_figures(open_bandit):
    feedback, target, users, described, position = open_bandit
    assert int(feedback.reward.sum()) == 38
    expected = expected_clicks(feedback, users, described, position)
    values = {name: evaluate(feedback, target, estimator=name, expected=expected).value for name in ESTIMATORS}
    published = {"ips": 0.00455288, "snips": 0.0047758, "direct": 0.0035450, "doubly_robust": 0.0047283}
    for name, figure in published.items():
        assert values[name] == pytest.approx(figure, abs=5e-8), name


def world(rng, n, *, sharpness=0.5):
    """A log of n decisions, the truth of every arm in every row, and a target policy."""
    context = rng.normal(size=(n, 3))
    taste = np.random.default_rng(5).normal(size=(3, ARMS))
    truth = 1 / (1 + np.exp(-(context @ taste - 1)))
    logging = np.exp(0.3 * context @ taste[:, ::-1])
    logging /= logging.sum(axis=1, keepdims=True)
    target = np.exp(sharpness * context @ taste)
    target /= target.sum(axis=1, keepdims=True)
    arm = (logging.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    reward = (rng.random(n) < truth[np.arange(n), arm]).astype(float)
    return LoggedFeedback(arm, reward, logging[np.arange(n), arm]), context, truth, target


@pytest.mark.parametrize("estimator", ["ips", "snips", "doubly_robust", "switch"])
def test_intervals_cover_the_truth(estimator):
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        feedback, _, truth, target = world(rng, 1_500)
        model = np.full(truth.shape, feedback.reward.mean())
        value = evaluate(feedback, target, estimator=estimator, expected=model)
        covered += value.low <= (truth * target).sum(axis=1).mean() <= value.high
    assert 0.90 <= covered / 200 <= 0.99


def test_doubly_robust_is_tighter_than_weighting_alone_with_a_fitted_model():
    rng = np.random.default_rng(2)
    feedback, context, truth, target = world(rng, 4_000)
    model = cross_fitted_rewards(context, feedback.arm, feedback.reward, ARMS, arm_features=None, model=None, folds=3)
    weighted = evaluate(feedback, target, estimator="ips")
    robust = evaluate(feedback, target, estimator="doubly_robust", expected=model)
    assert robust.standard_error < weighted.standard_error
    assert robust.low <= (truth * target).sum(axis=1).mean() <= robust.high


def test_the_running_policy_is_worth_what_it_earned():
    rng = np.random.default_rng(3)
    n = 500
    arm = rng.integers(0, ARMS, n)
    feedback = LoggedFeedback(arm, rng.random(n), np.full(n, 1 / ARMS))
    for estimator in ("ips", "snips"):
        value = evaluate(feedback, np.full(ARMS, 1 / ARMS), estimator=estimator)
        assert value.value == pytest.approx(feedback.reward.mean(), rel=1e-12)
        assert value.effective_sample_size == pytest.approx(n)
        assert not gate(value, feedback).passes


def test_the_gate_opens_for_a_better_policy_only():
    rng = np.random.default_rng(4)
    feedback, _, truth, target = world(rng, 8_000)
    better = evaluate(feedback, target, estimator="snips")
    passed = gate(better, feedback)
    assert passed.passes
    assert 0 < passed.low < passed.gain
    worse = np.exp(-3 * truth) / np.exp(-3 * truth).sum(axis=1, keepdims=True)
    refused = gate(evaluate(feedback, worse, estimator="snips"), feedback)
    assert not refused.passes
    assert "lower bound" in refused.reasons[-1]


def test_a_policy_beyond_the_log_is_marked():
    feedback = LoggedFeedback(np.arange(400) % 2, np.linspace(0, 1, 400), np.full(400, 0.5))
    value = evaluate(feedback, np.array([0.2, 0.2, 0.6]), estimator="ips")
    assert value.uncovered == pytest.approx(0.6)
    assert any("never played" in warning for warning in value.warnings)
    assert not gate(value, feedback, margin=-10.0).passes


def test_wrong_propensities_are_noticed():
    rng = np.random.default_rng(5)
    n = 5_000
    feedback = LoggedFeedback(rng.integers(0, 2, n), rng.random(n), np.full(n, 0.25))
    value = evaluate(feedback, np.array([0.3, 0.7]), estimator="ips")
    assert any("propensities look wrong" in warning for warning in value.warnings)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"reward": [1.0, np.nan]}, r"reward\[1\]"),
        ({"propensity": [0.5, 0.0]}, r"propensity\[1\]"),
        ({"arm": [0, -1]}, "whole numbers"),
        ({"reward": [1.0]}, "equally long"),
    ],
)
def test_a_log_that_cannot_be_right_is_refused(change, named):
    parts = {"arm": [0, 1], "reward": [1.0, 0.0], "propensity": [0.5, 0.5]} | change
    with pytest.raises(ProblemError, match=named):
        LoggedFeedback(**{name: np.array(value) for name, value in parts.items()})


def test_questions_that_cannot_be_answered_are_refused():
    feedback = LoggedFeedback(np.array([0, 1]), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    with pytest.raises(ProblemError, match="adds up to"):
        evaluate(feedback, np.array([0.5, 0.6]), estimator="ips")
    with pytest.raises(ProblemError, match="needs `expected`"):
        evaluate(feedback, np.array([0.5, 0.5]), estimator="doubly_robust")
    with pytest.raises(ProblemError, match="unknown"):
        evaluate(feedback, np.array([0.5, 0.5]), estimator="magic")
    with pytest.raises(ProblemError, match="says nothing"):
        evaluate(feedback, np.array([0.0, 0.0, 1.0]), estimator="snips")
