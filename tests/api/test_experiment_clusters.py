"""What is randomised together stays together: households are hashed, sized, assigned and read as households."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from store_examples import NOW

from api.cli import run_command
from experiments.design import design_from, record_of
from experiments.design_reading import read_by_design
from experiments.measure import Metric, analyse

HOMES, SIZE = 600, 5


def people(rng, spread=3.0):
    home = np.repeat(np.arange(HOMES), SIZE)
    table = pd.DataFrame({"unit_id": [f"c{i:05d}" for i in range(home.size)], "home": [f"{h:04d}" for h in home]})
    table["profit"] = 20 + spread * rng.normal(0, 1, HOMES)[home] + rng.normal(0, 2, home.size)
    return table


@pytest.fixture
def made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["db", "upgrade"]) == 0
    people(np.random.default_rng(1)).to_csv("people.csv", index=False)
    words = ("people.csv", "--name", "homes", "--metric", "profit", "--cluster", "home", "--effect", "0.9", "--json")
    capsys.readouterr()
    assert run_command(["experiment", "design", *words]) == 0
    return json.loads(capsys.readouterr().out)


def assigned():
    assert run_command(["experiment", "assign", "people.csv", "--name", "homes", "--out", "assigned.csv"]) == 0
    return pd.read_csv("assigned.csv", dtype={"unit_id": str})


def test_a_household_is_in_one_variant_and_the_plan_counts_households(made, capsys):
    assert made["cluster"] == "home"
    assert made["plan"]["planned_units"] == round(made["sizing"]["units"] / SIZE)
    table = people(np.random.default_rng(1)).merge(assigned(), on="unit_id")
    assert (table.groupby("home")["variant"].nunique() == 1).all()
    assert 0.4 < table["variant"].mean() < 0.6
    table["profit"] += 2.0 * table["variant"]
    table.drop(columns="variant").to_csv("outcomes.csv", index=False)
    capsys.readouterr()
    assert run_command(["experiment", "analyse", "outcomes.csv", "--name", "homes", "--json"]) == 0
    reading = json.loads(capsys.readouterr().out)
    assert reading["units"] == HOMES
    alone = analyse(table, [Metric("profit", "profit")], unit="unit_id", cluster="home").effects[0]
    naive = analyse(table, [Metric("profit", "profit")], unit="unit_id").effects[0]
    row = reading["effects"][0]
    if reading["final"]:
        assert (row["low"], row["high"]) == pytest.approx((alone.low, alone.high))
    assert row["high"] - row["low"] > 1.5 * (naive.high - naive.low), "people of one home are no independent evidence"
    table.drop(columns=["variant", "home"]).to_csv("bare.csv", index=False)
    assert run_command(["experiment", "analyse", "bare.csv", "--name", "homes"]) == 2
    assert "no column home" in capsys.readouterr().err


def test_tests_of_nothing_find_what_they_promise(made):
    design = design_from(made)
    found = []
    for seed in range(20):
        table = people(np.random.default_rng(seed)).assign(home=lambda t, s=seed: t["home"] + f"-{s}")
        reading = read_by_design(design, table, unit="unit_id")
        effect = reading.analysis.effects[0]
        found.append(abs(effect.estimate / effect.error) > 1.96)
    assert np.mean(found) < 0.2
    assert design_from(record_of(design)) == design


def test_programs_send_the_household_with_the_unit(bearer, clock):
    analyst, path = bearer["analyst"], "/api/v1/experiments"
    history = people(np.random.default_rng(2))
    asked = {"profit": history["profit"].round(3).tolist(), "home": history["home"].tolist()}
    body = {"experiment_id": "homes", "history": asked, "metric": "profit", "cluster": "home", "effect": 0.9}
    assert analyst.post(path, json=body).status_code == 200
    analyst.post(f"{path}/homes/start")
    units = [{"unit_id": f"u{i}", "attributes": {"home": f"h{i // 4}"}} for i in range(800)]
    items = analyst.post(f"{path}/homes/assign", json={"units": units}).json["items"]
    of = {one["unit_id"]: one["variant"] for one in items}
    assert all(of[f"u{i}"] == of[f"u{i - i % 4}"] for i in range(800))
    bare = analyst.post(f"{path}/homes/assign", json={"units": [{"unit_id": "u1"}]})
    assert (bare.status_code, "whole clusters" in bare.json["detail"]) == (422, True)
    rng = np.random.default_rng(3)
    seen = [one | {"variant": of[one["unit_id"]], "at": (NOW + timedelta(hours=1)).isoformat()} for one in units]
    done = [
        {"outcome_id": unit, "unit_id": unit, "at": (NOW + timedelta(hours=2)).isoformat(), "measured": {"profit": v}}
        for unit, v in zip(of, rng.normal(20, 2, 800), strict=True)
    ]
    assert analyst.post(f"{path}/homes/exposures", json={"exposures": seen}).status_code == 200
    assert analyst.post(f"{path}/homes/outcomes", json={"outcomes": done}).status_code == 200
    clock.move(days=1)
    reading = analyst.post(f"{path}/homes/analysis", json={}).json
    assert reading["units"] == 200
    assert reading["trustworthy"]
