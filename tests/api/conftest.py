"""An application on a store of its own, with people in every role."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from store_examples import NOW, PASSWORD, cheap_hasher, make_proposal, price_line

from api.app import create_app
from engine.settings import load_settings
from engine.store import Role, open_store


class Clock:
    """Time that stands until it is moved."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def move(self, **span):
        self.now += timedelta(**span)


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch):
    monkeypatch.setattr("engine.store.accounts.password_hasher", cheap_hasher)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settings(tmp_path):
    empty = tmp_path / "settings.yaml"
    empty.write_text("")
    return load_settings(empty, [f"data.home={tmp_path / 'home'}", "log.level=error"])


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A store with its schema and nothing in it: to copy is quicker than to migrate."""
    path = tmp_path_factory.mktemp("empty") / "offerwright.db"
    with open_store(f"sqlite:///{path}", upgrade=True):
        pass
    return path


@pytest.fixture
def store(settings, empty_store):
    path = Path(settings.store_url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_store, path)
    with open_store(settings.store_url) as opened:
        yield opened


@pytest.fixture
def app(settings, store, clock):
    return create_app(settings, store, clock=clock)


class Visitor:
    """A browser without a screen: keeps cookies and fills in the form token."""

    def __init__(self, app):
        self.client = app.test_client()

    def get(self, path, **more):
        return self.client.get(path, **more)

    def post(self, path, *, page=None, **fields):
        """Send a form that stands on `page` (by default the page of the same path)."""
        return self.client.post(path, data={**fields, "csrf_token": self.form_token(page or path)})

    def form_token(self, page):
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.client.get(page).text)
        assert found, f"no form on {page}"
        return found[1]

    def sign_in(self, name, password=PASSWORD, **more):
        return self.post("/sign-in", name=name, password=password, **more)


@pytest.fixture
def visitor(app):
    return Visitor(app)


@pytest.fixture
def people(app, store):
    """Signed-in visitors, one for each role."""
    found = {}
    for role in Role:
        link = store.accounts.add_user(role.value, role, by="test", now=NOW)
        store.accounts.use_link(link, name=None, password=PASSWORD, now=NOW)
        found[role.value] = Visitor(app)
        assert found[role.value].sign_in(role.value).status_code == 302
    return found


@pytest.fixture
def bearer(app, store):
    """Clients that carry a bearer token, one for each role."""

    def client(role):
        token = store.accounts.add_token(f"{role}-program", Role(role), by="test", now=NOW)
        made = app.test_client()
        made.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return made

    return {role.value: client(role.value) for role in Role}


@pytest.fixture
def stored(store):
    """A draft with three price lines."""
    summary = {
        "price": {"status": "optimal", "gap": 1e-4, "changed": 2, "held_unidentified": 1},
        "coupons": {"status": "optimal", "gap": 0.0, "sent": 1, "spend": 0.5},
        "promised_gain_share": 0.012,
        "raw_predicted_gain": 400.0,
        "profit_current": 10_000.0,
        "fingerprints": {"data": "a" * 64},
    }
    lines = [
        price_line("1", title="Milk <b>bold</b>", proposed=2.2),
        price_line("2", title="Bread", proposed=2.0, category="bakery", elasticity=float("nan")),
        price_line("3", title="Butter", proposed=1.9, elasticity=-2.0),
    ]
    proposal = make_proposal(prices=lines)
    proposal.summary.update(summary)
    store.save_proposal(proposal)
    return proposal
