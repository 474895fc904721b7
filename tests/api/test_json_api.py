"""The JSON API does what its own description says, for those who may, once for each Idempotency-Key."""

from __future__ import annotations

import json
import re

import pytest
from store_examples import make_proposal

from engine.store import Role

READS = [
    "/api/v1/proposals",
    "/api/v1/proposals/P1",
    "/api/v1/proposals/P1/lines",
    "/api/v1/proposals/P1/coupons",
    "/api/v1/proposals/P1/audit",
    "/api/v1/proposals/P1/frontiers",
    "/api/v1/week-plans",
    "/api/v1/jobs",
    "/api/v1/runs",
]


def is_problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    assert set(answer.json) == {"type", "title", "status", "detail", "instance"}
    assert answer.json["status"] == status
    return answer.json["detail"]


@pytest.mark.parametrize("path", READS)
def test_strangers_are_asked_for_a_token(app, stored, path):
    for headers in ({}, {"Authorization": "Bearer ow_guess"}, {"Authorization": "Basic eDp5"}):
        answer = app.test_client().get(path, headers=headers)
        is_problem(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", READS)
def test_answers_match_their_description(bearer, stored, path):
    described = bearer["viewer"].get("/api/v1/openapi.json").json
    operation = described["paths"][path.replace("P1", "{proposal_id}")]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    answer = bearer["viewer"].get(path)
    assert answer.status_code == 200
    assert_matches(answer.json, schema, described["components"]["schemas"])


def assert_matches(value, schema, definitions):
    """Check a value against the parts of JSON Schema that our description uses."""
    if "$ref" in schema:
        return assert_matches(value, definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        kinds = {"null": type(None), "number": (int, float), "string": str, "integer": int, "boolean": bool}
        parts = [definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else part for part in schema["anyOf"]]
        fitting = [part for part in parts if isinstance(value, kinds.get(part["type"], dict))]
        assert fitting, (value, schema)
        return assert_matches(value, fitting[0], definitions) if isinstance(value, dict) else None
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        assert set(value) == set(schema["properties"])
        assert set(schema.get("required", ())) <= set(value)
        for name, part in schema["properties"].items():
            assert_matches(value[name], part, definitions)
    elif kind == "array":
        for item in value:
            assert_matches(item, schema["items"], definitions)
    elif kind is not None:
        assert isinstance(
            value, {"object": dict, "string": str, "integer": int, "boolean": bool, "number": float}[kind]
        )
    if "enum" in schema:
        assert value in schema["enum"]
    return None


def test_every_route_of_the_api_is_described(app):
    described = app.test_client().get("/api/v1/openapi.json").json["paths"]
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, methods in described.items() for method in methods} == served


def test_lists_are_paged(bearer, store):
    for i in range(5):
        store.save_proposal(make_proposal(f"P{i}"))
    page = bearer["viewer"].get("/api/v1/proposals?page=2&size=2").json
    assert (page["page"], page["size"], page["total"], page["pages"]) == (2, 2, 5, 3)
    assert [item["proposal_id"] for item in page["items"]] == ["P2", "P1"]
    assert bearer["viewer"].get("/api/v1/proposals?page=9").json["items"] == []


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "size=1001", "size=-1", "page=²", "state=bogus", "page=99999999999"]
)
def test_a_bad_query_is_refused_with_what_is_allowed(bearer, query):
    assert "take" in is_problem(bearer["viewer"].get(f"/api/v1/proposals?{query}"), 400)


def test_lines_are_sorted_and_filtered(bearer, stored):
    def ids(query):
        return [
            line["product_id"] for line in bearer["viewer"].get(f"/api/v1/proposals/P1/lines?{query}").json["items"]
        ]

    assert ids("") == ["1", "2", "3"]
    assert ids("order=price&descending=true") == ["1", "2", "3"]
    assert ids("shown=held") == ["2"]
    assert ids("contains=butter") == ["3"]
    lines = bearer["viewer"].get("/api/v1/proposals/P1/lines").json["items"]
    assert lines[1]["elasticity"] is None, "JSON knows no NaN"
    assert lines[0]["why"] == "bound by the index band: without it 3.49"


def test_the_unknown_is_a_problem(bearer):
    assert "'P9'" in is_problem(bearer["viewer"].get("/api/v1/proposals/P9"), 404)
    is_problem(bearer["viewer"].get("/api/v1/nothing"), 404)
    answer = bearer["viewer"].delete("/api/v1/proposals")
    is_problem(answer, 405)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("action", "least"),
    [
        ("submit", "analyst"),
        ("approve", "approver"),
        ("reject", "approver"),
        ("request-changes", "approver"),
        ("rework", "analyst"),
    ],
)
def test_writes_need_their_role(bearer, store, stored, action, least):
    for role in Role:
        if not role.covers(Role(least)):
            assert least in is_problem(bearer[role.value].post(f"/api/v1/proposals/P1/{action}"), 403)
    assert store.header("P1").state == "draft"


def test_a_proposal_is_submitted_by_one_and_approved_by_another(bearer, stored):
    submitted = bearer["approver"].post("/api/v1/proposals/P1/submit", json={"why": "monday"})
    assert submitted.json["state"] == "submitted"
    assert submitted.json["submitted_by"] == "token:approver-program"
    assert "somebody else" in is_problem(bearer["approver"].post("/api/v1/proposals/P1/approve"), 409)
    assert bearer["admin"].post("/api/v1/proposals/P1/approve").json["state"] == "approved"
    assert "approved" in is_problem(bearer["admin"].post("/api/v1/proposals/P1/reject", json={"why": "late"}), 409)
    events = bearer["viewer"].get("/api/v1/proposals/P1/audit").json["items"]
    assert [(event["actor"], event["to_state"]) for event in events[1:]] == [
        ("token:approver-program", "submitted"),
        ("token:admin-program", "approved"),
    ]


