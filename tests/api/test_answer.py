"""What a proposal says first is what its lines add up to, and nothing is said that is not known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.answer import UNMOVED, doubts, gain_sources, leading_product, to_do
from api.language import closed, first_capital
from api.report import part, render_report
from engine.files import plain
from engine.proposal import Reason
from tests.api.proposals import price_line, proposal


def line(name, move, gain):
    return price_line(name, title=f"Product {name}", current=2.0, proposed=2.0 + move, profit_proposed=100.0 + gain)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([-0.1, 0.0, 0.1]), max_size=12), st.integers(0, 5))
def test_every_price_is_raised_lowered_or_kept(moves, sent):
    said = to_do([line(str(i), move, 0.0) for i, move in enumerate(moves)], {"coupons": {"sent": sent}})
    text = "" if said is None else said.english()
    up, down = sum(move > 0 for move in moves), sum(move < 0 for move in moves)
    told = f"raise {up}, lower {down}, keep {len(moves) - up - down}" if up or down else f"keep all {len(moves)}"
    assert not moves or told in text
    assert (f"send to {sent} customers" in text) == (sent > 0)
    assert (said is None) == (not moves and not sent)


def test_the_parts_of_the_gain_add_up_and_higher_prices_as_such_are_told_apart():
    summary = {
        "promised_gain": 500.0,
        "price": {"index_neutral_gain": 300.0},
        "coupons": {"promised_gain": 120.0},
    }
    parts, unmoved = gain_sources(summary)
    assert sum(parts.values.values()) == 500.0
    assert (unmoved.code, unmoved.values) == (UNMOVED, {"gain": 300.0})
    assert gain_sources(summary | {"price": {"index_neutral_gain": 379.0}}) == (parts,), "the same but for rounding"
    assert gain_sources({"promised_gain": None, "price": {"index_neutral_gain": 3.0}}) == ()
    assert gain_sources({"promised_gain": 5.0, "price": {"index_neutral_gain": math.nan}, "coupons": None}) == ()


def test_a_product_on_which_the_gain_rests_is_named():
    lines = [line(str(i), 0.1, 10.0) for i in range(9)]
    assert leading_product(lines) is None
    said = leading_product([*lines, line("big", 0.1, 60.0)])
    assert said is not None
    assert said.values == {"product": "Product big", "share": pytest.approx(0.4)}
    held = line("held", 0.0, 1000.0)
    assert leading_product([*lines, held]) is None, "what keeps its price brings nothing by it"
    assert leading_product([line("one", 0.1, 5.0)]) is None, "of one move there is nothing to compare"
    assert leading_product([line("a", 0.1, -5.0), line("b", 0.1, -9.0)]) is None


def test_what_weighs_most_stands_first_fresh_or_stored_and_data_apart():
    reason = {name: Reason(f"the {name}") for name in ("heldout", "sensitivity", "coupons", "uncertain")}
    prices = {
        "heldout": {"reason": reason["heldout"]},
        "sensitivity": {"reason": reason["sensitivity"]},
        "margins": {"0.7": 2.0, "1.3": 9.0},
        "warnings": ["a warning"],
        "caveats": ["a caveat"],
    }
    coupons = {"reason": reason["coupons"], "uncertain": reason["uncertain"]}
    evidence = {"prices": prices, "coupons": coupons, "notes": ["a note"]}
    for told in (evidence, plain(evidence)):
        found = doubts(told, Reason("the leader"))
        codes = [one if isinstance(one, str) else plain(one)["code"] for one in found.promise]
        assert [code.split()[1] for code in codes] == [
            *("heldout", "leader", "unit", "sensitivity", "coupons", "uncertain", "warning")
        ]
        assert found.data == ("a note", "a caveat")
    assert doubts({"notes": ["a"], "prices": None, "coupons": None, "weeks": {"weeks": 3}}).promise == ("a",)


def test_the_first_screen_says_what_to_do_before_it_says_how_it_was_found():
    page = render_report(proposal()).partition("<body")[2]
    places = [
        page.index(words) for words in ("Promised gain", "Prices: raise 1,", "Before you approve", "biggest moves")
    ]
    assert places == sorted(places)
    assert page.index("What the data cannot say") < places[-1]


@pytest.mark.parametrize(("share", "told"), [(0.0, "0 %"), (1.4389e-5, "0.0014 %"), (0.123, "12 %"), (None, "–")])
def test_a_small_share_has_two_significant_digits(share, told):
    assert part(share) == told


def test_sentences_are_closed_once_in_either_language():
    assert [closed(text) for text in ("a b", "a b.", "价格", "价格。", "a … b …", "")] == [
        *("a b.", "a b.", "价格。", "价格。", "a … b …", "")
    ]
    assert first_capital("one thing") == "One thing"
    assert first_capital("") == ""
