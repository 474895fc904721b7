"""A proposal is stored whole or not at all, comes back as it was, and only moves as its life allows."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_examples import NOW, make_proposal, price_line

from engine.errors import ConflictError, InputError, NotFoundError, StateError
from engine.proposal import TRANSITIONS, CouponLine, Proposal, State
from engine.store import open_store, upgrade_store

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE.parents[2]), str(HERE.parents[1])])
text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=30)
number = st.floats(allow_nan=False, allow_infinity=False, width=64)


@pytest.fixture(scope="module")
def one_store(tmp_path_factory):
    """One store for all examples of a property."""
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('one')}/store.db", upgrade=True) as store:
        yield store


def test_what_was_saved_comes_back_unchanged(store):
    saved = make_proposal(coupons=[CouponLine(f"c{i}", "A", i / 7, i / 13) for i in range(11_000)])
    store.save_proposal(saved)
    assert store.proposal("P1") == saved


@given(identifier=text, title=text, price=number, amounts=st.lists(number, max_size=4), key=text)
@settings(max_examples=25, deadline=None)
def test_any_text_and_any_number_survive_the_store(one_store, identifier, title, price, amounts, key):
    saved = make_proposal(uuid.uuid4().hex, prices=[price_line(identifier, title=title, proposed=price)])
    saved = Proposal(**{**vars(saved), "evidence": {key: amounts}})
    one_store.save_proposal(saved)
    assert one_store.proposal(saved.proposal_id) == saved
    assert not one_store.check_audit().faults


def test_what_was_not_estimated_stays_not_estimated(store):
    store.save_proposal(make_proposal(prices=[price_line(elasticity=math.nan)]))
    assert math.isnan(store.proposal("P1").prices[0].elasticity)
    assert not store.check_audit().faults


def test_an_identifier_is_taken_once(store):
    store.save_proposal(make_proposal())
    with pytest.raises(ConflictError, match=r"P1 .*stored already"):
        store.save_proposal(make_proposal(prices=[price_line("2")]))
    assert [line.product_id for line in store.proposal("P1").prices] == ["1"]


def test_a_slot_of_a_job_has_one_proposal(store):
    store.save_proposal(make_proposal("P1", created_by="job:reoptimise@2026-11-23T05:00:00Z"))
    with pytest.raises(ConflictError):
        store.save_proposal(make_proposal("P2", created_by="job:reoptimise@2026-11-23T05:00:00Z"))
    assert store.proposals().total == 1
    store.save_proposal(make_proposal("P3", created_by="cli:ana"))
    store.save_proposal(make_proposal("P4", created_by="cli:ana"))
    assert store.proposals().total == 3


def test_a_failure_in_the_last_line_leaves_nothing_behind(store):
    class Broken:
        customer_id, offer_id, expected_cost = "c", "A", 1.0

        @property
        def expected_incremental_profit(self):
            raise RuntimeError("out of coupons")

    fine = [CouponLine(str(i), "A", 1.0, 0.5) for i in range(6000)]
    with pytest.raises(RuntimeError):
        store.save_proposal(make_proposal(coupons=[*fine, Broken()]))
    assert store.proposals().total == 0
    assert store.check_audit().events == 0


def test_the_newest_comes_first_and_pages_hold_each_once(store):
    for i in range(7):
        store.save_proposal(make_proposal(f"P{i}", state=State.DRAFT if i % 2 else State.INFEASIBLE))
    pages = [store.proposals(page=page, size=3) for page in (1, 2, 3)]
    assert [item.proposal_id for page in pages for item in page.items] == [f"P{i}" for i in reversed(range(7))]
    assert pages[0].pages == 3
    assert [item.proposal_id for item in store.proposals(state=State.DRAFT).items] == ["P5", "P3", "P1"]


def test_lines_are_sorted_and_filtered(store):
    lines = [
        price_line("1", title="Milk", proposed=2.2, category="dairy"),
        price_line("2", title="Bread 100%", proposed=2.0, category="bakery"),
        price_line("3", title="milkshake", proposed=1.9, category="frozen", elasticity=math.nan),
    ]
    store.save_proposal(make_proposal(prices=lines))

    def ids(**query):
        return [line.product_id for line in store.price_lines("P1", **query).items]

    assert ids() == ["1", "2", "3"]
    assert ids(order="change", descending=True) == ["1", "2", "3"]
    assert ids(order="price") == ["3", "2", "1"]
    assert ids(order="elasticity", descending=True)[-1] == "3", "what is not estimated comes last"
    assert ids(order="elasticity")[-1] == "3"
    assert ids(contains="MILK") == ["1", "3"]
    assert ids(contains="0%") == ["2"], "a per cent sign is a per cent sign, not a wildcard"
    assert ids(contains="_") == []
    assert ids(shown="changed") == ["1", "3"]
    assert ids(shown="held") == ["2"]
    assert store.price_lines("P1", page=2, size=2).total == 3
    assert [line.customer_id for line in store.coupon_lines("P1").items] == ["c1"]


def test_an_unknown_proposal_is_named(store):
    for ask in (store.proposal, store.header, store.audit, store.price_lines, store.coupon_lines, store.evidence):
        with pytest.raises(NotFoundError, match="'P9'"):
            ask("P9")


@given(path=st.lists(st.sampled_from(list(State)), max_size=8))
@settings(max_examples=30, deadline=None)
def test_only_steps_of_the_life_are_taken_and_each_leaves_an_event(one_store, path):
    name = uuid.uuid4().hex
    one_store.save_proposal(make_proposal(name))
    state, taken = State.DRAFT, [State.DRAFT]
    for to in path:
        allowed = to in TRANSITIONS[state]
        try:
            one_store.change_state(name, to, by=f"person {len(taken)}", why="because", now=NOW)
        except StateError:
            assert not allowed
        else:
            assert allowed
            state = to
            taken.append(to)
    assert one_store.header(name).state == state
    assert [event.to_state for event in one_store.audit(name)] == taken


def test_nobody_approves_what_they_submitted(store):
    store.save_proposal(make_proposal())
    store.change_state("P1", State.SUBMITTED, by="ana", why="", now=NOW)
    with pytest.raises(StateError, match="submitted by ana"):
        store.change_state("P1", State.APPROVED, by="ana", why="", now=NOW)
    assert store.header("P1").state is State.SUBMITTED
    assert store.change_state("P1", State.APPROVED, by="bo", why="", now=NOW).state is State.APPROVED


def test_a_refusal_needs_a_reason(store):
    store.save_proposal(make_proposal())
    store.change_state("P1", State.SUBMITTED, by="ana", why="", now=NOW)
    with pytest.raises(InputError, match="say why"):
        store.change_state("P1", State.REJECTED, by="bo", why="  ", now=NOW)
    store.change_state("P1", State.REJECTED, by="bo", why="too bold", now=NOW)
    assert store.audit("P1")[-1].why == "too bold"


def test_times_keep_their_moment_and_need_a_zone(store):
    store.save_proposal(make_proposal())
    assert store.header("P1").created_at == NOW
    assert store.header("P1").created_at.utcoffset() == timedelta(0)
    with pytest.raises(ValueError, match="no time zone"):
        store.change_state("P1", State.SUBMITTED, by="ana", why="", now=datetime(2026, 1, 1))


def test_writers_at_the_same_time_all_get_through(store):
    errors = []

    def write(number):
        try:
            for i in range(5):
                store.save_proposal(make_proposal(f"P{number}-{i}"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert store.proposals().total == 30
    check = store.check_audit()
    assert (check.events, check.faults) == (30, ())


def test_a_writer_killed_at_any_moment_leaves_whole_proposals_only(url):
    for attempt in range(2):
        command = [sys.executable, str(HERE / "endless_writer.py"), url, str(attempt)]
        writer = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": PATHS})
        try:
            with open_store(url) as store:
                before = store.proposals().total
                deadline = time.monotonic() + 20
                while store.proposals().total < before + 1:
                    assert time.monotonic() < deadline, "the writer never wrote"
                    time.sleep(0.01)
                time.sleep(0.07 * attempt)
        finally:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
    with open_store(url) as store:
        check = store.check_audit()
        headers = store.proposals(size=1000)
        assert check.faults == ()
        assert check.events == headers.total >= 2
        for header in headers.items[:5]:
            assert len(store.proposal(header.proposal_id).coupons) == 4000
        store.save_proposal(make_proposal("the next run goes on"))


def test_an_upgraded_store_keeps_what_it_held(url):
    with open_store(url) as store:
        store.save_proposal(make_proposal())
    assert upgrade_store(url)[0] == upgrade_store(url)[1]
    with open_store(url) as store:
        assert store.proposals().total == 1
