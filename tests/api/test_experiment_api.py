"""Experiments over HTTP: designed, started, assigned, reported on, read with the interval that is valid then, ended."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from store_examples import NOW, make_proposal, price_line

PATH = "/api/v1/experiments"
RNG = np.random.default_rng(1)
BEFORE = RNG.gamma(2, 5, 2000)
HISTORY = {
    "before": BEFORE.round(3).tolist(),
    "profit": (BEFORE + RNG.normal(0, 5, 2000)).round(3).tolist(),
    "week": (np.arange(2000) // 500).tolist(),
}
DESIGN = {
    "experiment_id": "spring",
    "history": HISTORY,
    "metric": "profit",
    "covariates": ["before"],
    "effect": 1.0,
    "first_week": "week",
    "treatment": "coupon",
}


def made(client, **changes):
    answer = client.post(PATH, json=DESIGN | changes)
    assert answer.status_code == 200, answer.text
    return answer.json


def started(client, **changes):
    design = made(client, **changes)
    assert client.post(f"{PATH}/{design['experiment_id']}/start").status_code == 200
    return design


def variants(client, ids, name="spring"):
    asked = {"units": [{"unit_id": one} for one in ids]}
    return {one["unit_id"]: one["variant"] for one in client.post(f"{PATH}/{name}/assign", json=asked).json["items"]}


def send(client, kind, events, name="spring", headers=None):
    for first in range(0, len(events), 1000):
        some = {kind: events[first : first + 1000]}
        answer = client.post(f"{PATH}/{name}/{kind}", json=some, headers=headers)
        assert answer.status_code == 200, answer.text
    return answer


def known(before, number):
    return {"before": before, "country": "DE" if number % 3 else "FR", "winter": number % 2}


def run(client, count=1500, gain=3.0, start=NOW, hours=1):
    """Expose units and report what they did; gives the exposures."""
    rng = np.random.default_rng(2)
    of = {}
    for first in range(0, count, 1000):
        of |= variants(client, [f"c{i}" for i in range(first, min(count, first + 1000))])
    past = rng.gamma(2, 5, count)
    seen, done = [], []
    for (unit, variant), before in zip(of.items(), past, strict=True):
        at = (start + timedelta(minutes=len(seen))).isoformat()
        seen.append({"unit_id": unit, "variant": variant, "at": at, "attributes": known(before, len(seen))})
        later = (start + timedelta(minutes=len(seen), hours=hours)).isoformat()
        profit = before + rng.normal(0, 5) + gain * variant
        done.append({"outcome_id": f"o-{unit}", "unit_id": unit, "at": later, "measured": {"profit": profit}})
    send(client, "exposures", seen)
    send(client, "outcomes", done)
    return seen


@pytest.fixture
def analyst(bearer):
    return bearer["analyst"]


def test_an_experiment_lives_from_its_design_to_its_end(analyst, bearer, clock):
    design = made(analyst)
    assert (design["state"], design["version"], design["promise"]) == ("designed", 1, {})
    assert design["design"]["sizing"]["power"] >= 0.8
    assert analyst.post(f"{PATH}/spring/assign", json={"units": [{"unit_id": "c1"}]}).status_code == 409
    assert analyst.post(f"{PATH}/spring/start").json["state"] == "running"
    assert variants(analyst, ["a", "b", "007"]) == variants(analyst, ["a", "b", "007"])
    run(analyst)
    clock.move(days=14)
    asked = {"segments": ["country"], "earlier": ["winter"], "trend_days": 3}
    reading = analyst.post(f"{PATH}/spring/analysis", json=asked)
    assert reading.status_code == 200, reading.text
    effect = reading.json["effects"][0]
    assert effect["low"] < 3.0 < effect["high"]
    assert reading.json["verdicts"][0]["action"] == "ship"
    assert (reading.json["trustworthy"], reading.json["final"], reading.json["interval"]) == (True, True, "fixed")
    assert {"sample_ratio", "assigned", "clock", "in_two_variants", "running", "carry_over:winter"} <= {
        check["name"] for check in reading.json["checks"]
    }
    kept = bearer["viewer"].get(f"{PATH}/spring/analysis").json
    assert (kept["total"], kept["items"][0]["number"], kept["items"][0]["effects"]) == (1, 1, [effect])
    assert analyst.post(f"{PATH}/spring/end", json={}).status_code == 422
    assert analyst.post(f"{PATH}/spring/end", json={"why": "shipped"}).json["state"] == "ended"
    assert analyst.post(f"{PATH}/spring/assign", json={"units": [{"unit_id": "c1"}]}).status_code == 409
    assert [one["state"] for one in bearer["viewer"].get(f"{PATH}?state=ended&size=1").json["items"]] == ["ended"]


def test_early_readings_show_the_interval_that_is_valid_then(analyst, clock):
    started(analyst, method="group_sequential", looks=4, effect=0.4)
    run(analyst, count=800, gain=0.4)
    clock.move(days=3)
    first = analyst.post(f"{PATH}/spring/analysis", json={}).json
    assert (first["interval"], first["verdicts"][0]["action"]) == ("group_sequential", "go on")
    started(analyst, experiment_id="once", effect=0.4)
    fixed = analyst.get(f"{PATH}/once").json["design"]["plan"]
    assert fixed["method"] == "fixed"
    assert analyst.post(f"{PATH}/once/analysis", json={}).status_code == 422, "nothing was sent"


def test_what_is_sent_twice_counts_once(analyst, clock):
    started(analyst)
    seen = run(analyst, count=400)
    assert send(analyst, "exposures", seen).json == {"taken": 0, "known": 400}
    outcome = {"outcome_id": "o-c1", "unit_id": "c1", "at": NOW.isoformat(), "measured": {"profit": 1.0}}
    changed = analyst.post(f"{PATH}/spring/outcomes", json={"outcomes": [outcome]})
    assert (changed.status_code, changed.mimetype) == (409, "application/problem+json")
    headers = {"Idempotency-Key": "look-1"}
    clock.move(days=1)
    first = analyst.post(f"{PATH}/spring/analysis", json={}, headers=headers)
    again = analyst.post(f"{PATH}/spring/analysis", json={}, headers=headers)
    assert (first.json, again.headers["Idempotent-Replay"]) == (again.json, "true")
    assert analyst.get(f"{PATH}/spring/analysis").json["total"] == 1


def test_faults_of_logging_are_marked_wherever_the_result_is_shown(analyst, clock):
    started(analyst)
    seen = run(analyst, count=600, start=NOW + timedelta(hours=1))
    swapped = [one | {"variant": 1 - one["variant"], "at": (NOW + timedelta(hours=20)).isoformat()} for one in seen[:3]]
    early = [one | {"at": (NOW - timedelta(days=1)).isoformat()} for one in seen[10:40]]
    skewed = [
        one | {"unit_id": f"x{i}", "at": (NOW + timedelta(days=900)).isoformat()} for i, one in enumerate(seen[:2])
    ]
    skewed = [one | {"variant": variants(analyst, [one["unit_id"]])[one["unit_id"]]} for one in skewed]
    other = {
        "unit_id": "y1",
        "variant": 1 - variants(analyst, ["y1"])["y1"],
        "at": (NOW + timedelta(hours=2)).isoformat(),
    }
    before = {"outcome_id": "b1", "unit_id": "c100", "at": NOW.isoformat(), "measured": {"profit": 1e9}}
    send(analyst, "exposures", [*swapped, *early, *skewed, other])
    send(analyst, "outcomes", [before])
    clock.move(days=14)
    reading = analyst.post(f"{PATH}/spring/analysis", json={}).json
    verdict = {check["name"]: check["verdict"] for check in reading["checks"]}
    assert (verdict["in_two_variants"], verdict["clock"], verdict["assigned"]) == ("notice", "notice", "notice")
    assert verdict["before_assignment"] == "broken"
    assert not reading["trustworthy"]
    assert reading["verdicts"][0]["action"] == "look into it"
    assert {effect["decision"] for effect in reading["effects"]} == {"untrustworthy"}
    assert any("1 outcomes from before the exposure" in one for one in reading["left_out"])


def test_an_arm_that_is_removed_mid_way_breaks_the_result(analyst, clock):
    started(analyst)
    rng = np.random.default_rng(3)
    of = variants(analyst, [f"c{i}" for i in range(1000)])
    kept = [unit for place, (unit, variant) in enumerate(of.items()) if variant == 0 or place < 500]
    seen = [
        {"unit_id": unit, "variant": of[unit], "at": (NOW + timedelta(minutes=place)).isoformat()}
        for place, unit in enumerate(kept)
    ]
    done = [
        {
            "outcome_id": unit,
            "unit_id": unit,
            "at": (NOW + timedelta(days=3)).isoformat(),
            "measured": {"profit": value},
        }
        for unit, value in zip(kept, rng.normal(10, 2, len(kept)), strict=True)
    ]
    send(analyst, "exposures", seen)
    send(analyst, "outcomes", done)
    clock.move(days=4)
    reading = analyst.post(f"{PATH}/spring/analysis", json={}).json
    running = next(check for check in reading["checks"] if check["name"] == "running")
    assert running["verdict"] == "broken"
    assert "removed mid-way" in running["says"]


def test_a_missing_value_refuses_the_metric_and_an_absent_one_is_nothing(analyst, clock):
    started(analyst, guardrails={"before": 0.2})
    seen = run(analyst, count=300)
    extra = {"unit_id": "c1", "at": (NOW + timedelta(days=1)).isoformat()}
    send(analyst, "outcomes", [extra | {"outcome_id": "v", "measured": {"before": 4.0}}])
    clock.move(days=14)
    assert analyst.post(f"{PATH}/spring/analysis", json={}).status_code == 200
    send(analyst, "outcomes", [extra | {"outcome_id": "n", "measured": {"profit": None}}])
    refused = analyst.post(f"{PATH}/spring/analysis", json={})
    assert len(seen) == 300
    assert refused.status_code == 422
    assert "profit" in refused.json["detail"]


def test_products_of_a_proposal_are_read_beside_its_promise(analyst, store, clock):
    lines = [price_line(f"p{i}", proposed=2.1 if i % 2 else 2.0, category=f"k{i // 8}") for i in range(160)]
    store.save_proposal(make_proposal(prices=lines))
    rng = np.random.default_rng(4)
    level = rng.lognormal(2, 0.5, 160)
    rows = [(f"p{i}", week, level[i] + rng.normal(0, 0.5)) for i in range(160) for week in range(20)]
    history = dict(zip(("product_id", "week", "profit"), map(list, zip(*rows, strict=True)), strict=True))
    answer = analyst.post(PATH, json={"experiment_id": "prices", "proposal_id": "P1", "history": history})
    assert answer.status_code == 200, answer.text
    assert (answer.json["proposal_id"], answer.json["design"]["draw"]) == ("P1", "two_stage")
    assert answer.json["promise"]["promised_gain"] == 120.5
    assert answer.json["promised_for_tested"] == pytest.approx(80 * 6.01)
    analyst.post(f"{PATH}/prices/start")
    units = answer.json["design"]["assigned"]["units"]
    drawn = variants(analyst, units, "prices")
    place = [int(unit[1:]) for unit in units]
    seen = [
        {"unit_id": u, "variant": drawn[u], "at": NOW.isoformat(), "attributes": {"profit_before": level[i]}}
        for u, i in zip(units, place, strict=True)
    ]
    done = [
        {
            "outcome_id": f"{u}-{week}",
            "unit_id": u,
            "at": (NOW + timedelta(weeks=week, days=1)).isoformat(),
            "measured": {"profit": level[i] + 3.0 * drawn[u] + rng.normal(0, 0.3), "units": 50 + rng.normal(0, 0.1)},
        }
        for u, i in zip(units, place, strict=True)
        for week in range(3)
    ]
    send(analyst, "exposures", seen, "prices")
    send(analyst, "outcomes", done, "prices")
    clock.move(days=2)
    first = analyst.post(f"{PATH}/prices/analysis", json={}).json
    assert (first["final"], first["verdicts"][0]["action"]) == (False, "go on"), "all products are there on day two"
    clock.move(weeks=4)
    reading = analyst.post(f"{PATH}/prices/analysis", json={}).json
    assert reading["final"]
    assert reading["measured"]["low"] < 3.0 * 80 * 8 < reading["measured"]["high"]
    assert reading["promise"]["promised_gain"] == 120.5
    assert {"present", "obeyed", "before_assignment", "before:profit:1"} <= {c["name"] for c in reading["checks"]}
    assert store.experiments.of_proposal("P1")[0].reading["measured"]["gain"] == reading["measured"]["gain"]


def test_a_design_that_runs_changes_with_a_reason_and_moves_nobody(analyst):
    started(analyst)
    anew = {key: value for key, value in DESIGN.items() if key != "experiment_id"}
    path = f"{PATH}/spring/versions"
    assert analyst.post(path, json=anew).status_code == 422
    moved = analyst.post(path, json=anew | {"why": "more", "weights": [0.2, 0.8]})
    assert "would move units (weights)" in moved.json["detail"]
    assert analyst.post(path, json=anew | {"why": "smaller effect", "effect": 0.9}).json["version"] == 2
    assert [one["why"] for one in analyst.get(path).json["items"]] == ["", "smaller effect"]
    assert analyst.post(PATH, json=DESIGN).status_code == 409


REFUSED_DESIGNS = [
    ({"treatment": "price"}, "two people would see two prices"),
    ({"effect": None}, "--relative-effect"),
    ({"metric": "nothing"}, "no column nothing"),
    ({"history": None}, "HISTORY"),
    ({"history": {"before": [1.0], "profit": [1.0, 2.0], "week": [0]}}, "differ in length"),
    ({"experiment_id": "no spaces"}, "experiment_id"),
    ({"steps": 20}, "--steps has no meaning"),
    ({"proposal_id": "nobody"}, "no proposal 'nobody'"),
    ({"colour": "red"}, "colour"),
]
REFUSED_EVENTS = [
    ("exposures", {"unit_id": "c", "variant": 0, "at": "2026-11-23T10:00:00"}),
    ("exposures", {"unit_id": "", "variant": 0, "at": NOW.isoformat()}),
    ("exposures", {"unit_id": "c", "variant": 0.5, "at": NOW.isoformat()}),
    ("outcomes", {"outcome_id": "o", "unit_id": "c", "at": NOW.isoformat(), "measured": {}}),
    ("outcomes", {"outcome_id": "o", "unit_id": "c", "at": NOW.isoformat(), "measured": {"profit": "much"}}),
]


def test_a_design_that_makes_no_sense_is_refused(analyst):
    for wrong, says in REFUSED_DESIGNS:
        answer = analyst.post(PATH, json=DESIGN | wrong)
        assert answer.status_code in {404, 422}, says
        assert answer.mimetype == "application/problem+json"
        assert says in answer.json["detail"]
    assert analyst.get(PATH).json["total"] == 0


def test_an_event_that_makes_no_sense_is_refused(analyst, store):
    started(analyst)
    for kind, event in REFUSED_EVENTS:
        assert analyst.post(f"{PATH}/spring/{kind}", json={kind: [event]}).status_code == 422, event
    assert store.experiment_logs.counts("spring") == (0, 0)


def test_a_viewer_reads_and_changes_nothing(analyst, bearer):
    started(analyst)
    viewer = bearer["viewer"]
    assert viewer.get(f"{PATH}/spring").json["state"] == "running"
    for step in ("start", "end", "assign", "exposures", "outcomes", "analysis", "versions"):
        assert viewer.post(f"{PATH}/spring/{step}", json={}).status_code == 403, step
    assert viewer.get(f"{PATH}/nothing").status_code == 404
    assert viewer.get(f"{PATH}?size=0").status_code == 400
