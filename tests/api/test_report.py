import csv
import io
from html.parser import HTMLParser

import pytest

from api.language import say
from api.outputs import COUPON_COLUMNS, PRICE_COLUMNS, render_outputs
from api.report import biggest_moves, render_body, render_report
from engine.proposal import Reason, State
from tests.api.proposals import price_line, proposal

VOID = {"meta", "input", "br", "link", "img", "hr", "line", "rect", "circle", "path"}


class Balance(HTMLParser):
    """Fails when a tag is closed that was not open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_is_well_formed():
    page = render_report(proposal())
    reader = Balance()
    reader.feed(page)
    assert reader.open == []
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_promise_and_its_interval_are_told_beside_the_raw_prediction(language):
    body = render_body(proposal(), language)
    for figure in ("6 EUR", "1", "10", "14"):
        assert figure in body


def test_what_people_typed_into_the_catalogue_cannot_become_markup():
    page = render_report(proposal(title="<script>alert(1)</script>"))
    assert "<script" not in page


def test_the_biggest_moves_come_first_and_held_products_are_no_moves():
    small = price_line("small", profit_proposed=100.5)
    loss = price_line("loss", profit_proposed=80.0)
    held = price_line("held", proposed=3.0, profit_proposed=200.0)
    assert [line.product_id for line in biggest_moves([small, held, loss])] == ["loss", "small"]


def test_a_proposal_without_a_plan_says_why():
    stuck = proposal(
        state=State.INFEASIBLE,
        summary={"infeasible": "Rule A contradicts rule B.", "fingerprints": {}},
        evidence={"notes": [], "faults": [], "prices": None, "coupons": None},
        prices=(),
        coupons=(),
    )
    assert "Rule A contradicts rule B." in render_report(stuck)


def test_tables_hold_the_promised_columns_and_one_row_for_each_line():
    files = render_outputs(proposal(), language="en")
    prices = list(csv.DictReader(io.StringIO(files["prices.csv"])))
    coupons = list(csv.DictReader(io.StringIO(files["coupons.csv"])))
    assert tuple(prices[0]) == PRICE_COLUMNS
    assert tuple(coupons[0]) == COUPON_COLUMNS
    assert [row["product_id"] for row in prices] == ["P1", "P2"]
    assert prices[0]["why"] == "held at today's price: elasticity not identified (-1.1 ± 0.9)"


def test_the_business_rules_stand_in_the_report_with_what_they_bound():
    made = proposal()
    rule = {"name": "Slowly <b>", "kind": "max_change", "scope": "all products", "owner": "Ada", "penalty": 2.5}
    rule |= {"today": "must_hold", "products": 2, "bound": 1, "broken_today": 0}
    told = {"remarks": ["a remark of the rules"], "fines": 3.25, "rules": [rule]}
    made.evidence["prices"]["rules"] = told
    page = render_report(made)
    assert "Slowly &lt;b&gt;" in page
    assert "soft: 2.50 for each unit of violation" in page
    assert "a remark of the rules" in page
    assert "The plan pays 3.25 for soft rules" in page
    assert "Business rules" not in render_report(proposal())


@pytest.mark.parametrize("value", [float("nan"), None])
def test_a_figure_that_could_not_be_computed_is_a_dash_in_sentences(value):
    verdict = [Reason("targeting leaves counterparts: AUC {auc:.2f}", {"auc": value})]
    evidence = proposal().evidence
    told = proposal(evidence={**evidence, "coupons": {**evidence["coupons"], "verdict": verdict}})
    assert "targeting leaves counterparts: AUC –" in render_body(told, "en")


@pytest.mark.parametrize("status", ["optimal", "time_limit", "gap_limit", "heuristic", "nothing_to_move", "cancelled"])
def test_every_way_in_which_a_solver_ends_has_words(status):
    summary = proposal().summary
    told = proposal(summary={**summary, "price": {**summary["price"], "status": status}})
    assert f"Prices: {status}," not in render_body(told, "en").replace("Prices: optimal,", "")


def test_what_rounds_to_zero_has_no_sign():
    told = Reason(
        "gain {gain:,.0f}, share {share:.0%}, change {change:+.2f}", {"gain": -0.4, "share": -1e-4, "change": -2}
    )
    assert say(told, str) == "gain 0, share 0%, change -2.00"
