"""The page of a proposal's frontier: every point is shown in both languages and can be taken as a draft once a day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from store_examples import NOW, make_proposal, price_line
from test_price_choice import settings as price_settings
from test_price_frontier import posed

from api.frontier import frontier_of
from api.frontier_plans import draft_of_point, index_plans, measured_plans
from api.price_choice import PriceChoice
from api.price_evidence import FRONTIER_BANDS, index_frontier
from api.report import render_report
from api.rule_stage import PriceRules
from engine.errors import ConflictError
from engine.progress import Silent
from engine.proposal import FrontierLine, FrontierPlan, Proposal, State
from optimizers.prices import evaluate_prices

LINES = [price_line("1", title="Milk"), price_line("2", title="Bread", proposed=2.0), price_line("3", title="Butter")]


def with_frontier() -> Proposal:
    def point(measure: str, level: float | None, price: float, gain: float) -> FrontierPlan:
        line = FrontierLine("2", price, 90.0, 60.0 + gain, gain - 5, gain + 5)
        return FrontierPlan(measure, level, 0.004, gain, gain - 5, gain + 5, gain + 0.1, 1e-4, (line,))

    points = point("index", 0.005, 2.1, 7.5), point("index", 0.02, 2.3, 9.0), point("index", None, 2.5, 9.5)
    proposal = replace(make_proposal(prices=LINES), frontier=(*points, point("investment", 120.0, 1.8, 3.0)))
    proposal.summary.update({"profit_current": 180.0, "price": {"changed": 2, "held_unidentified": 0}})
    proposal.summary["fingerprints"] = {"data": "d", "plan": "p"}
    lists = dict.fromkeys(("frontier", "warnings", "caveats", "diagnostics"), ())
    proposal.evidence.update({"prices": {**lists, "backtest": None}, "faults": []})
    return proposal


@pytest.fixture
def frontier(store):
    store.save_proposal(with_frontier())
    return "/proposals/P1/frontier"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_point_is_on_the_page(people, frontier, language):
    people["viewer"].get(f"/language/{language}")
    page = people["viewer"].get(frontier).text
    assert page.count("<svg viewBox") >= 2, "the head's sign and the plot of the index; one point alone has none"
    for told in ("+0.50 %", "+2.00 %", "120.00", "9.5" if "9.5" in page else "10"):
        assert told in page
    assert "/frontier/4" not in page, "who only looks is offered no button"
    assert page.count("/frontier/") == 0
    assert people["analyst"].get(frontier).text.count('action="/proposals/P1/frontier/') == 4
    assert frontier in people["viewer"].get("/proposals/P1").text


def test_a_point_becomes_a_draft_with_its_prices_and_a_life(people, store, frontier):
    answer = people["analyst"].post(f"{frontier}/2", page=frontier)
    taken = answer.location.rsplit("/", 1)[1]
    draft = store.proposal(taken)
    assert (draft.state, draft.created_by) == (State.DRAFT, "analyst")
    assert [line.proposed_price for line in draft.prices] == [2.0, 2.3, 2.0]
    assert [line.profit_proposed for line in draft.prices] == [60.0, 69.0, 60.0]
    assert draft.summary["promised_gain"] == 9.0
    assert draft.summary["taken_from"] == "P1"
    assert draft.frontier == store.frontier("P1"), "another point can be taken from the draft"
    page = people["analyst"].get(answer.location).text
    assert "taken from the frontier of proposal P1" in page
    people["analyst"].post(f"/proposals/{taken}/submit", page=f"/proposals/{taken}")
    people["approver"].post(f"/proposals/{taken}/approve", page=f"/proposals/{taken}")
    assert store.header(taken).state is State.APPROVED
    assert store.header("P1").state is State.DRAFT, "the proposal itself stays as it was"
    assert store.check_audit().faults == ()


def test_a_point_taken_twice_is_one_draft(people, store, frontier):
    first = people["analyst"].post(f"{frontier}/1", page=frontier)
    again = people["analyst"].post(f"{frontier}/1", page=frontier)
    assert first.location == again.location
    assert store.proposals().total == 2
    assert "taken today already" in people["analyst"].get(again.location).text


def test_only_who_may_propose_takes_points_that_there_are(people, store, frontier):
    assert people["viewer"].post(f"{frontier}/1", page="/proposals/P1").status_code == 403
    assert people["analyst"].post(f"{frontier}/9", page=frontier).location == frontier
    assert "has no point 9" in people["analyst"].get(frontier).text
    assert store.proposals().total == 1
    with pytest.raises(ConflictError, match="no point 0"):
        draft_of_point(with_frontier(), 0, now=NOW, created_by="ana")


def test_a_proposal_without_a_frontier_says_how_to_make_one(people, stored):
    assert "offerwright frontier" in people["viewer"].get("/proposals/P1/frontier").text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_of_a_draft_can_be_read(language):
    draft = draft_of_point(with_frontier(), 1, now=NOW, created_by="ana")
    assert "Bread" in render_report(draft, language=language)
    assert draft.evidence["prices"]["margins"]["1.3"] == pytest.approx(90 * (2.1 - 2 + 1.3 * 0.6) - 100 * 1.3 * 0.6)


def test_points_are_worth_what_their_lines_add_up_to():
    shop, given = posed(PriceRules()), price_settings()
    points = index_frontier(shop.problem, given, PriceChoice("mean", PriceRules()))
    kept = index_plans(shop.problem, points)
    assert [point.level for point in kept] == list(FRONTIER_BANDS)
    found = frontier_of(shop, "units", [0.0, 0.02], given, Silent())
    current = evaluate_prices(shop.problem, shop.problem.current_price)
    for point in (*kept, *measured_plans(shop.problem, found)):
        place = [shop.problem.product_ids.index(line.product_id) for line in point.lines]
        gained = sum(line.profit for line in point.lines) - float(current.profit[place].sum())
        assert gained == pytest.approx(point.gain, rel=1e-6)
        assert point.gain_low < point.gain < point.gain_high
        assert point.gain <= point.bound
        assert point.level is None or point.measure == "units" or abs(point.reached) <= point.level + 1e-9
    assert np.all(np.diff([point.gain for point in kept]) >= -2e-3 * kept[-1].gain)
