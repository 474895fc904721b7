"""Weeks are planned again on a page as over the API: same permission, same plan, once; faults are told beside it."""

from __future__ import annotations

import io

import pytest
from test_plan_commands import OPTIONS, PRODUCTS, STOCK
from test_week_plans import calendar, markdown

from api.week_planning import sold_text
from engine.errors import DataError
from engine.store import open_store

FILLED = {"coat": ",6,54", "0042": ",18,82"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A proposal of each kind."""
    folder = tmp_path_factory.mktemp("plans")
    for name, text in (("stock", STOCK), ("products", PRODUCTS), ("options", OPTIONS)):
        (folder / f"{name}.csv").write_text(text)
    told = {"markdown": markdown(folder), "promotions": calendar(folder)}
    with open_store(f"sqlite:///{folder / 'store.db'}") as other:
        return {kind: other.proposal(str(one["proposal_id"])) for kind, one in told.items()}


@pytest.fixture
def plans(made, store):
    """Identifiers of the stored plans."""
    for proposal in made.values():
        store.save_proposal(proposal)
    return {kind: proposal.proposal_id for kind, proposal in made.items()}


def shown_text(visitor, page):
    return visitor.client.get(page).text.partition('spellcheck="false">')[2].partition("</textarea>")[0]


def filled(text):
    """The text that the form shows, with what sold and the stock written at the end of each row."""
    head, *rows = text.strip().splitlines()
    return "\n".join([head, *(row.removesuffix(",,") + FILLED[row.partition(",")[0]] for row in rows)])


def form_key(visitor, page):
    return visitor.client.get(page).text.partition('name="key" value="')[2].partition('"')[0]


def test_the_form_holds_the_coming_week_and_makes_the_plan_of_the_api(people, bearer, plans, store):
    page = f"/proposals/{plans['markdown']}/replan"
    analyst = people["analyst"]
    assert page in analyst.get(f"/proposals/{plans['markdown']}").text
    text = shown_text(analyst, page)
    assert text.splitlines()[0] == "product_id,week,price,sold,stock"
    assert [row.split(",")[:2] for row in text.split()[1:]] == [["coat", "1"], ["0042", "1"]]
    answer = analyst.post(page, sold=filled(text), key=form_key(analyst, page))
    draft = store.proposal(answer.location.rpartition("/")[2])
    assert draft.summary["replaces"] == plans["markdown"]
    assert draft.created_by == "analyst"
    assert [event.actor for event in store.audit(draft.proposal_id)] == ["analyst"]
    sold = [
        dict(zip(("product_id", "week", "price", "sold", "stock"), [one, 1, *map(float, rest)], strict=True))
        for one, _, *rest in (row.split(",") for row in filled(text).splitlines()[1:])
    ]
    route = f"/api/v1/week-plans/{plans['markdown']}/replan"
    other = bearer["analyst"].post(route, json={"sold": sold}).json
    assert other["summary"]["promised_gain"] == draft.summary["promised_gain"]
    assert shown_text(analyst, f"/proposals/{draft.proposal_id}/replan").split()[1].startswith("coat,2,")


def test_a_calendar_is_planned_again_from_an_uploaded_file(people, plans, store):
    page = f"/proposals/{plans['promotions']}/replan"
    analyst = people["analyst"]
    text = shown_text(analyst, page)
    assert text.splitlines()[0] == "product_id,week,sold,option"
    rows = "\r\n".join(row.replace(",1,,", ";1;200;").replace(",", ";") for row in text.split())
    table = (io.BytesIO(b"\xef\xbb\xbf" + rows.encode()), "sold.csv")
    answer = analyst.post(page, sold="", table=table)
    assert answer.status_code == 302
    assert store.header(answer.location.rpartition("/")[2]).summary["replaces"] == plans["promotions"]


def test_sent_twice_it_is_planned_once_and_another_text_is_another_plan(people, plans, store):
    page, before = f"/proposals/{plans['markdown']}/replan", store.proposals().total
    analyst = people["analyst"]
    text, key = filled(shown_text(analyst, page)), form_key(analyst, page)
    first, second = (analyst.post(page, sold=text, key=key).location for _ in range(2))
    assert first == second
    assert analyst.post(page, sold=text.replace(",6,54", ",9,51"), key=key).location != first
    assert store.proposals().total == before + 2


def test_only_analysts_with_the_form_may(people, plans, store):
    page, before = f"/proposals/{plans['markdown']}/replan", store.proposals().total
    assert "replan" not in people["viewer"].get(f"/proposals/{plans['markdown']}").text
    assert people["viewer"].get(page).status_code == 403
    text = filled(shown_text(people["analyst"], page))
    token = people["viewer"].form_token("/proposals")
    assert people["viewer"].client.post(page, data={"sold": text, "csrf_token": token}).status_code == 403
    assert people["analyst"].client.post(page, data={"sold": text}).status_code == 400, "without the form's token"
    assert people["analyst"].get("/proposals/P9/replan").status_code == 404
    assert store.proposals().total == before


REFUSED = (
    (lambda text: text, "column sold, row 1", "sold"),
    (lambda text: "", "cannot be read as a table", "无法"),
    (lambda text: filled(text).replace("stock", "shelf"), "no column stock", "stock"),
    (lambda text: filled(text).rpartition("\n")[0], "no row for product 0042", "0042"),
    (lambda text: filled(text).replace(",1,", ",3,"), "counted from 1", "从 1"),
    (lambda text: filled(text) + "\n" + filled(text).split()[1], "two rows for product coat", "coat"),
    (lambda text: filled(text).replace(",1,", ",1,1"), "is not on its ladder", "价格"),
)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_refused_is_said_beside_the_text_that_was_sent(people, plans, store, language):
    page, before = f"/proposals/{plans['markdown']}/replan", store.proposals().total
    analyst = people["analyst"]
    shown = shown_text(analyst, page)
    analyst.get(f"/language/{language}")
    for change, english, chinese in REFUSED:
        text = change(shown)
        answer = analyst.post(page, sold=text)
        assert answer.status_code == 422
        told = answer.text.partition('role="alert">')[2].partition("</p>")[0]
        assert (english if language == "en" else chinese) in told
        assert language == "en" or english not in told
        assert text.strip() in answer.text
    assert store.proposals().total == before


def test_a_binary_file_is_refused_by_name(people, plans):
    page = f"/proposals/{plans['markdown']}/replan"
    answer = people["analyst"].post(page, sold="", table=(io.BytesIO(b"PK\xff\xfe\x00"), "sold.xlsx"))
    assert answer.status_code == 422
    assert "sold.xlsx" in answer.text


def test_rows_copied_from_a_spreadsheet_are_read_as_csv_is():
    pasted = "\ufeffproduct_id\tweek\tsold\toption\n 007\t1\t12\t\n"
    table = sold_text(pasted, "promotions")
    assert table.texts("product_id") == ("007",)
    assert table.numbers("sold").tolist() == [12.0]
    with pytest.raises(DataError, match="no column sold; it has product_id, week"):
        sold_text("product_id,week\n1,1\n", "promotions")
