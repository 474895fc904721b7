"""The growth team's buttons: a proposal's experiment is designed, started, looked at and ended on the pages."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import test_browser
from selenium.webdriver.common.by import By
from serving import serving
from store_examples import PASSWORD, make_proposal, price_line
from test_browser import fits, follow, set_width

from api.experiment_history import CustomerHistory, shop_of
from api.experiments import assign_units
from engine.errors import DataError
from engine.proposal import CouponLine
from engine.store import ExperimentState, Exposure, UnitOutcome, open_store
from experiments.proposal_design import WeeklyHistory

browser = test_browser.browser
PRODUCTS, WEEKS = 96, 24
LEVEL = np.random.default_rng(1).lognormal(3, 0.5, PRODUCTS)


def sold(folder: Path) -> Path:
    """A shop whose products sold for half a year, each at its own level."""
    folder.mkdir()
    rng = np.random.default_rng(2)
    names = [f"p{i}" for i in range(PRODUCTS)]
    listed = pd.DataFrame({"product_id": names, "unit_cost": 1.4, "category": [f"k{i // 8}" for i in range(PRODUCTS)]})
    listed.to_csv(folder / "products.csv", index=False)
    keys = {"product_id": np.repeat(names, WEEKS), "week": np.tile(np.arange(1, WEEKS + 1), PRODUCTS)}
    units = np.rint(np.repeat(LEVEL, WEEKS) + rng.normal(0, 1, PRODUCTS * WEEKS)).clip(1)
    pd.DataFrame(keys | {"units": units, "revenue": 2 * units}).to_csv(folder / "sales_weekly.csv", index=False)
    pd.DataFrame(keys | {"price": 2.0}).to_csv(folder / "prices_weekly.csv", index=False)
    return folder


def repriced():
    """A proposal that moves every second price."""
    lines = [
        replace(price_line(f"p{i}", proposed=2.1 if i % 2 else 2.0), category=f"k{i // 8}") for i in range(PRODUCTS)
    ]
    made = replace(make_proposal(prices=lines, coupons=()), data="corner")
    made.summary["price"] = {"status": "optimal", "gap": 1e-4, "changed": PRODUCTS // 2, "held_unidentified": 0}
    return made


def report(store, name, gain=4.0):
    """Expose every product as it was drawn, and send what it earned."""
    stored = store.experiments.get(name)
    at = datetime.now(UTC)
    rng = np.random.default_rng(3)
    drawn = assign_units(stored, stored.design["assigned"]["units"], [])
    before = {one["unit_id"]: float(LEVEL[int(one["unit_id"][1:])]) * 0.6 for one in drawn}
    shown = [Exposure(one["unit_id"], one["variant"], at, {"profit_before": before[one["unit_id"]]}) for one in drawn]
    done = [
        UnitOutcome(f"o{i}", one["unit_id"], at, {"profit": earned, "units": 50.0 + rng.normal(0, 0.1)})
        for i, one in enumerate(drawn)
        for earned in [before[one["unit_id"]] + gain * one["variant"] + rng.normal(0, 0.2)]
    ]
    store.experiment_logs.take_exposures(name, shown)
    store.experiment_logs.take_outcomes(name, done)


def test_only_who_may_run_experiments_is_shown_the_buttons_and_can_press_them(people, store, clock):
    store.save_proposal(repriced())
    store.experiments.add("e", salt="s", design={"rule": {"metric": "profit"}}, by="ann", now=clock())
    viewer, analyst = people["viewer"], people["analyst"]
    for page in ("/experiments/e", "/proposals/P1"):
        assert "Start the experiment" not in viewer.get(page).text
        assert "design-prices" not in viewer.get(page).text
    assert viewer.post("/experiments/e/start", page="/experiments").status_code == 403
    assert viewer.post("/proposals/P1/experiments", page="/experiments", part="prices").status_code == 403
    assert "Start the experiment" in analyst.get("/experiments/e").text
    assert analyst.client.post("/experiments/e/start").status_code == 400, "without the form's token"
    assert store.experiments.get("e").state is ExperimentState.DESIGNED
    assert analyst.post("/experiments/nobody/start", page="/experiments").status_code == 404
    assert analyst.post("/proposals/nobody/experiments", page="/experiments").status_code == 404


def test_every_press_is_in_the_audit_and_what_cannot_be_is_said(people, store, clock):
    store.experiments.add("e", salt="s", design={"rule": {"metric": "profit"}}, by="ann", now=clock())
    analyst = people["analyst"]
    analyst.post("/experiments/e/look", page="/experiments")
    assert "has not started" in analyst.get("/experiments/e").text
    assert analyst.post("/experiments/e/start", page="/experiments/e").status_code == 302
    assert "Start the experiment" not in analyst.get("/experiments/e").text
    analyst.post("/experiments/e/start", page="/experiments/e")
    assert "is running; only one that is designed can be running" in analyst.get("/experiments/e").text
    analyst.post("/experiments/e/end", page="/experiments/e", why=" ")
    assert "say why it ends" in analyst.get("/experiments/e").text
    analyst.post("/experiments/e/end", page="/experiments/e", why="no longer <b>needed</b>")
    assert store.experiments.get("e").state is ExperimentState.ENDED
    events = [(e.actor, e.action, e.why) for e in store.latest_events() if e.subject == "experiment:e"]
    assert events == [
        ("ann", "design", ""),
        ("analyst", "running", ""),
        ("analyst", "ended", "no longer <b>needed</b>"),
    ]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"experiment_id": "a b"}, "experiment_id"),
        ({"power": "1.5"}, "power"),
        ({"part": "banners"}, "part"),
        ({"experiment_id": "e"}, "exists; choose another"),
        ({}, "made from corner"),
    ],
    ids=["name", "power", "part", "taken", "other data"],
)
def test_a_design_that_is_refused_says_why_and_stores_nothing(people, store, clock, sent, said, monkeypatch):
    store.save_proposal(repriced())
    store.experiments.add("e", salt="s", design={"rule": {"metric": "profit"}}, by="ann", now=clock())
    monkeypatch.setattr("engine.sources.open_shop", lambda *_: type("Other", (), {"name": "elsewhere"}))
    answer = people["analyst"].post(
        "/proposals/P1/experiments", page="/proposals/P1", **{"experiment_id": "new", "part": "prices"} | sent
    )
    assert answer.status_code == 302
    assert said in people["analyst"].get("/proposals/P1").text
    assert store.experiments.page().total == 1


@pytest.mark.parametrize(
    ("at", "opened"),
    [
        ({"then": "corner", "now": "elsewhere"}, "then"),
        ({"now": "corner"}, "now"),
        ({"then": "elsewhere", "now": "corner"}, "now"),
    ],
    ids=["where it was", "moved", "other data there by now"],
)
def test_a_proposal_is_tested_on_the_data_that_it_was_made_from(settings, monkeypatch, at, opened):
    def open_shop(source, _):
        if source not in at:
            raise DataError(f"{source} is gone")
        return SimpleNamespace(name=at[source], source=source)

    monkeypatch.setattr("engine.sources.open_shop", open_shop)
    made = repriced()
    made.evidence["settings"] = {"data": {"source": "then"}}
    given = settings.model_copy(update={"data": settings.data.model_copy(update={"source": "now"})})
    assert shop_of(given, made).source == opened
    at["now"] = "elsewhere"
    if opened == "now":
        with pytest.raises(DataError, match=r"made from corner.* the settings name now"):
            shop_of(given, made)


def test_the_draw_is_read_as_a_table_while_the_experiment_runs(people, store, clock, monkeypatch):
    store.save_proposal(repriced())
    names, weeks = tuple(f"p{i}" for i in range(PRODUCTS)), np.random.default_rng(4).normal(0, 1, (PRODUCTS, WEEKS))
    past = WeeklyHistory(names, 30 * LEVEL[:, None] + weeks)
    monkeypatch.setattr("api.experiment_history.history_of_products", lambda *_: past)
    analyst = people["analyst"]
    analyst.post("/proposals/P1/experiments", page="/proposals/P1", experiment_id="e", part="prices")
    table = "/experiments/e/assignment.csv"
    assert analyst.get(table).status_code == 409, "nobody is assigned before the start"
    analyst.post("/experiments/e/start", page="/experiments/e")
    assert people["viewer"].get(table).status_code == 403
    rows = list(csv.DictReader(io.StringIO(analyst.get(table).text)))
    assert {row["unit_id"] for row in rows} == {f"p{i}" for i in range(1, PRODUCTS, 2)}
    kept = store.experiments.get("e").design["assigned"]
    assert [int(row["variant"]) for row in rows] == list(kept["variant"])


def test_the_form_of_the_coupons_holds_back_the_share_that_was_asked_for(people, store, monkeypatch):
    coupons = tuple(CouponLine(f"c{i}", "A", 1.5, 0.5) for i in range(4000))
    made = replace(make_proposal(prices=(), coupons=coupons), data="corner")
    made.summary["coupons"] = {"status": "optimal", "gap": 0.0, "sent": len(coupons), "spend": 2000.0}
    store.save_proposal(made)
    rng = np.random.default_rng(5)
    past = CustomerHistory(rng.gamma(2, 3, 4000), rng.gamma(2, 3, 4000))
    monkeypatch.setattr("api.experiment_history.history_of_customers", lambda *_: past)
    analyst = people["analyst"]
    shown = analyst.get("/proposals/P1").text
    assert "design-coupons" in shown
    assert "design-prices" not in shown
    sent = {"experiment_id": "P1-coupons", "part": "coupons", "held_back": "0.3", "power": "", "alpha": "0.1"}
    assert analyst.post("/proposals/P1/experiments", page="/proposals/P1", **sent).location == "/experiments/P1-coupons"
    design = store.experiments.get("P1-coupons").design
    assert design["split"]["weights"] == [0.3, 0.7]
    assert design["plan"]["alpha"] == 0.1
    assert "P1-coupons-2" in analyst.get("/proposals/P1").text, "the next name that is offered is free"


def page(browser):
    return browser.find_element(By.ID, "content").text


def change(browser, weeks, why=""):
    """Store a new version of the design, on the experiment's page."""
    browser.find_element(By.CSS_SELECTOR, "#change summary").click()
    field = browser.find_element(By.ID, "change-weeks")
    field.clear()
    field.send_keys(weeks)
    browser.find_element(By.ID, "change-why").send_keys(why)
    follow(browser, By.CSS_SELECTOR, "#change button")


