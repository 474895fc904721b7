"""Bandits over HTTP: start, decide, reward, remove an arm; what is logged is enough to judge another policy."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.off_policy import LoggedFeedback, evaluate

PATH = "/api/v1/bandits"
DESIGN = {
    "bandit_id": "banner",
    "arms": ["plain", "sale", "new"],
    "policy": {"kind": "BetaThompson"},
    "min_exploration": 0.1,
}


def units(count, context=()):
    return {"units": [{"unit_id": f"u{i}", "context": list(context)} for i in range(count)]}


@pytest.fixture
def analyst(bearer):
    answer = bearer["analyst"].post(PATH, json=DESIGN)
    assert answer.status_code == 200, answer.text
    return bearer["analyst"]


def test_it_learns_which_arm_pays(analyst, store):
    for _ in range(12):
        made = analyst.post(f"{PATH}/banner/decide", json=units(50)).json["items"]
        rewards = {d["decision_id"]: float(d["arm"] == "sale") for d in made}
        assert analyst.post(f"{PATH}/banner/reward", json={"rewards": rewards}).json == {"taken": 50}
    bandit = analyst.get(f"{PATH}/banner").json
    assert bandit["decisions"] == 600
    assert bandit["weight"][1] > 400
    log = store.bandits.log("banner")
    feedback = LoggedFeedback(
        np.array([d.arm for d in log]), np.array([d.reward for d in log]), np.array([d.propensity for d in log])
    )
    always_sale = evaluate(feedback, np.array([0.0, 1.0, 0.0]), estimator="snips")
    assert always_sale.value == pytest.approx(1.0)


def test_a_repeated_request_decides_once(analyst):
    headers = {"Idempotency-Key": "k1"}
    first = analyst.post(f"{PATH}/banner/decide", json=units(3), headers=headers)
    again = analyst.post(f"{PATH}/banner/decide", json=units(3), headers=headers)
    assert first.json == again.json
    assert analyst.get(f"{PATH}/banner").json["decisions"] == 3


def test_a_removed_arm_is_not_chosen(analyst):
    analyst.post(f"{PATH}/banner/remove-arm", json={"arm": "sale"})
    made = analyst.post(f"{PATH}/banner/decide", json=units(200)).json["items"]
    assert {d["arm"] for d in made} == {"plain", "new"}
    assert analyst.get(f"{PATH}/banner").json["removed"] == ["sale"]
    assert analyst.post(f"{PATH}/banner/remove-arm", json={"arm": "gold"}).status_code == 422


def test_a_budget_holds_and_context_is_used(bearer):
    design = {
        "bandit_id": "coupon",
        "arms": ["none", "ten"],
        "policy": {"kind": "LinearThompson", "features": 2},
        "budget": {"total": 5.0, "cost": [0.0, 1.0], "decisions": 100},
    }
    analyst = bearer["analyst"]
    assert analyst.post(PATH, json=design).status_code == 200
    made = [
        d for _ in range(4) for d in analyst.post(f"{PATH}/coupon/decide", json=units(25, (1.0, 0.5))).json["items"]
    ]
    assert sum(d["arm"] == "ten" for d in made) <= 5
    assert analyst.get(f"{PATH}/coupon").json["spent"] <= 5.0
    assert analyst.post(f"{PATH}/coupon/decide", json=units(1, (1.0,))).status_code == 422


@pytest.mark.parametrize(
    "wrong",
    [
        {"arms": ["a", "a"]},
        {"arms": ["a"]},
        {"policy": {"kind": "Oracle"}},
        {"policy": {"kind": "BetaThompson", "prior_successes": -1}},
        {"min_exploration": 2},
        {"bandit_id": "no spaces"},
    ],
)
def test_a_design_that_makes_no_sense_is_refused(bearer, wrong):
    answer = bearer["analyst"].post(PATH, json=DESIGN | wrong)
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"


def test_a_viewer_reads_and_does_not_decide(analyst, bearer):
    assert [b["bandit_id"] for b in bearer["viewer"].get(PATH).json["items"]] == ["banner"]
    assert bearer["viewer"].post(f"{PATH}/banner/decide", json=units(1)).status_code == 403
    assert bearer["viewer"].get(f"{PATH}/nothing").status_code == 404
