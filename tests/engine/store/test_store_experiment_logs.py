"""What happened in an experiment is taken once, however often it is sent, and kept as it came."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from store_examples import NOW

from engine.errors import ConflictError, InputError, NotFoundError, StateError
from engine.store import ExperimentState, Exposure, UnitOutcome

SEEN = Exposure("u1", 1, NOW, {"before": 2.5, "country": "DE"})
DONE = UnitOutcome("o1", "u1", NOW + timedelta(hours=1), {"profit": 3.5, "visits": None})


@pytest.fixture
def running(store):
    store.experiments.add("spring", salt="s", design={"weeks": 4}, by="bo", now=NOW)
    return store.experiments.start("spring", by="bo", now=NOW)


def test_an_event_that_is_sent_again_changes_nothing(store, running):
    logs = store.experiment_logs
    again = replace(SEEN, at=NOW + timedelta(days=1))
    assert logs.take_exposures("spring", [SEEN, SEEN]) == 1
    assert logs.take_exposures("spring", [SEEN, again, replace(SEEN, variant=0)]) == 2
    assert logs.take_outcomes("spring", [DONE, DONE]) == 1
    assert logs.take_outcomes("spring", [DONE]) == 0
    assert logs.exposures("spring") == (SEEN, again, replace(SEEN, variant=0)), "judged by the checks of a reading"
    assert logs.outcomes("spring") == (DONE,)
    assert logs.counts("spring") == (3, 1)


def test_an_outcome_cannot_change(store, running):
    store.experiment_logs.take_outcomes("spring", [DONE])
    with pytest.raises(ConflictError, match=r"'o1' .* other values"):
        store.experiment_logs.take_outcomes("spring", [replace(DONE, measured={"profit": 4.0})])
    other = replace(DONE, outcome_id="o2")
    with pytest.raises(ConflictError):
        store.experiment_logs.take_outcomes("spring", [other, replace(other, unit_id="u9")])
    assert store.experiment_logs.outcomes("spring") == (DONE,), "all of a report, or nothing of it"


def test_only_what_belongs_to_an_experiment_is_taken(store):
    store.experiments.add("spring", salt="s", design={}, by="bo", now=NOW)
    with pytest.raises(StateError, match="has not started"):
        store.experiment_logs.take_exposures("spring", [SEEN])
    with pytest.raises(NotFoundError, match="no experiment 'autumn'"):
        store.experiment_logs.take_outcomes("autumn", [DONE])
    store.experiments.start("spring", by="bo", now=NOW)
    store.experiments.end("spring", why="shipped", by="bo", now=NOW + timedelta(days=7))
    with pytest.raises(InputError, match=r"'u1' was exposed .* after experiment 'spring' ended"):
        store.experiment_logs.take_exposures("spring", [replace(SEEN, at=NOW + timedelta(days=8))])
    assert store.experiment_logs.take_outcomes("spring", [replace(DONE, at=NOW + timedelta(days=8))]) == 1


def test_senders_that_repeat_one_another_are_counted_once(store, running):
    seen = [replace(SEEN, unit_id=f"u{i}") for i in range(600)]
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda _: store.experiment_logs.take_exposures("spring", seen), range(4)))
    assert sorted(taken) == [0, 0, 0, 600]


def test_experiments_are_listed_by_page_and_state(store):
    for number in range(5):
        store.experiments.add(f"e{number}", salt=f"s{number}", design={}, by="bo", now=NOW + timedelta(hours=number))
    store.experiments.start("e1", by="bo", now=NOW)
    page = store.experiments.page(page=2, size=2)
    assert ([one.experiment_id for one in page.items], page.total, page.pages) == (["e2", "e1"], 5, 3)
    running = store.experiments.page(state=ExperimentState.RUNNING)
    assert [one.experiment_id for one in running.items] == ["e1"]
