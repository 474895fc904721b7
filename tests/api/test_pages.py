"""The pages: nobody in without a secret, every text escaped, both languages whole, nothing from elsewhere."""

from __future__ import annotations

import logging
import re
import stat
from contextlib import closing

import pytest
from sqlalchemy import text
from store_examples import NOW, PASSWORD

from api.app import kept_secret
from engine.proposal import State
from engine.store.database import Database

PROTECTED = ["/proposals", "/proposals/P1", "/proposals/P1/report", "/proposals/P1/prices.csv"]


@pytest.mark.parametrize("path", PROTECTED)
def test_strangers_are_sent_to_the_door_and_back(visitor, people, stored, path):
    answer = visitor.get(path + "?shown=all")
    assert answer.status_code == 302
    assert answer.location.startswith("/sign-in?next=")
    back = visitor.client.post(
        answer.location,
        data={"name": "viewer", "password": PASSWORD, "csrf_token": visitor.form_token(answer.location)},
    )
    assert back.location == path + "?shown=all"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x()"])
def test_the_way_back_never_leads_elsewhere(visitor, people, target):
    answer = visitor.client.post(
        "/sign-in",
        query_string={"next": target},
        data={"name": "viewer", "password": PASSWORD, "csrf_token": visitor.form_token("/sign-in")},
    )
    assert answer.location == "/proposals"
    assert visitor.get("/language/zh", query_string={"next": target}).location == "/proposals"


def test_the_set_up_link_makes_the_first_administrator_once(visitor, store, clock):
    link = "/set-up/" + store.accounts.first_link(now=clock())
    assert "first administrator" in visitor.get(link).text
    short = visitor.post(link, name="ana", password="short")
    assert short.status_code == 422
    assert "at least 12" in short.text
    done = visitor.post(link, name="ana", password=PASSWORD)
    assert done.location == "/proposals"
    assert "ana · admin" in visitor.get("/proposals").text
    assert visitor.get(link).status_code == 404


def test_there_is_no_default_password(visitor, store):
    for name in ("admin", "root", "offerwright", ""):
        for password in ("", "admin", "password", "offerwright", "changeme"):
            assert store.accounts.sign_in(name, password, now=NOW, hours=1) is None
    assert "set-up link" in visitor.get("/sign-in").text


def test_a_form_without_its_token_is_refused(visitor, people, store, stored):
    refused = visitor.client.post("/sign-in", data={"name": "viewer", "password": PASSWORD})
    assert refused.status_code == 400
    assert people["analyst"].client.post("/proposals/P1/submit").status_code == 400
    assert store.header("P1").state is State.DRAFT


def test_after_too_many_failures_even_the_right_password_waits(visitor, people, clock):
    for _ in range(5):
        assert visitor.sign_in("viewer", "wrong horse battery").status_code == 401
    blocked = visitor.sign_in("viewer")
    assert blocked.status_code == 429
    assert 0 < int(blocked.headers["Retry-After"]) <= 900
    clock.move(minutes=15, seconds=1)
    assert visitor.sign_in("viewer").status_code == 302


def test_a_session_ends_by_time_and_by_hand(people, clock, store):
    viewer = people["viewer"]
    assert viewer.get("/proposals").status_code == 200
    cookie = viewer.client.get_cookie("offerwright").value
    viewer.post("/sign-out", page="/proposals")
    assert viewer.get("/proposals").status_code == 302
    viewer.client.set_cookie("offerwright", cookie)
    assert viewer.get("/proposals").status_code == 302, "a kept cookie is worth nothing after signing out"
    clock.move(hours=13)
    assert people["analyst"].get("/proposals").status_code == 302


