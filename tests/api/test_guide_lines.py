"""The command and curl lines of the guides run as they stand, in order: commands here, curl against a real server."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from replays import short_replay
from serving import serving
from store_examples import make_proposal, price_line

from api.cli import run_command
from engine.store import Role, open_store
from experiments.assign import assign

DOCS = Path(__file__).parents[2] / "docs"
PROPOSAL = "p-20261123-1a2b3c"
PRODUCTS, STORES, WEEKS = 24, 12, 24
RNG = np.random.default_rng(1)
TWO = ("--metric", "profit", "--effect", "1", "--replay", "0")
CURL = 'curl() { command curl --silent --show-error --fail-with-body "$@"; echo; }\n'


def lines(name, start, section=""):
    """Indented lines of a page that begin with a word, where they stand under headings that hold `section`."""
    text = (DOCS / name).read_text(encoding="utf-8")
    parts = [part for part in re.split(r"^## ", text, flags=re.MULTILINE) if section in part.split("\n", 1)[0]]
    return [line.strip() for part in parts for line in part.splitlines() if line.startswith(f"    {start} ")]


def shop(folder):
    """A shop of stores that sold for half a year."""
    folder.mkdir()
    names = [f"p{i}" for i in range(PRODUCTS)]
    listed = pd.DataFrame({"product_id": names, "unit_cost": 1.4, "category": [f"k{i // 8}" for i in range(PRODUCTS)]})
    listed.to_csv(folder / "products.csv", index=False)
    keys = pd.MultiIndex.from_product([names, [f"s{i}" for i in range(STORES)], range(1, WEEKS + 1)])
    table = keys.to_frame(index=False, name=["product_id", "store_id", "week"])
    table["units"] = RNG.poisson(30, len(table)) + 1
    table.assign(revenue=2.0 * table["units"]).to_csv(folder / "sales_weekly.csv", index=False)
    table.drop(columns="units").assign(price=2.0).to_csv(folder / "prices_weekly.csv", index=False)


def customers():
    ids = [f"c{i}" for i in range(3000)]
    before = RNG.gamma(2, 5, 3000)
    table = pd.DataFrame({"customer_id": ids, "before": before, "profit": before + RNG.normal(0, 4, 3000)})
    table.to_csv("customers.csv", index=False)
    variant = assign(ids, seed="spring")
    table["profit"] += 2.0 * variant
    table["country"] = np.where(np.arange(3000) % 2, "DE", "FR")
    table.assign(variant=variant, orders=RNG.poisson(3, 3000)).to_csv("outcomes.csv", index=False)


def decisions():
    """A bandit's log, and a second design for who assigns elsewhere."""
    arm = RNG.choice(["plain", "spring"], 800)
    table = pd.DataFrame({"arm": arm, "reward": RNG.normal(1 + (arm == "spring"), 1), "propensity": 0.5})
    table.assign(age=RNG.integers(18, 80, 800)).to_csv("decisions.csv", index=False)
    assert run_command(["experiment", "design", "customers.csv", "--name", "spring-2", *TWO]) == 0


def store_weeks():
    weeks = pd.date_range("2025-09-01", periods=40, freq="7D").strftime("%Y-%m-%d")
    rows = [(f"s{i:02d}", week, 500 + 9 * i + RNG.normal(0, 4)) for i in range(20) for week in weeks]
    for name in ("weekly.csv", "launch-weeks.csv", "store-weeks.csv"):
        pd.DataFrame(rows, columns=["store_id", "week", "profit"]).to_csv(name, index=False)
    days = [(f"s{i}", step, 100 + RNG.normal(0, 4)) for i in range(4) for step in range(90)]
    pd.DataFrame(days, columns=["store", "step", "profit"]).to_csv("daily.csv", index=False)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.replay_design.replay_design", short_replay)
    shop(tmp_path / "corner")
    (tmp_path / "config.yaml").write_text("data:\n  source: corner\n")
    assert run_command(["db", "upgrade"]) == 0
    tested = [replace(price_line(f"p{i}", proposed=2.1 if i % 2 else 2.0), category=f"k{i // 8}") for i in range(24)]
    with open_store(f"sqlite:///{tmp_path / '.offerwright' / 'offerwright.db'}") as store:
        store.save_proposal(replace(make_proposal(prices=tested), proposal_id=PROPOSAL, data="corner"))
    customers()
    store_weeks()
    decisions()
    return tmp_path


