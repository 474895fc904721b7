"""What goes wrong is said in the reader's language on a page, and in English to a program."""

from __future__ import annotations

from gettext import NullTranslations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proposals import proposal

from api.cycle import run_cycle
from api.report import render_report
from engine.errors import InfeasibleError, NotFoundError, OfferwrightError, StateError
from engine.proposal import Reason
from engine.settings import load_settings
from engine.store import open_store
from engine.store.proposals import WRONG_STEP
from optimizers.rules.conflict import Conflict, RuleConflictError

CHINESE = {
    "no proposal {proposal!r}; list them at /proposals": "没有提案 {proposal!r}",
    WRONG_STEP: "{proposal}:{state}→{to}×({possible})",
    "proposal {proposal}: say why it becomes {to}; the one who made it will read it": "{proposal}:为何{to}",
    "approved": "已批准",
    "rejected": "已驳回",
    "This needs the role {role}; yours is {held}.": "需要{role},您是{held}",
    "There is no such page.": "没有这个页面",
}


class Chinese(NullTranslations):
    def gettext(self, message: str) -> str:
        return CHINESE.get(message, message)


@pytest.fixture(autouse=True)
def chinese(monkeypatch):
    monkeypatch.setattr(
        "api.words.translations", lambda language: Chinese() if language == "zh" else NullTranslations()
    )


@pytest.fixture
def reader(people):
    for one in people.values():
        one.get("/language/zh")
    return people


def test_a_page_says_in_the_readers_language_what_went_wrong(reader):
    assert "没有提案 &#39;nobody&#39;" in reader["viewer"].get("/proposals/nobody").text
    assert "没有这个页面" in reader["viewer"].get("/nowhere").text


def test_a_refused_step_is_flashed_in_the_readers_language(reader, stored):
    path = f"/proposals/{stored.proposal_id}"
    reader["approver"].post(f"{path}/approve", page="/proposals")
    assert f"{stored.proposal_id}:draft→已批准×(submitted)" in reader["approver"].get(path).text
    reader["analyst"].post(f"{path}/submit", page="/proposals")
    reader["approver"].post(f"{path}/reject", page="/proposals", why=" ")
    assert f"{stored.proposal_id}:为何已驳回" in reader["approver"].get(path).text
    refused = reader["viewer"].post(f"{path}/submit", page="/proposals")
    assert refused.status_code == 403
    assert "需要analyst,您是viewer" in refused.text


def test_a_program_is_told_in_english_whatever_its_language(bearer, people):
    answer = bearer["viewer"].get("/api/v1/proposals/nobody", headers={"Accept-Language": "zh"})
    assert answer.json["detail"] == "no proposal 'nobody'; list them at /proposals"
    refused = bearer["viewer"].post("/api/v1/proposals/nobody/submit", headers={"Accept-Language": "zh"}, json={})
    assert refused.json["detail"] == "This needs the role analyst; yours is viewer."


@given(text=st.text(max_size=40), amount=st.integers())
def test_an_error_keeps_its_sentence_and_reads_in_english(text, amount):
    reason = Reason("{thing!r} is {amount:,}", {"thing": text, "amount": amount})
    for kind in (OfferwrightError, StateError, NotFoundError):
        error = kind(reason)
        assert str(error) == f"{text!r} is {amount:,}"
        assert error.sentence is reason
    assert StateError(text).sentence == str(StateError(text)) == text


def test_a_stored_contradiction_is_explained_in_both_languages(tmp_path, monkeypatch):
    reason = Reason("no prices within reach keep {rules}", {"rules": "“Slowly”"})
    given = load_settings(None, [f"data.home={tmp_path}", "log.level=error"])
    conflict = Conflict(("Slowly",), ("Ada",), (), True, (), reason)
    error = RuleConflictError(conflict)
    assert error.sentence is reason

    def no_plan(*_):
        raise error

    class Shop:
        name, fingerprint, notes, faults = "corner", "f" * 64, (), ()

    monkeypatch.setattr("engine.sources.open_shop", lambda *_: Shop())
    monkeypatch.setattr("api.cycle._posed_prices", no_plan)
    with pytest.raises(InfeasibleError):
        run_cycle(given, now=proposal().created_at, created_by="test", only=["prices"])
    with open_store(given.store_url) as store:
        (header,) = store.proposals().items
        kept = store.proposal(header.proposal_id)
        assert not store.check_audit().faults
    assert kept.summary["infeasible"] == "no prices within reach keep “Slowly”"
    monkeypatch.setitem(CHINESE, "no prices within reach keep {rules}", "无法同时遵守{rules}")
    monkeypatch.setattr(
        "api.report.translations", lambda language: Chinese() if language == "zh" else NullTranslations()
    )
    from api.report import environment

    environment.cache_clear()
    page = render_report(kept)
    environment.cache_clear()
    assert "no prices within reach keep “Slowly”" in page
    assert "无法同时遵守“Slowly”" in page