def test_cookies_and_headers_are_guarded(app, visitor, people):
    answer = visitor.post("/sign-in", name="viewer", password=PASSWORD)
    cookie = next(text for text in answer.headers.getlist("Set-Cookie") if text.startswith("offerwright="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie, "over plain http the browser would never send it back"
    page = visitor.get("/proposals")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cache-Control"] == "no-store"
    secure = app.test_client().get("/sign-in", base_url="https://shop.example")
    assert "Secure" in secure.headers["Set-Cookie"]
    assert "Strict-Transport-Security" in secure.headers


def test_the_session_key_is_made_once_and_is_its_owners(settings):
    key = kept_secret(settings)
    assert len(key) == 32
    assert kept_secret(settings) == key
    assert stat.S_IMODE((settings.home / "secret.key").stat().st_mode) == 0o600


def test_the_log_names_no_person_and_no_secret(visitor, store, clock, caplog):
    caplog.set_level(logging.DEBUG)
    token = store.accounts.first_link(now=clock())
    visitor.post(f"/set-up/{token}", name="ana-katharina", password=PASSWORD)
    visitor.post("/sign-out", page="/proposals")
    visitor.sign_in("ana-katharina", "wrong horse battery")
    visitor.get("/proposals?contains=ana-katharina")
    told = " ".join(str(vars(record)) for record in caplog.records)
    assert "/set-up/<token>" in told
    assert [word for word in (token, "ana-katharina", PASSWORD, "127.0.0.1") if word in told] == []


def test_the_list_shows_what_a_manager_asks_first(people, stored):
    page = people["viewer"].get("/proposals").text
    for shown in ("P1", "120", "20 … 210", "draft", "complete_journey"):
        assert shown in page
    assert "P1" not in people["viewer"].get("/proposals?state=approved").text


def test_the_detail_page_shows_promise_lines_reasons_and_audit(people, stored):
    page = people["viewer"].get("/proposals/P1?shown=all").text
    for shown in ("120", "Bread", "bound by the index band: without it 3.49", "cli:ana", "a margin of 28 %", "<svg"):
        assert shown in page
    assert "Milk &lt;b&gt;bold" in page
    assert "Milk <b>" not in page
    assert "Submit for approval" not in page, "a viewer has no buttons"


def test_lines_are_filtered_and_sorted_without_scripts(people, stored):
    changed = people["viewer"].get("/proposals/P1").text
    assert "Bread" not in changed
    assert "Butter" in changed
    one = people["viewer"].get("/proposals/P1?contains=butter&shown=all").text
    assert "Milk" not in one[one.index("<tbody>") : one.index("</tbody>")]
    assert 'aria-sort="ascending"' in people["viewer"].get("/proposals/P1?order=title&descending=0").text
    assert people["viewer"].get("/proposals/P1?order=bogus&page=x&shown=1").status_code == 200
    assert "<script" not in changed


def test_a_proposal_lives_through_the_buttons(people, store, stored):
    analyst, approver = people["analyst"], people["approver"]
    assert "Submit for approval" in analyst.get("/proposals/P1").text
    analyst.post("/proposals/P1/submit", page="/proposals/P1", why="monday")
    assert "Approve" not in analyst.get("/proposals/P1").text.replace("approver", "").replace("Before you approve", "")
    refused = analyst.post("/proposals/P1/approve", page="/proposals", why="")
    assert refused.status_code == 403
    approver.post("/proposals/P1/reject", page="/proposals/P1", why="")
    assert "say why" in approver.get("/proposals/P1").text
    approver.post("/proposals/P1/approve", page="/proposals/P1", why="go")
    assert store.header("P1").state is State.APPROVED
    assert "monday" in approver.get("/proposals/P1").text


def test_an_approver_cannot_approve_their_own(people, store, stored):
    approver = people["approver"]
    approver.post("/proposals/P1/submit", page="/proposals/P1", why="")
    page = approver.get("/proposals/P1").text
    assert 'approve">' not in page
    approver.post("/proposals/P1/approve", page="/proposals/P1", why="")
    assert store.header("P1").state is State.SUBMITTED


def test_both_languages_are_offered_and_remembered(visitor, people, stored):
    assert 'lang="en"' in visitor.get("/sign-in").text
    assert 'lang="zh-CN"' in visitor.get("/sign-in", headers={"Accept-Language": "zh-CN,zh;q=0.9"}).text
    viewer = people["viewer"]
    viewer.get("/language/zh?next=/proposals/P1")
    page = viewer.get("/proposals/P1?shown=all").text
    assert 'lang="zh-CN"' in page
    assert "价格" in page
    assert visitor.get("/language/xx").status_code == 404


def test_the_tables_can_be_taken_away(people, stored):
    prices = people["viewer"].get("/proposals/P1/prices.csv")
    assert prices.text.splitlines()[0].startswith("product_id,current_price,proposed_price")
    assert len(prices.text.splitlines()) == 4
    assert "attachment" in prices.headers["Content-Disposition"]
    assert people["viewer"].get("/proposals/P1/coupons.csv").text.splitlines()[1].startswith("c1,A,")


def test_an_unknown_page_is_told_in_words(people):
    answer = people["viewer"].get("/proposals/P9")
    assert answer.status_code == 404
    assert "P9" in answer.text
    assert re.search(r"<h1>\s*Not Found", answer.text)


def test_health_needs_no_sign_in_and_tells_the_truth(settings, visitor):
    assert visitor.get("/healthz").json == {"status": "ok"}
    assert visitor.get("/readyz").json == {"status": "ready"}
    visitor.get("/proposals")
    metrics = visitor.get("/metrics").text
    assert 'offerwright_http_requests_total{route="/proposals",method="GET",status="302"} 1' in metrics
    assert 'offerwright_http_request_seconds_count{route="/healthz"} 1' in metrics
    with closing(Database(settings.store_url)) as database, database.write() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    assert visitor.get("/readyz").status_code == 503


def test_metrics_have_the_form_that_prometheus_reads(visitor, stored):
    sample = re.compile(r'^[a-z_]+(\{([a-z_]+="[^"]*",?)*\})? -?[0-9.e+-]+$')
    lines = visitor.get("/metrics").text.splitlines()
    assert 'offerwright_proposals{state="draft"} 1' in lines
    assert [line for line in lines if not line.startswith("#") and not sample.match(line)] == []


def test_what_was_measured_stands_beside_what_was_promised(visitor, people, stored, store, clock):
    visitor.sign_in("viewer")
    store.experiments.add(
        "spring", salt="s", design={"rule": {"metric": "profit"}}, by="ann", now=clock(), proposal_id="P1"
    )
    reading = {
        "effects": [
            {"metric": "profit", "variant": 1, "estimate": 0.5, "low": 0.1, "high": 0.9, "decision": "untrustworthy"}
        ],
        "units": 1200,
        "trustworthy": False,
        "measured": {"gain": 321.0, "low": 64.0, "high": 578.0},
        "verdicts": [
            {
                "action": "look into it",
                "reasons": [{"code": "{metric} is worse, and not by chance.", "values": {"metric": "profit"}}],
            }
        ],
        "notes": [],
    }
    store.experiments.store_reading("spring", reading, by="ann", now=clock())
    page = visitor.get("/proposals/P1").text
    assert "321" in page and "578" in page
    assert "no decision may rest on it" in page
    assert "profit is worse, and not by chance." in page
    assert page.count("<svg") > 0
