"""The pages of experiments: who may see them, what they say, and that nothing on them is taken for markup."""

from __future__ import annotations

from datetime import timedelta

READING = {
    "effects": [{"metric": "profit", "variant": 1, "estimate": 0.5, "low": 0.1, "high": 0.9, "decision": "undecided"}],
    "units": 1200,
    "trustworthy": True,
    "final": False,
    "verdicts": [{"action": "go on", "reasons": []}],
    "checks": [
        {"name": "present", "verdict": "passed", "reason": {"code": "fine", "values": {}}, "p_value": None},
        {"name": "purses", "verdict": "notice", "reason": {"code": "odd <b>", "values": {}}, "p_value": 0.2},
    ],
    "segments": [
        {"segment": "country", "level": "DE<i>", "metric": "profit", "estimate": 0.4, "low": 0.0, "high": 0.8},
        {"segment": "country", "level": "FR", "metric": "profit", "estimate": 0.6, "low": 0.1, "high": 1.1},
    ],
    "notes": [],
}


def test_the_list_and_one_experiment_are_shown_to_whoever_is_signed_in(visitor, people, store, clock):
    assert visitor.get("/experiments").status_code == 302
    viewer = people["viewer"]
    assert "offerwright experiment design --help" in viewer.get("/experiments").text
    for number in range(25):
        at = clock() + timedelta(minutes=number)
        store.experiments.add(f"e{number}", salt=f"s{number}", design={"rule": {"metric": "profit"}}, by="ann", now=at)
    store.experiments.start("e3", by="ann", now=clock())
    store.experiments.store_reading("e3", READING, by="bo", now=clock())
    first = viewer.get("/experiments").text
    assert "Page 1 of 2" in first
    assert "e24" in first
    running = viewer.get("/experiments?state=running").text
    assert "go on" in running
    assert "e24" not in running
    page = viewer.get("/experiments/e3").text
    assert "This is an early reading" in page
    assert "1 of 2 checks passed" in page
    assert "odd &lt;b&gt;" in page
    assert "DE&lt;i&gt;" in page
    assert page.count("<svg") >= 3
    assert viewer.get("/experiments/nobody").status_code == 404
