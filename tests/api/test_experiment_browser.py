"""A proposal is tested by commands, and a person reads with a real browser what it measured beside what it promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import test_browser
from selenium.webdriver.common.by import By
from serving import serving
from store_examples import PASSWORD, make_proposal, price_line
from test_browser import fits, follow, set_width

from api.cli import run_command
from engine.store import open_store

pytestmark = pytest.mark.browser
browser = test_browser.browser
PRODUCTS = 160


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [
        replace(price_line(f"p{i}", proposed=2.1 if i % 2 else 2.0), category=f"k{i // 8}") for i in range(PRODUCTS)
    ]
    with open_store(f"sqlite:///{tmp_path / 'offerwright.db'}", upgrade=True) as store:
        store.save_proposal(make_proposal(prices=lines))
    return tmp_path


def offerwright(home, *words):
    assert run_command(["experiment", *words, "--set", f"data.home={home}"]) == 0


def weekly(level, rng):
    rows = [(f"p{i}", week, level[i] + rng.normal(0, 0.5)) for i in range(PRODUCTS) for week in range(24)]
    pd.DataFrame(rows, columns=["product_id", "week", "profit"]).to_csv("weekly.csv", index=False)


def after(level, rng, spoiled):
    drawn = pd.read_csv("drawn.csv", dtype={"product_id": str})
    place = drawn["product_id"].str[1:].astype(int).to_numpy()
    table = drawn.drop(columns="variant").assign(profit_before=level[place], units=50 + rng.normal(0, 0.1, len(drawn)))
    table["profit"] = level[place] + 3.0 * drawn["variant"] + rng.normal(0, 0.2, len(drawn))
    lost = (drawn["variant"] == 1) & (np.arange(len(drawn)) % 4 < 2) & spoiled
    table[~lost].to_csv("after.csv", index=False)


def panel(browser, server):
    browser.get(f"{server.url}/proposals/P1")
    return browser.find_element(By.ID, "experiments").text


def test_from_the_proposal_to_what_it_really_earned(browser, home):
    rng = np.random.default_rng(1)
    level = rng.lognormal(2, 0.5, PRODUCTS)
    weekly(level, rng)
    offerwright(home, "design", "weekly.csv", "--name", "test", "--proposal", "P1")
    read = ("analyse", "after.csv", "--name", "test", "--unit", "product_id", "--weeks", "1")
    with serving(home, "--set", "jobs.enabled=false") as server:
        set_width(browser, 1440)
        browser.get(server.link)
        browser.find_element(By.ID, "name").send_keys("ana")
        browser.find_element(By.ID, "password").send_keys(PASSWORD)
        follow(browser, By.CSS_SELECTOR, "button.main")
        designed = panel(browser, server)
        assert "The proposal promised 120" in designed
        assert "For what is tested it promised 481" in designed
        assert "80 units; an effect of 0.75" in designed
        assert "Guardrail: units may not fall by more than 5 %" in designed
        assert "Nothing measured yet" in designed

        offerwright(home, "assign", "--name", "test", "--unit", "product_id", "--out", "drawn.csv")
        after(level, rng, spoiled=True)
        offerwright(home, *read)
        spoiled = panel(browser, server)
        assert "no decision may rest on it" in spoiled
        assert "what is left of the arms cannot be compared" in spoiled
        assert browser.find_elements(By.CSS_SELECTOR, "#experiments .notice.bad")

        after(level, rng, spoiled=False)
        offerwright(home, *read, "--plot", "test.html")
        text = panel(browser, server)
        assert "Measured: 1," in text, "three a product and week, 80 products, eight weeks: 1,920"
        assert "ship" in text
        assert "5 of 5 checks passed" in text
        follow(browser, By.LINK_TEXT, "test")
        assert browser.current_url == f"{server.url}/experiments/test"
        assert len(browser.find_elements(By.CSS_SELECTOR, "#looks tbody tr")) == 2
        follow(browser, By.LINK_TEXT, "It tests proposal P1.")
        follow(browser, By.LINK_TEXT, "Experiments")
        assert "ship" in browser.find_element(By.CSS_SELECTOR, "a.cover").text
        for width in (375, 1440):
            set_width(browser, width)
            for path in ("/proposals/P1", "/experiments", "/experiments/test"):
                browser.get(server.url + path)
                assert fits(browser), f"{path} is wider than {width} px"
        complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert complaints == []
        browser.get((home / "test.html").as_uri())
        assert browser.find_elements(By.TAG_NAME, "svg")