def test_a_proposal_comes_back_to_draft_after_changes_were_asked_for(bearer, stored):
    bearer["analyst"].post("/api/v1/proposals/P1/submit")
    assert "submitted" in is_problem(bearer["analyst"].post("/api/v1/proposals/P1/rework"), 409)
    bearer["approver"].post("/api/v1/proposals/P1/request-changes", json={"why": "hold the milk"})
    assert bearer["analyst"].post("/api/v1/proposals/P1/rework").json["state"] == "draft"
    assert bearer["analyst"].post("/api/v1/proposals/P1/submit").json["state"] == "submitted"


@pytest.mark.parametrize("body", [b"{", b'{"why": 5}', b'{"reason": "x"}', b"[]", b"\xff"])
def test_a_body_that_is_not_understood_is_refused(bearer, store, stored, body):
    assert "refused" in is_problem(bearer["analyst"].post("/api/v1/proposals/P1/submit", data=body), 422)
    assert store.header("P1").state == "draft"


def test_a_repeated_write_happens_once(bearer, store, stored):
    send = {"json": {"why": "monday"}, "headers": {"Idempotency-Key": "k1"}}
    first = bearer["analyst"].post("/api/v1/proposals/P1/submit", **send)
    again = bearer["analyst"].post("/api/v1/proposals/P1/submit", **send)
    assert (again.status_code, again.json) == (first.status_code, first.json) == (200, first.json)
    assert again.headers["Idempotent-Replay"] == "true"
    assert len(store.audit("P1")) == 2
    other = {**send, "json": {"why": "tuesday"}}
    assert "another request" in is_problem(bearer["analyst"].post("/api/v1/proposals/P1/submit", **other), 409)
    too_long = {"headers": {"Idempotency-Key": "k" * 256}}
    is_problem(bearer["analyst"].post("/api/v1/proposals/P1/submit", **too_long), 400)


def test_a_write_that_failed_may_be_sent_again_under_its_key(bearer, stored):
    headers = {"Idempotency-Key": "k2"}
    is_problem(bearer["approver"].post("/api/v1/proposals/P1/approve", headers=headers), 409)
    bearer["analyst"].post("/api/v1/proposals/P1/submit")
    assert bearer["approver"].post("/api/v1/proposals/P1/approve", headers=headers).status_code == 200


def test_a_request_that_is_too_large_is_refused(bearer, stored):
    is_problem(bearer["analyst"].post("/api/v1/proposals/P1/submit", data=b"x" * 1_000_001), 413)


def test_a_signed_in_browser_may_use_the_api_but_writes_need_the_form_token(people, stored):
    browser = people["analyst"]
    assert browser.get("/api/v1/proposals").json["total"] == 1
    refused = browser.client.post("/api/v1/proposals/P1/submit")
    is_problem(refused, 400)
    token = browser.form_token("/proposals")
    assert browser.client.post("/api/v1/proposals/P1/submit", headers={"X-CSRFToken": token}).status_code == 200


def test_an_unforeseen_error_tells_the_log_and_not_the_caller(app, bearer, caplog):
    def fail(**_):
        raise RuntimeError("the secret of the house")

    app.extensions["offerwright_store"].proposals = fail
    answer = bearer["viewer"].get("/api/v1/proposals")
    assert "secret" not in is_problem(answer, 500)
    assert "the secret of the house" in caplog.text


def test_jobs_are_listed_with_their_runs(bearer, store, clock):
    run = store.jobs.begin("reoptimise", "s1", holder="host:1", now=clock(), lease_seconds=60)
    store.jobs.finish(run, result={"proposal_id": "P1"}, now=clock())
    (job,) = bearer["viewer"].get("/api/v1/jobs").json["items"]
    assert job["name"] == "reoptimise"
    assert job["schedule"] == "0 5 * * mon"
    assert job["runs"][0]["result"] == {"proposal_id": "P1"}
    assert "host" not in json.dumps(job), "who ran it stays inside"


def test_runs_are_listed_newest_first_page_by_page(bearer, store, clock):
    for slot in ("s1", "s2", "s3"):
        run = store.jobs.begin("reoptimise", slot, holder="host:1", now=clock(), lease_seconds=60)
        end = store.jobs.fail if slot == "s2" else store.jobs.finish
        end(run, **({"error": "no data"} if slot == "s2" else {"result": {"proposal_id": slot}}), now=clock())
    ask = bearer["viewer"].get
    first = ask("/api/v1/runs?size=2").json
    assert [run["slot"] for run in first["items"]] == ["s3", "s2"]
    assert (first["total"], first["pages"]) == (3, 2)
    assert [run["slot"] for run in ask("/api/v1/runs?size=2&page=2").json["items"]] == ["s1"]
    (failed,) = ask("/api/v1/runs?job=reoptimise&state=failed").json["items"]
    assert (failed["slot"], failed["error"]) == ("s2", "no data")
    assert "host" not in json.dumps(first), "who ran it stays inside"
    for wrong in ("job=dance", "state=happy", "page=0"):
        is_problem(ask(f"/api/v1/runs?{wrong}"), 400)
