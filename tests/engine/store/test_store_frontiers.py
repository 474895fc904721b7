"""The frontier of a proposal is kept with its plans, and sealed with the proposal."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import text
from store_examples import make_proposal

from engine.errors import NotFoundError
from engine.proposal import FrontierLine, FrontierPlan
from engine.store.database import Database

POINTS = (
    FrontierPlan("index", 0.01, 0.0099, 8.5, 1.0, 16.0, 8.75, 0.03, (FrontierLine("1", 2.2, 91.0, 68.5, -0.0, 12.5),)),
    FrontierPlan("index", None, 0.2, 9.0, 0.5, 17.0, 9.0, 0.0, ()),
)


def test_a_frontier_comes_back_as_it_was_saved(store):
    store.save_proposal(replace(make_proposal(), frontier=POINTS))
    store.save_proposal(make_proposal("P2"))
    assert store.frontier("P1") == store.proposal("P1").frontier == POINTS
    assert store.frontier("P2") == ()
    assert store.check_audit().faults == ()
    with pytest.raises(NotFoundError):
        store.frontier("P9")


def test_who_alters_a_point_is_found_out(store, url):
    store.save_proposal(replace(make_proposal(), frontier=POINTS))
    with closing(Database(url)) as database, database.write() as connection:
        connection.execute(text("UPDATE frontier_points SET gain = 80.5 WHERE position = 0"))
    assert any("P1" in fault for fault in store.check_audit().faults)