def follow_up():
    """What the shop reports once the draw of the prices is known."""
    drawn = pd.read_csv("drawn.csv").drop(columns="variant")
    rows = drawn.assign(profit=20 + RNG.normal(0, 1, len(drawn)), units=90 + RNG.normal(0, 1, len(drawn)))
    rows.assign(profit_before=20 + RNG.normal(0, 1, len(drawn))).to_csv("after.csv", index=False)


@pytest.mark.parametrize(
    ("page", "section", "least"),
    [
        ("commands.md", "offerwright experiment", 10),
        ("experiments.md", "", 7),
        ("experiments-measure.md", "", 2),
        ("bandits.md", "", 1),
    ],
)
def test_the_commands_of_the_guides_run(home, capsys, page, section, least):
    found = lines(page, "offerwright experiment", section)
    assert len(found) >= least
    for line in found:
        if "after.csv" in line:
            follow_up()
        assert run_command(shlex.split(line)[1:]) == 0, f"{line}\n{capsys.readouterr().err}"


def events():
    """What the shop's own systems send of the experiment: who was shown what, and what they then did."""
    now = datetime.now(UTC)
    ids = [f"n{i}" for i in range(400)]
    seen, done = [], []
    for number, (unit, variant) in enumerate(zip(ids, assign(ids, seed="spring").tolist(), strict=True)):
        at = (now + timedelta(milliseconds=number)).isoformat()
        known = {"country": "DE" if number % 2 else "FR"}
        seen.append({"unit_id": unit, "variant": variant, "at": at, "attributes": known})
        value = 5 + float(RNG.normal(0, 1)) + variant
        done.append({"outcome_id": unit, "unit_id": unit, "at": at, "measured": {"profit": value}})
    Path("exposures.json").write_text(json.dumps({"exposures": seen}))
    Path("outcomes.json").write_text(json.dumps({"outcomes": done}))


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Runs a line against a real server as bash does; gives what was answered."""
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("no curl or bash on this machine")
    monkeypatch.chdir(tmp_path)
    with open_store(f"sqlite:///{tmp_path / 'offerwright.db'}", upgrade=True) as store:
        token = store.accounts.add_token("growth", Role.ANALYST, by="test", now=datetime.now(UTC))
    with serving(tmp_path, "--set", "jobs.enabled=false") as server:
        known = {"URL": server.url, "AUTH": f"Authorization: Bearer {token}", "PATH": "/usr/bin:/bin"}

        def run(line):
            done = subprocess.run(["bash", "-c", CURL + line], env=known, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            return json.loads(done.stdout)

        yield run


def test_the_curl_lines_of_the_guides_run(shell):
    answers = []
    for line in lines("experiments.md", "curl"):
        if "exposures.json" in line:
            events()
        answers.append(shell(line))
    assert answers[0]["state"] == "designed"
    assert answers[-1]["state"] == "ended"
    reading = answers[-2]
    assert {one["level"] for one in reading["segments"]} == {"DE", "FR"}
    assert reading["prior"] == {"mean": 0.0, "spread": 0.3}
    assert set(reading["effects"][0]["relatives"]) == {"delta", "log"}
    decided = None
    for line in lines("bandits.md", "curl"):
        if "rewards.json" in line:
            Path("rewards.json").write_text(json.dumps({"rewards": {one["decision_id"]: 1.0 for one in decided}}))
        answer = shell(line)
        decided = answer.get("items", decided)
        if line.endswith("/bandits/banner"):
            assert (answer["decisions"], answer["removed"], sum(answer["weight"])) == (2, ["sale"], 2.0)
    assert (answer["decisions"], answer["passes"]) == (2, False), "two decisions decide nothing"
