"""A slot is worked on by exactly one process, is never done twice and never half, whoever is killed when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_examples import make_proposal

from api.jobs import JOBS, Job, current_slot, run_job
from api.schedule import cron_trigger, latest_slot
from api.scheduler import JobClock
from engine.errors import ConfigurationError, DataError, InfeasibleError
from engine.proposal import State

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)])
SLOT = "2026-11-23T05:00:00Z"


def start_runner(url, folder, *, slot=SLOT, seconds=0.0, hang=""):
    command = [sys.executable, str(HERE / "job_runner.py"), url, str(folder), slot, str(seconds), hang]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": PATHS}, stdout=subprocess.PIPE, text=True)


def wait_for(condition):
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def states(store):
    return [run.state for run in reversed(store.jobs.recent("test"))]


def test_of_two_processes_one_works(store, settings, tmp_path):
    started = [start_runner(settings.store_url, tmp_path, seconds=0.5) for _ in range(2)]
    told = sorted(process.communicate(timeout=60)[0].strip() for process in started)
    assert told == ["nothing to do", "ran"]
    assert len(list(tmp_path.glob("at work*"))) == 1
    assert store.proposals().total == 1
    assert start_runner(settings.store_url, tmp_path).communicate(timeout=60)[0].strip() == "nothing to do"


def test_a_runner_killed_at_work_is_replaced(store, settings, tmp_path):
    first = start_runner(settings.store_url, tmp_path, seconds=600)
    wait_for(lambda: list(tmp_path.glob("at work*")))
    kill(first)
    time.sleep(1.1)
    assert start_runner(settings.store_url, tmp_path).communicate(timeout=60)[0].strip() == "ran"
    assert states(store) == ["abandoned", "done"]
    assert [item.proposal_id for item in store.proposals().items] == ["P-2"]


def test_a_runner_killed_after_storing_is_not_repeated(store, settings, tmp_path):
    first = start_runner(settings.store_url, tmp_path, hang="hang")
    wait_for((tmp_path / "stored").exists)
    kill(first)
    time.sleep(1.1)
    assert start_runner(settings.store_url, tmp_path).communicate(timeout=60)[0].strip() == "ran"
    assert states(store) == ["abandoned", "done"]
    assert [item.proposal_id for item in store.proposals().items] == ["P-1"], "the first one's draft stands"
    assert store.jobs.recent("test")[0].result == {"proposal_id": "P-1"}
    assert len(list(tmp_path.glob("at work*"))) == 1


def test_a_long_job_keeps_its_lease(store, settings, tmp_path):
    first = start_runner(settings.store_url, tmp_path, seconds=2.5)
    wait_for(lambda: list(tmp_path.glob("at work*")))
    time.sleep(1.5)
    assert start_runner(settings.store_url, tmp_path).communicate(timeout=60)[0].strip() == "nothing to do"
    assert first.communicate(timeout=60)[0].strip() == "ran"


def job(work):
    return Job("test", "tests", "jobs.reoptimise", work)


def test_a_failure_is_told_and_may_be_tried_again(store, settings, clock):
    def fail(*_):
        raise DataError("no such folder: my_shop")

    with pytest.raises(DataError):
        run_job(job(fail), settings, store, slot=SLOT, holder="a", clock=clock)
    (failed,) = store.jobs.recent("test")
    assert (failed.state, failed.error) == ("failed", "no such folder: my_shop")
    done = run_job(
        job(lambda _s, run, _n: store.save_proposal(make_proposal(created_by=run.key))),
        settings,
        store,
        slot=SLOT,
        holder="b",
        clock=clock,
    )
    assert done.attempt == 2


def test_an_infeasible_proposal_that_was_stored_is_a_result(store, settings, clock):
    def infeasible(_settings, run, _now):
        store.save_proposal(make_proposal(created_by=run.key, state=State.INFEASIBLE))
        raise InfeasibleError("no plan")

    assert run_job(job(infeasible), settings, store, slot=SLOT, holder="a", clock=clock)
    assert store.jobs.recent("test")[0].state == "done"


def test_a_late_runner_cannot_store_a_second_result(store, settings, clock):
    def late(_settings, run, _now):
        clock.move(seconds=settings.jobs.lease_seconds)
        other = job(lambda _s, later, _n: store.save_proposal(make_proposal("P-other", created_by=later.key)))
        assert run_job(other, settings, store, slot=SLOT, holder="b", clock=clock)
        store.save_proposal(make_proposal("P-late", created_by=run.key))

    with pytest.raises(Exception, match="replaced"):
        run_job(job(late), settings, store, slot=SLOT, holder="a", clock=clock)
    assert [item.proposal_id for item in store.proposals().items] == ["P-other"]
    assert states(store) == ["abandoned", "done"]


def test_the_reoptimise_job_runs_a_cycle_under_its_key(store, settings, clock, monkeypatch):
    asked = {}

    def run_cycle(_settings, **more):
        asked.update(more)
        store.save_proposal(make_proposal(created_by=more["created_by"]))

    monkeypatch.setattr("api.cycle.run_cycle", run_cycle)
    assert run_job(JOBS["reoptimise"], settings, store, slot=SLOT, holder="a", clock=clock)
    assert asked["created_by"] == f"job:reoptimise@{SLOT}"
    assert asked["now"] == clock()


def test_a_slot_is_the_last_time_the_schedule_fired(settings):
    monday = datetime(2026, 11, 23, 5, tzinfo=UTC)
    for moment, slot in ((monday, 0), (monday + timedelta(days=6), 0), (monday - timedelta(seconds=1), -7)):
        expected = (monday + timedelta(days=slot)).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert current_slot(JOBS["reoptimise"], settings, moment) == expected


@given(
    moment=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    cron=st.sampled_from(["* * * * *", "*/7 3 * * *", "0 5 * * mon", "30 2 1 * *", "0 0 29 2 *", "15 4 * * 0,3"]),
)
@settings(max_examples=40, deadline=None)
def test_the_latest_slot_is_past_and_none_lies_between(moment, cron):
    trigger = cron_trigger(cron, "jobs.reoptimise")
    slot = latest_slot(trigger, moment)
    if slot is None:
        assert cron == "0 0 29 2 *"
        return
    assert slot <= moment
    following = trigger.get_next_fire_time(slot, slot + timedelta(microseconds=1))
    assert following > moment


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("0", [22]),
        ("7", [22]),
        ("1", [23]),
        ("1-5", [23, 24, 25, 26, 27]),
        ("fri-sun", [22, 27, 28]),
        ("5-7", [22, 27, 28]),
        ("sat", [28]),
        ("*/2", [22, 24, 26, 28]),
        ("1,MON,3", [23, 25]),
        ("*", [22, 23, 24, 25, 26, 27, 28]),
    ],
)
def test_weekdays_count_as_in_cron(weekday, days):
    moment, found = datetime(2026, 11, 22, tzinfo=UTC), []
    trigger = cron_trigger(f"0 12 * * {weekday}", "jobs.reoptimise")
    while (moment := trigger.get_next_fire_time(None, moment + timedelta(seconds=1))).day in range(22, 29):
        found.append(moment.day)
    assert found == days


@pytest.mark.parametrize(
    "expression", ["", "every monday", "0 25 * * *", "0 5 * *", "0 5 * * mon tue", "0 5 * * 8", "0 5 * * xyz"]
)
def test_what_is_no_schedule_is_refused_by_its_setting(settings, store, expression):
    jobs = settings.jobs.model_copy(update={"reoptimise": expression})
    with pytest.raises(ConfigurationError, match=r"jobs\.reoptimise"):
        JobClock(settings.model_copy(update={"jobs": jobs}), store)


def test_the_clock_runs_a_slot_in_a_process_of_its_own(store, settings, tmp_path):
    data = settings.data.model_copy(update={"source": str(tmp_path / "no such shop")})
    clock = JobClock(settings.model_copy(update={"data": data}), store)
    assert clock.run(JOBS["reoptimise"], SLOT) == 2
    (run,) = store.jobs.recent("reoptimise")
    assert run.state == "failed"
    assert "no such shop" in run.error
    clock.stop()
    assert clock.run(JOBS["reoptimise"], SLOT) is None, "a stopped clock starts nothing"
