"""The test of a proposal can be changed where it is read: unit, weeks, guardrail; once it runs with a reason."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from replays import short_replay
from store_examples import make_proposal, price_line

from api.experiments import Asked, read_now
from engine.store import ExperimentState, Exposure, UnitOutcome
from experiments.proposal_design import WeeklyHistory
from experiments.proposal_stores import StoreHistory

PRODUCTS, WEEKS = 96, 30
LEVEL = np.random.default_rng(1).lognormal(3, 0.5, PRODUCTS)


@pytest.fixture
def proposal(store, monkeypatch):
    lines = [
        replace(price_line(f"p{i}", proposed=2.1 if i % 2 else 2.0), category=f"k{i // 8}") for i in range(PRODUCTS)
    ]
    made = replace(make_proposal(prices=lines), data="corner")
    made.summary["price"] = {"status": "optimal", "gap": 1e-4, "changed": PRODUCTS // 2, "held_unidentified": 0}
    store.save_proposal(made)
    rng = np.random.default_rng(4)
    past = WeeklyHistory(
        tuple(f"p{i}" for i in range(PRODUCTS)), 30 * LEVEL[:, None] + rng.normal(0, 1, (PRODUCTS, WEEKS))
    )
    weekly = rng.normal(500, 40, 24)[:, None] + rng.normal(0, 4, (24, WEEKS))
    stores = StoreHistory(tuple(f"s{i}" for i in range(24)), weekly)
    monkeypatch.setattr("api.experiment_history.history_of_products", lambda *_: past)
    monkeypatch.setattr("experiments.replay_design.replay_design", short_replay)
    monkeypatch.setattr("api.experiment_history.history_of_stores", lambda *_: stores)
    return made.proposal_id


def design(analyst, proposal, **fields):
    form = {"experiment_id": "e", "part": "prices"} | fields
    return analyst.post(f"/proposals/{proposal}/experiments", page=f"/proposals/{proposal}", **form)


def test_the_form_decides_weeks_and_guardrail(people, store, proposal):
    chosen = {"weeks": "6", "guardrail_units": "0.02", "randomise": "product", "power": "0.9"}
    design(people["analyst"], proposal, **chosen, method="group_sequential", looks="3")
    made = store.experiments.get("e").design
    assert (made["unit"], made["sizing"]["weeks"], made["wanted_power"]) == ("product", 6, 0.9)
    assert made["rule"]["guardrails"] == [{"metric": "units", "margin": 0.02, "higher_is_better": True}]
    assert (made["plan"]["method"], made["plan"]["looks"]) == ("group_sequential", 3)
    assert [check["name"] for check in made["checks"]] == ["replay:profit"]
    page = people["analyst"].get("/experiments/e").text
    assert 'value="group_sequential" selected' in page
    assert "splits of history that mean nothing" in page
    assert "Planned length in weeks: 6." in page
    assert "may not fall by more than 2 %" in page


@pytest.mark.parametrize(("over", "draw"), [("store", "rerandomised"), ("time", "switchback")])
def test_prices_are_tested_over_stores_too(people, store, clock, proposal, over, draw):
    analyst = people["analyst"]
    design(analyst, proposal, weeks="8", randomise=over)
    made = store.experiments.get("e").design
    assert (made["unit"], made["draw"], made["treatment"]) == (over, draw, "price")
    changed = [line for line in store.proposal(proposal).prices if line.proposed_price != line.current_price]
    promised = sum(line.profit_proposed - line.profit_current for line in changed)
    assert made["sizing"]["effect"] * made["promise_scale"] == pytest.approx(promised)
    analyst.post("/experiments/e/start", page="/experiments/e")
    rows = list(csv.DictReader(io.StringIO(analyst.get("/experiments/e/assignment.csv").text)))
    assert {row["unit_id"] for row in rows} == {f"s{i}" for i in range(24)}
    assert len(rows) == (24 if over == "store" else 24 * 8)
    report(store, rows, clock(), over)
    read_now(store, "e", Asked(), by="ann", now=clock() + timedelta(weeks=8))
    measured = store.experiments.get("e").reading["measured"]
    assert measured["low"] < 60.0 * made["promise_scale"] < measured["high"]
    assert "Measured:" in analyst.get(f"/proposals/{proposal}").text, "written back beside the promise"


def report(store, rows, now, over):
    rng = np.random.default_rng(6)
    outcomes = []
    for number, row in enumerate(rows):
        steps = range(8) if over == "store" else [int(row["step"])]
        for step in steps:
            values = {"profit": 500 + 60.0 * int(row["variant"]) + rng.normal(0, 4), "units": 90 + rng.normal(0, 0.1)}
            at = now + timedelta(weeks=step, hours=1)
            if over == "time":
                values["step"] = step
            outcomes.append(UnitOutcome(f"o{number}-{step}", row["unit_id"], at, values))
    if over == "store":
        seen = [Exposure(row["unit_id"], int(row["variant"]), now + timedelta(minutes=5), {}) for row in rows]
        store.experiment_logs.take_exposures("e", seen)
    store.experiment_logs.take_outcomes("e", outcomes)


def test_a_change_is_a_version_and_once_it_runs_it_needs_a_reason(people, store, proposal, monkeypatch):
    analyst = people["analyst"]
    design(analyst, proposal)
    first = store.experiments.get("e").design
    assert 'id="change"' in analyst.get("/experiments/e").text
    assert 'id="change"' not in people["viewer"].get("/experiments/e").text
    sent = {"part": "prices", "randomise": "product", "weeks": "9", "guardrail_units": "0.03", "power": "0.8"}
    analyst.post("/experiments/e/design", page="/experiments/e", **sent)
    assert store.experiments.get("e").version == 2
    analyst.post("/experiments/e/start", page="/experiments/e")
    analyst.post("/experiments/e/design", page="/experiments/e", **sent | {"weeks": "10"})
    assert "locked; say why" in analyst.get("/experiments/e").text
    rng = np.random.default_rng(9)
    later = WeeklyHistory(
        tuple(f"p{i}" for i in range(PRODUCTS)), 30 * LEVEL[:, None] + rng.normal(0, 2, (PRODUCTS, WEEKS + 2))
    )
    monkeypatch.setattr("api.experiment_history.history_of_products", lambda *_: later)
    analyst.post("/experiments/e/design", page="/experiments/e", **sent | {"weeks": "10", "why": "the season <b>"})
    now = store.experiments.get("e")
    assert (now.version, now.design["sizing"]["weeks"]) == (3, 10)
    assert now.design["assigned"] == first["assigned"], "nobody moves, whatever came since"
    assert "the season &lt;b&gt;" in analyst.get("/experiments/e").text
    analyst.post("/experiments/e/design", page="/experiments/e", **sent | {"randomise": "store", "why": "better"})
    assert "would move units" in analyst.get("/experiments/e").text
    assert people["viewer"].post("/experiments/e/design", page="/experiments", **sent).status_code == 403
    assert store.experiments.get("e").state is ExperimentState.RUNNING


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"weeks": "0"}, "weeks &#39;0&#39; is refused: give 1 or more"),
        ({"weeks": "soon"}, "give a whole number"),
        ({"weeks": "60"}, "a test of 60 weeks: history of 30 weeks judges one to 20 weeks"),
        ({"guardrail_units": "lots"}, "give a number"),
        ({"guardrail_units": "2"}, "give a share such as 0.02"),
        ({"randomise": "moon"}, "give one of &#39;customer&#39;"),
        ({"randomise": "time"}, "needs the weeks that it runs"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_stored(people, store, proposal, sent, said):
    design(people["analyst"], proposal, **sent)
    assert said in people["analyst"].get(f"/proposals/{proposal}").text
    assert store.experiments.page().total == 0


def test_programs_change_the_same_and_name_the_reason_once_it_runs(bearer, proposal):
    analyst, path = bearer["analyst"], "/api/v1/experiments"
    asked = {"proposal_id": proposal, "randomise": "store", "weeks": 6, "guardrails": {"units": 0.02}}
    made = analyst.post(path, json=asked | {"experiment_id": "e"}).json["design"]
    assert (made["unit"], made["sizing"]["weeks"]) == ("store", 6)
    assert made["rule"]["guardrails"][0]["margin"] == 0.02
    analyst.post(f"{path}/e/start")
    changed = asked | {"weeks": 8, "guardrails": {"units": 0.04}}
    bare = analyst.post(f"{path}/e/versions", json=changed)
    assert (bare.status_code, "say why" in bare.json["detail"]) == (422, True)
    now = analyst.post(f"{path}/e/versions", json=changed | {"why": "the shelf labels came late"}).json
    assert (now["version"], now["design"]["sizing"]["weeks"]) == (2, 8)
    assert now["design"]["assigned"] == made["assigned"]
    assert [one["why"] for one in analyst.get(f"{path}/e/versions").json["items"]] == ["", "the shelf labels came late"]