@pytest.mark.browser
def test_from_a_proposals_page_to_the_decision_without_a_command(browser, tmp_path):
    home, shop = tmp_path / "home", sold(tmp_path / "corner")
    home.mkdir()
    with open_store(f"sqlite:///{home / 'offerwright.db'}", upgrade=True) as store:
        store.save_proposal(repriced())
        with serving(home, "--set", "jobs.enabled=false", "--set", f"data.source={shop}") as server:
            set_width(browser, 1440)
            browser.get(server.link)
            browser.find_element(By.ID, "name").send_keys("gro")
            browser.find_element(By.ID, "password").send_keys(PASSWORD)
            follow(browser, By.CSS_SELECTOR, "button.main")
            browser.get(f"{server.url}/proposals/P1")
            browser.find_element(By.CSS_SELECTOR, "#design-prices summary").click()
            browser.find_element(By.ID, "prices-margin").send_keys("0.03")
            follow(browser, By.CSS_SELECTOR, "#design-prices button")
            assert browser.current_url == f"{server.url}/experiments/P1-prices"
            assert "Guardrail: units may not fall by more than 3 %" in page(browser)
            assert "splits of history that mean nothing" in page(browser)
            change(browser, weeks="7")
            assert "Planned length in weeks: 7." in page(browser)
            follow(browser, By.CSS_SELECTOR, ".actions button")
            assert browser.find_element(By.LINK_TEXT, "assignment.csv")
            change(browser, weeks="6", why="the season ends")
            assert "Planned length in weeks: 6." in page(browser)
            assert "the season ends" in browser.find_element(By.ID, "versions").text
            follow(browser, By.CSS_SELECTOR, "form[action$=look] button")
            assert browser.find_element(By.CSS_SELECTOR, ".notice.bad[role=alert]").text
            report(store, "P1-prices")
            assert "Effects by" not in page(browser), "products drawn as a whole have no breakdown"
            follow(browser, By.CSS_SELECTOR, "form[action$=look] button")
            read = page(browser)
            assert "Measured:" in read
            assert "This is an early reading" in read, "a look on the first day is not the plan's end"
            assert "ship" not in read
            assert len(browser.find_elements(By.CSS_SELECTOR, "#looks tbody tr")) == 1
            browser.find_element(By.ID, "why").send_keys("shipped")
            follow(browser, By.CSS_SELECTOR, "form[action$=end] button")
            assert "ended" in browser.find_element(By.TAG_NAME, "h1").text
            assert "End the experiment" not in page(browser)
            browser.get(f"{server.url}/proposals/P1")
            beside = browser.find_element(By.ID, "experiments").text
            assert "The proposal promised" in beside
            assert "Measured:" in beside, "written back beside the promise"
            for width in (375, 1440):
                set_width(browser, width)
                browser.get(f"{server.url}/proposals/P1")
                browser.find_element(By.CSS_SELECTOR, "#design-prices summary").click()
                assert fits(browser), f"the form is wider than {width} px"
                browser.get(f"{server.url}/experiments/P1-prices")
                assert fits(browser), f"the experiment is wider than {width} px"
            complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
            assert complaints == []
        kept = store.experiments.get("P1-prices")
        assert (kept.state, kept.proposal_id) == (ExperimentState.ENDED, "P1")
