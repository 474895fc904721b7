"""A person with a real browser: in by the set-up link, through list and detail, in both languages, at any width."""

from __future__ import annotations

import math
import shutil

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from serving import serving
from store_examples import PASSWORD, make_proposal, price_line

from engine.store import open_store

pytestmark = pytest.mark.browser
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")


@pytest.fixture(scope="module")
def browser():
    if shutil.which("chromedriver") is None:
        pytest.skip("no chromedriver on this machine")
    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *QUIET):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.implicitly_wait(5)
    yield driver
    driver.quit()


@pytest.fixture
def home(tmp_path):
    lines = [
        price_line(str(i), title=f"Product {i} with a rather long name", proposed=2.0 + i / 100) for i in range(60)
    ]
    lines.append(price_line("nan", title="Never estimated", proposed=2.0, elasticity=math.nan))
    proposal = make_proposal(prices=lines)
    proposal.summary["price"] = {"status": "optimal", "gap": 1e-4, "changed": 59, "held_unidentified": 1}
    proposal.summary["coupons"] = {"status": "optimal", "gap": 0.0, "sent": 1, "spend": 0.5}
    with open_store(f"sqlite:///{tmp_path / 'offerwright.db'}", upgrade=True) as store:
        store.save_proposal(proposal)
    return tmp_path


def set_width(browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def follow(browser, by, value):
    """Click, and wait for the page that follows to be there whole."""
    page = browser.find_element(By.TAG_NAME, "html")
    browser.find_element(by, value).click()
    patience = WebDriverWait(browser, 20)
    patience.until(lambda _: is_gone(page))
    patience.until(lambda driver: driver.execute_script("return document.readyState") == "complete")


def is_gone(element):
    """Whether an element's page was left; in the moment of leaving the driver has another word for it."""
    try:
        element.is_enabled()
    except StaleElementReferenceException:
        return True
    except WebDriverException as error:
        if "does not belong to the document" not in str(error.msg):
            raise
        return True
    return False


def fits(browser):
    return browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_from_the_set_up_link_to_an_approved_look_in_two_languages(browser, home):
    with serving(home, "--set", "jobs.enabled=false") as server:
        set_width(browser, 1440)
        browser.get(server.url)
        assert "/sign-in" in browser.current_url
        browser.get(server.link)
        browser.find_element(By.ID, "name").send_keys("ana")
        browser.find_element(By.ID, "password").send_keys(PASSWORD)
        follow(browser, By.CSS_SELECTOR, "button.main")
        assert browser.current_url == f"{server.url}/proposals"
        follow(browser, By.CSS_SELECTOR, "a.cover")
        assert browser.current_url == f"{server.url}/proposals/P1"
        assert "P1" in browser.find_element(By.TAG_NAME, "h1").text
        assert len(browser.find_elements(By.CSS_SELECTOR, "#prices tbody tr.figures")) == 25
        follow(browser, By.CSS_SELECTOR, "#prices a[rel=next]")
        assert "Page 2 of 3" in browser.find_element(By.CSS_SELECTOR, "#prices .pager").text
        browser.find_element(By.NAME, "contains").send_keys("Product 42")
        follow(browser, By.CSS_SELECTOR, "#prices form button")
        assert len(browser.find_elements(By.CSS_SELECTOR, "#prices tbody tr.figures")) == 1
        follow(browser, By.LINK_TEXT, "elasticity")
        follow(browser, By.LINK_TEXT, "简体中文")
        assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "zh-CN"
        assert "承诺收益" in browser.find_element(By.ID, "summary").text
        browser.get(f"{server.url}/proposals")
        assert "方案" in browser.find_element(By.TAG_NAME, "h1").text
        for width in (375, 1440):
            set_width(browser, width)
            for path in ("/proposals", "/proposals/P1", "/proposals/P1/frontier"):
                browser.get(server.url + path)
                assert fits(browser), f"{path} is wider than {width} px"
        complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert complaints == [], "the console is quiet, so the Content-Security-Policy holds for our own pages"
        follow(browser, By.CSS_SELECTOR, "button.quiet")
        assert "/sign-in" in browser.current_url
