"""Switchbacks, stores, products and budget splits that are read while they run, from the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from store_examples import make_proposal, price_line

from api.cli import run_command
from api.experiment_options import DEFAULTS
from api.experiment_proposals import design_for_proposal
from engine.errors import InputError

SEVERAL = ("--method", "group_sequential", "--looks", "4")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(["db", "upgrade"]) == 0
    return tmp_path


def asked(capsys, *words):
    capsys.readouterr()
    assert run_command(["experiment", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_switchback_is_read_after_its_pairs_and_shipped_before_its_end(home, capsys):
    rng = np.random.default_rng(5)
    rows = [{"store": f"s{i}", "step": t, "profit": 100 + rng.normal(0, 4)} for i in range(6) for t in range(140)]
    pd.DataFrame(rows).to_csv("daily.csv", index=False)
    words = ("daily.csv", "--name", "sw", "--randomise", "time", "--treatment", "price", "--unit", "store")
    sized = ("--metric", "profit", "--steps", "84", "--effect", "3", "--period", "7")
    made = asked(capsys, "design", *words, *sized, *SEVERAL)
    assert (made["plan"]["method"], made["plan"]["looks"], made["plan"]["planned_units"]) == ("group_sequential", 4, 36)
    assert run_command(["experiment", "assign", "--name", "sw", "--unit", "store", "--out", "schedule.csv"]) == 0
    ran = pd.read_csv("schedule.csv")
    ran["profit"] = 100 + 9.0 * ran["variant"] + rng.normal(0, 2, len(ran))
    for steps, looks in ((28, [28]), (45, [28, 42])):
        ran[ran["step"] < steps].to_csv("so_far.csv", index=False)
        reading = asked(capsys, "analyse", "so_far.csv", "--name", "sw", "--unit", "store")
        assert (reading["interval"], reading["looks"]) == ("group_sequential", looks)
    assert reading["verdicts"][0]["action"] == "ship"


def test_stores_are_read_by_the_weeks_that_have_passed(home, capsys):
    rng = np.random.default_rng(6)
    stores = pd.DataFrame({"store": [f"s{i}" for i in range(24)], "before": rng.normal(100, 10, 24)})
    stores["profit"] = stores["before"] + rng.normal(0, 2, 24)
    stores.to_csv("stores.csv", index=False)
    words = ("stores.csv", "--name", "st", "--randomise", "store", "--treatment", "price", "--unit", "store")
    sized = ("--metric", "profit", "--covariate", "before", "--effect", "3", "--weeks", "8", "--replay", "0")
    made = asked(capsys, "design", *words, *sized, "--method", "always_valid")
    assert (made["plan"]["method"], made["sizing"]["weeks"]) == ("always_valid", 8)
    stores["profit"] = stores["before"] + rng.normal(0, 1, 24) + 4.0 * np.array(made["assigned"]["variant"])
    stores.to_csv("after.csv", index=False)
    assert run_command(["experiment", "analyse", "after.csv", "--name", "st", "--unit", "store"]) == 2
    assert "how many of its 8 weeks have passed" in capsys.readouterr().err
    reading = asked(capsys, "analyse", "after.csv", "--name", "st", "--unit", "store", "--weeks", "3")
    assert (reading["interval"], reading["looks"]) == ("always_valid", [3 * 168])
    assert reading["verdicts"][0]["action"] == "ship"
    assert reading["effects"][0]["low"] < 4.0 < reading["effects"][0]["high"]
    plotted = ("--weeks", "6", "--plot", "st.html")
    again = asked(capsys, "analyse", "after.csv", "--name", "st", "--unit", "store", *plotted)
    assert again["looks"] == [3 * 168, 6 * 168]
    assert "weeks since the start" in (home / "st.html").read_text()


def test_a_budget_split_says_how_far_it_is(home, capsys):
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"unit_id": [f"c{i}" for i in range(2000)], "profit": rng.gamma(2, 5, 2000)})
    table.to_csv("history.csv", index=False)
    words = ("history.csv", "--name", "b", "--treatment", "coupon", "--budget", "1000", "--cells", "20")
    sized = ("--metric", "profit", "--effect", "1", "--weeks", "4", "--replay", "0")
    made = asked(capsys, "design", *words, *sized, *SEVERAL)
    assert (made["plan"]["method"], made["plan"]["planned_units"]) == ("group_sequential", 20)
    assert run_command(["experiment", "assign", "history.csv", "--name", "b", "--out", "cells.csv"]) == 0
    capsys.readouterr()
    cells = pd.read_csv("cells.csv").assign(coupon_cost=0.25)
    cells["margin"] = 0.25 + rng.gamma(2, 2.5, len(cells)) + 2.0 * cells["variant"]
    cells.to_csv("spent.csv", index=False)
    assert run_command(["experiment", "analyse", "spent.csv", "--name", "b", "--weeks", "2"]) == 0
    shown = capsys.readouterr().out
    assert "after 50% of the time" in shown
    assert "ship" in shown
    few = ("history.csv", "--name", "f", *words[3:-1], "4")
    assert run_command(["experiment", "design", *few, *sized, *SEVERAL]) == 2
    assert "take 6 or more" in capsys.readouterr().err


def test_over_http_the_clock_says_how_far_the_stores_are(bearer, clock):
    analyst, rng = bearer["analyst"], np.random.default_rng(6)
    names, before = [f"s{i}" for i in range(24)], rng.normal(100, 10, 24)
    history = {"store": names, "before": before.tolist(), "profit": (before + rng.normal(0, 2, 24)).tolist()}
    wanted = {"experiment_id": "shelf", "history": history, "randomise": "store", "treatment": "price"}
    wanted |= {"unit": "store", "metric": "profit", "covariates": ["before"], "effect": 3.0, "replay": 0}
    refused = analyst.post("/api/v1/experiments", json=wanted | {"method": "group_sequential"})
    assert refused.status_code == 422
    assert "give the number of weeks that it will run" in refused.json["detail"]
    made = analyst.post("/api/v1/experiments", json=wanted | {"method": "group_sequential", "weeks": 8}).json["design"]
    assert (made["plan"]["method"], made["sizing"]["weeks"]) == ("group_sequential", 8)
    assert analyst.post("/api/v1/experiments/shelf/start").status_code == 200
    for week in (1, 2):
        clock.move(days=14)
        outcomes = [
            {
                "outcome_id": f"{name}-{week}",
                "unit_id": name,
                "at": clock().isoformat(),
                "measured": {"profit": float(level + rng.normal(0, 2) + 6.0 * variant), "before": float(level)},
            }
            for name, level, variant in zip(names, before, made["assigned"]["variant"], strict=True)
        ]
        sent = analyst.post("/api/v1/experiments/shelf/outcomes", json={"outcomes": outcomes})
        assert sent.status_code == 200, sent.text
        read = analyst.post("/api/v1/experiments/shelf/analysis", json={})
        assert read.status_code == 200, read.text
        assert (read.json["interval"], read.json["final"]) == ("group_sequential", True)
    effect = read.json["effects"][0]
    assert effect["low"] < 6.0 < effect["high"]
    assert read.json["verdicts"][0]["action"] == "ship"


class _Proposals:
    """A store that holds one proposal."""

    def __init__(self, kept):
        self._kept = kept

    def proposal(self, _proposal_id):
        return self._kept


@pytest.mark.parametrize("over", ["product", "store", "time"])
def test_the_prices_of_a_proposal_may_be_read_while_their_test_runs(over):
    lines = [
        replace(price_line(), product_id=f"p{i}", category=f"k{i % 20}", proposed_price=2.1, profit_proposed=64.0)
        for i in range(160)
    ]
    proposal = make_proposal(prices=lines)
    rng = np.random.default_rng(3)
    column, units = ("product_id", 160) if over == "product" else ("store_id", 12)
    weekly = pd.DataFrame(
        [{column: f"{'p' if over == 'product' else 's'}{i}", "week": w} for i in range(units) for w in range(40)]
    )
    weekly["profit"] = 20 + rng.normal(0, 1, len(weekly))

    def history(_columns, _identifiers):
        return weekly

    wanted = {**DEFAULTS, "proposal_id": "P1", "randomise": over, "weeks": 12, "replay": 0, "looks": 3}
    wanted["periods"] = (2,) if over == "time" else ()
    fixed, several = (
        design_for_proposal(None, _Proposals(proposal), history, "p", wanted | {"method": method})
        for method in ("fixed", "group_sequential")
    )
    assert (several.plan.method, several.plan.looks) == ("group_sequential", 3)
    assert several.assigned == fixed.assigned
    assert several.sizing.detectable > fixed.sizing.detectable
    with pytest.raises(InputError, match="has no place"):
        asked_of = wanted | {"part": "coupons", "method": "always_valid", "weeks": None, "periods": ()}
        asked_of["randomise"] = "customer"
        design_for_proposal(None, _Proposals(proposal), history, "p", asked_of)
