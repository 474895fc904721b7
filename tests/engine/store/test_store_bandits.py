"""Bandits in the store: restarts, writers at the same time, rewards taken once, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from store_examples import NOW

from engine.errors import ConflictError, NotFoundError
from engine.store import Drawn, open_store


@pytest.fixture
def bandit(store):
    return store.bandits.add("b1", arms=["none", "ten"], design={"seed": 1}, state={"seen": 0}, by="ann", now=NOW)


def always_first(bandit):
    return Drawn([0], [1.0], bandit.state)


def count(bandit, news):
    return {"seen": bandit.state["seen"] + len(news)}


def test_it_survives_a_restart(url, store, bandit):
    made = store.bandits.decide("b1", ["u1"], [[0.5]], always_first, now=NOW)
    store.bandits.reward("b1", {made[0].decision_id: 2.5}, count, now=NOW + timedelta(days=1))
    with open_store(url) as again:
        assert again.bandits.get("b1").state == {"seen": 1}
        assert again.bandits.get("b1").decisions == 1
        logged = again.bandits.log("b1")
        assert [(d.unit_id, d.arm, d.propensity, d.context, d.reward) for d in logged] == [("u1", 0, 1.0, (0.5,), 2.5)]


def test_a_reward_is_taken_once(store, bandit):
    (made,) = store.bandits.decide("b1", ["u1"], [[]], always_first, now=NOW)
    assert store.bandits.reward("b1", {made.decision_id: 1.0}, count, now=NOW) == 1
    assert store.bandits.reward("b1", {made.decision_id: 1.0}, count, now=NOW) == 0
    with pytest.raises(ConflictError, match="rewarded with 1 already"):
        store.bandits.reward("b1", {made.decision_id: 3.0}, count, now=NOW)
    with pytest.raises(NotFoundError, match="no decision"):
        store.bandits.reward("b1", {"made-up": 1.0}, count, now=NOW)
    assert store.bandits.get("b1").state == {"seen": 1}


def test_a_decision_that_fails_leaves_nothing(store, bandit):
    def fails(_bandit):
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.bandits.decide("b1", ["u1"], [[]], fails, now=NOW)
    assert store.bandits.log("b1") == ()
    assert store.bandits.get("b1").decisions == 0


def test_writers_at_the_same_time_lose_nothing(url, bandit):
    """Each writer takes one of fifty coins; together they take fifty and no more."""

    def take(bandit):
        spent = bandit.state.get("spent", 0)
        return Drawn([int(spent < 50)], [1.0], {"seen": 0, "spent": spent + (spent < 50)})

    def work():
        with open_store(url) as mine:
            for _ in range(20):
                mine.bandits.decide("b1", ["u"], [[]], take, now=NOW)

    writers = [threading.Thread(target=work) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with open_store(url) as store:
        assert store.bandits.get("b1").decisions == 80
        assert store.bandits.get("b1").state["spent"] == 50
        assert sum(decision.arm for decision in store.bandits.log("b1")) == 50


def test_names_are_taken_once_and_asked_for_rightly(store, bandit):
    with pytest.raises(ConflictError, match="exists"):
        store.bandits.add("b1", arms=["a", "b"], design={}, state={}, by="ann", now=NOW)
    with pytest.raises(NotFoundError, match="no bandit 'b2'"):
        store.bandits.get("b2")
    assert [b.bandit_id for b in store.bandits.all()] == ["b1"]


def test_starts_and_orders_are_audited(store, bandit):
    store.bandits.change("b1", lambda b: b.state, action="remove arm ten", by="bob", now=NOW)
    events = [(e.actor, e.action) for e in store.latest_events() if e.subject == "bandit:b1"]
    assert events == [("ann", "start"), ("bob", "remove arm ten")]
    assert not store.check_audit().faults
