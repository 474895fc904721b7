"""An experiment's life: locked once it runs, every version and every reading kept, all of it in the audit."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from store_examples import NOW, make_proposal

from engine.errors import ConflictError, InputError, NotFoundError, StateError
from engine.store import ExperimentState, open_store, upgrade_store
from engine.store.database import Database

MIGRATIONS = Path(__file__).parents[3] / "engine" / "store" / "migrations"


@pytest.fixture
def spring(store):
    return store.experiments.add("spring", salt="s", design={"weeks": 4}, by="bo", now=NOW)


def test_a_design_is_locked_once_it_runs(store, spring):
    assert (spring.state, spring.version) == (ExperimentState.DESIGNED, 1)
    before = store.experiments.redesign("spring", {"weeks": 5}, why="", by="bo", now=NOW)
    assert (before.version, before.design, before.salt) == (2, {"weeks": 5}, "s")
    running = store.experiments.start("spring", by="bo", now=NOW)
    assert (running.state, running.started_at) == (ExperimentState.RUNNING, NOW)
    with pytest.raises(InputError, match="locked; say why"):
        store.experiments.redesign("spring", {"weeks": 6}, why=" ", by="bo", now=NOW)
    changed = store.experiments.redesign("spring", {"weeks": 6}, why="slow start", by="mei", now=NOW)
    assert changed.version == 3
    kept = store.experiments.versions("spring")
    assert [(one.version, one.design["weeks"], one.why) for one in kept] == [
        (1, 4, ""),
        (2, 5, ""),
        (3, 6, "slow start"),
    ]


def test_an_experiment_starts_once_and_ends_once(store, spring):
    with pytest.raises(StateError, match="is designed; only one that is running can be ended"):
        store.experiments.end("spring", why="done", by="bo", now=NOW)
    store.experiments.start("spring", by="bo", now=NOW)
    with pytest.raises(StateError, match="is running"):
        store.experiments.start("spring", by="bo", now=NOW)
    assert [one.experiment_id for one in store.experiments.in_state(ExperimentState.RUNNING)] == ["spring"]
    with pytest.raises(InputError, match="say why it ends"):
        store.experiments.end("spring", why="", by="bo", now=NOW)
    ended = store.experiments.end("spring", why="shipped", by="bo", now=NOW + timedelta(days=28))
    assert (ended.state, ended.ended_at) == (ExperimentState.ENDED, NOW + timedelta(days=28))
    with pytest.raises(StateError, match="has ended"):
        store.experiments.redesign("spring", {}, why="again", by="bo", now=NOW)
    assert store.experiments.in_state(ExperimentState.RUNNING) == ()


def test_every_reading_is_kept_beside_the_promise(store):
    store.save_proposal(make_proposal())
    store.experiments.add("spring", salt="s", design={}, by="bo", now=NOW, proposal_id="P1")
    numbers = [
        store.experiments.store_reading("spring", {"units": units}, by="bo", now=NOW + timedelta(days=units))
        for units in (1, 2)
    ]
    assert numbers == [1, 2]
    kept = store.experiments.readings("spring")
    assert [(one.number, one.version, one.reading["units"]) for one in kept] == [(1, 1, 1), (2, 1, 2)]
    last = store.experiments.get("spring")
    assert (last.reading, last.read_at) == ({"units": 2}, NOW + timedelta(days=2))
    assert last.promise["promised_gain"] == 120.5


def test_readings_that_come_at_once_are_all_kept(store, spring):
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda k: store.experiments.store_reading("spring", {"k": k}, by="bo", now=NOW), range(8)))
    assert sorted(kept) == list(range(1, 9))
    assert sorted(one.reading["k"] for one in store.experiments.readings("spring")) == list(range(8))
    assert store.check_audit().faults == ()


def test_the_audit_tells_the_whole_life(store, spring):
    store.experiments.start("spring", by="bo", now=NOW)
    store.experiments.redesign("spring", {"weeks": 6}, why="slow start", by="mei", now=NOW)
    store.experiments.store_reading("spring", {"units": 2}, by="bo", now=NOW)
    store.experiments.end("spring", why="shipped", by="bo", now=NOW)
    events = store.latest_events()
    assert [(event.action, event.actor, event.why) for event in events] == [
        ("design", "bo", ""),
        ("running", "bo", ""),
        ("redesign", "mei", "slow start"),
        ("reading", "bo", ""),
        ("ended", "bo", "shipped"),
    ]
    assert (events[1].from_state, events[1].to_state) == ("designed", "running")
    assert store.check_audit().faults == ()


@pytest.mark.parametrize(
    "ask",
    [
        lambda experiments: experiments.start("x", by="bo", now=NOW),
        lambda experiments: experiments.redesign("x", {}, why="w", by="bo", now=NOW),
        lambda experiments: experiments.versions("x"),
        lambda experiments: experiments.readings("x"),
    ],
)
def test_an_unknown_experiment_is_named(store, ask):
    with pytest.raises(NotFoundError, match="no experiment 'x'"):
        ask(store.experiments)


def test_a_name_is_taken_once(store, spring):
    with pytest.raises(ConflictError, match="'spring'"):
        store.experiments.add("spring", salt="t", design={}, by="bo", now=NOW)
    assert [one.version for one in store.experiments.versions("spring")] == [1]


def test_what_was_stored_before_there_were_versions_is_kept_as_the_first(empty_url):
    with closing(Database(empty_url)) as database, database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        statement = (
            "INSERT INTO experiments (experiment_id, salt, design, reading, created_at, created_by, read_at) "
            "VALUES ('old', 's', :design, :reading, '2026-01-01 00:00:00', 'bo', '2026-02-01 00:00:00')"
        )
        connection.execute(text(statement), {"design": '{"weeks": 4}', "reading": '{"units": 9}'})
    upgrade_store(empty_url)
    with open_store(empty_url) as store:
        old = store.experiments.get("old")
        assert (old.state, old.version, old.design) == (ExperimentState.DESIGNED, 1, {"weeks": 4})
        assert [one.design for one in store.experiments.versions("old")] == [{"weeks": 4}]
        assert [one.reading for one in store.experiments.readings("old")] == [{"units": 9}]
