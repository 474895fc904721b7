"""Experiments from the command line: designed, started, read as designed, decided, kept."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from store_examples import make_proposal, price_line

from api.cli import run_command
from engine.store import ExperimentState, open_store

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    before = rng.gamma(2, 5, 4000)
    table = pd.DataFrame({"unit_id": [f"c{i}" for i in range(4000)], "before": before, "week": np.arange(4000) // 1000})
    table["profit"] = before + rng.normal(0, 5, 4000)
    table.to_csv("history.csv", index=False)
    assert run_command(["db", "upgrade"]) == 0
    return tmp_path


def store_of(home):
    return open_store(f"sqlite:///{home / '.offerwright' / 'offerwright.db'}")


def asked(capsys, *words):
    capsys.readouterr()
    assert run_command(["experiment", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


DESIGN = ("design", "history.csv", "--name", "spring", "--metric", "profit", "--covariate", "before")


def test_an_experiment_runs_from_its_design_to_its_end(home, capsys):
    made = asked(capsys, *DESIGN, "--effect", "0.8", "--guardrail", "before=0.2", "--layer", "all=0.5")
    assert made["sizing"]["power"] >= 0.8
    assert made["outcome"]["explained"] > 0.5
    assert made["split"]["layer"] == {"layer": "all", "low": 0.0, "high": 0.5}
    other = asked(capsys, *DESIGN[:3], "other", *DESIGN[4:], "--effect", "1", "--layer", "all=0.5")
    assert other["split"]["layer"]["low"] == 0.5

    ids = pd.DataFrame({"unit_id": [f"n{i}" for i in range(12_000)]})
    ids.to_csv("new.csv", index=False)
    assert run_command(["experiment", "assign", "new.csv", "--name", "spring", "--out", "assigned.csv"]) == 0
    with store_of(home) as store:
        assert store.experiments.get("spring").state is ExperimentState.RUNNING
    assert run_command(["experiment", *DESIGN, "--effect", "0.8", "--layer", "all=0.5"]) == 2
    assert "locked" in capsys.readouterr().err
    again = [*DESIGN, "--effect", "0.8", "--guardrail", "before=0.2", "--layer", "all=0.5", "--why", "typo"]
    assert run_command(["experiment", *again, "--weights", "0.2,0.8"]) == 2
    assert "would move units (weights)" in capsys.readouterr().err
    assert run_command(["experiment", *again]) == 0

    assigned = pd.read_csv("assigned.csv")
    rng = np.random.default_rng(2)
    assigned["before"] = rng.gamma(2, 5, len(assigned))
    assigned["profit"] = assigned["before"] + rng.normal(0, 5, len(assigned)) + 2.0 * (assigned["variant"] == 1)
    assigned["country"] = np.where(np.arange(len(assigned)) % 2, "DE", "FR")
    assigned.drop(columns="variant").to_csv("outcomes.csv", index=False)
    read = ("analyse", "outcomes.csv", "--name", "spring", "--segment", "country", "--plot", "spring.html")
    reading = asked(capsys, *read)
    assert reading["verdicts"][0]["action"] == "ship"
    assert {one["level"] for one in reading["segments"]} == {"DE", "FR"}
    page = (home / "spring.html").read_text()
    assert page.count("<svg") == 2
    assert "<script" not in page
    assert run_command(["experiment", *read]) == 0
    assert "decision           ship" in capsys.readouterr().out

    assert run_command(["experiment", "end", "spring", "--why", "shipped"]) == 0
    assert run_command(["experiment", "assign", "new.csv", "--name", "spring"]) == 2
    assert "has ended" in capsys.readouterr().err
    with store_of(home) as store:
        assert len(store.experiments.readings("spring")) == 2
        assert [one.why for one in store.experiments.versions("spring")] == ["", "typo"]


def prices(products=160):
    lines = [
        replace(price_line(f"p{i}", proposed=2.1 if i % 2 else 2.0), category=f"k{i // 8}") for i in range(products)
    ]
    return make_proposal(prices=lines)


def product_history(path, products=160, weeks=40):
    rng = np.random.default_rng(3)
    level = rng.lognormal(2, 0.5, products)
    rows = [
        {"product_id": f"p{i}", "week": week, "profit": level[i] + rng.normal(0, 0.5)}
        for i in range(products)
        for week in range(weeks)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return level


def test_a_proposal_is_tested_and_its_measured_gain_stands_beside_its_promise(home, capsys):
    with store_of(home) as store:
        store.save_proposal(prices())
    level = product_history("weekly.csv")
    made = asked(capsys, "design", "weekly.csv", "--name", "test", "--proposal", "P1")
    assert (made["unit"], made["treatment"], made["draw"]) == ("product", "price", "two_stage")
    assert made["sizing"]["units"] == 80
    assert run_command(["experiment", "assign", "--name", "test", "--unit", "product_id", "--out", "prices.csv"]) == 0
    with (home / "prices.csv").open() as stream:
        drawn = {row["product_id"]: int(row["variant"]) for row in csv.DictReader(stream)}
    assert len(drawn) == 80
    rng = np.random.default_rng(4)
    places = [int(name[1:]) for name in drawn]
    gain = 3.0 * np.array(list(drawn.values()))
    outcome = pd.DataFrame({"product_id": list(drawn), "profit_before": level[places]})
    outcome["profit"] = level[places] + gain + rng.normal(0, 0.2, 80)
    outcome["units"] = 50 + rng.normal(0, 0.1, 80)
    outcome.to_csv("after.csv", index=False)
    reading = asked(
        capsys,
        "analyse",
        "after.csv",
        "--name",
        "test",
        "--unit",
        "product_id",
        "--weeks",
        str(made["sizing"]["weeks"]),
    )
    assert reading["measured"]["low"] < 3.0 * 80 * 8 < reading["measured"]["high"]
    assert reading["promise"]["promised_gain"] == 120.5
    with store_of(home) as store:
        (kept,) = store.experiments.of_proposal("P1")
        assert kept.reading["measured"] == reading["measured"]
        assert kept.promise["promised_gain"] == 120.5
        assert store.check_audit().faults == ()


def test_a_switchback_of_stores_is_designed_and_read(home, capsys):
    rng = np.random.default_rng(5)
    rows = [{"store": f"s{i}", "step": t, "profit": 100 + rng.normal(0, 4)} for i in range(6) for t in range(140)]
    pd.DataFrame(rows).to_csv("daily.csv", index=False)
    words = ("daily.csv", "--name", "sw", "--randomise", "time", "--treatment", "price", "--unit", "store")
    sized = ("--metric", "profit", "--steps", "56", "--effect", "3", "--period", "7", "--carry-over", "2")
    made = asked(capsys, "design", *words, *sized)
    assert (made["switchback"]["length"], made["switchback"]["burn_in"]) == (7, 2)
    assert run_command(["experiment", "assign", "--name", "sw", "--unit", "store", "--out", "schedule.csv"]) == 0
    ran = pd.read_csv("schedule.csv")
    ran["profit"] = 100 + 5.0 * ran["variant"] + rng.normal(0, 2, len(ran))
    ran.to_csv("ran.csv", index=False)
    reading = asked(capsys, "analyse", "ran.csv", "--name", "sw", "--unit", "store")
    assert reading["effects"][0]["low"] < 5 < reading["effects"][0]["high"]
    assert reading["verdicts"][0]["action"] == "ship"


def test_stores_are_drawn_in_balance_and_the_rule_is_written_down(home, capsys):
    rng = np.random.default_rng(6)
    stores = pd.DataFrame({"store": [f"s{i}" for i in range(60)], "before": rng.normal(100, 10, 60)})
    stores["profit"] = stores["before"] + rng.normal(0, 2, 60)
    stores.to_csv("stores.csv", index=False)
    words = ("stores.csv", "--name", "st", "--randomise", "store", "--treatment", "price", "--unit", "store")
    rule = ("--smallest-gain", "0.5", "--futility", "0", "--cost-a-week", "100", "--decides-for", "5000")
    sized = ("--metric", "profit", "--covariate", "before", "--relative-effect", "0.02")
    made = asked(capsys, "design", *words, *sized, *rule)
    assert sum(made["assigned"]["variant"]) == 30
    assert made["rule"]["waiting"] == {"cost_a_week": 100.0, "units_decided": 5000.0}
    assert (made["rule"]["smallest_gain"], made["rule"]["futility"]) == (0.5, None)
    stores["variant"] = made["assigned"]["variant"]
    apart = stores.groupby("variant")["before"].mean().diff().iloc[1]
    assert abs(apart) < 1.0, "drawn until it balanced"
    stores["profit"] += 4.0 * stores["variant"]
    stores.to_csv("after.csv", index=False)
    reading = asked(capsys, "analyse", "after.csv", "--name", "st", "--unit", "store")
    assert reading["verdicts"][0]["action"] == "ship"


def test_two_policies_on_one_budget_run_in_cells(home, capsys):
    words = ("history.csv", "--name", "b", "--treatment", "coupon", "--budget", "1000", "--cells", "40")
    made = asked(capsys, "design", *words, "--metric", "profit", "--covariate", "before", "--effect", "0.5")
    assert (made["draw"], len(made["assigned"]["units"]), made["budget"]) == ("budget_split", 40, 1000.0)
    assert run_command(["experiment", "assign", "history.csv", "--name", "b", "--out", "cells.csv"]) == 0
    cells = pd.read_csv("cells.csv")
    assert cells.groupby("cell")["cell_budget"].first().sum() == pytest.approx(1000.0)
    assert (cells.groupby("cell")["variant"].nunique() == 1).all()
    rng = np.random.default_rng(8)
    cells["coupon_cost"] = 0.25
    cells["before"] = rng.gamma(2, 5, len(cells))
    cells["margin"] = 0.25 + cells["before"] + rng.normal(0, 2, len(cells)) + 1.5 * cells["variant"]
    cells.to_csv("spent.csv", index=False)
    reading = asked(capsys, "analyse", "spent.csv", "--name", "b")
    assert reading["effects"][0]["low"] < 1.5 < reading["effects"][0]["high"]
    assert reading["verdicts"][0]["action"] == "ship"
    assert run_command(["experiment", "design", *words[:2], "c", "--budget", "9", "--metric", "profit"]) == 2


def test_products_of_many_categories_are_drawn_in_two_stages(home, capsys):
    rng = np.random.default_rng(7)
    table = pd.DataFrame({"product_id": [f"p{i}" for i in range(200)], "category": [f"k{i % 20}" for i in range(200)]})
    table["profit"] = rng.lognormal(2, 0.3, 200)
    table.to_csv("products.csv", index=False)
    words = ("products.csv", "--name", "pr", "--randomise", "product", "--treatment", "price", "--unit", "product_id")
    made = asked(capsys, "design", *words, "--cluster", "category", "--metric", "profit", "--effect", "2")
    assert made["draw"] == "two_stage"
    assert set(made["assigned"]["saturation"]) == {0.0, 0.5, 1.0}
    assert (
        run_command(["experiment", "design", *words[:2], "x", *words[3:], "--metric", "profit", "--effect", "2"]) == 0
    )
    assert "drawn by rerandomised" in capsys.readouterr().out


def test_profit_net_of_its_cost_decides_and_other_metrics_are_read_beside_it(home, capsys):
    table = pd.read_csv("history.csv")
    table["coupon_cost"] = 0.5
    table["unit_id"] = [f"{i:05d}" for i in range(len(table))]
    table.to_csv("costs.csv", index=False)
    also = '{"kind": "quantile", "name": "p90", "column": "profit", "level": 0.9}'
    words = ("costs.csv", "--name", "net", "--metric", "profit", "--kind", "profit", "--cost", "coupon_cost")
    made = asked(capsys, "design", *words, "--effect", "0.8", "--also", also)
    assert made["metrics"][0]["kind"] == "profit"
    assert made["outcome"]["mean"] == pytest.approx(table["profit"].mean() - 0.5)
    assert run_command(["experiment", "assign", "costs.csv", "--name", "net", "--out", "net.csv"]) == 0
    drawn = pd.read_csv("net.csv", dtype={"unit_id": str})
    assert drawn["unit_id"].tolist()[:2] == ["00000", "00001"], "an identifier keeps its zeros"
    drawn = drawn.merge(table, on="unit_id")
    drawn["profit"] += 3.0 * drawn["variant"]
    drawn["winter"] = 1 - drawn["variant"]
    drawn["summer"] = np.arange(len(drawn)) % 2
    drawn.drop(columns="variant").to_csv("seen.csv", index=False)
    tied = asked(capsys, "analyse", "seen.csv", "--name", "net", "--earlier", "summer", "--earlier", "winter")
    said = {check["name"]: check["verdict"] for check in tied["checks"]}
    assert (said["carry_over:summer"], said["carry_over:winter"], tied["trustworthy"]) == ("passed", "broken", False)
    reading = asked(capsys, "analyse", "seen.csv", "--name", "net")
    assert {row["metric"] for row in reading["effects"]} == {"profit", "p90"}
    assert reading["verdicts"][0]["action"] == "ship"


def test_how_the_error_is_spent_is_chosen_in_the_design(home, capsys):
    sized = ("--effect", "0.8", "--method", "group_sequential", "--looks", "4")
    late = asked(capsys, *DESIGN, *sized)
    early = asked(capsys, *DESIGN[:2], "--name", "early", *DESIGN[4:], *sized, "--spending", "pocock")
    assert (late["plan"]["spending"], early["plan"]["spending"]) == ("obrien_fleming", "pocock")
    assert early["sizing"]["units"] > late["sizing"]["units"], "deciding early costs units"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ((*DESIGN, "--effect", "1", "--kind", "profit"), 2, "--cost go together"),
        ((*DESIGN, "--effect", "1", "--also", '{"kind": "mode", "name": "x"}'), 2, "kind 'mode' is unknown"),
        ((*DESIGN, "--effect", "1", "--steps", "20"), 2, "--steps has no meaning there"),
        (
            (*DESIGN, "--effect", "1", "--randomise", "store", "--method", "always_valid"),
            2,
            "give the number of weeks that it will run",
        ),
        ((*DESIGN, "--effect", "1", "--randomise", "store", "--layer", "a=0.5"), 2, "--layer has no meaning there"),
        ((*DESIGN, "--effect", "1", "--treatment", "price"), 2, "two people would see two prices"),
        (DESIGN, 2, "--relative-effect"),
        (("design", "--name", "x"), 2, "HISTORY"),
        ((*DESIGN, "--effect", "1", "--cost-a-week", "1"), 2, "go together"),
        ((*DESIGN, "--effect", "1", "--guardrail", "x"), 2, "NAME=SHARE"),
        ((*DESIGN, "--effect", "1", "--target", "{"), 2, "no JSON"),
        (("assign", "history.csv"), 2, "--salt"),
        (("assign", "history.csv", "--name", "nobody"), 2, "no experiment 'nobody'"),
        (("analyse", "history.csv"), 2, "--metric"),
        (("end", "nobody", "--why", "done"), 2, "no experiment 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(home, capsys, words, status, says):
    capsys.readouterr()
    assert run_command(["experiment", *words]) == status
    assert says in capsys.readouterr().err
