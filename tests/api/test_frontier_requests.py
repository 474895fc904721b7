"""Frontiers asked for on the page or over the API: computed once, kept beside the proposal, each point to be taken."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from store_examples import NOW, make_proposal
from test_frontier_pages import with_frontier
from test_json_api import is_problem
from test_price_choice import settings as price_settings
from test_price_frontier import posed

from api import frontier_work
from api.fingerprints import configuration_fingerprint
from api.frontier_work import GIVEN_UP, settings_of, work_off
from api.rule_stage import PriceRules
from engine.errors import ConfigurationError, ConflictError, InfeasibleError
from engine.progress import Stopwatch
from engine.proposal import FrontierLine, FrontierPlan
from engine.store.database import Database

PAGE = "/proposals/P1/frontier"
ROUTE = "/api/v1/proposals/P1/frontiers"


def point(level: float) -> FrontierPlan:
    line = FrontierLine("2", 2.2, 90.0, 67.5, 2.0, 12.0)
    return FrontierPlan("units", level, 0.013, 7.5, 2.0, 12.0, 7.6, 1e-3, (line,))


@pytest.fixture
def started(app):
    """How often somebody was told to work."""
    calls = []
    app.extensions["offerwright_start_frontiers"] = lambda: calls.append("start")
    return calls


@pytest.fixture
def stored(store):
    proposal = with_frontier()
    store.save_proposal(proposal)
    return proposal


@pytest.fixture
def finds(monkeypatch):
    """Stands for the computation: gives one point for each level, or raises what it is given."""
    tasks = SimpleNamespace(error=None, done=[])

    def find(proposal, request, settings, watch):
        with watch.stage("demand level"):
            tasks.done.append(request.request_id)
        if tasks.error is not None:
            raise tasks.error
        return tuple(point(level) for level in request.levels if level < 0.5), tuple(
            level for level in request.levels if level >= 0.5
        )

    monkeypatch.setattr(frontier_work, "find_points", find)
    return tasks


def ask(visitor, **fields):
    return visitor.post(PAGE, **{"measure": "units", "levels": "1, 2", **fields})


def work(store, settings, holder="h"):
    return work_off(store, settings, holder=holder, clock=lambda: NOW)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_frontier_asked_for_on_the_page_is_computed_and_taken(
    people, store, settings, stored, started, finds, language
):
    people["analyst"].get(f"/language/{language}")
    assert ask(people["analyst"], levels="1, 2 %,, 90").location == PAGE
    assert started == ["start"]
    page = people["viewer"].get(PAGE).text
    assert 'http-equiv="refresh"' in page, "the page renews itself while something is open"
    assert "<progress" in page
    assert work(store, settings) == 1
    page = people["analyst"].get(PAGE).text
    assert 'http-equiv="refresh"' not in page
    assert page.count('action="/proposals/P1/frontier/') == 6, "four points of its own and two asked for"
    assert "+90.00 %" in page, "what no prices keep is told"
    taken = people["analyst"].post(f"{PAGE}/6", page=PAGE).location.rsplit("/", 1)[1]
    draft = store.proposal(taken)
    assert draft.summary["promised_gain"] == 7.5
    assert [line.proposed_price for line in draft.prices] == [2.0, 2.2, 2.0]
    assert store.frontier("P1") == stored.frontier, "the proposal itself stays what it was"
    assert store.check_audit().faults == ()


def test_only_who_may_propose_asks_and_only_with_the_form(people, store, stored, started):
    assert "<form" not in people["viewer"].get(PAGE).text.partition("<main")[2]
    token = people["viewer"].form_token("/proposals")
    refused = people["viewer"].client.post(PAGE, data={"measure": "units", "csrf_token": token})
    assert refused.status_code == 403
    assert people["analyst"].client.post(PAGE, data={"measure": "units"}).status_code == 400, "no form token"
    assert store.frontier_requests.of("P1") == ()
    assert started == []


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"measure": "love"}, 422, "unknown"),
        ({"levels": "1; 2"}, 422, "is no number"),
        ({"levels": "nan"}, 422, "finite"),
        ({"measure": "index", "levels": "-1"}, 422, "0 or more"),
        ({"levels": ",".join("123456789") + ",10,11,12,13"}, 422, "12 at most"),
    ],
)
def test_what_is_no_limit_is_refused_on_the_page(people, store, stored, started, fields, status, says):
    answer = ask(people["analyst"], **fields)
    assert answer.status_code == status
    assert says in answer.text
    assert store.frontier_requests.of("P1") == ()


def test_the_same_is_computed_once_and_not_too_much_waits(people, store, settings, stored, started, finds):
    ask(people["analyst"])
    assert ask(people["analyst"], levels="2, 1").status_code == 409
    for level in range(3, 10):
        ask(people["analyst"], levels=str(level))
    assert "8 frontiers wait" in ask(people["analyst"], levels="10").text
    assert work(store, settings) == 8
    assert len(finds.done) == len(set(finds.done)) == 8
    assert ask(people["analyst"]).status_code == 409, "it is done already"


def test_a_proposal_without_prices_has_none(people, store, started):
    store.save_proposal(make_proposal())
    assert "http-equiv" not in people["analyst"].get(PAGE).text
    answer = people["analyst"].post(PAGE, page="/proposals", measure="units")
    assert answer.status_code == 409
    assert started == []


def test_what_fails_says_why_and_the_next_one_gets_its_turn(people, store, settings, stored, started, finds):
    ask(people["analyst"])
    ask(people["analyst"], levels="3")
    finds.error = InfeasibleError("no level of units can be kept")
    assert work(store, settings) == 2
    assert people["analyst"].get(PAGE).text.count("no level of units can be kept") == 2
    finds.error = ZeroDivisionError("inside")
    assert ask(people["analyst"]).status_code == 302, "what failed may be asked for again"
    work(store, settings)
    page = people["analyst"].get(PAGE).text
    assert "ZeroDivisionError" not in page
    assert "not foreseen" in page
    assert store.check_audit().faults == ()


def test_a_runner_that_was_stopped_gives_its_work_back_and_one_killed_thrice_ends_it(
    store, settings, stored, finds, clock
):
    name = store.frontier_requests.ask("P1", "units", [0.01], by="ana", now=NOW)
    finds.error = SystemExit(143)
    with pytest.raises(SystemExit):
        work(store, settings)
    finds.error = None
    assert store.frontier_requests.get(name).state == "running", "as far as it came"
    killed = store.jobs.begin("frontier", name, holder="killed", now=NOW, lease_seconds=120)
    assert killed is not None
    assert work(store, settings) == 0, "somebody is at it"
    clock.move(seconds=200)
    assert work_off(store, settings, holder="h", clock=clock) == 1
    assert store.frontier_requests.get(name).state == "done"
    other = store.frontier_requests.ask("P1", "units", [0.02], by="ana", now=NOW)
    for _ in range(3):
        clock.move(seconds=200)
        store.jobs.begin("frontier", other, holder="killed", now=clock(), lease_seconds=120)
    assert work_off(store, settings, holder="h", clock=clock) == 0
    clock.move(seconds=200)
    work_off(store, settings, holder="h", clock=clock)
    assert store.frontier_requests.get(other).error["code"] == GIVEN_UP


def test_a_result_is_stored_once_and_a_change_of_it_shows(store, settings, stored):
    name = store.frontier_requests.ask("P1", "units", [0.01], by="ana", now=NOW)
    store.frontier_requests.complete(name, [point(0.01)], [], by="ana", now=NOW)
    with pytest.raises(ConflictError, match="has ended"):
        store.frontier_requests.complete(name, [], [], by="late", now=NOW)
    assert store.frontier_requests.get(name).points == (point(0.01),)
    database = Database(settings.store_url)
    with database.write() as connection:
        connection.execute(text("UPDATE frontier_requests SET points = replace(points, '7.5', '9.5')"))
    database.close()
    assert store.check_audit().faults == (f"frontier {name}: its content was changed after it was stored",)


def test_points_are_found_from_the_proposals_own_settings_and_data(store, settings, stored, monkeypatch, tmp_path):
    shop = SimpleNamespace(fingerprint="d")
    seen = []
    monkeypatch.setattr("engine.sources.open_shop", lambda source, given, _: seen.append((source, given)) or shop)
    monkeypatch.setattr("api.price_stage.pose_prices", lambda *_: posed(PriceRules()))
    kept = price_settings().model_dump(mode="json", exclude={"store", "server", "log"})
    kept["data"] = {**kept["data"], "source": "their_shop", "home": "/elsewhere"}
    kept["pricing"] = {**kept["pricing"], "max_change": 0.07}
    proposal = replace(stored, evidence={**stored.evidence, "settings": kept})
    name = store.frontier_requests.ask("P1", "units", [0.0, 0.02, 5.0], by="ana", now=NOW)
    request = store.frontier_requests.get(name)
    points, unreachable = frontier_work.find_points(proposal, request, settings, Stopwatch())
    assert [one.level for one in points] == [0.02, 0.0], "from the tightest on"
    assert unreachable == (5.0,)
    assert all(one.gain_low < one.gain <= one.bound for one in points)
    assert all(one.reached >= one.level - 1e-9 for one in points)
    source, given = seen[0]
    assert (source, given.pricing.max_change) == ("their_shop", 0.07)
    assert given.home == settings.home, "the store and the caches are those of this process"
    shop.fingerprint = "other"
    with pytest.raises(ConflictError, match="no longer those of proposal P1"):
        frontier_work.find_points(proposal, request, settings, Stopwatch())
    shop.fingerprint = "d"
    (tmp_path / "rules.yaml").write_text("rules: []")
    kept["pricing"] = {**kept["pricing"], "rules": str(tmp_path / "rules.yaml")}
    ruled = replace(stored, evidence={**stored.evidence, "settings": kept})
    print_ = configuration_fingerprint(settings_of(ruled, settings))
    ruled.summary["fingerprints"] = {"data": "d", "configuration": print_}
    assert frontier_work.find_points(ruled, request, settings, Stopwatch()) == (points, unreachable)
    (tmp_path / "rules.yaml").write_text("rules: [] # changed")
    with pytest.raises(ConflictError, match=r"rules in .*rules.yaml are no longer those of proposal P1"):
        frontier_work.find_points(ruled, request, settings, Stopwatch())
    with pytest.raises(ConfigurationError, match="cannot read the settings of proposal P1"):
        settings_of(replace(stored, evidence={"settings": {"pricing": {"love": 1}}}), settings)


def test_programs_ask_look_and_take(bearer, store, settings, stored, started, finds):
    is_problem(bearer["viewer"].post(ROUTE, json={"measure": "units"}), 403)
    is_problem(bearer["analyst"].post(ROUTE, json={"measure": "love"}), 422)
    is_problem(bearer["analyst"].post("/api/v1/proposals/P9/frontiers", json={"measure": "units"}), 404)
    key = {"Idempotency-Key": "k"}
    asked = bearer["analyst"].post(ROUTE, json={"measure": "units", "levels": [0.01, 0.9]}, headers=key).json
    again = bearer["analyst"].post(ROUTE, json={"measure": "units", "levels": [0.01, 0.9]}, headers=key)
    assert again.json == asked
    assert (asked["state"], started) == ("waiting", ["start"])
    is_problem(bearer["analyst"].post(ROUTE, json={"measure": "units", "levels": [0.9, 0.01]}), 409)
    work(store, settings)
    told = bearer["viewer"].get(f"{ROUTE}/requests/{asked['request_id']}").json
    assert (told["state"], told["unreachable"], told["asked_by"]) == ("done", [0.9], "token:analyst-program")
    is_problem(bearer["viewer"].get(f"{ROUTE}/requests/F0"), 404)
    heads = bearer["viewer"].get(ROUTE).json["points"]
    assert [head["number"] for head in heads] == [1, 2, 3, 4, 5]
    assert heads[4]["measure"] == "units"
    assert bearer["viewer"].get(f"{ROUTE}/5").json["lines"][0]["price"] == 2.2
    is_problem(bearer["viewer"].get(f"{ROUTE}/6"), 404)
    is_problem(bearer["viewer"].post(f"{ROUTE}/5/take"), 403)
    is_problem(bearer["analyst"].post(f"{ROUTE}/6/take"), 409)
    draft = bearer["analyst"].post(f"{ROUTE}/5/take").json
    assert bearer["analyst"].post(f"{ROUTE}/5/take").json == draft, "twice on one day it is one draft"
    assert draft["summary"]["taken_from"] == "P1"
    events = [event for event in store.latest_events() if event.subject.startswith("frontier:")]
    assert [(event.action, event.actor) for event in events] == [
        ("ask", "token:analyst-program"),
        ("compute", "token:analyst-program"),
    ]
