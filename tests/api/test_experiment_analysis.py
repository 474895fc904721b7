"""Whoever reads an experiment sees what the method knows: corrections, both relative effects, posteriors, segments."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from store_examples import make_proposal, price_line

from api.cli import run_command
from engine.store import open_store
from experiments.measure import Metric, Prior, analyse, metric_from
from experiments.statistics.multiple import benjamini_hochberg, holm


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(["db", "upgrade"]) == 0
    rng = np.random.default_rng(3)
    past = rng.gamma(2, 5, 3000)
    table = pd.DataFrame({"unit_id": [f"c{i}" for i in range(3000)], "before": past})
    table["profit"] = past + rng.normal(0, 4, 3000)
    for name in ("visits", "basket", "clicks"):
        table[name] = rng.gamma(4, 1, 3000)
    table.to_csv("history.csv", index=False)
    return tmp_path


def printed(capsys, *words):
    capsys.readouterr()
    assert run_command(["experiment", *words]) == 0
    return capsys.readouterr().out


def asked(capsys, *words):
    return json.loads(printed(capsys, *words, "--json"))


def designed(capsys, name, *words):
    also = [json.dumps({"name": one, "column": one}) for one in ("visits", "basket", "clicks")]
    base = ("history.csv", "--name", name, "--metric", "profit", "--covariate", "before", "--effect", "0.9")
    made = asked(capsys, "design", *base, *(word for one in also for word in ("--also", one)), *words)
    assert run_command(["experiment", "assign", "history.csv", "--name", name, "--out", f"{name}.csv"]) == 0
    return made


def outcomes(name, gains):
    table = pd.read_csv("history.csv").merge(pd.read_csv(f"{name}.csv"), on="unit_id")
    for column, gain in gains.items():
        table[column] += gain * (table["variant"] == 1)
    table["age"] = np.arange(len(table)) % 50
    table["profit"] += 0.2 * (table["age"] - 24.5) * (table["variant"] == 1)
    table["country"] = np.where(np.arange(len(table)) % 2, "DE", "FR")
    table.to_csv("outcomes.csv", index=False)
    return table


@pytest.mark.parametrize(("correction", "adjust"), [("holm", holm), ("benjamini_hochberg", benjamini_hochberg)])
def test_the_correction_of_the_design_is_locked_and_leaves_guardrails_alone(home, capsys, correction, adjust):
    made = designed(capsys, "many", "--correction", correction, "--guardrail", "before=0.3")
    assert made["correction"] == correction
    outcomes("many", {"profit": 2.0, "visits": 0.16, "basket": 0.17})
    reading = asked(capsys, "analyse", "outcomes.csv", "--name", "many")
    goals = [row for row in reading["effects"] if row["metric"] != "before"]
    assert len(goals) == 4
    assert [row["adjusted_p"] for row in goals] == pytest.approx(adjust([row["p_value"] for row in goals]))
    for row in goals:
        assert (row["decision"] == "undecided") == (row["adjusted_p"] > 0.05)
    (guarded,) = (row for row in reading["effects"] if row["metric"] == "before")
    assert guarded["adjusted_p"] == guarded["p_value"]
    capsys.readouterr()
    assert run_command(["experiment", "analyse", "outcomes.csv", "--name", "many", "--correction", "none"]) == 2
    assert "has fixed that" in capsys.readouterr().err


def test_several_treatments_share_the_error_once_and_not_twice(home, capsys):
    made = designed(capsys, "arms", "--correction", "holm", "--weights", "0.34,0.33,0.33")
    assert made["plan"]["alpha"] == pytest.approx(0.025)
    outcomes("arms", {"visits": 0.28})
    reading = asked(capsys, "analyse", "outcomes.csv", "--name", "arms")
    assert len(reading["effects"]) == 8
    adjusted = holm([row["p_value"] for row in reading["effects"]])
    for row, p in zip(reading["effects"], adjusted, strict=True):
        assert row["adjusted_p"] == pytest.approx(p)
        assert (row["decision"] in {"better", "worse"}) == (p <= 0.05)


def test_both_relative_effects_are_shown_by_name_the_designs_first(home, capsys):
    designed(capsys, "log", "--convention", "log")
    table = outcomes("log", {"profit": 2.0})
    text = printed(capsys, "analyse", "outcomes.csv", "--name", "log")
    first, second, *_ = (line for line in text.splitlines() if line.startswith("  relative"))
    assert first.startswith("  relative, log: ")
    assert second.startswith("  relative, delta: ")
    reading = asked(capsys, "analyse", "outcomes.csv", "--name", "log")
    for name in ("delta", "log"):
        alone = analyse(table, [Metric("profit", "profit", covariate="before")], unit="unit_id", convention=name)
        share = reading["effects"][0]["relatives"][name]
        effect = alone.effects[0]
        assert (share["estimate"], share["low"], share["high"]) == pytest.approx(
            (effect.relative, effect.relative_low, effect.relative_high)
        )


def test_a_posterior_comes_on_request_with_its_prior(home, capsys):
    designed(capsys, "bayes")
    table = outcomes("bayes", {"profit": 0.5})
    plain = asked(capsys, "analyse", "outcomes.csv", "--name", "bayes")
    assert plain["prior"] is None
    assert all(row["posterior"] is None for row in plain["effects"])
    words = ("analyse", "outcomes.csv", "--name", "bayes", "--bayesian", "--prior-spread", "0.1")
    reading = asked(capsys, *words)
    assert reading["prior"] == {"mean": 0.0, "spread": 0.1}
    prior = Prior(0.0, 0.1)
    metric = Metric("profit", "profit", covariate="before")
    alone = analyse(table, [metric], unit="unit_id", prior=prior).effects[0].posterior
    assert reading["effects"][0]["posterior"]["mean"] == pytest.approx(alone.mean)
    assert reading["effects"][0]["posterior"]["chance_better"] == pytest.approx(alone.chance_better)
    assert "posterior under the prior N(0, 0.1²)" in printed(capsys, *words)
    bare = printed(capsys, "analyse", "outcomes.csv", "--metric", "profit", "--bayesian")
    assert "posterior under the prior N(0, 0.3²)" in bare


def test_an_effect_is_read_by_segment_and_along_a_number(home, capsys):
    designed(capsys, "apart")
    outcomes("apart", {"profit": 1.0})
    words = ("analyse", "outcomes.csv", "--name", "apart", "--segment", "country", "--modifier", "age")
    reading = asked(capsys, *words)
    found = {one["metric"]: one for one in reading["analysis"]["modifications"]}
    assert found["profit"]["low"] < 0.2 < found["profit"]["high"]
    assert found["profit"]["p_value"] < 0.001
    (differ,) = {one["differ_p"] for one in reading["segments"] if one["metric"] == "profit"}
    assert 0 <= differ <= 1
    text = printed(capsys, *words)
    assert "profit, variant 1, along age: +0.2" in text
    assert "profit, variant 1, country DE:" in text


def stores(home, capsys, clock):
    """A price test over products that has just started."""
    rng = np.random.default_rng(5)
    lines = [price_line(f"p{i}", proposed=2.1 if i % 2 else 2.0) for i in range(40)]
    with open_store(f"sqlite:///{home / '.offerwright' / 'offerwright.db'}") as store:
        store.save_proposal(make_proposal(prices=lines))
    level = rng.lognormal(2, 0.5, 40)
    rows = [(f"p{i}", week, level[i] + rng.normal(0, 2)) for i in range(40) for week in range(30)]
    pd.DataFrame(rows, columns=["product_id", "week", "profit"]).to_csv("weekly.csv", index=False)
    made = asked(capsys, "design", "weekly.csv", "--name", "p", "--proposal", "P1")
    assert run_command(["experiment", "assign", "--name", "p", "--unit", "product_id", "--out", "p.csv"]) == 0
    drawn = pd.read_csv("p.csv")
    place = drawn["product_id"].str[1:].astype(int)
    drawn["profit_before"] = level[place]
    drawn["profit"] = level[place] + rng.normal(0, 0.5, len(drawn)) + 3.0 * drawn["variant"]
    drawn["units"] = 50 + rng.normal(0, 1, len(drawn))
    drawn.to_csv("after.csv", index=False)
    clock[0] = datetime.now(UTC)
    return made["sizing"]["weeks"]


def test_a_reading_without_weeks_takes_the_clocks_and_says_so(home, capsys, monkeypatch):
    clock = [datetime.now(UTC)]
    planned = stores(home, capsys, clock)
    monkeypatch.setattr("api.commands.experiment_analyse.current_time", lambda: clock[0])
    read = ("analyse", "after.csv", "--name", "p", "--unit", "product_id")
    early = asked(capsys, *read)
    assert (early["final"], early["interval"], early["verdicts"][0]["action"]) == (False, "always_valid", "go on")
    text = printed(capsys, *read)
    assert f"Read 0.1 weeks after the start by the clock, {planned} are planned" in text
    assert "interim" in text
    clock[0] += timedelta(weeks=planned)
    assert asked(capsys, *read)["final"]
    clock[0] -= timedelta(weeks=planned)
    told = printed(capsys, *read, "--weeks", str(planned))
    assert "by the clock" not in told
    assert "decision           ship" in told


def test_the_deciding_metric_is_declared_as_data_and_read_by_stratum(home, capsys):
    more = '{"winsorise": {"high": 0.99}, "missing": "exclude"}'
    made = designed(capsys, "declared", "--declare", more, "--stratum", "shop")
    assert made["metrics"][0]["winsorise"] == {"high": 0.99}
    assert (made["metrics"][0]["column"], made["stratum"]) == ("profit", "shop")
    table = outcomes("declared", {"profit": 2.0})
    table["shop"] = np.where(table["before"] > table["before"].median(), "big", "small")
    table.loc[0, "profit"] = 1e9
    table.loc[1, "profit"] = np.nan
    table.to_csv("outcomes.csv", index=False)
    reading = asked(capsys, "analyse", "outcomes.csv", "--name", "declared")
    assert reading["effects"][0]["high"] < 4, "one wild value does not decide"
    metric = metric_from(made["metrics"][0])
    alone = analyse(table, [metric], unit="unit_id", stratum="shop").effects[0]
    assert reading["effects"][0]["estimate"] == pytest.approx(alone.estimate)
    words = ("history.csv", "--name", "x", "--metric", "profit", "--effect", "1", "--declare", '{"colour": 3}')
    capsys.readouterr()
    assert run_command(["experiment", "design", *words]) == 2
