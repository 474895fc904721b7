"""One runner at a time, each slot once, a dead runner replaced, a late one told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from store_examples import NOW, make_proposal

from engine.errors import ConflictError, NotFoundError
from engine.store import Answer
from engine.store.idempotency import KEPT
from engine.store.jobs import MOST_ATTEMPTS

LEASE = 60.0


def begin(store, slot="s1", *, holder="a", seconds=0.0):
    now = NOW + timedelta(seconds=seconds)
    return store.jobs.begin("reoptimise", slot, holder=holder, now=now, lease_seconds=LEASE)


def test_a_second_runner_finds_the_door_closed(store):
    run = begin(store)
    assert run.attempt == 1
    assert begin(store, holder="b") is None
    assert begin(store, "s2", holder="b", seconds=59) is None, "one runner for the job, not for the slot"
    assert store.jobs.begin("another job", "s1", holder="b", now=NOW, lease_seconds=LEASE) is not None


def test_a_slot_is_done_once(store):
    run = begin(store)
    store.jobs.finish(run, result={"proposal_id": "P1"}, now=NOW)
    assert begin(store, holder="b") is None
    assert begin(store, "s2", holder="b") is not None
    done = store.jobs.recent("reoptimise")[-1]
    assert (done.state, done.result, done.finished_at) == ("done", {"proposal_id": "P1"}, NOW)


def test_a_silent_runner_is_replaced_and_told_when_it_wakes(store):
    first = begin(store)
    assert begin(store, holder="b", seconds=LEASE - 1) is None
    second = begin(store, holder="b", seconds=LEASE)
    assert (second.attempt, second.key) == (2, first.key)
    for late in (
        lambda: store.jobs.heartbeat(first, now=NOW),
        lambda: store.jobs.finish(first, result={}, now=NOW),
        lambda: store.jobs.fail(first, error="x", now=NOW),
    ):
        with pytest.raises(ConflictError, match="replaced"):
            late()
    store.jobs.finish(second, result={}, now=NOW)
    assert [run.state for run in store.jobs.recent()] == ["done", "abandoned"]


def test_a_heartbeat_keeps_the_lease(store):
    run = begin(store)
    store.jobs.heartbeat(run, now=NOW + timedelta(seconds=50))
    assert begin(store, holder="b", seconds=100) is None
    assert begin(store, holder="b", seconds=110) is not None


def test_a_failed_slot_may_be_tried_again_but_not_for_ever(store):
    for attempt in range(MOST_ATTEMPTS):
        run = begin(store)
        assert run.attempt == attempt + 1
        store.jobs.fail(run, error="DataError: no such folder", now=NOW)
    assert begin(store) is None
    assert store.jobs.counts() == {("reoptimise", "failed"): MOST_ATTEMPTS}
    assert begin(store, "s2") is not None


def test_an_experiment_is_read_beside_its_promise(store):
    store.save_proposal(make_proposal())
    store.experiments.add("spring", salt="s", design={"weights": [0.5, 0.5]}, by="bo", now=NOW, proposal_id="P1")
    assert store.experiments.get("spring").reading is None
    reading = {"effects": [{"metric": "profit", "estimate": 1.5, "low": 0.2, "high": 2.8}]}
    store.experiments.store_reading("spring", reading, by="bo", now=NOW)
    (read,) = store.experiments.of_proposal("P1")
    assert read.reading == reading
    assert read.promise == {"promised_gain": 120.5, "promised_gain_low": 20.0, "promised_gain_high": 210.0}
    with pytest.raises(ConflictError):
        store.experiments.add("spring", salt="other", design={}, by="bo", now=NOW)
    with pytest.raises(ConflictError):
        store.experiments.add("summer", salt="s", design={}, by="bo", now=NOW)
    with pytest.raises(NotFoundError):
        store.experiments.add("summer", salt="t", design={}, by="bo", now=NOW, proposal_id="P9")
    with pytest.raises(NotFoundError):
        store.experiments.store_reading("autumn", {}, by="bo", now=NOW)


def test_a_repeated_write_gets_its_first_answer(store):
    answers = store.answers
    assert answers.claim("ana", "k1", "hash", now=NOW) is None
    with pytest.raises(ConflictError, match="still being worked on"):
        answers.claim("ana", "k1", "hash", now=NOW)
    answers.remember("ana", "k1", Answer(200, '{"done": true}'))
    assert answers.claim("ana", "k1", "hash", now=NOW) == Answer(200, '{"done": true}')
    with pytest.raises(ConflictError, match="another request"):
        answers.claim("ana", "k1", "other hash", now=NOW)
    assert answers.claim("bo", "k1", "hash", now=NOW) is None, "keys belong to their caller"
    answers.release("bo", "k1")
    assert answers.claim("bo", "k1", "hash", now=NOW) is None
    assert answers.claim("ana", "k1", "other hash", now=NOW + KEPT) is None, "and are forgotten after a day"
