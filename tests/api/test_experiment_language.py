"""What goes wrong with an experiment is said on its pages in the reader's language, down to the inner sentence."""

from __future__ import annotations

import ast
from dataclasses import replace
from gettext import NullTranslations
from pathlib import Path

import numpy as np
import pytest
from replays import short_replay
from store_examples import make_proposal, price_line

from engine.store import Exposure, UnitOutcome
from experiments.proposal_design import WeeklyHistory

ROOT = Path(__file__).parents[2]
PRODUCTS, WEEKS = 96, 30
SPOKEN = (
    *("clusters", "clock", "decide", "design", "design_logs", "design_reading", "drawn_reading", "few_units", "goals"),
    *("history", "power", "proposal_design", "proposal_stores", "randomise", "replay_design", "switchback"),
)
"""Modules of experiments whose faults a page shows."""


class Chinese(NullTranslations):
    def gettext(self, message: str) -> str:
        return f"中{message}" if " " in message else message


@pytest.fixture
def analyst(people, store, monkeypatch):
    monkeypatch.setattr(
        "api.words.translations", lambda language: Chinese() if language == "zh" else NullTranslations()
    )
    lines = [
        replace(price_line(f"p{i}", proposed=2.1 if i % 2 else 2.0), category=f"k{i // 8}") for i in range(PRODUCTS)
    ]
    made = replace(make_proposal(prices=lines), data="corner")
    made.summary["price"] = {"status": "optimal", "gap": 1e-4, "changed": PRODUCTS // 2, "held_unidentified": 0}
    store.save_proposal(made)
    rng = np.random.default_rng(1)
    profit = rng.lognormal(3, 0.5, PRODUCTS)[:, None] + rng.normal(0, 1, (PRODUCTS, WEEKS))
    past = WeeklyHistory(tuple(f"p{i}" for i in range(PRODUCTS)), profit)
    monkeypatch.setattr("api.experiment_history.history_of_products", lambda *_: past)
    monkeypatch.setattr("experiments.replay_design.replay_design", short_replay)
    people["analyst"].get("/language/zh")
    return people["analyst"]


def design(analyst, **fields):
    analyst.post("/proposals/P1/experiments", page="/proposals/P1", experiment_id="e", part="prices", **fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weeks": "60"}, "中a test of 60 weeks: history of 30 weeks"),
        ({"weeks": "0"}, "is refused: 中give 1 or more"),
        ({"guardrail_units": "2"}, "中guardrail &#39;units&#39;: margin 2"),
        ({"randomise": "time"}, "中a switchback of prices needs the weeks"),
    ],
)
def test_a_design_that_is_refused(analyst, fields, said):
    design(analyst, **fields)
    assert said in analyst.get("/proposals/P1").text


def test_a_look_and_a_change_that_are_refused(analyst, store, clock):
    design(analyst)
    analyst.post("/experiments/e/start", page="/experiments/e")
    analyst.post("/experiments/e/look", page="/experiments/e")
    assert "中no outcome of experiment &#39;e&#39; has" in analyst.get("/experiments/e").text
    drawn = store.experiments.get("e").design["assigned"]["units"]
    seen = [Exposure(unit, 0, clock(), {}) for unit in drawn]
    done = [UnitOutcome(f"o{unit}", unit, clock(), {"profit": None, "units": 1.0}) for unit in drawn]
    store.experiment_logs.take_exposures("e", seen)
    store.experiment_logs.take_outcomes("e", done)
    analyst.post("/experiments/e/look", page="/experiments/e")
    assert "中48 value(s) of column &#39;profit&#39; are missing" in analyst.get("/experiments/e").text
    sent = {"part": "prices", "randomise": "product", "weeks": "5", "alpha": "0.05", "power": "0.8"}
    analyst.post("/experiments/e/design", page="/experiments/e", **sent)
    assert "中experiment &#39;e&#39; runs and its design is locked" in analyst.get("/experiments/e").text


@pytest.mark.parametrize("module", SPOKEN)
def test_no_fault_is_written_in_one_language_only(module):
    tree = ast.parse((ROOT / "experiments" / f"{module}.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    faults = [one for one in calls if getattr(one.func, "id", "").endswith("Error")]
    written = [one.lineno for one in faults if isinstance(one.args[0], ast.JoinedStr | ast.Constant)]
    assert written == [], f"{module}: give errors a Reason, or mark them with N_"
