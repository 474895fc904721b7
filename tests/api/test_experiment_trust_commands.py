"""Before a test its method is tried out on history; after a launch in few stores the others say what it earned."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from api.cli import run_command


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(["db", "upgrade"]) == 0
    return tmp_path


def printed(capsys, *words):
    capsys.readouterr()
    assert run_command(["experiment", *words]) == 0
    return capsys.readouterr().out


def asked(capsys, *words):
    return json.loads(printed(capsys, *words, "--json"))


def refused(capsys, *words):
    capsys.readouterr()
    assert run_command(["experiment", *words]) == 2
    return capsys.readouterr().err


def customers(count=2000):
    rng = np.random.default_rng(1)
    home = np.arange(count) // 10
    past = rng.gamma(2, 5, count)
    table = pd.DataFrame({"unit_id": [f"c{i}" for i in range(count)], "home": home, "before": past})
    table["profit"] = past + rng.normal(0, 4, count) + 6 * rng.normal(0, 1, count // 10)[home]
    table["orders"] = 1 + rng.poisson(2, count)
    table.to_csv("customers.csv", index=False)


def test_a_method_is_tried_out_without_a_design(home, capsys):
    customers(600)
    words = ("replay", "customers.csv", "--metric", "profit", "--covariate", "before", "--splits", "32")
    found = asked(capsys, *words)
    assert (found["splits"], found["alpha"], found["check"]["verdict"]) == (32, 0.05, "passed")
    assert found["low"] <= found["rejected"] <= found["high"]
    text = printed(capsys, *words)
    assert "32 splits of history that mean nothing" in text
    assert "5.0% are promised" in text
    together = asked(capsys, *words, "--cluster", "home")
    assert together["z_spread"] != found["z_spread"]
    assert "--metric" in refused(capsys, "replay", "customers.csv")


def test_a_design_tries_its_method_out_and_carries_what_it_found(home, capsys):
    customers()
    base = ("design", "customers.csv", "--name", "spring", "--metric", "profit", "--covariate", "before")
    made = asked(capsys, *base, "--effect", "1")
    (check,) = made["checks"]
    assert (check["name"], check["verdict"]) == ("replay:profit", "passed")
    again = asked(capsys, "replay", "customers.csv", "--name", "spring")
    assert again["check"] == check, "the same history and design give the same splits"
    assert "A/A replay" in printed(capsys, "design", *base[1:3], "other", *base[4:], "--effect", "1")
    assert asked(capsys, "design", *base[1:3], "none", *base[4:], "--effect", "1", "--replay", "0")["checks"] == []


def test_a_broken_replay_marks_every_reading(home, capsys, monkeypatch):
    from engine.proposal import Reason
    from experiments.measure.replay import Replay
    from experiments.trust.check import Check

    customers()
    broken = Check("replay:profit", "broken", Reason("the variance is by the wrong unit"), 1e-9)
    bad = Replay("profit", 320, 0.05, 0.2, 0.16, 0.25, 1.6, broken)
    monkeypatch.setattr("experiments.replay_design.replay_design", lambda *_, **__: bad)
    text = printed(capsys, "design", "customers.csv", "--name", "bad", "--metric", "profit", "--effect", "1")
    assert "NOT TRUSTWORTHY: the variance is by the wrong unit" in text
    assert run_command(["experiment", "assign", "customers.csv", "--name", "bad", "--out", "bad.csv"]) == 0
    reading = asked(capsys, "analyse", "customers.csv", "--name", "bad")
    assert not reading["trustworthy"]
    assert reading["verdicts"][0]["action"] == "look into it"


@pytest.mark.parametrize("over", ["store", "product", "time"])
def test_designs_over_known_units_are_replayed_as_they_were_drawn(home, capsys, over):
    rng = np.random.default_rng(2)
    if over == "time":
        rows = [(f"s{i}", t, 100 + rng.normal(0, 4)) for i in range(6) for t in range(70)]
        pd.DataFrame(rows, columns=["unit", "step", "profit"]).to_csv("past.csv", index=False)
        words = ("--steps", "28", "--period", "7", "--effect", "5")
    else:
        table = pd.DataFrame({"unit": [f"u{i}" for i in range(120)], "kind": [f"k{i % 15}" for i in range(120)]})
        table["before"] = rng.normal(100, 10, 120)
        table["profit"] = table["before"] + rng.normal(0, 3, 120)
        table.to_csv("past.csv", index=False)
        words = ("--covariate", "before", "--effect", "2", *(("--cluster", "kind") if over == "product" else ()))
    base = ("past.csv", "--name", over, "--randomise", over, "--treatment", "price", "--unit", "unit")
    made = asked(capsys, "design", *base, "--metric", "profit", *words, "--replay", "64")
    (check,) = made["checks"]
    again = asked(capsys, "replay", "past.csv", "--name", over, "--unit", "unit", "--splits", "64")
    assert again["check"] == check


def stores(gain=8.0):
    rng = np.random.default_rng(3)
    season = 10 * np.sin(np.arange(40) / 4)
    level = rng.normal(100, 15, 25)
    values = level[:, None] + np.outer(rng.uniform(0.5, 1.5, 25), season) + rng.normal(0, 1, (25, 40))
    values[[3, 7], 30:] += gain
    weeks = pd.date_range("2025-06-02", periods=40, freq="7D").strftime("%Y-%m-%d")
    rows = [(f"s{i:02d}", week, values[i, t]) for i in range(25) for t, week in enumerate(weeks)]
    table = pd.DataFrame(rows, columns=["store_id", "week", "profit"])
    table.to_csv("weekly.csv", index=False)
    return table, weeks


LAUNCH = ("launch", "weekly.csv", "--metric", "profit", "--launched", "s03", "--launched", "s07", "--start")


def test_a_launch_in_two_stores_is_read_against_the_mix_of_the_others(home, capsys):
    _, weeks = stores()
    reading = asked(capsys, *LAUNCH, weeks[30], "--plot", "launch.html")
    found = reading["control"]
    assert found["low"] < 8.0 < found["high"]
    assert found["low"] > 0
    assert reading["total"] == pytest.approx(found["estimate"] * 20)
    for weights in reading["mix"].values():
        assert sum(weights.values()) == pytest.approx(1, abs=0.02)
        assert not {"s03", "s07"} & weights.keys()
    text = printed(capsys, *LAUNCH, weeks[30])
    assert "launched           s03, s07" in text
    assert "mix of s03:" in text
    page = (home / "launch.html").read_text()
    assert "<svg" in page
    assert "<script" not in page


def test_nothing_is_found_where_nothing_happened(home, capsys):
    _, weeks = stores(gain=0.0)
    found = asked(capsys, *LAUNCH, weeks[30])["control"]
    assert found["low"] < 0 < found["high"]
    assert found["p_value"] > 0.1


def test_a_table_of_a_launch_with_faults_is_refused_by_name(home, capsys):
    table, weeks = stores()
    begin = weeks[30]
    assert "s99 was launched and has no row" in refused(capsys, *LAUNCH[:4], "--launched", "s99", "--start", begin)
    assert "write a date such as 2026-03-02" in refused(capsys, *LAUNCH, "17")
    assert "no week from 2030-01-01 on" in refused(capsys, *LAUNCH, "2030-01-01")
    table.drop(index=5).to_csv("weekly.csv", index=False)
    assert f"s00 has no profit in week {weeks[5]}" in refused(capsys, *LAUNCH, begin)
    pd.concat([table, table.iloc[[9]]]).to_csv("weekly.csv", index=False)
    assert f"s00 has two rows in week {weeks[9]}" in refused(capsys, *LAUNCH, begin)
