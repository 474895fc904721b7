"""Another policy goes live only when the log of what runs shows that it earns more."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from api.cli import run_command
from experiments.off_policy import LoggedFeedback, evaluate

MEANS = {"plain": 1.0, "spring": 1.6, "sale": 0.7}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    age = rng.normal(0, 1, 4000)
    arm = rng.choice(list(MEANS), 4000, p=[0.6, 0.2, 0.2])
    reward = np.array([MEANS[one] for one in arm]) + 0.8 * age + rng.normal(0, 0.5, 4000)
    chance = np.array([{"plain": 0.6, "spring": 0.2, "sale": 0.2}[one] for one in arm])
    table = pd.DataFrame({"arm": arm, "reward": reward, "propensity": chance, "age": age})
    table.loc[::40, "reward"] = np.nan
    table.to_csv("log.csv", index=False)
    return table


def asked(capsys, *words):
    capsys.readouterr()
    assert run_command(["experiment", "evaluate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_better_policy_passes_and_the_worse_does_not(home, capsys):
    better = asked(capsys, "log.csv", "--target", '{"spring": 1}')
    assert (better["decisions"], better["unrewarded"], better["estimator"]) == (3900, 100, "snips")
    assert better["low"] < 1.6 < better["high"]
    assert better["passes"]
    assert better["gain_low"] > 0
    worse = asked(capsys, "log.csv", "--target", '{"sale": 1}')
    assert not worse["passes"]
    assert "lower bound" in " ".join(worse["reasons"])
    assert not asked(capsys, "log.csv", "--target", '{"spring": 1}', "--margin", "0.8")["passes"]
    capsys.readouterr()
    assert run_command(["experiment", "evaluate", "log.csv", "--target", '{"spring": 1}']) == 0
    assert "gate               may go live" in capsys.readouterr().out


def test_context_makes_the_interval_narrower_and_python_says_the_same(home, capsys):
    plain = asked(capsys, "log.csv", "--target", '{"spring": 0.5, "plain": 0.5}')
    informed = asked(capsys, "log.csv", "--target", '{"spring": 0.5, "plain": 0.5}', "--context", "age")
    assert informed["estimator"] == "doubly_robust"
    assert informed["high"] - informed["low"] < 0.9 * (plain["high"] - plain["low"])
    kept = home[home["reward"].notna()]
    names = sorted(MEANS)
    place = kept["arm"].map({name: i for i, name in enumerate(names)}).to_numpy()
    feedback = LoggedFeedback(place, kept["reward"].to_numpy(), kept["propensity"].to_numpy())
    target = np.array([{"spring": 0.5, "plain": 0.5}.get(name, 0.0) for name in names])
    alone = evaluate(feedback, target, estimator="snips")
    assert (plain["value"], plain["low"]) == pytest.approx((alone.value, alone.low))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("log.csv", "--target", '{"moon": 1}'), "arm 'moon' is not one of plain, sale, spring"),
        (("log.csv", "--target", '{"spring": 0.5}'), "add up to 0.5"),
        (("log.csv", "--target", "spring"), "write the chance of each arm"),
        (("log.csv", "--target", '{"spring": 1}', "--estimator", "direct"), "use ips or snips"),
        (("--target", '{"spring": 1}'), "give a LOG file, or --bandit"),
    ],
)
def test_what_makes_no_sense_is_refused(home, capsys, words, says):
    capsys.readouterr()
    assert run_command(["experiment", "evaluate", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_stored_bandit_answers_from_its_own_log(bearer):
    analyst, path = bearer["analyst"], "/api/v1/bandits"
    body = {"bandit_id": "b", "arms": ["x", "y"], "policy": {"kind": "BetaThompson"}, "min_exploration": 0.8}
    assert analyst.post(path, json=body).status_code == 200
    rng = np.random.default_rng(2)
    for first in range(0, 900, 300):
        units = {"units": [{"unit_id": f"u{first + i}"} for i in range(300)]}
        made = analyst.post(f"{path}/b/decide", json=units).json["items"]
        paid = {one["decision_id"]: float(rng.random() < (0.7 if one["arm"] == "y" else 0.2)) for one in made}
        assert analyst.post(f"{path}/b/reward", json={"rewards": paid}).status_code == 200
    found = bearer["viewer"].post(f"{path}/b/evaluate", json={"target": {"y": 1}})
    assert found.status_code == 200, found.text
    assert found.json["low"] < 0.7 < found.json["high"]
    assert found.json["passes"]
    assert not bearer["viewer"].post(f"{path}/b/evaluate", json={"target": {"x": 1}}).json["passes"]
    assert bearer["viewer"].post(f"{path}/b/evaluate", json={"target": {"z": 1}}).status_code == 422
